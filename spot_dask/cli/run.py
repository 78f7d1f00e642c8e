"""``spot-dask run`` and ``spot-dask resume``."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from spot_dask.cli import options as opt
from spot_dask.errors import StudyError
from spot_dask.settings import KEYS, Budget, duration, one_line

if TYPE_CHECKING:
    from spot_dask.run import Run
    from spot_dask.session import Ending
    from spot_dask.study_file import Loaded
    from spot_dask.warmstart import WarmStart

logger = logging.getLogger(__name__)

NO_SUCCESS = 3
SIGNALS = {"SIGINT": 130, "SIGTERM": 143, "spot-dask stop": 143}


@click.command(context_settings=opt.ENVIRONMENT)
@click.argument("study")
@opt.setting_options("cluster", "store", "budget", "study")
@opt.tls_options
@click.option(
    "--warm-start",
    metavar="SOURCE",
    multiple=True,
    type=click.Path(),
    help="Evaluations of this objective: a store, .csv, .jsonl, an Optuna study; repeatable.",
)
@click.option(
    "--prior",
    metavar="SOURCE",
    multiple=True,
    type=click.Path(),
    help="Evaluations of a related objective, which only hint at where to look; repeatable.",
)
@click.option(
    "--rename",
    metavar="OLD=NEW",
    multiple=True,
    help="What a name of the sources is called here; OLD= leaves it out. Repeatable.",
)
@opt.set_option
@opt.grace_option
@opt.detach_option
@opt.progress_option
@opt.report_option
@opt.json_option
@opt.verbose_option
@click.pass_context
def run(ctx: click.Context, /, study: str, **options: Any) -> None:
    """Tune STUDY until its budget is used up.

    The last line on stdout is the path of the report. Ctrl-C finishes what is running and stops;
    `spot-dask resume` goes on.
    """
    _exclusive(ctx, options)
    # What the study's own code prints must not end up among the results.
    with redirect_stdout(sys.stderr):
        finished, where = _run(study, options)
    _conclude(ctx, finished, where, options)


@click.command(context_settings=opt.ENVIRONMENT)
@click.argument("store")
@opt.setting_options("cluster", "budget")
@opt.tls_options
@click.option("--study", metavar="FILE", help="The study, if its file is not where it was.")
@click.option("--takeover", is_flag=True, help="Resume even if another process seems to run it.")
@opt.grace_option
@opt.detach_option
@opt.progress_option
@opt.report_option
@opt.json_option
@opt.verbose_option
@click.pass_context
def resume(ctx: click.Context, /, store: str, **options: Any) -> None:
    """Go on with the run in STORE, which was stopped, killed or has a larger budget now.

    Finished evaluations are kept, trials in flight run again. --evaluations and --wall count over
    the whole run and replace its budget.
    """
    _exclusive(ctx, options)
    with redirect_stdout(sys.stderr):
        finished, where = _resume(store, options)
    _conclude(ctx, finished, where, options)


def _run(target: str, options: Mapping[str, Any]) -> tuple[Run, dict[str, Any]]:
    from spot_dask.cli.progress import watch
    from spot_dask.study import default_store
    from spot_dask.study_file import load

    loaded = load(target, [*options["overrides"], *opt.given(options)])
    study, where = loaded.study, _where(options, loaded)
    store = options["store"] or loaded.store or default_store(study.name)
    with watch(options["progress"], study.goal) as listener:
        finished = study.run(
            store=store,
            warm_start=_sources(options),
            listener=listener,
            ending=_ending(options, where),
            **where,
        )
    return finished, where


def _sources(options: Mapping[str, Any]) -> list[WarmStart]:
    """The sources of the warm start; every one has the names that are renamed, if it has them."""
    from spot_dask.warmstart import WarmStart

    rename = dict(_renaming(text) for text in options["rename"])
    if rename and not (options["warm_start"] or options["prior"]):
        raise click.UsageError("--rename needs a source, --warm-start or --prior")
    data = [WarmStart(path, "data", rename) for path in options["warm_start"]]
    return data + [WarmStart(path, "prior", rename) for path in options["prior"]]


def _renaming(text: str) -> tuple[str, str]:
    old, equals, new = text.partition("=")
    if not (old and equals):
        raise click.UsageError(f"--rename {text}: expected OLD=NEW, or OLD= to leave it out")
    return old, new


def _resume(store: str, options: Mapping[str, Any]) -> tuple[Run, dict[str, Any]]:
    from spot_dask.cli.progress import watch
    from spot_dask.run import Run
    from spot_dask.study_file import reload

    before = Run.open(store)
    loaded = reload(before.header.study, options["study"])
    study, where = loaded.study, _where(options, loaded)
    if before.header.study.get("text", study.source["text"]) != study.source["text"]:
        click.echo(f"{study.source['file']} has changed since the run began", err=True)
    raised = {item.key: KEYS[item.key].read(item.value) for item in opt.given(options, Budget)}
    budget = Budget(**{name: value for (_, name), value in raised.items()})
    goal = study.under(before.settings, budget).goal
    with watch(options["progress"], goal) as listener:
        finished = study.resume(
            store,
            budget,
            takeover=options["takeover"],
            listener=listener,
            ending=_ending(options, where),
            **where,
        )
    if len(finished.history.evaluations) == len(before.history.evaluations):
        click.echo(_nothing_new(finished), err=True)
    return finished, where


def _nothing_new(run: Run) -> str:
    done = len(run.history.evaluations)
    if run.state == "done":
        flag = {"wall": "--wall", "budget": "--evaluations"}.get(run.ended or "")
        if flag is None:
            return f"nothing to do: all {done} configurations of the search space have been tried"
        return (
            f"nothing to do: the budget is used up after {done} evaluations; raise it with {flag}"
        )
    return f"no new evaluation; {done} are there"


def _exclusive(ctx: click.Context, options: dict[str, Any]) -> None:
    """Leave at most one of --scheduler and --local; a flag beats the environment."""
    if options["scheduler"] is None or options["local"] is None:
        return
    ours = [n for n in ("scheduler", "local") if _from_command_line(ctx, n)]
    if len(ours) != 1:
        raise click.UsageError("give either --scheduler or --local, not both")
    options["local" if ours == ["scheduler"] else "scheduler"] = None


def _from_command_line(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE


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
    """Tell the result and write the report; exit as the run ended."""
    again = None if run.state == "done" else resume_command(run, where)
    if not options["as_json"]:
        from spot_dask.cli.results import show_result

        show_result(run)
    path = _report(run) if options["with_report"] else None
    if options["as_json"]:
        document = {**run.status(), "report": path, "resume": again}
        opt.emit(ctx.command.name or "", document)
    elif path is not None:
        click.echo(path)
    if again is not None:
        click.echo(f"go on with: {again}", err=True)
    if run.stopped is not None:
        ctx.exit(SIGNALS[run.stopped])
    if not run.history.ok:
        ctx.exit(NO_SUCCESS)


def _report(run: Run) -> str | None:
    """The path of the report; None, and why, where it cannot be written: the run stands."""
    try:
        return str(run.report())
    except Exception as error:
        logger.debug("no report", exc_info=True)
        click.echo(f"no report: {one_line(error)}; the run itself is complete", err=True)
        return None


def resume_command(run: Run, where: Mapping[str, Any]) -> str:
    """What to type to go on with a run in the same way."""
    words = ["spot-dask", "resume", str(run.path)]
    if where["client"] is not None:
        words += opt.connection_words(where["client"])
    elif where["local"] is not None:
        words += ["--local", str(where["local"])]
    return shlex.join(map(str, words))
