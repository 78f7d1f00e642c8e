"""Trials that take simulated time: the coordinator's policy without a cluster.

The clock jumps from event to event, so a thousand workers cost nothing but the events
themselves. Used by tests and by benchmarks of policies.
"""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from spot_dask.coordinator import Beat, Event, Finished, Joined, Left, Reported
from spot_dask.records import Failure, Outcome, Status, Trial

RESTART_SECONDS = 5.0
"""How long a worker is away that is killed by its training or restarted after a hang."""


@dataclass(frozen=True)
class Fate:
    """What becomes of an attempt that takes so many simulated seconds.

    Its end is reported ``late`` seconds afterwards, and once more ``again`` seconds later. One that
    ``hangs`` is never reported; its worker is restarted in the end. One that is ``mute`` goes on,
    but until it ends nothing is heard of its worker, as of one that hangs. One that ``kills``
    takes its worker down. ``reports`` are the metrics of its epochs, which are equally long.
    """

    outcome: Outcome
    seconds: float
    late: float = 0.0
    again: float | None = None
    hangs: bool = False
    mute: bool = False
    kills: bool = False
    reports: Sequence[Mapping[str, float]] = ()


Training = Callable[[Trial, int], Fate]
"""(trial, attempt) -> what becomes of it."""


class SimulatedExecutor:
    """``workers`` workers of so many slots each; ``departures`` maps one to when it leaves.

    Work that is deferred takes ``deferred`` seconds (None: the CPU time it really takes);
    workers tell every ``beat`` seconds what goes on there (None: never). A slot that is used
    twice is an AssertionError.
    """

    page = None
    concurrent = True

    def __init__(
        self,
        training: Training,
        workers: int,
        departures: dict[str, float] | None = None,
        *,
        slots: int = 1,
        deferred: float | None = 0.0,
        beat: float | None = None,
    ) -> None:
        self._training = training
        self._slots = slots
        self._deferred = deferred
        self._beat = beat
        self._now = 0.0
        self._count = 0
        self._agenda: list[tuple[float, int, Event]] = []
        self._present: dict[str, dict[tuple[int, int], Fate]] = {}  # what runs on each worker
        # Where and when each attempt was started.
        self._started: dict[tuple[int, int], tuple[str, float]] = {}
        for i in range(workers):
            self._arrive(0.0, f"sim-{i}")
        for worker, moment in (departures or {}).items():
            self._plan(moment, Left(worker))

    def now(self) -> float:
        return self._now

    def start(self, trial: Trial, attempt: int, worker: str) -> None:
        running = self._present[worker]
        fate = self._training(trial, attempt)
        assert len(running) < self._slots, f"a slot of {worker} is used twice"
        running[trial.number, attempt] = fate
        self._started[trial.number, attempt] = worker, self._now
        end = self._now + fate.seconds
        outcome = replace(fate.outcome, started=self._now, finished=end, worker=worker)
        for epoch, metrics in enumerate(() if fate.hangs or fate.mute else fate.reports, 1):
            moment = self._now + fate.seconds * epoch / len(fate.reports)
            self._plan(moment, Reported(trial.number, attempt, epoch, metrics))
        if fate.kills or fate.hangs:
            self._plan(end, Left(worker))
            self._arrive(end + RESTART_SECONDS, f"{worker}'")
            return
        ended = Finished(trial.number, attempt, outcome)
        self._plan(end + fate.late, ended)
        if fate.again is not None:
            self._plan(end + fate.late + fate.again, ended)

    def defer(self, work: Callable[[], Event]) -> None:
        began = time.process_time()
        event = work()
        took = time.process_time() - began if self._deferred is None else self._deferred
        self._plan(self._now + took, event)

    def listen(self, hear: Callable[[Event], object]) -> None:
        """Nothing happens in the thread that waits."""

    def wait(self, seconds: float) -> list[Event]:
        if not self._agenda or self._agenda[0][0] > self._now + seconds:
            self._now += seconds
            return []
        self._now = self._agenda[0][0]
        events = []
        while self._agenda and self._agenda[0][0] <= self._now:
            event = heapq.heappop(self._agenda)[2]
            if isinstance(event, Beat):
                events += self._heard(event.worker)
            elif self._happens(event):
                events.append(event)
        return events

    def stop(self, number: int, attempt: int, worker: str) -> None:
        fate = self._present.get(worker, {}).get((number, attempt))
        if fate is not None and not (fate.hangs or fate.mute):
            error = Failure("Stopped", "the training was stopped")
            outcome = Outcome(Status.CRASHED, worker=worker, error=error)
            self._plan(self._now + 1.0, Finished(number, attempt, outcome))

    def stop_early(self, number: int, attempt: int, worker: str) -> None:
        fate = self._present.get(worker, {}).get((number, attempt))
        if fate is None or fate.hangs or fate.mute:
            return
        _, began = self._started[number, attempt]
        told = math.floor(len(fate.reports) * (self._now - began) / fate.seconds + 1e-9)
        curves: dict[str, list[float]] = {}
        for metrics in fate.reports[:told]:
            for name, value in metrics.items():
                curves.setdefault(name, []).append(value)
        outcome = Outcome(
            Status.STOPPED,
            metrics=fate.reports[told - 1],
            curves={name: tuple(values) for name, values in curves.items()},
            started=began,
            finished=self._now,
            worker=worker,
        )
        self._plan(self._now, Finished(number, attempt, outcome))

    def kill(self) -> None:
        self._agenda.clear()

    def close(self) -> None:
        self._agenda.clear()

    def _arrive(self, moment: float, worker: str) -> None:
        self._plan(moment, Joined(worker, self._slots, worker.rstrip("'")))
        if self._beat is not None:
            self._plan(moment + self._beat, Beat(worker, ()))

    def _plan(self, moment: float, event: Event) -> None:
        self._count += 1  # ties keep the order of planning
        heapq.heappush(self._agenda, (moment, self._count, event))

    def _happens(self, event: Event) -> bool:
        """A worker that is gone is not heard of any more, nor anything that ran there."""
        match event:
            case Joined(worker):
                self._present[worker] = {}
            case Left(worker):
                return self._present.pop(worker, None) is not None
            case Finished(number, attempt, outcome):
                running = self._present.get(outcome.worker)
                if running is None:
                    return False
                running.pop((number, attempt), None)
            case Reported(number, attempt):
                place, _ = self._started[number, attempt]
                return (number, attempt) in self._present.get(place, {})
        return True

    def _heard(self, worker: str) -> list[Event]:
        """What a worker tells of itself now; nothing while it hangs."""
        running = self._present.get(worker)
        if running is None or self._beat is None:
            return []
        self._plan(self._now + self._beat, Beat(worker, ()))
        silent = any(fate.hangs or fate.mute for fate in running.values())
        return [] if silent else [Beat(worker, tuple(running))]
