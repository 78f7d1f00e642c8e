"""The slots of a worker and the process in each, kept warm from trial to trial by choice.

Slots are numbered from 0 and a trial gets the smallest free one.
"""

from __future__ import annotations

import functools
import os
import site
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cloudpickle
from dask.system import cpu_count

import spot_dask
from spot_dask.codec import JSON, outcome_to_json, trial_from_json
from spot_dask.tasks import Task
from spot_dask.worker.context import Curves, Running
from spot_dask.worker.heartbeat import Attempt, dask_worker
from spot_dask.worker.limits import DEVICES, Limits, visible_gpus
from spot_dask.worker.training_main import attempt_trial
from spot_dask.worker.training_process import (
    Child,
    Request,
    Spawner,
    Tell,
    crashed,
)

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


REMEMBERED = 64
"""How many outcomes are kept for who asks for them a moment too late."""


@dataclass
class Place:
    """What runs in a slot; the process is None while it is being started, and in a thread."""

    run: str
    attempt: Attempt
    child: Child | None
    stopped: bool = False
    early: bool = False
    over: threading.Event = field(default_factory=threading.Event)


class Pool:
    """The processes of this worker: at most one for each slot."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: dict[int, Child] = {}
        self._running: dict[int, Place] = {}  # by slot
        self._spawner: Spawner | None = None
        self._outcomes: dict[tuple[str, Attempt], JSON] = {}  # of those that ended last

    def run(self, request: Request, tell: Tell) -> JSON:
        """Run a trial in the smallest free slot; blocks until it has ended."""
        with self._lock:
            slot = next(n for n in range(len(self._running) + 1) if n not in self._running)
            keep = request.conditions.isolation == "warm"
            warm = self._idle.pop(slot, None) if keep else None
            place = self._running[slot] = Place(request.run, request.attempt_key, warm)
        try:
            outcome = self._run_in(slot, place, request, tell)
            with self._lock:
                self._outcomes[request.run, request.attempt_key] = outcome
                while len(self._outcomes) > REMEMBERED:
                    del self._outcomes[next(iter(self._outcomes))]
            return outcome
        finally:
            self._release(slot, keep)
            place.over.set()

    def going_on(self, run: str) -> list[Attempt]:
        """The attempts of a run that are trained now."""
        with self._lock:
            return [place.attempt for place in self._running.values() if place.run == run]

    def await_end(self, run: str, attempt: Attempt) -> JSON | None:
        """The outcome of an attempt, once it has ended; None if it is not known here."""
        with self._lock:
            places = [p for p in self._running.values() if (p.run, p.attempt) == (run, attempt)]
        for place in places:
            place.over.wait()
        with self._lock:
            return self._outcomes.get((run, attempt))

    def stop(self, run: str, which: Callable[[Attempt], bool]) -> int:
        with self._lock:
            places = [p for p in self._running.values() if p.run == run and which(p.attempt)]
            for place in places:
                place.stopped = True
            children = [place.child for place in places]
        for child in children:
            if child is not None:
                child.kill()
        return len(children)

    def stop_early(self, run: str, attempt: Attempt) -> None:
        """Have an attempt, if it still runs, end with what it has reported."""
        with self._lock:
            places = [p for p in self._running.values() if (p.run, p.attempt) == (run, attempt)]
        for place in places:
            place.early = True
            if place.child is not None:
                place.child.stop_early(attempt)

    def close(self) -> None:
        with self._lock:
            runs = {place.run for place in self._running.values()}
        for run in runs:
            self.stop(run, lambda attempt: True)
        with self._lock:
            idle = list(self._idle.values())
            self._idle.clear()
        for child in idle:
            child.reap()

    def _run_in(self, slot: int, place: Place, request: Request, tell: Tell) -> JSON:
        if request.conditions.isolation == "thread":
            return _run_here(slot, place, request, tell)
        started = time.time()
        child = place.child
        environment = _environment(slot, request.conditions.limits)
        if child is None or child.devices != environment.get(DEVICES) or not child.take(request):
            if child is not None:
                child.reap()  # it ended while it waited: that is nothing to do with this trial
            child = self._start(slot, place, environment)
            if not child.take(request):
                return outcome_to_json(crashed(child.obituary(), started, Curves()))
        return child.follow(request.conditions.limits, tell)

    def _start(self, slot: int, place: Place, environment: dict[str, str]) -> Child:
        with self._lock:
            spawner = self._spawner = self._spawner or Spawner()

        child = Child(spawner, slot, environment)
        with self._lock:
            place.child = child
            stopped = place.stopped
        if stopped:  # while the process was being started
            child.kill()
        return child

    def _release(self, slot: int, keep: bool) -> None:
        with self._lock:
            child = self._running.pop(slot).child
            if child is not None and child.reusable and keep:
                self._idle[slot] = child
                return
        if child is not None:
            child.reap()


def _run_here(slot: int, place: Place, request: Request, tell: Tell) -> JSON:
    """Run a trial in this very thread."""
    trial = trial_from_json(request.trial)
    running = Running(
        trial,
        request.attempt,
        slot,
        lambda message: tell(message["epoch"], message["metrics"]),
        request.conditions.place,
        lambda: place.early,
    )
    return outcome_to_json(attempt_trial(lambda: _loaded(request.task), trial, running))


@functools.lru_cache(maxsize=4)
def _loaded(task: bytes) -> Task:
    """The task; one and the same for all its trials, which share its data."""
    loaded: Task = cloudpickle.loads(task)
    return loaded


def _environment(slot: int, limits: Limits) -> dict[str, str]:
    """The environment of a trial's process; what the user has set stays as it is.

    The process sees the GPUs of its slot and no others.

    A Dask nanny sets one thread for everything in its worker, unless the user says otherwise; that
    is kept too, since only the user knows how many workers share the machine.
    """
    environment = dict(os.environ)
    visible = visible_gpus()
    if visible or limits.gpus is not None:
        environment[DEVICES] = ",".join(limits.devices(slot, visible))
    # torch takes the largest of these numbers, so one that the user has set is that of all.
    chosen = [environment[name] for name in THREAD_VARIABLES if name in environment]
    threads = chosen[0] if chosen else str(max(1, cpu_count() // _slots()))
    for name in THREAD_VARIABLES:
        environment.setdefault(name, threads)
    root = str(Path(spot_dask.__file__).resolve().parents[1])
    if root not in [*site.getsitepackages(), site.getusersitepackages()]:
        paths = [root, environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return environment


def _slots() -> int:
    """How many trials the Dask worker that runs this thread's task takes at a time; else 1."""
    worker = dask_worker()
    if worker is None:
        return 1
    state = worker.state
    return max(1, int(state.total_resources.get("GPU", state.nthreads)))
