"""Heartbeats: a Dask worker tells the coordinators which of their attempts go on there.

They travel as Dask events, topic ``topic(run)``, and come from a thread of their own: a worker that
is stopped, or hangs, sends none.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

BEAT_SECONDS = 10.0
"""How often a worker is heard of."""

SILENCE_SECONDS = 90.0
"""After how long a silence the attempts of a worker are given up."""

_IDLE_BEATS = 30
"""How often a worker goes on telling a run that nothing of it goes on."""

Attempt = tuple[int, int]


def topic(run: str) -> str:
    """The topic of a run's heartbeats and of what its trainings report."""
    return f"spot-beat:{run}"


class Heartbeat:
    """What goes on in this process, told every ``BEAT_SECONDS`` as long as there is something."""

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
        key = worker.address, run
        with self._lock:
            self._workers[worker.address] = worker
            self._attempts.setdefault(key, set()).add(attempt)
            self._idle[key] = 0
            if self._thread is None:
                self._thread = threading.Thread(target=self._beat, name="spot-beat", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._attempts[key].discard(attempt)

    def _beat(self) -> None:
        while True:
            time.sleep(BEAT_SECONDS)
            with self._lock:
                for (address, run), attempts in list(self._attempts.items()):
                    self._send(address, run, attempts)
                if not self._attempts:
                    self._thread = None
                    return

    def _send(self, address: str, run: str, attempts: set[Attempt]) -> None:
        message = {"worker": address, "attempts": sorted(attempts)}
        with contextlib.suppress(Exception):  # the worker is closing: nobody listens any more
            self._workers[address].log_event(topic(run), message)
        key = address, run
        self._idle[key] = 0 if attempts else self._idle[key] + 1
        if self._idle[key] > _IDLE_BEATS:
            del self._attempts[key], self._idle[key]


def dask_worker() -> Any | None:
    """The Dask worker whose task this thread runs; None outside of one."""
    module = sys.modules.get("distributed.worker")
    if module is None:
        return None
    try:
        return module.get_worker()
    except ValueError:
        return None
