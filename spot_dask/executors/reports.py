"""What a running training reports, on its way to the coordinators: as Dask events of its run.

A training may finish thousands of epochs in a second, so they travel in parcels: at most one every
``PERIOD_SECONDS`` for each training, with at most the newest ``EPOCHS`` of them. The newest epoch
is always sent.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

from spot_dask.executors.heartbeat import Attempt, dask_worker, topic

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
