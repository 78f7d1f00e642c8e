"""``spot-dask init`` and ``spot-dask check``: a study before it is run."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from spot_dask import words
from spot_dask.cli import options as opt
from spot_dask.errors import StudyError

if TYPE_CHECKING:
    from spot_dask.records import Outcome, Trial
    from spot_dask.study import Study
    from spot_dask.study_file import Loaded

TEMPLATES = ("study.py", "spot.toml")

FAILED = 4

BRIEF = 30.0
"""Seconds below which an epoch is trained twice: start-up would spoil the estimate."""


@click.command(cls=opt.Command, context_settings=opt.ENVIRONMENT)
@click.argument("directory", metavar="[DIR]", default=".", type=click.Path(file_okay=False))
@click.option(
    "--from",
    "command",
    metavar="COMMAND",
    help="Write a study of this program instead, such as 'python main.py', from its --help.",
)
@opt.verbose_option
def init(directory: str, command: str | None) -> None:
    """Write study.py and its settings, spot.toml, into DIR.

    DIR is here unless it is given. The study runs as it is: spot-dask run spot.toml.
    """
    target = Path(directory)
    if command is not None:
        from spot_dask.cli.from_help import write

        file, tuned = write(target, command)
        if not tuned:
            opt.say(f"wrote {file}: --help tells no defaults, so add a [space.NAME] for each")
            return
        opt.say(f"wrote {file}: change its ranges, and what it reads of the program's output")
        opt.say(f"try it with: spot-dask check {file}")
        return
    for name in TEMPLATES:
        if (target / name).exists():
            raise StudyError(f"{target / name} exists already; name another directory")
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name in TEMPLATES:
            source = files("spot_dask.cli").joinpath("templates", f"{name}.template")
            with (target / name).open("xb") as opened:  # not through a link to nowhere
                opened.write(source.read_bytes())
    except OSError as error:
        raise StudyError(f"cannot write to {target}: {error.strerror}") from error
    opt.say(f"wrote {target / 'study.py'} and {target / 'spot.toml'}")
    opt.say(f"run it with: spot-dask run {target / 'spot.toml'}")


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: status PASS, WARN, FAIL or SKIP."""

    name: str
    status: str
    message: str


@dataclass(frozen=True)
class Trained:
    """One epoch of the defaults: its outcome, seconds with and without start-up, and warnings.

    ``cut`` says whether it was one epoch; what cannot be cut was trained to its end.
    """

    outcome: Outcome
    seconds: float
    warm: float
    cut: bool
    warnings: tuple[Check, ...]


@opt.command("study", opt.set_option)
@click.pass_context
def check(ctx: click.Context, study: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Show the space of STUDY; train its defaults for one epoch.

    Also checks that the training can travel to a worker, and estimates how long the budget takes.
    Warns of parameters that the training does not read, of NaN in its data, and of metrics that
    change with the batch size of the evaluation.
    """
    from spot_dask.constraints import parsed
    from spot_dask.infill.leaning import described
    from spot_dask.study_file import load

    loaded = load(study, overrides)
    rows = space_rows(loaded.study)
    if not as_json:
        cells = [
            (
                row["name"],
                row["type"],
                row.get("scale", "-"),
                _range(row),
                words.value_text(row["default"]) + (" (centre)" if row.get("centred") else ""),
                _condition(row["when"]),
            )
            for row in rows
        ]
        headings = ("parameter", "type", "scale", "range", "default", "active when")
        opt.show_table(f"search space of {loaded.study.name}", headings, cells)
        for predicate in loaded.study.space.predicates:
            opt.say(f"where  {predicate.text}")
        for name, belief in described(loaded.study.space, loaded.study.prior).items():
            opt.say(f"prior  {name}: {belief}")
        for constraint in parsed(loaded.study.constraints):
            opt.say(f"constraint  {constraint}")
    checks, trained = _checks(loaded.study)
    estimate = None if trained is None else _estimate(loaded, trained)
    if as_json:
        document = {
            "study": loaded.study.source["file"],
            "name": loaded.study.name,
            "space": rows,
            "prior": dict(loaded.study.prior),
            "constraints": dict(loaded.study.constraints),
            "checks": [asdict(item) for item in checks],
            "seconds": trained and trained.seconds,
            "estimate_seconds": estimate,
        }
        opt.emit("check", document)
    else:
        for item in checks:
            opt.say(f"{item.status}  {item.name}: {item.message}")
        if estimate is not None:
            about = words.clock(estimate)
            opt.say(f"the budget takes about {about} if all train like the defaults")
    if any(item.status == "FAIL" for item in checks):
        ctx.exit(FAILED)


def _checks(study: Study) -> tuple[list[Check], Trained | None]:
    """What was found out, and the training of the defaults if it went well."""
    from spot_dask.cli.pickling import culprit

    size = study.space.size
    many = "infinitely many" if size == math.inf else f"{size}"
    checks = [Check("space", "PASS", f"{study.space.d} free parameters, {many} configurations")]
    problem = culprit(study.training)
    if problem is not None:
        skipped = "the task cannot travel to the process that would train it"
        checks.append(Check("pickling", "FAIL", problem))
        return [*checks, Check("training", "SKIP", skipped)], None
    checks.append(Check("pickling", "PASS", "the task can travel to any worker"))
    trained = _train(study)
    outcome = trained.outcome
    if outcome.ok:
        measured = ", ".join(f"{name} {value:.4g}" for name, value in outcome.metrics.items())
        what = "one epoch" if trained.cut else "the whole training (it reports no epochs)"
        text = f"{what} of the defaults on {outcome.device}: {measured}"
        passed = Check("training", "PASS", f"{text}; {trained.seconds:.1f} s with start-up")
        more = _constraints(study, outcome)
        return [*checks, passed, *more, *trained.warnings], trained
    error = outcome.error
    reason = outcome.status.value if error is None else f"{error.type}: {error.message}"
    failed = Check("training", "FAIL", f"the defaults {outcome.status.value}: {reason}")
    return [*checks, failed, *trained.warnings], None


def _constraints(study: Study, outcome: Outcome) -> list[Check]:
    """Whether the defaults report what is constrained, and fulfil it after an epoch."""
    from spot_dask.constraints import missing, parsed
    from spot_dask.errors import did_you_mean

    metrics, found = outcome.metrics, []
    for constraint in parsed(study.constraints):
        name = constraint.metric
        if missing([constraint], metrics):
            seen = "NaN" if name in metrics else "nothing"
            there = f"{', '.join(metrics)}{did_you_mean(name, [m for m in metrics if m != name])}"
            text = (
                f"after an epoch the training has reported {seen} as {name}, there are {there}; if "
                f"it never does, nothing fulfils {constraint}: report it, or correct the "
                "constraint's name"
            )
            found.append(Check("constraint", "WARN", text))
            continue
        does = "fulfil" if constraint.holds(metrics[name]) else "do not fulfil"
        text = f"the defaults {does} {constraint}: {metrics[name]:.4g} after an epoch"
        found.append(Check("constraint", "PASS", text))
    return found


def _train(study: Study) -> Trained:
    """Train the default configuration for one epoch, as a worker would."""
    from spot_dask.by_value import dumps
    from spot_dask.records import History
    from spot_dask.tasks.meant import meant
    from spot_dask.tasks.watched import Watched, noticed_in
    from spot_dask.worker import supervisor

    trial = study.tuner.ask(History(), 1)[0]
    task: Any = study.task
    batch = getattr(task, "eval_batch_size", 0)
    with TemporaryDirectory() as directory:
        notes = Path(directory) / "noticed.json"

        def pickled(task: Any) -> bytes:
            watched = meant(Watched(task, str(notes)), study.space.meanings)
            return dumps(watched)

        began = time.monotonic()
        try:
            travels = pickled(task)
            outcome = again = supervisor.run_trial(travels, trial, 0)
            seconds = time.monotonic() - began
            noticed = noticed_in(notes)
            if outcome.ok and seconds < BRIEF:
                if batch:  # the same training, judged in other batches
                    travels = pickled(replace(task, eval_batch_size=max(2, batch // 9)))
                again = supervisor.run_trial(travels, trial, 1)
        finally:
            supervisor.close()
    warnings = [Check("data", "WARN", doubt) for doubt in noticed.doubts]
    if outcome.ok:
        warnings += [
            *_unread(study, trial, noticed.read),
            *_changed(outcome, again, rebatched=bool(batch)),
        ]
    return Trained(outcome, seconds, again.seconds, noticed.cut, tuple(warnings))


def _unread(study: Study, trial: Trial, read: Collection[str]) -> Iterator[Check]:
    """A warning of the free parameters of a trial that its training has not read."""
    named = {value for value in vars(study.task).values() if isinstance(value, str)}
    unread = [
        repr(name)
        for name in trial.config
        if name not in {*read, *named, study.length} and not study.space.parameters[name].fixed
    ]
    if unread:
        they, are = ("them", "are") if len(unread) > 1 else ("it", "is")
        yield Check(
            "parameters",
            "WARN",
            f"the training of the defaults never reads {', '.join(unread)}, which {are} tuned all"
            f" the same; leave {they} out of the space, or say .when(...) where {they} {are} read",
        )


def _changed(first: Outcome, again: Outcome, rebatched: bool) -> Iterator[Check]:
    """Warnings of metrics that differ between two trainings of one seed.

    The second was judged in batches of another size where this is ``rebatched``.
    """
    if rebatched:
        why, advice = (
            "changes with the batch size of the evaluation",
            ("a metric that is no mean over samples needs over='set'"),
        )
    else:
        why, advice = (
            "differs between two trainings of the same seed",
            ("no training can be repeated then; seed what draws at random by trial.seed"),
        )
    for name, value in first.metrics.items():
        other = again.metrics.get(name, value) if again.ok else value
        if not name.startswith("train_") and not math.isclose(other, value, rel_tol=1e-4):
            if math.isnan(value) and math.isnan(other):
                continue
            yield Check(
                "metrics",
                "WARN",
                f"{name} {why}: {value:.6g}, {other:.6g}; {advice}",
            )


def _estimate(loaded: Loaded, trained: Trained) -> float | None:
    """Seconds the budget takes if every training took as long as the defaults; None: unknown."""
    from spot_dask.executors.cluster import local_slots

    study, budget = loaded.study, loaded.study.budget
    if loaded.scheduler is not None:
        return None
    limits = [] if budget.wall is None else [budget.wall]
    if budget.limit is not None:
        # A number, or the parameter that holds it; of a function that was cut it is not known.
        unknown: Any = None if trained.cut else 1
        epochs = study.length or getattr(study.task, "epochs", unknown)
        if epochs is None:
            return None
        each = trained.warm * int(
            study.space.default[epochs] if isinstance(epochs, str) else epochs
        )
        limits.append(each * budget.limit / max(1, loaded.local or local_slots()))
    if budget.epochs is not None:
        limits.append(trained.warm * budget.epochs / max(1, loaded.local or local_slots()))
    return min(limits)


def space_rows(study: Study) -> list[dict[str, Any]]:
    """The search space as a table: one row for each parameter, in order of declaration."""
    return [
        {"name": name, **parameter.to_json(), "fixed": parameter.fixed}
        for name, parameter in study.space.parameters.items()
    ]


def _range(row: dict[str, Any]) -> str:
    if row["fixed"]:
        return "fixed"
    if "levels" in row:
        return (" < " if row["ordered"] else ", ").join(map(words.value_text, row["levels"]))
    steps = f" in steps of {words.value_text(row['step'])}" if "step" in row else ""
    return f"{words.value_text(row['low'])} to {words.value_text(row['high'])}{steps}"


def _condition(when: dict[str, list[Any]]) -> str:
    return " and ".join(
        f"{name} = {' or '.join(map(words.value_text, levels))}" for name, levels in when.items()
    )
