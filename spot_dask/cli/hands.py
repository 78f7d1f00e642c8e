"""The commands for whoever watches a run: try, range, pause and unpause."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from spot_dask import words
from spot_dask.cli import options as opt
from spot_dask.codec import load
from spot_dask.errors import StudyError
from spot_dask.settings import one_line, parse_override

if TYPE_CHECKING:
    from spot_dask.run import Run


@opt.command(
    "store",
    click.argument("values", nargs=-1, required=True),
    click.option(
        "--like",
        default="default",
        metavar="WHICH",
        help="Where the other values come from: default, best, or the number of a trial.",
    ),
)
def try_(store: str, values: tuple[str, ...], like: str, as_json: bool) -> None:
    """Have the run in STORE try a configuration.

    Now, or as soon as it is resumed. VALUES are lr=0.01 width=64, or one JSON object. The
    evaluation counts in the budget and takes part in everything; its origin is "hand".
    """
    from spot_dask.run import Run

    run = Run.open(store)
    try:
        config = run.try_next(_given(values), _like(run, like))
    except ValueError as error:
        raise StudyError(f"{store}: {one_line(error)}") from error
    when = _when(run)
    if as_json:
        opt.emit("try", {"store": store, "config": dict(config), "state": run.state, "when": when})
    else:
        opt.say(f"{words.values(config)}: {when}")


def _given(values: tuple[str, ...]) -> dict[str, Any]:
    """Values by name; StudyError where they are neither a JSON object nor NAME=VALUE."""
    if len(values) == 1 and values[0].lstrip().startswith("{"):
        try:
            load(values[0])  # whose texts of errors are better
            return _once(json.loads(values[0], object_pairs_hook=list))
        except ValueError as error:
            raise StudyError(f"not a JSON object: {one_line(error)}") from error
    given = [parse_override(text, "try", "lr=0.01") for text in values]
    names = (each.key[1:] if each.key[0] == "study" else each.key for each in given)
    return _once((".".join(name), each.value) for name, each in zip(names, given, strict=True))


def _once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Values by name; StudyError for a name that is given twice."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise StudyError(f"{name} is given twice: {found[name]!r} and {value!r}")
        found[name] = value
    return found


def _like(run: Run, which: str) -> dict[str, Any]:
    """The configuration that is changed; StudyError where there is none such."""
    if which == "default":
        return {}
    if which == "best":
        best = run.best
        if best is None:
            raise StudyError(f"--like best: nothing has succeeded in {run.path} yet")
        return dict(best.config)
    trials = {str(trial.number): trial for trial in run.fold.trials}
    if which not in trials:
        raise StudyError(f"--like {which}: expected default, best or the number of a trial")
    return dict(trials[which].config)


def _when(run: Run) -> str:
    """When a configuration that was asked for is tried."""
    if (more := more_budget(run)) is not None:
        return (
            f"it waits, as the search's budget is used up; "
            f"`spot-dask resume {run.path} {more}` tries it first"
        )
    if run.state in ("running", "elsewhere"):
        paused = ", once it is not paused any more" if run.journal.paused else ""
        return f"tried next by the run{paused}"
    paused = f", once `spot-dask unpause {run.path}` lets it" if run.journal.paused else ""
    return f"`spot-dask resume {run.path}` tries it first{paused}"


def more_budget(run: Run) -> str | None:
    """The option that lets what waits be tried; None where the budget has room for it."""
    budget, needed = run.status()["budget"], run.least_budget
    if budget["limit"] is not None and needed > budget["limit"]:
        return f"--evaluations {needed}"
    for option, of, used in (
        ("--epochs N", budget["epochs_limit"], budget["epochs_used"]),
        ("--wall TIME", budget["wall_limit_seconds"], budget["wall_used_seconds"]),
    ):
        if of is not None and used >= of:
            return option
    return None


@opt.command("store", click.argument("ranges", nargs=-1, required=True))
def range(store: str, ranges: tuple[str, ...], as_json: bool) -> None:
    """Have the run in STORE search other ranges.

    Now, or as soon as it is resumed. RANGES are lr=1e-5:0.1, lr=:0.1 (the other end stays),
    opt=adam,sgd (levels that stay). What was evaluated is kept and informs the search, also outside
    of the new ranges.
    """
    from spot_dask.run import Run
    from spot_dask.tuner.ranges import holds

    run = Run.open(store)
    parts = [text.partition("=") for text in ranges]
    wrong = [text for text, part in zip(ranges, parts, strict=True) if not (part[0] and part[2])]
    if wrong:
        raise StudyError(f"{wrong[0]}: expected NAME=LOW:HIGH, or NAME=LEVEL,LEVEL")
    before = run.within
    try:
        box = run.change_ranges({name: text for name, _, text in parts})
    except ValueError as error:
        raise StudyError(f"{store}: {one_line(error)}") from error
    when = "from now on" if run.state in ("running", "elsewhere") else "when it is resumed"
    changes = box.difference(before)
    if as_json:
        opt.emit(
            "range", {"store": store, "space": box.to_json(), "changes": changes, "when": when}
        )
        return
    for line in changes:
        opt.say(line.replace(" here,", " now,").replace(" there", " before"))
    inside = sum(holds(box, e.trial.config) for e in run.history.evaluations)
    known = f"{inside} of {len(run.history.evaluations)} evaluations are within them"
    opt.say(f"these ranges are searched {when}; {known}")


@opt.command("store")
def pause(store: str, as_json: bool) -> None:
    """Have the run in STORE begin no more trainings.

    What runs goes on. It stays paused, also when it is stopped and resumed, until `spot-dask
    unpause`. The time meanwhile is no part of a budget of wall time.
    """
    _pause(store, "pause", True, as_json)


@opt.command("store")
def unpause(store: str, as_json: bool) -> None:
    """Have the run in STORE begin trainings again."""
    _pause(store, "unpause", False, as_json)


def _pause(store: str, verb: str, on: bool, as_json: bool) -> None:
    from spot_dask.run import Run

    run = Run.open(store)
    changed = run.pause(on)
    if as_json:
        opt.emit(verb, {"store": store, "paused": on, "changed": changed, "state": run.state})
        return
    if not changed:
        opt.say(f"{store} is {'paused already' if on else 'not paused'}")
    elif run.state not in ("running", "elsewhere"):
        how = "paused: it stays so when it is resumed" if on else "not paused any more"
        opt.say(f"{store} is {how} ({run.state} now)")
    else:
        opt.say("no training begins; what runs goes on" if on else "trainings begin again")
