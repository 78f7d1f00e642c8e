"""``spot-dask check``: everything that can be found out about a study before it is run."""

from __future__ import annotations

import math
import sys
import time
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from spot_dask.cli import options as opt

if TYPE_CHECKING:
    from spot_dask.records import Outcome, Trial
    from spot_dask.study import Study
    from spot_dask.study_file import Loaded

FAILED = 4

BRIEF = 30.0
"""Seconds below which an epoch is trained twice: start-up would spoil the estimate."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: status PASS, FAIL or SKIP."""

    name: str
    status: str
    message: str


@dataclass(frozen=True)
class Trained:
    """One epoch of the defaults: its outcome, and seconds with and without start-up."""

    outcome: Outcome
    seconds: float
    warm: float


@click.command(context_settings=opt.ENVIRONMENT)
@click.argument("study")
@opt.set_option
@opt.json_option
@opt.verbose_option
@click.pass_context
def check(ctx: click.Context, study: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Show the search space of STUDY and train its defaults for one epoch.

    Also checks that the training can travel to a worker, and estimates how long the budget takes.
    """
    from spot_dask.study_file import load

    # What the study's own code prints must not end up among the results.
    with redirect_stdout(sys.stderr):
        loaded = load(study, overrides)
    rows = space_rows(loaded.study)
    if not as_json:
        _show_space(loaded.study, rows)
    with redirect_stdout(sys.stderr):
        checks, trained = _checks(loaded.study)
        estimate = None if trained is None else _estimate(loaded, trained)
    if as_json:
        document = {
            "study": loaded.study.source["file"],
            "name": loaded.study.name,
            "space": rows,
            "checks": [asdict(item) for item in checks],
            "seconds": trained and trained.seconds,
            "estimate_seconds": estimate,
        }
        opt.emit("check", document)
    else:
        _show_checks(checks, estimate)
    if any(item.status == "FAIL" for item in checks):
        ctx.exit(FAILED)


def _checks(study: Study) -> tuple[list[Check], Trained | None]:
    from spot_dask.cli.pickling import culprit

    size = study.space.size
    many = "infinitely many" if size == math.inf else f"{size}"
    checks = [Check("space", "PASS", f"{study.space.d} free parameters, {many} configurations")]
    problem = culprit(study.task)
    if problem is not None:
        skipped = "the task cannot travel to the process that would train it"
        return [
            *checks,
            Check("pickling", "FAIL", problem),
            Check("training", "SKIP", skipped),
        ], None
    checks.append(Check("pickling", "PASS", "the task can travel to any worker"))
    trained = _train(study)
    return [*checks, _judge(trained)], trained if trained.outcome.ok else None


def _judge(trained: Trained) -> Check:
    outcome = trained.outcome
    if outcome.ok:
        measured = ", ".join(f"{name} {value:.4g}" for name, value in outcome.metrics.items())
        text = f"one epoch of the defaults on {outcome.device}: {measured}"
        return Check("training", "PASS", f"{text}; {trained.seconds:.1f} s with start-up")
    error = outcome.error
    reason = outcome.status.value if error is None else f"{error.type}: {error.message}"
    return Check("training", "FAIL", f"the defaults {outcome.status.value}: {reason}")


def _train(study: Study) -> Trained:
    """Train the default configuration for one epoch, as a worker would."""
    import cloudpickle

    from spot_dask.worker import supervisor

    trial = _default_trial(study)
    task = cloudpickle.dumps(study.task.shortened())
    began = time.monotonic()
    try:
        outcome = again = supervisor.run_trial(task, trial, 0)
        seconds = time.monotonic() - began
        if outcome.ok and seconds < BRIEF:
            again = supervisor.run_trial(task, trial, 1)
    finally:
        supervisor.close()
    return Trained(outcome, seconds, again.seconds)


def _default_trial(study: Study) -> Trial:
    from spot_dask.records import History

    return study.tuner.ask(History(), 1)[0]


def _estimate(loaded: Loaded, trained: Trained) -> float | None:
    """Seconds the budget takes if every training took as long as the defaults; None: unknown."""
    from spot_dask.executors.cluster import local_slots

    study = loaded.study
    if loaded.scheduler is not None:
        return None
    budget = study.budget
    limits = [] if budget.wall is None else [budget.wall]
    if budget.limit is not None:
        each = trained.warm * _epochs(study)
        limits.append(each * budget.limit / max(1, loaded.local or local_slots()))
    return min(limits)


def _epochs(study: Study) -> int:
    """The epochs of the defaults: a number, or the parameter that holds it; 1 without epochs."""
    epochs = getattr(study.task, "epochs", 1)
    return int(study.space.default[epochs] if isinstance(epochs, str) else epochs)


def space_rows(study: Study) -> list[dict[str, Any]]:
    """The search space as a table: one row for each parameter, in order of declaration."""
    return [
        {"name": name, **parameter.to_json(), "fixed": parameter.fixed}
        for name, parameter in study.space.parameters.items()
    ]


def _show_space(study: Study, rows: list[dict[str, Any]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from spot_dask.cli.text import value_text

    table = Table(box=box.SIMPLE_HEAD, title=f"search space of {study.name}", title_justify="left")
    for heading in ("parameter", "type", "scale", "range", "default", "active when"):
        table.add_column(heading)
    for row in rows:
        table.add_row(
            row["name"],
            row["type"],
            row.get("scale", "-"),
            _range(row),
            value_text(row["default"]),
            _condition(row["when"]),
        )
    Console().print(table)


def _range(row: dict[str, Any]) -> str:
    from spot_dask.cli.text import value_text

    if row["fixed"]:
        return "fixed"
    if "levels" in row:
        order = " < " if row["ordered"] else ", "
        return order.join(value_text(level) for level in row["levels"])
    return f"{value_text(row['low'])} to {value_text(row['high'])}"


def _condition(when: dict[str, list[Any]]) -> str:
    from spot_dask.cli.text import value_text

    parts = [f"{name} = {' or '.join(map(value_text, levels))}" for name, levels in when.items()]
    return " and ".join(parts)


def _show_checks(checks: list[Check], estimate: float | None) -> None:
    from spot_dask.cli.text import clock

    for item in checks:
        click.echo(f"{item.status}  {item.name}: {item.message}")
    if estimate is not None:
        click.echo(f"the budget takes about {clock(estimate)} if all train like the defaults")
