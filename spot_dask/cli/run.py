"""The commands that train: ``run``, ``resume``, ``confirm`` and ``explore``."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from spot_dask.cli import options as opt
from spot_dask.errors import StudyError
from spot_dask.records import is_source
from spot_dask.settings import KEYS, Budget, duration, one_line
from spot_dask.texts import printable, shell

if TYPE_CHECKING:
    from spot_dask.run import Run
    from spot_dask.session import Ending
    from spot_dask.study import Study
    from spot_dask.study_file import Loaded
    from spot_dask.warmstart import WarmStart

logger = logging.getLogger(__name__)

NO_SUCCESS = 3
SEEDS = 5
SIGNALS = {"SIGHUP": 129, "SIGINT": 130, "SIGTERM": 143, "spot-dask stop": 143}

COURSE = (
    click.option(
        "--grace",
        type=opt.DURATION,
        default="20s",
        help="How long SIGTERM lets running trainings go on; then they are stopped.",
    ),
    click.option(
        "--detach",
        is_flag=True,
        help="Ctrl-C and SIGTERM leave trainings on the cluster running; `resume` finds them.",
    ),
    click.option(
        "--progress",
        type=click.Choice(["auto", "rich", "plain", "none"]),
        default="auto",
        help="How to show progress (auto: rich on a terminal, else a line per evaluation).",
    ),
    click.option(
        "--report/--no-report",
        "with_report",
        envvar="SPOT_DASK_REPORT",
        default=True,
        help="Write report.html at the end.",
    ),
)
"""Options of a session: how it ends and what it shows."""


@opt.command(
    "study",
    *opt.setting_options("budget", "study", "cluster", "store"),
    opt.tls_options,
    click.option(
        "--warm-start",
        metavar="SOURCE",
        multiple=True,
        type=opt.PATH,
        help="Evaluations of this objective: a store, a table, an Optuna study; repeatable.",
    ),
    click.option(
        "--prior",
        metavar="SOURCE",
        multiple=True,
        type=opt.PATH,
        help="Evaluations of a related objective, which only hint at where to look; repeatable.",
    ),
    click.option(
        "--rename",
        metavar="OLD=NEW",
        multiple=True,
        help="What a name of the sources is here; OLD= leaves it out; act=None:none maps a value.",
    ),
    opt.set_option,
    click.option(
        "--against",
        metavar="NAME,NAME",
        help="Run the study with these searches, too (random, sobol, grid), and compare.",
    ),
    click.option(
        "--seeds",
        type=click.IntRange(1),
        metavar="N",
        help="With --against: how many seeds each is run with [5].",
    ),
    *COURSE,
)
@click.pass_context
def run(ctx: click.Context, /, study: str, **options: Any) -> None:
    """Tune STUDY until its budget is used up.

    The last line on stdout is the path of the report. Ctrl-C finishes what is running and stops;
    `spot-dask resume` goes on.

    With --against each run has a store of its own, named after --store, the search and the seed;
    the same command goes on where it was interrupted, and prints the comparison at the end.
    """
    _exclude(ctx, options)
    if options["against"] is not None:
        _run_against(ctx, study, options)
        return
    if options["seeds"] is not None:
        raise click.UsageError("--seeds is for --against; --seed sets the seed of one run")
    from spot_dask.cli.progress import watch
    from spot_dask.study_file import load

    loaded = load(study, [*options["overrides"], *opt.given(options)])
    where = _where(options, loaded)
    with watch(options["progress"], loaded.study.goal) as watcher:
        finished = loaded.study.run(
            store=options["store"] or loaded.store,
            warm_start=_sources(options),
            watcher=watcher,
            progress="none",
            ending=_ending(options, where),
            **where,
        )
    _conclude(ctx, finished, where, options)


def _run_against(ctx: click.Context, study: str, options: dict[str, Any]) -> None:
    """Run a study by several ways to search, seed by seed, and compare."""
    from spot_dask.cli.compare import tell, write

    names = [name for name in map(str.strip, options["against"].split(",")) if name]
    from spot_dask.cli.progress import watch
    from spot_dask.compare import compare
    from spot_dask.series import series, stem_of
    from spot_dask.study_file import load

    loaded = load(study, [*options["overrides"], *opt.given(options)])
    stem = stem_of(loaded.study, options["store"] or loaded.store)
    where = _where(options, loaded)
    try:
        entrants = series(loaded.study, names, options["seeds"] or SEEDS, stem)
    except ValueError as error:
        raise click.UsageError(f"--against: {one_line(error)}") from error
    runs: list[Run] = []
    for i, entrant in enumerate(entrants, 1):
        done = entrant.done
        note = "is done" if done is not None else "begins or goes on"
        opt.say(f"run {i} of {len(entrants)}: {entrant.store} {note}", err=True)
        if done is None:
            with watch(options["progress"], entrant.study.goal) as watcher:
                done = entrant.advance(
                    _sources(options),
                    watcher=watcher,
                    progress="none",
                    ending=_ending(options, where),
                    **where,
                )
        runs.append(done)
        if done.stopped is not None:
            opt.say(f"stopped in run {i}; the same command goes on", err=True)
            ctx.exit(SIGNALS[done.stopped])
    found, page = compare(runs), None
    if options["with_report"]:
        page = Path(f"{stem.rpartition('/')[2] if '://' in stem else stem}-comparison.html")
        write(found, page)
    tell(found, None if page is None else str(page), options["as_json"])


@opt.command(
    "store",
    *opt.setting_options("budget", "cluster"),
    opt.setting_option("--track"),
    opt.tls_options,
    opt.study_option,
    click.option("--takeover", is_flag=True, help="Resume even if another process has it."),
    *COURSE,
)
@click.pass_context
def resume(ctx: click.Context, /, store: str, study: str | None, **options: Any) -> None:
    """Go on with the run in STORE.

    It was stopped or killed, or has a larger budget now. Finished evaluations are kept, trials in
    flight run again. --evaluations, --wall and --epochs
    count over the whole run and replace its budget. The study's file is run again: the one that
    STORE names, if it is as it was, or the one of --study.
    """
    _exclude(ctx, options)
    from spot_dask.cli.progress import watch
    from spot_dask.run import Run

    before = Run.open(store)
    loaded = reloaded(before, study)
    tuned, where = loaded.study, _where(options, loaded)
    values = {item.key: KEYS[item.key].read(item.value) for item in opt.given(options, Budget)}
    budget = Budget(**{name: value for (_, name), value in values.items()})
    done, goal = len(before.history.evaluations), tuned.under(before.settings, budget).goal
    with watch(options["progress"], goal) as watcher:
        finished = tuned.resume(
            before,
            budget,
            takeover=options["takeover"],
            watcher=watcher,
            progress="none",
            ending=_ending(options, where),
            trackers=options["track"] or None,
            **where,
        )
    if len(finished.history.evaluations) == done:
        limited = "--epochs" if finished.epochs_end_it else "--evaluations"
        flag = {"wall": "--wall", "budget": limited}.get(finished.ended or "")
        if finished.state != "done":
            note = f"no new evaluation; {done} are there"
        elif finished.ended == "until":
            note = "nothing to do: the search has ended by --until; --until never goes on"
        elif flag is None:
            note = "nothing to do: every configuration of the ranges that are searched was tried"
        else:
            used = f"the budget is used up after {done} evaluations"
            note = f"nothing to do: {used}; raise it with {flag}"
        opt.say(note, err=True)
    if waiting := len(finished.journal.wishes()):
        from spot_dask.cards import counted
        from spot_dask.cli.hands import more_budget

        more = more_budget(finished)
        then = "" if more is None else f"; `spot-dask resume {finished.path} {more}` tries them"
        said = f"not tried yet: {counted(waiting, 'configuration')} asked for by `spot-dask try`"
        opt.say(f"{said}{then}", err=True)
    _conclude(ctx, finished, where, options)


LATER = (
    *opt.setting_options("cluster"),
    opt.setting_option("--track"),
    opt.tls_options,
    opt.study_option,
    click.option("--takeover", is_flag=True, help="Go on even if another process has it."),
    *COURSE,
)
"""The options of a command that adds evaluations to a run."""


@opt.command(
    "store",
    click.option(
        "--seeds",
        type=click.IntRange(1),
        default=10,
        metavar="N",
        help="Fresh seeds that each configuration has then, earlier ones included.",
    ),
    click.option(
        "--top",
        type=click.IntRange(1),
        default=1,
        metavar="K",
        help="How many of the best configurations are confirmed beside the default.",
    ),
    *LATER,
)
@click.pass_context
def confirm(
    ctx: click.Context, /, store: str, study: str | None, seeds: int, top: int, **options: Any
) -> None:
    """Train the best of STORE, and the default, with fresh seeds.

    These are seeds that the run has not seen. Only such trainings tell how good the result is: what
    a search finds best was lucky as well. Trainings that were confirmed before count; a run that
    was killed meanwhile goes on. Choose N before you look: whoever adds seeds until a claim appears
    will be wrong more often.
    """
    _add(
        ctx, store, study, options, lambda tuned: partial(tuned.confirm_more, seeds=seeds, top=top)
    )


@opt.command(
    "store",
    click.option(
        "-n",
        "--count",
        type=click.IntRange(1),
        default=16,
        metavar="N",
        help="How many evaluations to add.",
    ),
    *LATER,
)
@click.pass_context
def explore(
    ctx: click.Context, /, store: str, study: str | None, count: int, **options: Any
) -> None:
    """Add space-filling evaluations to the run in STORE.

    They tell which parameters matter over the whole space, which a search alone cannot: it goes
    where it expects something good.
    """
    _add(ctx, store, study, options, lambda tuned: partial(tuned.explore, count=count))


def _add(
    ctx: click.Context,
    store: str,
    study: str | None,
    options: dict[str, Any],
    method: Callable[[Study], Callable[..., Run]],
) -> None:
    """Add evaluations to a run by a method of its study, and conclude."""
    _exclude(ctx, options)
    from spot_dask.cli.progress import watch
    from spot_dask.run import Run

    before = Run.open(store)
    loaded = reloaded(before, study)
    where, done = _where(options, loaded), len(before.history.evaluations)
    goal = replace(
        loaded.study.under(before.settings).goal, evaluations=None, wall=None, epochs=None
    )
    with watch(options["progress"], goal) as watcher:
        finished = method(loaded.study)(
            before,
            takeover=options["takeover"],
            watcher=watcher,
            progress="none",
            ending=_ending(options, where),
            trackers=options["track"] or None,
            **where,
        )
    if len(finished.history.evaluations) == done and finished.state == "done":
        opt.say("nothing to do: all of these evaluations are there", err=True)
    _conclude(ctx, finished, where, options)


def reloaded(run: Run, study: str | None) -> Loaded:
    """The study of a run: of the file that its store names, if it is as it was, or of ``study``."""
    from spot_dask.study_file import reload

    recorded = run.header.study
    loaded = reload(recorded, study, _agrees)
    known = "text" in recorded or "sha256" in recorded
    changed = known and not is_source(recorded, loaded.study.source["text"])
    note = ", which has changed since the run began" if changed else ""
    opt.say(f"study {loaded.study.source['file']}{note}", err=True)
    return loaded


def _agrees(doubt: str) -> bool:
    """Whether a user, if there is one, wants the study's file to be run despite a doubt."""
    return _on_a_terminal() and click.confirm(printable(f"{doubt}. Run it?"), err=True)


def _on_a_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _sources(options: Mapping[str, Any]) -> list[WarmStart]:
    """The sources of the warm start; every one has the names that are renamed, if it has them."""
    from spot_dask.warmstart import WarmStart

    rename: dict[str, str] = {}
    values: dict[str, dict[str, str]] = {}
    for text in options["rename"]:
        old, equals, new = text.partition("=")
        if not (old and equals):
            raise click.UsageError(
                f"--rename {text}: expected OLD=NEW, OLD= to leave it out, or NAME=VALUE:NEW of a "
                "value"
            )
        seen, colon, meant = new.rpartition(":")
        if colon:
            values.setdefault(old, {})[seen] = meant
        elif rename.setdefault(old, new) != new:
            raise click.UsageError(
                f"--rename {text}: {old} is renamed to {rename[old]} already; give one of them"
            )
    data = [WarmStart(path, "data", rename, values) for path in options["warm_start"]]
    data += [WarmStart(path, "prior", rename, values) for path in options["prior"]]
    if options["rename"] and not data:
        raise click.UsageError("--rename needs a source, --warm-start or --prior")
    return data


def _exclude(ctx: click.Context, options: dict[str, Any]) -> None:
    """Leave at most one of --scheduler and --local; a flag beats the environment.

    Raises UsageError for both, and for trackers that there are not.
    """
    from spot_dask.trackers import check

    try:
        for name in options["track"]:
            check(name)
    except ValueError as error:
        raise click.UsageError(f"--track: {one_line(error)}") from error
    if options["scheduler"] is None or options["local"] is None:
        return
    typed = [
        name
        for name in ("scheduler", "local")
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    if len(typed) != 1:
        raise click.UsageError("give either --scheduler or --local, not both")
    options["local" if typed == ["scheduler"] else "scheduler"] = None


def _where(options: Mapping[str, Any], loaded: Loaded) -> dict[str, Any]:
    """Where to train: as the flags say, else as the study's file says, else embedded."""
    scheduler, local = options["scheduler"], options["local"]
    if scheduler is None and local is None:
        scheduler, local = loaded.scheduler, loaded.local
    if scheduler is not None and local is not None:
        raise StudyError("cluster.scheduler and cluster.local are both set; keep one")
    client = None if scheduler is None else opt.connection(scheduler, dict(options))
    return {"client": client, "local": local}


def _ending(options: Mapping[str, Any], where: Mapping[str, Any]) -> Ending:
    """What signals do; trainings can only outlive us on a cluster that does."""
    from spot_dask.session import Ending

    if options["detach"] and where["client"] is None:
        raise click.UsageError("--detach needs a cluster that goes on: give its --scheduler")
    return Ending(duration(options["grace"]), options["detach"])


def _conclude(
    ctx: click.Context, run: Run, where: Mapping[str, Any], options: Mapping[str, Any]
) -> None:
    """Print the result and write the report; exit as the run ended."""
    from spot_dask.cli.stores import show_result

    again = None
    if run.state != "done":
        again = resume_command(run, where, options["track"])
    path = None
    if options["with_report"]:
        try:
            path = str(run.report())
        except Exception as error:  # the run stands, whatever a report meets in it
            logger.debug("no report", exc_info=True)
            opt.say(f"no report: {one_line(error)}; the run itself is complete", err=True)
    if options["as_json"]:
        document = {**run.status(), "report": path, "resume": again}
        opt.emit(ctx.command.name or "", document)
    else:
        show_result(run, in_short=path is not None)
        if path is not None:
            opt.say(path)
    if again is not None:
        opt.say(f"go on with: {again}", err=True)
    if run.stopped is not None:
        ctx.exit(SIGNALS[run.stopped])
    if not run.history.ok:
        ctx.exit(NO_SUCCESS)


def resume_command(run: Run, where: Mapping[str, Any], trackers: Sequence[str] = ()) -> str:
    """What to type to go on with a run in the same way.

    ``trackers`` are named where the store alone may not have them followed: see ``reload``.
    """
    words = ["spot-dask", "resume", str(run.path)]
    if where["client"] is not None:
        words += opt.connection_words(where["client"])
    elif where["local"] is not None:
        words += ["--local", str(where["local"])]
    from spot_dask.trackers import names

    if not set(trackers) <= set(names()):
        words += [word for name in trackers for word in ("--track", name)]
    return shell(words)
