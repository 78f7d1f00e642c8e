"""How a run stands while it goes on: what a screen, a log and a web page show of it."""

from __future__ import annotations

import heapq
import math
import os
import socket
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from scipy.special import ndtr, ndtri

from spot_dask.codec import JSON
from spot_dask.coordinator import Lease
from spot_dask.records import Evaluation, History, Value
from spot_dask.tuner.model import Best

SHOWN = 50
"""Of running trainings."""

BASIS = 3
"""So many trainings must have ended before anything is said."""

RECENT = 1000
"""The newest trainings count, so many of them."""

DRAWS = 20_000
"""Trainings that are drawn for one judgement, unless one course of the run has more."""

STEPS = 20
SHORTEST = 1e-3


@dataclass(frozen=True)
class Update:
    """What a listener is told whenever something happened, and now and then if nothing does.

    ``best`` is the recommendation, a few seconds old perhaps; ``elapsed`` counts the seconds of all
    sessions of the run, ``now`` is the executor's clock. ``stopping`` tells why nothing more is
    started; ``last`` is the evaluation that has just arrived, ``message`` a line for the user.
    """

    history: History
    best: Best | None
    running: tuple[Lease, ...]
    slots: int
    workers: int
    elapsed: float
    now: float
    stopping: str | None = None
    last: Evaluation | None = None
    message: str | None = None


Listener = Callable[[Update], None]


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
class Recommended:
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
    best: Recommended | None
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

    def _best(self, update: Update) -> Recommended | None:
        best = update.best
        if best is None:
            return None
        trial, goal = best.evaluation.trial, self._goal
        value = goal.signed(best.expected)
        if math.isnan(best.sd):
            return Recommended(trial.number, trial.config, value)
        half = 1.96 * best.sd
        return Recommended(trial.number, trial.config, value, value - half, value + half)

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


class ProgressPage(Protocol):
    """A web page that shows how the run stands, at ``url``, if that is known."""

    @property
    def url(self) -> str | None: ...

    def show(self, standing: Callable[[], JSON | None]) -> None:
        """Show what this returns from now on, asked now and then in a thread."""
        ...

    def close(self) -> None:
        """Show how it stands in the end; does not wait long for that."""
        ...


class OnPage:
    """The run on the executor's page, if it has one."""

    def __init__(self, page: ProgressPage | None, goal: Goal, name: str, store: Path | str) -> None:
        self._view = View(goal)
        self._page = page
        self._about: dict[str, Any] = {
            "name": name,
            "store": str(store),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "began": time.time(),
            "ended": None,
        }

    @property
    def notes(self) -> list[str]:
        """What a user is told at the start."""
        url = None if self._page is None else self._page.url
        return [] if url is None else [f"how the run stands, in a browser: {url}"]

    def beside(self, listener: Listener | None) -> Listener | None:
        """A listener that keeps the page up to date, too."""
        if self._page is None:
            return listener
        self._page.show(lambda: document(self._view, self._about))

        def both(update: Update) -> None:
            self._view.take(update)
            if listener is not None:
                listener(update)

        return both

    def end(self, reason: str) -> None:
        """The run has ended for that reason."""
        if self._page is not None:
            self._about["ended"] = reason
            self._page.close()


def durations(evaluations: Sequence[Evaluation]) -> list[float]:
    """The durations (seconds) of the newest trainings, whether they succeeded or not."""
    seconds = [e.outcome.seconds for e in evaluations[-RECENT:]]
    return [s for s in seconds if not math.isnan(s)]


def time_left(
    known: Sequence[float],
    ages: Sequence[float],
    slots: int,
    waiting: int,
    together: int | None = None,
) -> float | None:
    """Seconds until the last of so many ``waiting`` trainings has ended; None without a basis.

    ``known`` are durations, ``ages`` those of the trainings that go on (all in seconds). A free
    slot takes the next training at once, or, of batches of ``together``, when the whole batch
    before has ended. The median of drawn courses of the run.
    """
    if len(known) < BASIS or not slots:
        return None
    rng = np.random.default_rng(0)
    old = np.maximum(np.asarray(ages, dtype=float), SHORTEST)
    mu, sd = _lognormal(np.maximum(np.asarray(known, dtype=float), SHORTEST), old)
    courses = min(99, max(1, DRAWS // (len(ages) + waiting + slots)))
    ends = []
    for _ in range(courses):
        above = ndtr((np.log(old) - mu) / sd)
        z = ndtri(above + (1 - above) * rng.random(len(old)))
        free = np.maximum(np.exp(mu + sd * np.minimum(z, 6.0)) - old, 0.0)
        new = np.exp(rng.normal(mu, sd, waiting))
        ends.append(_end(free.tolist(), new.tolist(), slots, together))
    return statistics.median(ends)


def _lognormal(
    known: np.ndarray[tuple[int], np.dtype[np.float64]],
    ages: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> tuple[float, float]:
    """Mean and standard deviation of log durations: maximum likelihood, ages as lower bounds, by
    expectation maximisation."""
    logs, bounds = np.log(known), np.log(ages)
    mu, sd = float(logs.mean()), max(0.01, float(logs.std()))
    for _ in range(STEPS):
        a = (bounds - mu) / sd
        hazard = np.exp(-a * a / 2) / math.sqrt(2 * math.pi) / np.maximum(ndtr(-a), 1e-300)
        hazard = np.where(a > 30, a, hazard)
        first = mu + sd * hazard
        second = mu**2 + sd**2 + sd * (bounds + mu) * hazard
        n = len(logs) + len(bounds)
        mean = (logs.sum() + first.sum()) / n
        square = ((logs**2).sum() + second.sum()) / n
        mu, sd = float(mean), max(0.01, math.sqrt(max(0.0, square - mean**2)))
    return mu, sd


def _end(free: list[float], new: list[float], slots: int, together: int | None) -> float:
    """When the last training ends: slots are free at ``free`` or now, ``new`` wait."""
    free += [0.0] * (slots - len(free))
    batch = max(1, len(new)) if together is None else together
    for first in range(0, len(new), batch):
        if together is not None:
            free = [max(free)] * len(free)
        heapq.heapify(free)
        for seconds in new[first : first + batch]:
            heapq.heapreplace(free, free[0] + seconds)
    return max(free)
