"""The commands that need a store only, such as status, best, report, export, verify, backup."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spot_dask import words
from spot_dask.cards import counted
from spot_dask.cli import options as opt
from spot_dask.errors import StoreError
from spot_dask.notation import NOTATIONS, written
from spot_dask.outputs import write_texts
from spot_dask.texts import printable, shell

if TYPE_CHECKING:
    from spot_dask.glance import Glance
    from spot_dask.records import History
    from spot_dask.run import Run

DAMAGED = 1
NO_SUCCESS = 3
STDOUT = "-"
SUMMARY = 12
"""The most lines that a command prints when a run ends."""


@opt.command("store")
def stop(store: str, as_json: bool) -> None:
    """Have the run in STORE finish what runs and stop.

    Its coordinator may be on another machine.
    """
    asked = _open(store).request_stop()
    if as_json:
        opt.emit("stop", {"store": store, "host": asked.host, "pid": asked.pid})
    else:
        opt.say(f"process {asked.pid} on {asked.host} finishes what runs and stops")


@opt.command("store", opt.study_option)
def status(store: str, study: str | None, as_json: bool) -> None:
    """Tell how the run in STORE stands.

    Needs no scheduler. No surrogate is fitted, so the best is what has come out best; --json, a
    study with folds, --until or constraints, and --study tell what is recommended.
    """
    from spot_dask.glance import Glance

    run = Glance.open(store) if study is None and not as_json else _open(store, study)
    if run.folds.several or run.settings["constraints"] or run.settings["budget"]["until"]:
        from spot_dask.run import Run

        run = Run.by(run)
    document = run.status()
    if as_json:
        opt.emit("status", document)
        return
    _show_standing(run, document)
    for evaluation in run.history.failed[-3:]:
        opt.say(f"trial {evaluation.trial.number} {words.failure(evaluation)}")
    if run.history.failed:
        opt.say(f"errors       whole: spot-dask export {shell([str(run.path)])} --to jsonl")
    if document["incumbent"] is not None:
        from spot_dask.run import Run
        from spot_dask.standing import model
        from spot_dask.tuner.foretold import foretold

        assert isinstance(run, Run)
        _show_best(run, document["incumbent"])
        for line, _ in model(foretold(run.history, run.folds)):
            opt.say(f"model        {line}")
    elif (found := run.observed()) is not None:
        best, value, seeds = found
        objective = printable(run.header.objective, words.LONGEST_TEXT)
        how = f"mean of {counted(seeds, 'fresh seed')}" if seeds else "observed, unconfirmed"
        opt.say(f"best         trial {best.trial.number}: {words.values(best.trial.config)}")
        opt.say(f"{objective}  {words.number(value)} ({how}); spot-dask best tells what to take")


def _show_standing(run: Glance, document: dict[str, Any]) -> None:
    """Print how a run stands but for its failures and its best configuration."""
    state, who = document["state"], ""
    if state in ("running", "elsewhere", "interrupted"):
        who = "process {pid} on {host}".format(**document["coordinator"])
        if state == "elsewhere":
            age = words.clock(max(0.0, time.time() - document["last_event"]))
            who += f", which cannot be seen from here; last record {age} ago"
        who = f" ({who})"
    budget, trials = document["budget"], document["trials"]
    limit, wall = budget["limit"], budget["wall_limit_seconds"]
    used = f"{budget['used']}" if limit is None else f"{budget['used']} of {limit}"
    epochs = budget["epochs_limit"]
    time_used = words.clock(budget["wall_used_seconds"])
    about = [f"{document['name']}: {state}{who}", *([run.why] if run.why else [])]
    opt.show("\n".join(printable(line, words.LONGEST_TEXT) for line in about))
    if document["paused"] and state != "done":
        opt.say(f"paused       no training begins; spot-dask unpause {run.path}")
    opt.show(f"evaluations  {used} ({_ended(run.history)}){_folds(document['folds'])}")
    opt.say(f"time         {time_used}{'' if wall is None else f' of {words.clock(wall)}'}")
    if epochs is not None:
        opt.say(f"epochs       {budget['epochs_used']} of {epochs}")
    if budget["until"] is not None:
        why = budget["enough"] or "the search goes on until its budget"
        opt.say(f"until        {budget['until']}: {why}")
    goes_on = state in ("running", "elsewhere")
    then = "running, or next when a slot is free" if goes_on else "`spot-dask resume` trains them"
    opt.say(f"pending      {trials['pending']}{f' ({then})' if trials['pending'] else ''}")
    if trials["wished"]:
        opt.say(f"wished       {trials['wished']} (by spot-dask try)")
    opt.say(f"imported     {trials['imported']}")
    if trials["hints"]:
        opt.say(f"hints        {trials['hints']} (of related objectives)")


def _folds(folds: dict[str, int] | None) -> str:
    """A line on how far configurations have come; empty but in a study with folds."""
    if folds is None:
        return ""
    return (
        f"\nfolds        {counted(folds['configurations'], 'configuration')}, of which "
        f"{folds['complete']} with all {folds['of']} folds and {folds['given_up']} given up before"
    )


@opt.command(
    "store",
    click.option(
        "--by",
        type=click.Choice(["model", "observed"]),
        default="model",
        help="Lowest mean of the surrogate, or best observed value (which is the luckiest).",
    ),
    click.option(
        "--format",
        "notation",
        type=click.Choice([*NOTATIONS]),
        help="Print the configuration alone, in this notation.",
    ),
    opt.study_option,
)
@click.pass_context
def best(
    ctx: click.Context,
    store: str,
    by: str,
    notation: str | None,
    study: str | None,
    as_json: bool,
) -> None:
    """Tell the best configuration of the run in STORE."""
    if notation is not None and as_json:
        raise click.UsageError("--format and --json do not go together; give one of them")
    run = _open(store, study)
    document = run.best_json(run.best if by == "model" else run.luckiest)
    if document is None:
        why = f": {run.why}" if run.why else ""
        opt.say(f"Error: no successful trial in {store} yet{why}", err=True)
        ctx.exit(NO_SUCCESS)
    if notation is not None:
        opt.show(written(document["config"], notation))
        return
    kept, lacking = None, None
    try:
        kept = run.artifacts_at(None if by == "model" else document["trial"])
    except StoreError as error:
        lacking = str(error)
    if as_json:
        opt.emit("best", {"store": store, "by": by, **document, "artifacts": kept})
        return
    _show_best(run, document)
    if run.settings["keep"] is not None:
        opt.say(lacking or f"artifacts  {kept}")


@opt.command(
    "store",
    click.option(
        "--width",
        type=click.FloatRange(0, 1, min_open=True),
        default=0.1,
        metavar="SHARE",
        help="Least width of a range, as a share of the old one.",
    ),
    click.option(
        "-o",
        "--output",
        metavar="FILE",
        type=opt.PATH,
        help="Write it to a file: .py or .toml, by its name.",
    ),
    opt.study_option,
)
def space(store: str, width: float, output: str | None, study: str | None, as_json: bool) -> None:
    """Print a smaller space, around what the run in STORE found.

    It holds every configuration tried that may be as good as the best; its defaults are the best.
    """
    kind = None if output is None else Path(output).suffix
    if kind not in (None, ".py", ".toml"):
        raise click.UsageError(f"-o {output}: expected a file that ends in .py or .toml")
    found = _open(store, study).narrowed(width)
    python, toml = found.python(), found.toml()
    if output is not None:
        try:
            write_texts({Path(output): python if kind == ".py" else toml})
        except OSError as error:
            raise StoreError(f"{output} cannot be written ({error.strerror})") from error
    if as_json:
        document = {"space": found.space.to_json(), "changes": found.changes, "left": found.left}
        texts = {"python": python, "toml": toml}
        opt.emit("space", {"store": store, "width": width, **document, **texts})
        return
    for name in found.left:
        opt.say(f"{name} is not narrowed: another parameter needs what would go", err=True)
    if output is not None:
        opt.say(output)
    else:
        opt.show(f"# in Python\n{python}\n# in a study's TOML file\n{toml}".removesuffix("\n"))


@opt.command(
    "store",
    click.option(
        "-o",
        "--output",
        metavar="PATH",
        type=opt.PATH,
        help="The HTML file; .json and .md go beside it.",
    ),
    opt.study_option,
)
def report(store: str, output: str | None, study: str | None, as_json: bool) -> None:
    """Write the report of the run in STORE and tell it in short.

    The last line is its path.
    """
    if output is not None and Path(output).suffix != ".html":
        raise click.UsageError(f"-o {output}: expected a file that ends in .html")
    run = _open(store, study)
    path = run.report(output)
    if as_json:
        data = str(path.with_suffix(".json"))
        texts = {"report": str(path), "data": data, "markdown": str(path.with_suffix(".md"))}
        opt.emit("report", {"store": store, **texts})
    else:
        _show_in_short(run, SUMMARY - 1)
        opt.say(str(path))


@opt.command(
    "store",
    click.option(
        "--to",
        type=click.Choice(["csv", "jsonl", "parquet", "zarr"]),
        required=True,
        help="The format; parquet needs pyarrow (pip install 'spot-dask[tables]').",
    ),
    click.option(
        "-o",
        "--output",
        metavar="PATH",
        type=opt.PATH,
        help="Where to write it [default: evaluations.* in a folder beside STORE]; - is stdout.",
    ),
    click.option("--curves", is_flag=True, help="The learning curves instead (csv only)."),
    click.option("--force", is_flag=True, help="Replace an earlier export."),
)
def export(
    store: str, to: str, output: str | None, curves: bool, force: bool, as_json: bool
) -> None:
    """Write the evaluations of the run in STORE to a file.

    The last line is its path. One row per evaluation. jsonl, parquet and zarr hold the learning
    curves as well.
    """
    if curves and to != "csv":
        raise click.UsageError(f"--curves is for --to csv; {to} holds the curves anyway")
    if output == STDOUT and (as_json or to not in ("csv", "jsonl")):
        raise click.UsageError("-o - is for --to csv or jsonl, without --json; give a path")
    run = _open(store)
    kind = "curves.csv" if curves else to
    from spot_dask.store.export import TEXT_FORMATS, formulas

    if kind == "csv" and (count := formulas(run.tabulated)):
        note = "an apostrophe is before each text that a spreadsheet would compute"
        opt.say(f"{note} ({counted(count, 'cell')}); jsonl has them as they are", err=True)
    if output == STDOUT:
        with opt.standard_output() as file:
            TEXT_FORMATS[kind](run.tabulated, file, run.header.run_id)
        return
    path = run.export(kind, output, force=force)
    if as_json:
        document = {"store": store, "path": str(path), "format": to, "rows": len(run.tabulated)}
        opt.emit("export", document)
    else:
        opt.say(str(path))


@opt.command(
    "store",
    click.option(
        "--salvage",
        metavar="NEW",
        type=opt.PATH,
        help="Write what is intact of a damaged STORE to a new one; STORE itself stays as it is.",
    ),
)
@click.pass_context
def verify(ctx: click.Context, store: str, salvage: str | None, as_json: bool) -> None:
    """Check every byte of STORE and tell what is wrong.

    It tells where, too; the exit code is 1 if anything is.
    """
    from spot_dask.store import verify as checks

    verdict, saved = checks.verify(store), None
    if salvage is not None and verdict.problems:
        saved = checks.salvage(store, salvage)
    count = len(verdict.problems)
    if as_json:
        document = {
            "store": store,
            "intact": count == 0,
            "records": verdict.records,
            "objects": verdict.objects,
            "bytes": verdict.size,
            "problems": list(verdict.problems),
            "short": verdict.short,
            "salvaged": saved and {"store": salvage, "kept": saved.kept, "losses": saved.losses},
        }
        opt.emit("verify", document)
    else:
        for problem in verdict.problems:
            opt.say(problem)
        if verdict.short:
            opt.say(verdict.short)
        state = "intact" if count == 0 else f"{count} problem{'s' if count > 1 else ''}"
        opt.say(
            f"{store}: {verdict.records} records in {verdict.objects} objects "
            f"({verdict.size:,} bytes): {state}"
        )
        if salvage is not None and saved is None:
            opt.say(f"nothing to salvage: {salvage} is not made")
        if saved is not None:
            for loss in saved.losses:
                opt.say(f"not saved: {loss}")
            opt.say(f"{saved.kept} records saved to {salvage}; `spot-dask resume {salvage}`")
    if count and saved is None:
        ctx.exit(DAMAGED)


@opt.command("store", click.argument("new", type=opt.PATH))
def backup(store: str, new: str, as_json: bool) -> None:
    """Copy the run in STORE to NEW, which can be resumed.

    It may be being written meanwhile. NEW appears at once, whole and checked, and must not exist.
    What trainings keep beside STORE, artifacts and checkpoints, is not copied.
    """
    from spot_dask.store import backup as copies

    made = copies.backup(store, new)
    if as_json:
        counts = {"records": made.records, "evaluations": made.evaluations}
        opt.emit("backup", {"store": store, "backup": new, **counts})
    else:
        count = counted(made.evaluations, "evaluation")
        opt.say(f"{new}: {made.records} records, {count}; `spot-dask resume {new}` goes on from it")


def _open(store: str, study: str | None = None) -> Run:
    """The run in a store, with its study if that is named."""
    from spot_dask.run import Run

    if study is None:
        return Run.open(store)
    from spot_dask.study_file import load

    return Run.open(store, load(study).study)


def _show_in_short(run: Run, most: int) -> None:
    """Print what the run's report says in at most so many lines."""
    from spot_dask.report import in_short

    for line in in_short(run.context, most):
        opt.say(printable(line, words.LONGEST_TEXT))


def show_result(run: Run, in_short: bool = False) -> None:
    """Print the end of a run: what came out, how the run went, where its store is.

    ``in_short`` is by the report, which has been written; otherwise the best configuration.
    """
    document = run.best_json(run.best)
    if in_short and document is not None:
        _show_in_short(run, SUMMARY - 3)
    elif document is None:
        opt.say(
            printable(f"no evaluation: mend the default, and go on ({run.why})")
            if run.state == "broken"
            else f"no successful trial; `spot-dask status {run.path}` lists the failures"
        )
    else:
        _show_best(run, document)
    if run.enough is not None:
        opt.say(f"the search ended: {run.enough}")
    count, ended = len(run.history.evaluations), _ended(run.history)
    how = {"done": "done", "stopped": f"stopped by {run.stopped}"}.get(run.state, run.state)
    opt.say(f"{how}: {count} evaluations ({ended}) in {words.clock(run.fold.elapsed)}")
    opt.say(f"store   {run.path}")


def _ended(history: History) -> str:
    """How many evaluations gave no result, and why."""
    stopped = f", {len(history.stopped)} stopped early" if history.stopped else ""
    fresh = f", {len(history.confirmations)} to confirm" if history.confirmations else ""
    return f"{len(history.failed)} failed{stopped}{fresh}"


def _show_best(run: Run, document: dict[str, Any]) -> None:
    """Print a recommendation, as ``Run.best_json`` tells it, beside the default configuration."""
    if run.not_loaded:
        name = printable(run.not_loaded, words.LONGEST_TEXT)
        opt.say(f"the surrogate {name} is not loaded; --study FILE loads it", err=True)
    default = run.space.default
    rows = [
        (name, words.value_text(value), words.value_text(default[name]) if name in default else "-")
        for name, value in document["config"].items()
    ]
    where = "imported" if document["trial"] is None else f"trial {document['trial']}"
    title = "best" if document["feasible"] else "nearest"
    opt.show_table(f"{title}: {where}", ("parameter", "value", "default"), rows)
    if document["limits"]:
        opt.say(printable(document["limits"], words.LONGEST_TEXT))
    for line in _value_lines(run, document):
        opt.say(line)


def _value_lines(run: Run, document: dict[str, Any]) -> Iterator[str]:
    """What is known of a recommendation's value, and of its gain over the default."""
    from spot_dask.standing import basis

    name, gain = printable(document["objective"], words.LONGEST_TEXT), document["gain"]
    if not document["confirmed"]:
        observed = words.rough(document["observed"])
        seeds = basis(document["trainings"], False, run.folds.count)
        yield f"{name}  observed {observed} ({seeds}): chosen for its luck as well"
        yield f"confirm it with fresh seeds: spot-dask confirm {run.path}"
        return
    between = ""
    if document["lo"] is not None:
        between = f" ({words.number(document['lo'])} to {words.number(document['hi'])})"
    yield f"{name}  {words.number(document['mean'])}{between}, {basis(document['seeds'], True)}"
    if gain is None:
        return
    ends = ""
    if gain["lo"] is not None:
        ends = f" ({words.number(gain['lo'])} to {words.number(gain['hi'])})"
    verdict = "better than the default" if gain["better"] else "not shown to be better"
    yield f"improvement on the default  {words.number(gain['mean'])}{ends}: {verdict}"
