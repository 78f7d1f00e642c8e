"""Heartbeats: a Dask worker tells the coordinators which of their attempts go on there.

They travel as Dask events, topic ``topic(run)``, and come from a thread of their own: a worker that
is stopped, or hangs, sends none.
"""

from __future__ import annotations

import contextlib
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

BEAT_SECONDS = 10.0
"""How often a worker is heard of."""

SILENCE_SECONDS = 90.0
"""After how long a silence the attempts of a worker are given up."""

_IDLE_BEATS = 30
"""How often a worker goes on telling a run that nothing of it goes on."""

Attempt = tuple[int, int]


_KEY = re.compile(r"spot:(.+):(\d+):a(\d+)")


def task_key(run: str, number: int, attempt: int) -> str:
    """The key of an attempt's Dask task."""
    return f"spot:{run}:{number}:a{attempt}"


def topic(run: str) -> str:
    """The topic of a run's heartbeats and of what its trainings report."""
    return f"spot-beat:{run}"


class Heartbeat:
    """What goes on in this process, told every ``BEAT_SECONDS`` as long as there is something.

    An attempt that waits for a slot, since another run has it, goes on as well.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._attempts: dict[tuple[str, str], set[Attempt]] = {}  # of (worker's address, run)
        self._workers: dict[str, Any] = {}
        self._idle: dict[tuple[str, str], int] = {}
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def of(self, run: str, attempt: Attempt) -> Iterator[None]:
        """Tell that the attempt goes on while the context lasts; to be entered in a Dask task."""
        worker = dask_worker()
        if worker is None:
            yield
            return
        self.watch(worker)
        key = worker.address, run
        with self._lock:
            self._attempts.setdefault(key, set()).add(attempt)
            self._idle[key] = 0
        try:
            yield
        finally:
            with self._lock:
                self._attempts.get(key, set()).discard(attempt)

    def watch(self, worker: Any) -> None:
        """Tell what goes on in a Dask worker for as long as it is there."""
        with self._lock:
            self._workers[worker.address] = worker
            if self._thread is None:
                self._thread = threading.Thread(target=self._beat, name="spot-beat", daemon=True)
                self._thread.start()

    def _beat(self) -> None:
        while True:
            time.sleep(BEAT_SECONDS)
            with self._lock:
                self._workers = {
                    a: w for a, w in self._workers.items() if w.status.name != "closed"
                }
                if not self._workers:
                    self._attempts.clear()
                    self._thread = None
                    return
                self._tell()

    def _tell(self) -> None:
        told = {key: set(found) for key, found in self._attempts.items() if key[0] in self._workers}
        for address, worker in self._workers.items():
            for run, attempt in _waiting(worker):
                told.setdefault((address, run), set()).add(attempt)
                self._attempts.setdefault((address, run), set())
        for (address, run), attempts in told.items():
            self._send(address, run, attempts)

    def _send(self, address: str, run: str, attempts: set[Attempt]) -> None:
        message = {"worker": address, "attempts": sorted(attempts)}
        with contextlib.suppress(Exception):  # the worker is closing: nobody listens any more
            self._workers[address].log_event(topic(run), message)
        key = address, run
        self._idle[key] = 0 if attempts else self._idle.get(key, 0) + 1
        if self._idle[key] > _IDLE_BEATS:
            del self._attempts[key], self._idle[key]


def _waiting(worker: Any) -> Iterator[tuple[str, Attempt]]:
    """The attempts, with their runs, that wait in a Dask worker for a slot."""
    tasks = worker.state.tasks
    for key in list(tasks):  # the worker's own thread changes them meanwhile
        found = _KEY.fullmatch(str(key))
        task = tasks.get(key)
        if found is not None and task is not None and task.state in ("ready", "constrained"):
            yield found[1], (int(found[2]), int(found[3]))


def dask_worker() -> Any | None:
    """The Dask worker whose task this thread runs; None outside of one."""
    module = sys.modules.get("distributed.worker")
    if module is None:
        return None
    try:
        return module.get_worker()
    except ValueError:
        return None


PERIOD_SECONDS = 0.2
EPOCHS = 100

Report = tuple[int, Mapping[str, float]]
"""An epoch, counted from 1, and its metrics."""


class Parcels:
    """Collects the reports of a training and sends them in parcels; for use by any thread."""

    def __init__(self, send: Callable[[list[Report]], object]) -> None:
        self._send = send
        self._lock = threading.Lock()
        self._waiting: deque[Report] = deque(maxlen=EPOCHS)
        self._timer: threading.Timer | None = None
        self._earliest = 0.0

    def add(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Send this report, together with others that come soon."""
        with self._lock:
            self._waiting.append((epoch, metrics))
            wait = self._earliest - time.monotonic()
            if self._timer is None and wait > 0:
                self._timer = threading.Timer(wait, self.flush)
                self._timer.daemon = True
                self._timer.start()
            elif self._timer is None:
                self._dispatch()

    def flush(self) -> None:
        """Send what still waits."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._dispatch()

    def _dispatch(self) -> None:
        if self._waiting:
            self._earliest = time.monotonic() + PERIOD_SECONDS
            self._send(list(self._waiting))
            self._waiting.clear()


def parcels(run: str, attempt: Attempt) -> Parcels:
    """Parcels to the run's coordinators; to be made in a Dask task (elsewhere, nobody listens)."""
    worker = dask_worker()

    def send(reports: list[Report]) -> None:
        if worker is not None:
            with contextlib.suppress(Exception):  # it is closing: nobody listens any more
                worker.log_event(topic(run), {"attempt": attempt, "reports": reports})

    return Parcels(send)
