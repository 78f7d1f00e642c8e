"""How a run stands, in words: what a screen, a log and a notebook say of it."""

from __future__ import annotations

from collections.abc import Iterator

from spot_dask.cards import counted
from spot_dask.progress import BestSoFar, Standing, Training, fold_of
from spot_dask.records import Evaluation
from spot_dask.tuner.foretold import FEWEST, Foretold
from spot_dask.words import clock, failure, number, rough


def news(standing: Standing, last: Evaluation) -> Iterator[str]:
    """An evaluation that has just arrived, and how the run stands then, in parts of a line."""
    goal = standing.goal
    yield count(standing)
    fold = "" if last.trial.confirms else fold_of(last.trial.replicate, goal.folds)
    yield f"trial {last.trial.number}{f' (fold {fold})' if fold else ''}"
    if last.ok:
        yield f"{goal.objective} {number(goal.signed(last.y))}"
    elif last.stopped:
        epochs = last.outcome.epochs
        yield f"stopped early, after {epochs} epoch{'' if epochs == 1 else 's'}"
    else:
        yield failure(last)
    best = standing.best
    if best is not None and (best.confirmed or best.trainings >= best.folds):
        name = "best" if best.feasible else "nearest to the constraints"
        yield f"{name} {estimate(best)}"
    if last.outcome.seconds == last.outcome.seconds:  # not NaN: the training did start
        yield clock(last.outcome.seconds)
    yield f"{standing.busy} running"
    yield from left(standing)


def status(standing: Standing) -> Iterator[str]:
    """How a run stands while nothing happens, in parts of a line."""
    yield count(standing)
    yield slots(standing)
    if standing.running:
        yield f"the oldest: {training(standing.running[0], standing.goal.objective, True)}"
    yield clock(standing.elapsed)
    yield from left(standing)


def left(standing: Standing) -> Iterator[str]:
    """What ends the run: the time left for its evaluations, or the wall time if that is sooner."""
    seconds, wall = standing.left, standing.wall_left
    if standing.stopping is not None:
        yield f"ending ({standing.stopping})"
    elif standing.paused:
        yield "paused"
    elif seconds is not None and (wall is None or seconds < wall):
        if standing.done < (standing.goal.evaluations or 0):
            yield f"about {clock(seconds)} left"
    elif wall is not None:
        yield f"wall time ends in {clock(wall)}"


def count(standing: Standing) -> str:
    """How many evaluations there are, of how many."""
    limit, epochs = standing.goal.evaluations, standing.goal.epochs
    done = f"{standing.done}" if limit is None else f"{standing.done}/{limit}"
    return done if epochs is None else f"{done} ({standing.epochs}/{epochs} epochs)"


def estimate(best: BestSoFar) -> str:
    """The recommended value, how far it is to be trusted, and its trial."""
    where = "imported" if best.trial is None else f"trial {best.trial}"
    seeds = basis(best.trainings, best.confirmed, best.folds)
    if best.low is None or best.high is None:
        return f"{rough(best.value)} ({seeds}) {where}"
    between = f"{number(best.low)} to {number(best.high)}"
    return f"{number(best.value)} ({between}; {seeds}) {where}"


def basis(trainings: int, confirmed: bool, folds: int = 1) -> str:
    """What a value rests on: so many trainings, by which it was confirmed or not.

    Those of the search are on as many of so many ``folds`` or, where there is one, seeds.
    """
    if confirmed:
        return f"confirmed, {counted(trainings, 'seed')}"
    if folds == 1:
        return f"unconfirmed, {counted(trainings, 'seed')}"
    of = f"{trainings} of " if trainings < folds else ""
    return f"unconfirmed, {of}{max(trainings, folds)} folds"


def slots(standing: Standing) -> str:
    """How many slots are busy, and how many evaluations have failed, by kind."""
    workers = f"{standing.workers} worker" + ("" if standing.workers == 1 else "s")
    busy = f"{standing.busy} of {standing.slots} slots busy on {workers}"
    kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(standing.failures.items()))
    return f"{busy}; not ok: {kinds}" if kinds else busy


def model(judged: Foretold | None) -> Iterator[tuple[str, str]]:
    """How well the model predicts its own proposals, and a warning if it does not; with styles."""
    if judged is not None and judged.n >= FEWEST:
        yield judged.sentence, ""
        if judged.warning is not None:
            yield judged.warning, "yellow"


def training(running: Training, objective: str, where: bool) -> str:
    """A running training, and ``where`` it runs, in one line."""
    fold = f" (fold {running.fold})" if running.fold else ""
    parts = [f"trial {running.trial}{fold}", clock(running.seconds)]
    if running.epoch is not None:
        parts.append(f"epoch {running.epoch}")
    if running.value is not None:
        parts.append(f"{objective} {number(running.value)}")
    if where:
        parts.append(running.worker.partition("://")[2] or running.worker)
    return "  ".join(parts)
