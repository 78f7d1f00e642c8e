"""Heartbeats: a Dask worker tells the coordinators which of their attempts go on there.

They travel as Dask events, topic ``topic(run)``, and come from a thread of their own: a worker that
is stopped, or hangs, sends none.
"""

from __future__ import annotations

import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from spot_dask.worker.pipe import Attempt

BEAT_SECONDS = 10.0
"""How often a worker is heard of."""

SILENCE_SECONDS = 90.0
"""After how long a silence the attempts of a worker are given up."""

IDLE_BEATS = 30
"""How often a worker goes on telling a run that nothing of it goes on."""

_KEY = re.compile(r"spot:(.+):(\d+):a(\d+)")


def task_key(run: str, number: int, attempt: int) -> str:
    """The key of an attempt's Dask task."""
    return f"spot:{run}:{number}:a{attempt}"


def topic(run: str) -> str:
    """The topic of a run's heartbeats and of what its trainings report."""
    return f"spot-beat:{run}"


class Heartbeat:
    """What goes on in this process, told every ``BEAT_SECONDS`` as long as there is a Dask worker.

    An attempt that waits for a slot, since another run has it, goes on as well.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # By address: a worker, and for each run how many beats ago something of it went on there.
        self._workers: dict[str, tuple[Any, dict[str, int]]] = {}
        self._thread: threading.Thread | None = None

    def watch(self, worker: Any, run: str | None = None) -> None:
        """Tell what goes on in a Dask worker as long as it is there, to this run in any case."""
        with self._lock:
            _, idle = self._workers.setdefault(worker.address, (worker, {}))
            if run is not None:
                idle[run] = 0
            if self._thread is None:
                self._thread = threading.Thread(target=self._beat, name="spot-beat", daemon=True)
                self._thread.start()

    def _beat(self) -> None:
        while True:
            time.sleep(BEAT_SECONDS)
            with self._lock:
                for address, (worker, idle) in list(self._workers.items()):
                    if worker.status.name == "closed":
                        del self._workers[address]
                    else:
                        _tell(worker, idle)
                if not self._workers:
                    self._thread = None
                    return


def _tell(worker: Any, idle: dict[str, int]) -> None:
    """Tell each run which of its attempts a Dask worker trains, or holds until a slot is free."""
    state, going_on = worker.state, dict[str, set[Attempt]]()
    # Lists, since the worker's own thread changes these meanwhile.
    tasks = list(state.executing) + list(state.long_running)
    tasks += [t for t in list(state.tasks.values()) if t.state in ("ready", "constrained")]
    for task in tasks:
        if found := _KEY.match(str(task.key)):
            going_on.setdefault(found[1], set()).add((int(found[2]), int(found[3])))
    for run in {*idle, *going_on}:
        attempts = sorted(going_on.get(run, ()))
        worker.log_event(topic(run), {"worker": worker.address, "attempts": attempts})
        idle[run] = 0 if attempts else idle[run] + 1
        if idle[run] > IDLE_BEATS:
            del idle[run]


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
