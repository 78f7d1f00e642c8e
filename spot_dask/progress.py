"""How a run stands while it goes on: what a screen, a log and a web page show of it."""

from __future__ import annotations

import heapq
import math
import os
import random
import socket
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Protocol

from spot_dask.codec import JSON
from spot_dask.coordinator import Lease
from spot_dask.inference.confirmed import FEWEST, bounds_of, fresh_values
from spot_dask.records import Evaluation, FoldPlan, History, Value
from spot_dask.stats.intervals import mean_interval
from spot_dask.tuner.foretold import Foretold, foretold
from spot_dask.tuner.model import Best

SHOWN = 50
"""Running trainings that a standing lists, at most."""

BASIS = 3
"""Trainings that must have ended before the time left is judged."""

RECENT = 1000
"""Newest evaluations whose durations count."""

SOME = 1 / 64
"""The share of evaluations after which proposals are judged anew."""

JUDGED_SECONDS = 1.0
"""How far apart the time left is judged anew, at least."""


@dataclass(frozen=True)
class Update:
    """What a session tells its watcher when something has happened, and every few seconds.

    ``best`` is the recommendation, at most some seconds old; ``elapsed`` (seconds) sums up all
    sessions of the run; ``now`` (seconds) is the time on the clock of the executor. ``stopping`` is
    the reason why nothing more is started, ``paused`` whether that is so for now, ``last`` the
    evaluation that has just arrived, ``message`` a line for the user.
    """

    history: History
    best: Best | None
    running: tuple[Lease, ...]
    slots: int
    workers: int
    elapsed: float
    now: float
    stopping: str | None = None
    paused: bool = False
    last: Evaluation | None = None
    message: str | None = None


Watcher = Callable[[Update], None]


@dataclass(frozen=True)
class Goal:
    """The objective of a run and its budget (None: no limit; ``wall`` in seconds).

    ``epochs`` are those of all trainings. ``folds`` are those that a configuration is trained on.

    ``together`` is the size of the batches of a synchronous run; None: a trial is proposed whenever
    a slot is free.
    """

    objective: str
    direction: str
    evaluations: int | None
    wall: float | None
    together: int | None = None
    epochs: int | None = None
    folds: FoldPlan = field(default_factory=FoldPlan)

    @property
    def sign(self) -> float:
        """-1 where the objective is maximised."""
        return 1.0 if self.direction == "min" else -1.0

    def signed(self, y: float) -> float:
        """A minimised value in the user's direction."""
        return self.sign * y


@dataclass(frozen=True)
class BestSoFar:
    """The recommended configuration and its objective: the mean over ``trainings`` trainings.

    Those that confirm it, once there are any, else those of the search, which flatter it. The 95 %
    interval is known only of confirmed ones. ``trial`` is None where it was imported. ``limits``
    says how it stands to the outcome constraints; empty where there are none. ``folds``: on so
    many a configuration is trained.
    """

    trial: int | None
    config: Mapping[str, Value]
    value: float
    trainings: int
    confirmed: bool = False
    low: float | None = None
    high: float | None = None
    limits: str = ""
    feasible: bool = True
    folds: int = 1

    @classmethod
    def of(cls, best: Best, history: History, goal: Goal) -> BestSoFar:
        """How a recommendation stands, given everything known."""
        fresh = fresh_values(history, best.config, goal.sign)
        if not fresh.values:
            value, trainings = goal.signed(best.observed), len(best.values)
            found = cls(best.trial, best.config, value, trainings)
        else:
            mean = mean_interval(fresh.values, bounds=bounds_of(history, goal.sign))
            ends = (mean.t.low, mean.t.high) if mean.n >= FEWEST else (None, None)
            found = cls(best.trial, best.config, mean.mean, mean.n, True, *ends)
        folds = goal.folds.count
        return replace(found, limits=best.limits, feasible=best.feasible, folds=folds)


@dataclass(frozen=True)
class Training:
    """A running training: its age (seconds), and the epoch and objective that it reported last.

    Both are None until it has reported them. ``fold`` says which of several it is; else empty.
    """

    trial: int
    attempt: int
    worker: str
    seconds: float
    epoch: int | None = None
    value: float | None = None
    fold: str = ""


@dataclass(frozen=True)
class Standing:
    """How a run stands at a moment.

    ``left`` is the time (seconds) until the budget of evaluations or epochs will be used up; None
    where it cannot be judged. ``running`` lists the oldest trainings, ``busy`` counts all of them,
    ``failures`` counts evaluations without a result by their status, ``epochs`` those that were
    trained; ``foretold`` says how well the model predicts its own proposals.
    """

    goal: Goal
    done: int
    elapsed: float
    left: float | None
    best: BestSoFar | None
    workers: int
    slots: int
    busy: int
    running: tuple[Training, ...]
    failures: Mapping[str, int]
    stopping: str | None
    paused: bool = False
    epochs: int = 0
    foretold: Foretold | None = None

    @property
    def share(self) -> float:
        """The share of the budget that is used, from 0 to 1."""
        evaluations, wall = self.goal.evaluations, self.goal.wall
        used = 0.0 if evaluations is None else self.done / evaluations
        trained = 0.0 if self.goal.epochs is None else self.epochs / self.goal.epochs
        return min(1.0, max(used, trained, 0.0 if wall is None else self.elapsed / wall))

    @property
    def wall_left(self) -> float | None:
        """Seconds until the wall time is used up; None if there is no such limit."""
        return None if self.goal.wall is None else max(0.0, self.goal.wall - self.elapsed)


def fold_of(replicate: int, folds: FoldPlan) -> str:
    """Which fold a replicate is, such as "2 of 5"; empty where there is one only."""
    if not folds.several:
        return ""
    partition, fold = divmod(replicate, folds.k)
    return f"{fold + 1} of {folds.k}" + (f", partition {partition + 1}" if partition else "")


class Tally:
    """What evaluations add up to: their failures by status, and their epochs."""

    def __init__(self) -> None:
        self.failures: Counter[str] = Counter()
        self.epochs = 0
        self._counted: tuple[Evaluation, ...] = ()

    def take(self, evaluations: tuple[Evaluation, ...]) -> None:
        """Count those that came since the last time, at the end of a tuple that only grows."""
        known = len(self._counted)
        if self._counted and (
            len(evaluations) < known or evaluations[known - 1] is not self._counted[-1]
        ):
            self.failures, self.epochs, known = Counter(), 0, 0
        self._counted = evaluations
        for e in evaluations[known:]:
            self.epochs += e.outcome.epochs
            if not e.ok:
                self.failures[str(e.outcome.status)] += 1


class View:
    """The standing of a run at any time, computed from the newest update."""

    def __init__(self, goal: Goal) -> None:
        self._goal = goal
        self._update: Update | None = None
        self._taken = 0.0  # when the update was taken, on our own clock
        self._counts: tuple[int, int, int] | None = None  # what the end was judged by
        self._end: float | None = None  # when the run will end, on the executor's clock
        self._foretold: tuple[int, Foretold | None] = 0, None  # after so many evaluations
        self._tally = Tally()
        self._judged_at = -math.inf  # when that was judged, on the executor's clock

    def take(self, update: Update) -> None:
        self._update, self._taken = update, time.monotonic()

    def standing(self) -> Standing | None:
        """How the run stands now; None before the first update."""
        update, goal = self._update, self._goal
        if update is None:
            return None
        since = time.monotonic() - self._taken
        self._tally.take(update.history.evaluations)
        now = update.now + since
        end = self._judged(update)
        best = None
        if update.best is not None:
            best = BestSoFar.of(update.best, update.history, goal)
        oldest = sorted(update.running, key=lambda lease: lease.since)[:SHOWN]
        return Standing(
            goal=goal,
            done=len(update.history.evaluations),
            elapsed=update.elapsed + (0.0 if update.paused else since),
            left=None if end is None else max(0.0, end - now),
            best=best,
            workers=update.workers,
            slots=update.slots,
            busy=len(update.running),
            running=tuple(
                Training(
                    trial=lease.trial.number,
                    attempt=lease.attempt,
                    worker=lease.worker,
                    seconds=max(0.0, now - lease.since),
                    epoch=lease.epoch or None,
                    value=None if math.isnan(lease.value) else goal.signed(lease.value),
                    fold="" if lease.trial.confirms else fold_of(lease.trial.replicate, goal.folds),
                )
                for lease in oldest
            ),
            # asdict makes nonsense of a Counter before Python 3.12.
            failures=dict(self._tally.failures),
            stopping=update.stopping,
            paused=update.paused,
            epochs=self._tally.epochs + sum(lease.epoch for lease in update.running),
            foretold=self._told(update.history),
        )

    def _told(self, history: History) -> Foretold | None:
        """How well proposals were foretold; of many evaluations it is judged anew after some."""
        known, now = self._foretold[0], len(history.evaluations)
        if not known <= now < max(known + 1, round(known * (1 + SOME))):
            self._foretold = now, foretold(history, self._goal.folds)
        return self._foretold[1]

    def _judged(self, update: Update) -> float | None:
        """When the run will end, judged anew when trainings have begun or ended, once a second."""
        if update.stopping is not None or update.paused:
            return None
        ended, running = update.history.evaluations, update.running
        counts = len(ended), len(running), update.slots
        if counts != self._counts and update.now >= self._judged_at + JUDGED_SECONDS:
            self._counts, self._judged_at = counts, update.now
            seconds = [e.outcome.seconds for e in ended[-RECENT:]]
            waiting, left = trainings_left(self._goal, ended, len(running)), None
            if waiting is not None:
                left = time_left(
                    [max(s, 0.0) for s in seconds if not math.isnan(s)],
                    [update.now - lease.since for lease in running],
                    update.slots,
                    waiting,
                    self._goal.together,
                )
            self._end = None if left is None else update.now + left
        return self._end


def trainings_left(goal: Goal, ended: Sequence[Evaluation], running: int) -> int | None:
    """How many trainings are still to begin; None without a limit, or a basis to judge it by.

    Of a budget of epochs as many as fit, if they take as many as the last ones did on average.
    """
    found = []
    if goal.evaluations is not None:
        found.append(goal.evaluations - len(ended) - running)
    if goal.epochs is not None and len(ended) >= BASIS:
        each = fmean(e.outcome.epochs for e in ended[-RECENT:])
        trained = sum(e.outcome.epochs for e in ended)
        if each > 0:
            found.append(math.ceil((goal.epochs - trained) / each) - running)
    return max(0, min(found)) if found else None


def time_left(
    known: Sequence[float],
    ages: Sequence[float],
    slots: int,
    waiting: int,
    together: int | None = None,
) -> float | None:
    """Seconds until the last of ``waiting`` trainings has ended; None without a basis.

    ``known`` are durations, ``ages`` those of running trainings so far (all in seconds). One course
    of the run is played through, in which a free slot takes the next training at once, or, in
    batches of ``together``, when the whole batch before has ended. Its durations are distributed
    like those seen. Running trainings count among these, because the quick ones end first: each as
    the mean of all that took longer than its age, which is the estimate of Kaplan and Meier (1958).
    """
    if len(known) < BASIS or not slots:
        return None
    shorter, oldest, mean = sorted(known), sorted(ages, reverse=True), fmean(known)
    shortest, longest = shorter[0], shorter[-1]
    # Of trainings older than any known duration: they end at the rate at which others have ended
    # since the shortest, or, the few that are far off, take as much longer as they are above the
    # mean.
    behind = sum(age >= longest for age in ages) / len(known) / 2
    seen, total, count = list(known), 0.0, 0  # total and count of those longer than an age
    for age in oldest:
        while shorter and shorter[-1] >= age:
            total, count = total + shorter.pop(), count + 1
        if age < longest:
            expected = max(age, total / count)
        else:
            expected = age + max(age - mean, behind * (age - shortest))
        seen.append(expected)
        total, count = total + expected, count + 1
    seen.sort()
    rng = random.Random(0)

    def drawn(least: Sequence[float]) -> list[float]:
        """Durations longer than each of ``least``, at evenly spread quantiles in random order."""
        quantiles = [(k + 0.5) / len(least) for k in range(len(least))]
        rng.shuffle(quantiles)
        firsts = [bisect_left(seen, age) for age in least]
        pairs = zip(firsts, quantiles, strict=True)
        return [seen[first + int(q * (len(seen) - first))] for first, q in pairs]

    pairs = zip(drawn(oldest), oldest, strict=True)
    free = [whole - age for whole, age in pairs] + [0.0] * (slots - len(oldest))
    new = drawn([0.0] * waiting)
    for begin in range(0, waiting, together or max(1, waiting)):
        if together is not None:
            free = [max(free)] * len(free)
        heapq.heapify(free)
        for seconds in new[begin : begin + (together or waiting)]:
            heapq.heapreplace(free, free[0] + seconds)
    return max(free)


class ProgressPage(Protocol):
    """A web page that shows how the run stands, at ``url``, if that is known."""

    @property
    def url(self) -> str | None: ...

    def show(self, standing: Callable[[], JSON | None]) -> None:
        """Show what this function returns; it is called every few seconds, in a thread."""
        ...

    def close(self) -> None:
        """Show how the run stands in the end; does not wait long for that."""
        ...


class OnPage:
    """Shows a run on the page of its executor, if that has one."""

    def __init__(self, page: ProgressPage | None, goal: Goal, name: str, store: Path | str) -> None:
        self._view = View(goal)
        self._page = page
        self._about: JSON = {
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

    def beside(self, watcher: Watcher | None) -> Watcher | None:
        """A watcher that keeps the page up to date and passes updates on to ``watcher``."""
        if self._page is None:
            return watcher

        def document() -> JSON | None:
            standing = self._view.standing()
            if standing is None:
                return None
            told = standing.foretold
            more = {"share": standing.share, "misled": None if told is None else told.warning}
            return {**asdict(standing), **self._about, **more}

        def both(update: Update) -> None:
            self._view.take(update)
            if watcher is not None:
                watcher(update)

        self._page.show(document)
        return both

    def end(self, reason: str) -> None:
        """Show that the run has ended for that reason."""
        if self._page is not None:
            self._about["ended"] = reason
            self._page.close()
