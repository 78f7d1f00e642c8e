"""Signals as events: the first ends a run gently, the second at once, the third exits."""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from spot_dask.coordinator import Detach, Drain, Event, Halt

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ending:
    """What the first signal does with the trainings that run.

    They are finished; after SIGTERM only within ``grace`` seconds (its sender may follow it up with
    SIGKILL). Or ``detach``: they are left to the next session of the run.
    """

    grace: float = math.inf
    detach: bool = False

    def event(self, name: str) -> Event:
        """What the first signal, of this name, asks of the coordinator."""
        if self.detach:
            return Detach(name)
        return Drain(name, self.grace if name == "SIGTERM" else math.inf)


@contextmanager
def as_events(ending: Ending) -> Iterator[deque[Event]]:
    """SIGINT and SIGTERM as events, in the queue that is given; only in the main thread."""
    arrived: deque[Event] = deque()
    if threading.current_thread() is not threading.main_thread():
        yield arrived
        return
    count = 0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal count
        count += 1
        name = signal.Signals(number).name
        if count == 1:
            arrived.append(ending.event(name))
            what = "leaving" if ending.detach else "finishing"
            logger.warning("%s: %s the running trainings; again to stop them", name, what)
        elif count == 2:
            arrived.append(Halt(name))
            logger.warning("%s: stopping the running trainings; again to exit at once", name)
        else:
            os._exit(128 + number)

    before = {s: signal.signal(s, handle) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield arrived
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
