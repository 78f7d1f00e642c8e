"""One sitting of a run: the loop that drives the coordinator, where time passes.

The coordinator decides, the tuner proposes, the executor trains, the store remembers; this
module only carries instructions and events between them, in the order that makes nothing
acknowledged ever be lost: an entry is durable before anything that follows from it happens.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from spot_dask.coordinator import (
    Commit,
    Coordinator,
    Drain,
    Event,
    Finish,
    Halt,
    Instruction,
    Kill,
    Lease,
    Propose,
    Proposed,
    Start,
    Tick,
)
from spot_dask.executors import Executor
from spot_dask.records import Closed, Evaluation, History, Retried, Told
from spot_dask.store import Store
from spot_dask.tuner import Tuner

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5
"""How long the loop may sleep before it looks at the clock and at signals."""

PATIENCE_SECONDS = 60.0
"""How often a run without workers says that it waits for some."""


@dataclass(frozen=True)
class Update:
    """What a listener is told whenever something happened.

    ``elapsed`` counts the seconds of all sessions of the run; ``last`` is the evaluation that
    has just arrived, ``message`` a line for the user.
    """

    history: History
    running: tuple[Lease, ...]
    slots: int
    workers: int
    elapsed: float
    last: Evaluation | None = None
    message: str | None = None


Listener = Callable[[Update], None]


class Session:
    """Drives a coordinator to its end. ``elapsed`` is the time earlier sessions took (seconds)."""

    def __init__(
        self,
        coordinator: Coordinator,
        tuner: Tuner,
        executor: Executor,
        store: Store,
        listener: Listener,
        elapsed: float = 0.0,
    ) -> None:
        self._coordinator = coordinator
        self._tuner = tuner
        self._executor = executor
        self._store = store
        self._listener = listener
        self._began = executor.now() - elapsed
        self._reminded = executor.now()

    def run(self) -> str:
        """Run until the coordinator finishes; returns its reason, which is also in the store."""
        with _signals() as arrived:
            events: deque[Event] = deque()
            while True:
                events.extend(self._executor.wait(POLL_SECONDS))
                while arrived:
                    events.append(arrived.popleft())
                events.append(Tick())
                while events:
                    for instruction in self._coordinator.handle(
                        events.popleft(), self._executor.now()
                    ):
                        if isinstance(instruction, Finish):
                            return self._finish(instruction.reason)
                        self._carry_out(instruction)
                self._remind()

    def tell(self, message: str | None = None, last: Evaluation | None = None) -> None:
        """Let the listener know how things stand."""
        state = self._coordinator
        self._listener(
            Update(
                history=state.history,
                running=tuple(state.running.values()),
                slots=sum(state.slots.values()),
                workers=len(state.slots),
                elapsed=self._executor.now() - self._began,
                last=last,
                message=message,
            )
        )

    def _finish(self, reason: str) -> str:
        if reason == "exhausted":
            self.tell("every configuration of the search space has been tried")
        self._store.append(Closed(reason))
        return reason

    def _carry_out(self, instruction: Instruction) -> None:
        match instruction:
            case Commit(entry):
                self._store.append(entry)
                if isinstance(entry, Told):
                    self.tell(last=entry.evaluation)
                elif isinstance(entry, Retried):
                    error = entry.outcome.error
                    reason = "" if error is None else f": {error.message}"
                    self.tell(f"trial {entry.number} was lost and is tried again{reason}")
            case Propose(q):
                history = self._coordinator.history  # as of now, whatever arrives meanwhile
                self._executor.defer(lambda: Proposed(self._tuner.ask(history, q)))
            case Start(trial, attempt, worker):
                self._executor.start(trial, attempt, worker)
                self.tell()
            case Kill():
                self._executor.kill()

    def _remind(self) -> None:
        if self._coordinator.slots:
            self._reminded = self._executor.now()
        elif self._executor.now() - self._reminded >= PATIENCE_SECONDS:
            self._reminded = self._executor.now()
            self.tell("no worker is there; waiting for one to join")


@contextmanager
def _signals() -> Iterator[deque[Event]]:
    """Turn SIGINT and SIGTERM into events: first drain, then halt, then the usual interrupt."""
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
            arrived.append(Drain(name))
            logger.warning("%s: finishing the running trainings; again to stop them", name)
        elif count == 2:
            arrived.append(Halt(name))
        else:
            raise KeyboardInterrupt

    before = {s: signal.signal(s, handle) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield arrived
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
