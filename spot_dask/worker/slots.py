"""The slots of a worker and the process in each, kept warm from trial to trial by choice.

Slots are numbered from 0 and a trial gets the smallest free one.
"""

from __future__ import annotations

import functools
import os
import site
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import cloudpickle
from dask.system import cpu_count

import spot_dask
from spot_dask import clock
from spot_dask.records import Outcome
from spot_dask.tasks import Task
from spot_dask.worker.context import ReportedCurves, RunningTrial, Tell
from spot_dask.worker.heartbeat import dask_worker
from spot_dask.worker.limits import DEVICES, Limits, visible_gpus
from spot_dask.worker.memory import MemoryWatch
from spot_dask.worker.pipe import Attempt, TrainingRequest
from spot_dask.worker.training_main import attempt_trial
from spot_dask.worker.training_process import TrainingProcess, crashed

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

REMEMBERED = 64
"""How many outcomes are kept for who asks for them a moment too late."""


@dataclass
class Occupant:
    """What is trained in a slot; the process is None while it is being started, and in a thread."""

    run: str
    attempt: Attempt
    process: TrainingProcess | None
    stopped: bool = False
    early: bool = False
    over: threading.Event = field(default_factory=threading.Event)


class Slots:
    """The slots of this worker, with at most one process each."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: dict[int, TrainingProcess] = {}
        self._occupants: dict[int, Occupant] = {}  # by slot
        self._outcomes: dict[tuple[str, Attempt], Outcome] = {}  # of those that ended last
        self._memory = MemoryWatch()
        self._spawner = ThreadPoolExecutor(1, "spot-dask-spawner")

    def run(self, request: TrainingRequest, tell: Tell) -> Outcome:
        """Run a training in the smallest free slot; blocks until it has ended.

        Raises OSError if no process can be started, ClusterError if the worker has too few GPUs.
        """
        warm = request.conditions.isolation == "warm"
        with self._lock:
            slot = next(n for n in range(len(self._occupants) + 1) if n not in self._occupants)
            process = self._idle.pop(slot, None) if warm else None
            occupant = self._occupants[slot] = Occupant(request.run, request.key, process)
        try:
            if request.conditions.isolation == "thread":
                place, early = request.conditions.place, lambda: occupant.early
                shelf = request.conditions.artifacts
                running = RunningTrial(
                    request.trial, request.attempt, slot, tell, place, early, shelf
                )
                outcome = attempt_trial(lambda: _loaded(request.task), request.trial, running)
            else:
                outcome = self._run_in_process(slot, occupant, request, tell)
            with self._lock:
                self._outcomes[request.run, request.key] = outcome
                while len(self._outcomes) > REMEMBERED:
                    del self._outcomes[next(iter(self._outcomes))]
            return outcome
        finally:
            with self._lock:
                process = self._occupants.pop(slot).process
                if process is not None and process.reusable and warm:
                    self._idle[slot] = process
                    process = None
            if process is not None:
                process.reap()
            occupant.over.set()

    def going_on(self, run: str) -> list[Attempt]:
        """The attempts of a run that are trained now."""
        with self._lock:
            return [occupant.attempt for occupant in self._of(run)]

    def await_end(self, run: str, attempt: Attempt) -> Outcome | None:
        """The outcome of an attempt, once it has ended; None if it is not known here."""
        with self._lock:
            found = self._of(run, attempt)
        for occupant in found:
            occupant.over.wait()
        with self._lock:
            return self._outcomes.get((run, attempt))

    def stop(self, run: str, attempt: Attempt | None = None) -> int:
        """Kill the trainings of a run, or the one of an attempt; how many there were."""
        with self._lock:
            found = self._of(run, attempt)
            for occupant in found:
                occupant.stopped = True
                if occupant.process is not None:
                    occupant.process.kill()
        return len(found)

    def stop_early(self, run: str, attempt: Attempt) -> None:
        """Have an attempt, if it still runs, end with what it has reported."""
        with self._lock:
            found = self._of(run, attempt)
        for occupant in found:
            occupant.early = True
            if occupant.process is not None:
                occupant.process.stop_early(run, attempt)

    def close(self) -> None:
        """Kill all trainings and end the processes that wait."""
        with self._lock:
            runs = {occupant.run for occupant in self._occupants.values()}
            idle = list(self._idle.values())
            self._idle.clear()
        for run in runs:
            self.stop(run)
        for process in idle:
            process.reap()

    def _of(self, run: str, attempt: Attempt | None = None) -> list[Occupant]:
        return [
            occupant
            for occupant in self._occupants.values()
            if occupant.run == run and attempt in (None, occupant.attempt)
        ]

    def _run_in_process(
        self, slot: int, occupant: Occupant, request: TrainingRequest, tell: Tell
    ) -> Outcome:
        started = clock.now()
        environment = _environment(slot, request.conditions.limits)
        if (process := occupant.process) is not None:
            if process.devices == environment.get(DEVICES):
                outcome = process.train(request, tell)
                if outcome is not None:
                    return outcome
            process.reap()  # it ended while it waited: that is nothing to do with this trial
        process = TrainingProcess(self._spawner, self._memory, slot, environment)
        with self._lock:
            occupant.process = process
            if occupant.stopped:  # while the process was being started
                process.kill()
        outcome = process.train(request, tell)
        return outcome or crashed(process.obituary(), started, ReportedCurves())


@functools.lru_cache(maxsize=4)
def _loaded(task: bytes) -> Task:
    """The task; one and the same for all its trials in threads, which share its data."""
    loaded: Task = cloudpickle.loads(task)
    return loaded


def _environment(slot: int, limits: Limits) -> dict[str, str]:
    """The environment of a training's process; what the user has set stays as it is.

    The process sees the GPUs of its slot and no others. A Dask nanny sets one thread for everything
    in its worker, unless the user says otherwise; that is kept too, since only the user knows how
    many workers share the machine. Raises ClusterError if the worker has too few GPUs.
    """
    environment = dict(os.environ)
    visible = visible_gpus()
    if visible or limits.gpus is not None:
        environment[DEVICES] = ",".join(limits.devices(slot, visible))
    # torch takes the largest of these numbers, so one that the user has set is that of all.
    threads = next((environment[name] for name in THREAD_VARIABLES if name in environment), None)
    if threads is None:
        worker, slots = dask_worker(), 1
        if worker is not None:
            slots = int(worker.state.total_resources.get("GPU", worker.state.nthreads))
        threads = str(max(1, cpu_count() // max(1, slots)))
    for name in THREAD_VARIABLES:
        environment.setdefault(name, threads)
    root = str(Path(spot_dask.__file__).resolve().parents[1])
    if root not in [*site.getsitepackages(), site.getusersitepackages()]:
        paths = [root, environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return environment
