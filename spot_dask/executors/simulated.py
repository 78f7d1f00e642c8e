"""Trials that take simulated time: the coordinator's policy without a cluster.

The clock jumps from event to event, so a thousand workers cost nothing but the events
themselves. Used by tests and by benchmarks of policies.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import replace

from spot_dask.coordinator import Event, Finished, Joined, Left
from spot_dask.records import Outcome, Trial

Training = Callable[[Trial, int], tuple[Outcome, float]]
"""(trial, attempt) -> its outcome and how long it takes in simulated seconds."""


class SimulatedExecutor:
    """``workers`` workers of one slot each; ``departures`` maps a worker to when it leaves.

    Work that is deferred takes ``deferred`` seconds.
    """

    def __init__(
        self,
        training: Training,
        workers: int,
        departures: dict[str, float] | None = None,
        deferred: float = 0.0,
    ) -> None:
        self._deferred = deferred
        self._training = training
        self._now = 0.0
        self._count = 0
        self._agenda: list[tuple[float, int, Event]] = []
        self._present = {f"sim-{i}" for i in range(workers)}
        for worker in sorted(self._present):
            self._plan(0.0, Joined(worker, 1))
        for worker, moment in (departures or {}).items():
            self._plan(moment, Left(worker))

    def now(self) -> float:
        return self._now

    def start(self, trial: Trial, attempt: int, worker: str) -> None:
        outcome, seconds = self._training(trial, attempt)
        end = self._now + seconds
        outcome = replace(outcome, started=self._now, finished=end, worker=worker)
        self._plan(end, Finished(trial.number, attempt, outcome))

    def defer(self, work: Callable[[], Event]) -> None:
        self._plan(self._now + self._deferred, work())

    def wait(self, seconds: float) -> list[Event]:
        if not self._agenda or self._agenda[0][0] > self._now + seconds:
            self._now += seconds
            return []
        self._now = self._agenda[0][0]
        events = []
        while self._agenda and self._agenda[0][0] <= self._now:
            event = heapq.heappop(self._agenda)[2]
            if self._happens(event):
                events.append(event)
        return events

    def kill(self) -> None:
        self._agenda.clear()

    def close(self) -> None:
        self._agenda.clear()

    def _plan(self, moment: float, event: Event) -> None:
        self._count += 1  # ties keep the order of planning
        heapq.heappush(self._agenda, (moment, self._count, event))

    def _happens(self, event: Event) -> bool:
        """A training on a worker that has left never reports its end."""
        match event:
            case Left(worker):
                self._present.discard(worker)
            case Finished(outcome=outcome):
                return outcome.worker in self._present
        return True
