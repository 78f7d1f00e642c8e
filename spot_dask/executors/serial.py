"""Trials one after another in this very process: for debugging and for plain Python use.

A breakpoint in the training works here, and a crash of the training is a crash of everything.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace

from spot_dask import clock
from spot_dask.coordinator import Event, Finished, Joined, Reported
from spot_dask.records import Trial
from spot_dask.tasks import Task
from spot_dask.worker.artifacts import ArtifactPlace
from spot_dask.worker.checkpoints import Place
from spot_dask.worker.context import RunningTrial
from spot_dask.worker.training_main import attempt_trial

WORKER = "serial"


class SerialExecutor:
    """One slot, in this process."""

    def __init__(
        self, task: Task, place: Place | None = None, shelf: ArtifactPlace | None = None
    ) -> None:
        self._task = task
        self._place = place
        self._shelf = shelf
        self._joined = False
        self._queue: deque[tuple[Trial, int]] = deque()
        self._deferred: deque[Callable[[], Event]] = deque()
        self._hear: Callable[[Event], object] = lambda event: None
        self._to_stop: tuple[int, int] | None = None  # trial number and attempt

    page = None
    concurrent = False

    def now(self) -> float:
        return clock.now()

    def start(self, trial: Trial, attempt: int, worker: str) -> None:
        self._queue.append((trial, attempt))

    def defer(self, work: Callable[[], Event]) -> None:
        self._deferred.append(work)  # beside nothing: there is this one thread

    def listen(self, hear: Callable[[Event], object]) -> None:
        self._hear = hear

    def wait(self, seconds: float) -> list[Event]:
        if not self._joined:
            self._joined = True
            return [Joined(WORKER, 1)]
        if self._deferred:
            return [self._deferred.popleft()()]
        if not self._queue:
            return []
        trial, attempt = self._queue.popleft()

        def tell(epoch: int, metrics: dict[str, float]) -> None:
            self._hear(Reported(trial.number, attempt, epoch, metrics))

        def to_stop() -> bool:
            return self._to_stop == (trial.number, attempt)

        running = RunningTrial(
            trial, attempt, tell=tell, place=self._place, to_stop=to_stop, shelf=self._shelf
        )
        outcome = attempt_trial(lambda: self._task, trial, running)
        return [Finished(trial.number, attempt, replace(outcome, worker=WORKER))]

    def stop(self, number: int, attempt: int, worker: str) -> None:
        """Nothing to stop: whoever calls this runs in the thread that trains."""

    def stop_early(self, number: int, attempt: int, worker: str) -> None:
        self._to_stop = number, attempt

    def kill(self) -> None:
        self._queue.clear()

    def close(self) -> None:
        self._queue.clear()
