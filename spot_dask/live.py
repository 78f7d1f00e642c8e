"""How a run stands while it goes on: what a screen, a log and a web page show of it."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from spot_dask.coordinator import Lease
from spot_dask.eta import durations, time_left
from spot_dask.incumbent import expected
from spot_dask.records import Value
from spot_dask.session import Update

SHOWN = 50
"""Of running trainings."""


@dataclass(frozen=True)
class Goal:
    """What a run is after: its objective and its budget (None: no limit; wall in seconds).

    ``together``: so many trials are proposed at a time, and all end before the next; None: as slots
    become free.
    """

    objective: str
    direction: str
    evaluations: int | None
    wall: float | None
    together: int | None = None

    def signed(self, y: float) -> float:
        """A minimised value in the user's direction."""
        return y if self.direction == "min" else -y


@dataclass(frozen=True)
class Shown:
    """The recommended configuration: its expected objective and, where known, the 95 % interval."""

    trial: int
    config: Mapping[str, Value]
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Training:
    """A training that goes on: how long already (seconds), its last epoch and objective then.

    None where it has not reported any.
    """

    trial: int
    attempt: int
    worker: str
    seconds: float
    epoch: int | None = None
    value: float | None = None


@dataclass(frozen=True)
class Standing:
    """How a run stands at a moment.

    ``left`` is how long it will still take, in seconds, as far as that can be told; a budget of
    wall time ends a run by itself. ``failures`` counts them by kind; of the trainings that go on
    ``running`` has those that began first, ``busy`` counts all.
    """

    goal: Goal
    done: int
    elapsed: float
    left: float | None
    best: Shown | None
    workers: int
    slots: int
    busy: int
    running: tuple[Training, ...]
    failures: Mapping[str, int]
    stopping: str | None

    @property
    def share(self) -> float:
        """How much of the budget is used, from 0 to 1."""
        evaluations, wall = self.goal.evaluations, self.goal.wall
        used = 0.0 if evaluations is None else self.done / evaluations
        return min(1.0, max(used, 0.0 if wall is None else self.elapsed / wall))

    @property
    def wall_left(self) -> float | None:
        """Seconds until the wall time is used up; None if there is no such limit."""
        return None if self.goal.wall is None else max(0.0, self.goal.wall - self.elapsed)


class View:
    """The standing of a run at any time, from the update that it was given last."""

    def __init__(self, goal: Goal) -> None:
        self._goal = goal
        self._update: Update | None = None
        self._at = 0.0
        self._left: float | None = None
        self._judged: tuple[int, int, int] | None = None
        self._left_at = 0.0

    def take(self, update: Update) -> None:
        self._update, self._at = update, time.monotonic()

    def standing(self) -> Standing | None:
        """How the run stands now; None before the first update."""
        update = self._update
        if update is None:
            return None
        since = time.monotonic() - self._at
        running = sorted(update.running, key=lambda lease: lease.since)
        failed = [e for e in update.history.evaluations if not e.ok]
        left = self._time_left(update)
        return Standing(
            goal=self._goal,
            done=len(update.history.evaluations),
            elapsed=update.elapsed + since,
            left=None if left is None else max(0.0, left - since),
            best=self._best(update),
            workers=update.workers,
            slots=update.slots,
            busy=len(running),
            running=tuple(self._training(x, update.now + since) for x in running[:SHOWN]),
            failures=dict(Counter(str(e.outcome.status) for e in failed)),
            stopping=update.stopping,
        )

    def _best(self, update: Update) -> Shown | None:
        best = update.best
        if best is None:
            return None
        trial, goal = best.evaluation.trial, self._goal
        value = goal.signed(expected(best))
        if math.isnan(best.sd):
            return Shown(trial.number, trial.config, value)
        half = 1.96 * best.sd
        return Shown(trial.number, trial.config, value, value - half, value + half)

    def _training(self, lease: Lease, now: float) -> Training:
        return Training(
            trial=lease.trial.number,
            attempt=lease.attempt,
            worker=lease.worker,
            seconds=max(0.0, now - lease.since),
            epoch=lease.epoch or None,
            value=None if math.isnan(lease.value) else self._goal.signed(lease.value),
        )

    def _time_left(self, update: Update) -> float | None:
        """Judged anew where a training has begun or ended since; else what it was, less the time
        that has passed since."""
        if self._goal.evaluations is None or update.stopping is not None:
            return None
        ended = update.history.evaluations
        judged = len(ended), len(update.running), update.slots
        ages = [update.now - lease.since for lease in update.running]
        if judged != self._judged:
            self._judged = judged
            waiting = self._goal.evaluations - len(ended) - len(ages)
            self._left = time_left(
                durations(ended), ages, update.slots, max(0, waiting), self._goal.together
            )
            self._left_at = update.now
        return None if self._left is None else max(0.0, self._left - (update.now - self._left_at))


def document(view: View, about: Mapping[str, object]) -> dict[str, Any] | None:
    """The standing as JSON, with what else is to be told of the run; None before there is one."""
    standing = view.standing()
    return None if standing is None else {**asdict(standing), **about, "share": standing.share}
