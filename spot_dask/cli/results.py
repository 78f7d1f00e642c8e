"""``spot-dask status``, ``best``, ``report`` and ``stop``: they need a store and nothing else."""

from __future__ import annotations

import sys
import time
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

import click

from spot_dask.cli import options as opt

if TYPE_CHECKING:
    from spot_dask.records import History
    from spot_dask.run import Run

NO_SUCCESS = 3


@click.command(context_settings=opt.ENVIRONMENT)
@click.argument("store")
@opt.json_option
@opt.verbose_option
def stop(store: str, as_json: bool) -> None:
    """Have the run in STORE finish what runs and stop, wherever its coordinator is."""
    asked = _open(store).request_stop()
    if as_json:
        opt.emit("stop", {"store": store, "host": asked.host, "pid": asked.pid})
    else:
        click.echo(f"process {asked.pid} on {asked.host} finishes what runs and stops")


@click.command(context_settings=opt.ENVIRONMENT)
@click.argument("store")
@opt.json_option
@opt.verbose_option
def status(store: str, as_json: bool) -> None:
    """Tell how the run in STORE stands; needs no scheduler."""
    run = _open(store)
    document = run.status()
    if as_json:
        opt.emit("status", document)
    else:
        _show_status(run, document)


@click.command(context_settings=opt.ENVIRONMENT)
@click.argument("store")
@click.option(
    "--by",
    type=click.Choice(["model", "observed"]),
    default="model",
    help="Lowest mean of the surrogate, or best observed value (which is biased by noise).",
)
@opt.json_option
@opt.verbose_option
@click.pass_context
def best(ctx: click.Context, store: str, by: str, as_json: bool) -> None:
    """Tell the best configuration of the run in STORE."""
    run = _open(store)
    document = run.best_json(run.best if by == "model" else run.luckiest)
    if document is None:
        click.echo(f"Error: no successful trial in {store} yet", err=True)
        ctx.exit(NO_SUCCESS)
    if as_json:
        opt.emit("best", {"store": store, "by": by, **document})
    else:
        _show_best(run, document)


@click.command(context_settings=opt.ENVIRONMENT)
@click.argument("store")
@click.option("-o", "--output", metavar="PATH", help="The HTML file; report.json goes beside it.")
@opt.json_option
@opt.verbose_option
def report(store: str, output: str | None, as_json: bool) -> None:
    """Write the report of the run in STORE; the last line is its path."""
    run = _open(store)
    with redirect_stdout(sys.stderr):
        path = run.report(output)
    if as_json:
        data = str(path.with_suffix(".json"))
        opt.emit("report", {"store": store, "report": str(path), "data": data})
    else:
        click.echo(str(path))


def _open(store: str) -> Run:
    from spot_dask.run import Run

    return Run.open(store)


def show_result(run: Run) -> None:
    """The end of a run for people: best configuration, how it went, where it is kept."""
    from spot_dask.cli.text import clock

    document = run.best_json(run.best)
    if document is None:
        click.echo(f"no successful trial; `spot-dask status {run.path}` lists the failures")
    else:
        _show_best(run, document)
    count, ended = len(run.history.evaluations), _ended(run.history)
    how = {"done": "done", "stopped": f"stopped by {run.stopped}"}.get(run.state, run.state)
    click.echo(f"{how}: {count} evaluations ({ended}) in {clock(run.fold.elapsed)}")
    click.echo(f"store   {run.path}")


def _ended(history: History) -> str:
    """How many evaluations gave no result, and why."""
    stopped = f", {len(history.stopped)} stopped early" if history.stopped else ""
    return f"{len(history.failed)} failed{stopped}"


def _show_best(run: Run, document: dict[str, Any]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from spot_dask.cli.text import number, value_text

    default = run.space.default
    table = Table(
        box=box.SIMPLE_HEAD, title=f"best: trial {document['trial']}", title_justify="left"
    )
    for heading in ("parameter", "value", "default"):
        table.add_column(heading)
    for name, value in document["config"].items():
        usual = value_text(default[name]) if name in default else "-"
        table.add_row(name, value_text(value), usual)
    Console().print(table)
    text = f"{document['objective']}  observed {number(document['observed'])}"
    if document["trainings"] > 1:
        text += f" (mean of {document['trainings']} trainings)"
    if document["mean"] is not None:
        interval = f"{number(document['lo'])} to {number(document['hi'])}"
        text += f", surrogate {number(document['mean'])} ({interval})"
    click.echo(text)


def _who(document: dict[str, Any]) -> str:
    """Which process has the run, or had it."""
    if document["state"] not in ("running", "elsewhere", "interrupted"):
        return ""
    who = "process {pid} on {host}".format(**document["coordinator"])
    if document["state"] != "elsewhere":
        return f" ({who})"
    from spot_dask.cli.text import clock

    age = clock(max(0.0, time.time() - document["last_event"]))
    return f" ({who}, which cannot be seen from here; last record {age} ago)"


def _show_status(run: Run, document: dict[str, Any]) -> None:
    from spot_dask.cli.progress import failure
    from spot_dask.cli.text import clock

    budget, trials = document["budget"], document["trials"]
    limit = "" if budget["limit"] is None else f" of {budget['limit']}"
    wall = budget["wall_limit_seconds"]
    of = "" if wall is None else f" of {clock(wall)}"
    click.echo(f"{document['name']}: {document['state']}{_who(document)}")
    click.echo(f"evaluations  {budget['used']}{limit} ({_ended(run.history)})")
    click.echo(f"time         {clock(budget['wall_used_seconds'])}{of}")
    click.echo(f"pending      {trials['pending']}")
    click.echo(f"imported     {trials['imported']}")
    if trials["hints"]:
        click.echo(f"hints        {trials['hints']} (of related objectives)")
    for evaluation in run.history.failed[-3:]:
        click.echo(f"trial {evaluation.trial.number} {failure(evaluation)}")
    if document["incumbent"] is not None:
        _show_best(run, document["incumbent"])
