"""One sitting of a run: the loop that drives the coordinator, where time passes.

The coordinator decides, the tuner proposes, the executor trains, the store remembers; this
module only carries instructions and events between them, in the order that makes nothing
acknowledged ever be lost: an entry is durable before anything that follows from it happens.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from spot_dask.coordinator import (
    Commit,
    Coordinator,
    Drain,
    Event,
    Finish,
    Finished,
    Halt,
    Instruction,
    Kill,
    Lease,
    Left,
    Propose,
    Proposed,
    Reported,
    Say,
    Start,
    Stop,
    StopEarly,
    Tick,
)
from spot_dask.errors import StoreFull
from spot_dask.executors import Executor
from spot_dask.executors.checkpoints import Folder
from spot_dask.incumbent import Incumbent
from spot_dask.model import Best
from spot_dask.records import STOP, Closed, Entry, Evaluation, History, Retried, Status, Told
from spot_dask.signals import Ending, as_events
from spot_dask.store import Store
from spot_dask.tuner import Tuner

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5
"""How long the loop may sleep before it looks at the clock and at signals."""

REQUEST_SECONDS = 2.0
"""How often the store is asked whether somebody wants the run to stop."""

RETRY_SECONDS = 2.0
"""How often a run that waits for space on its disk tries again."""

PATIENCE_SECONDS = 60.0
"""How often a run without workers says that it waits for some."""

QUIET_SECONDS = 5.0
"""How often a listener is told how things stand while nothing happens."""


@dataclass(frozen=True)
class Update:
    """What a listener is told whenever something happened, and now and then if nothing does.

    ``best`` is the recommendation, a few seconds old perhaps; ``elapsed`` counts the seconds of all
    sessions of the run, ``now`` is the executor's clock. ``stopping`` tells why nothing more is
    started; ``last`` is the evaluation that has just arrived, ``message`` a line for the user.
    """

    history: History
    best: Best | None
    running: tuple[Lease, ...]
    slots: int
    workers: int
    elapsed: float
    now: float
    stopping: str | None = None
    last: Evaluation | None = None
    message: str | None = None


Listener = Callable[[Update], None]


class Session:
    """Drives a coordinator to its end. ``elapsed`` is the time earlier sessions took (seconds).

    Without a listener messages are logged.
    """

    def __init__(
        self,
        coordinator: Coordinator,
        tuner: Tuner,
        executor: Executor,
        store: Store,
        listener: Listener | None = None,
        elapsed: float = 0.0,
        ending: Ending | None = None,
        checkpoints: Folder | None = None,
    ) -> None:
        self._coordinator = coordinator
        self._tuner = tuner
        self._executor = executor
        self._store = store
        self._listener = listener
        self._checkpoints = checkpoints
        self._incumbent = Incumbent(tuner)
        self._proposing = False
        self._signals: deque[Event] = deque()
        self._began = executor.now() - elapsed
        self._ending = ending or Ending()
        self._reminded = self._looked = self._told = executor.now()
        self._ended: str | None = None  # why the coordinator has finished
        self._news = False  # something has happened that the listener was not told yet

    def run(self) -> str:
        """Run until the coordinator finishes; returns its reason, which is also in the store."""
        with as_events(self._ending) as self._signals:
            self._executor.listen(self._hear)
            while True:
                self._handle(self._arrived())
                if self._ended is not None:
                    return self._finish(self._ended)
                self._tell_news()
                self._remind()

    def _handle(self, events: Sequence[Event]) -> None:
        self._news = self._news or any(isinstance(event, Reported) for event in events)
        instructions = [
            instruction
            for event in events
            for instruction in self._coordinator.handle(event, self._executor.now())
        ]
        # At once, and first: nothing may follow from what is not durable.
        self._commit([i.entry for i in instructions if isinstance(i, Commit)])
        for instruction in instructions:
            self._carry_out(instruction)

    def _hear(self, event: Event) -> None:
        """Something happens while we wait, in this very thread."""
        self._handle([event])
        self._tell_news()

    def tell(self, message: str | None = None, last: Evaluation | None = None) -> None:
        """Let the listener know how things stand."""
        now, state = self._executor.now(), self._coordinator
        if self._listener is None:
            if message is not None:
                logger.info(message)
            return
        self._news, self._told = False, now
        self._listener(
            Update(
                history=state.history,
                best=self._incumbent.of(state.history),
                running=tuple(state.running.values()),
                slots=state.fleet.slots,
                workers=len(state.fleet),
                elapsed=now - self._began,
                now=now,
                stopping=state.stopping,
                last=last,
                message=message,
            )
        )

    def _arrived(self) -> list[Event]:
        """What has happened, in order; waits for a moment if nothing has."""
        arrived = self._executor.wait(POLL_SECONDS)
        events = [e for event in arrived for e in (*self._unheard(event), event)]
        while self._signals:
            events.append(self._signals.popleft())
        if self._stop_is_requested():
            events.append(Drain(STOP))
        return [*events, Tick()]

    def _unheard(self, event: Event) -> list[Event]:
        """The ends, left in the store, of trainings that the event would have run again."""
        running = self._coordinator.running
        leases: list[Lease] = []
        match event:
            case Left(worker):
                leases = [lease for lease in running.values() if lease.worker == worker]
            case Finished(number, _, outcome) if outcome.status is Status.LOST:
                leases = [lease for n, lease in running.items() if n == number]
        found = [(lease, self._store.left(lease.trial.number, lease.attempt)) for lease in leases]
        return [
            Finished(lease.trial.number, lease.attempt, replace(outcome, worker=lease.worker))
            for lease, outcome in found
            if outcome is not None
        ]

    def _tell_news(self) -> None:
        """Let a listener know of what has no line of its own, and that we are still there."""
        if self._listener is None:
            return
        self._look()
        if self._news or self._executor.now() - self._told >= QUIET_SECONDS:
            self.tell()

    def _look(self) -> None:
        """Have the recommendation made anew, beside the trainings and not beside a proposal."""
        history = self._coordinator.history
        if self._proposing or not self._incumbent.is_due(history):
            return
        self._incumbent.begin()

        def look() -> Event:
            self._incumbent.look(history)
            self._news = True
            return Tick()

        self._executor.defer(look)

    def _stop_is_requested(self) -> bool:
        now = self._executor.now()
        if self._coordinator.stopping or now - self._looked < REQUEST_SECONDS:
            return False
        self._looked = now
        return self._store.stop_requested

    def _finish(self, reason: str) -> str:
        if reason == "exhausted":
            self.tell("every configuration of the search space has been tried")
        self._commit([Closed(reason)])
        return reason

    def _carry_out(self, instruction: Instruction) -> None:
        match instruction:
            case Commit(entry):
                self._announce(entry)
            case Propose(q):
                self._propose(q)
            case Say(message):
                self.tell(message)
            case Finish(reason):
                self._ended = reason
            case Start() | Stop() | StopEarly() | Kill():
                self._have_done(instruction)

    def _have_done(self, instruction: Start | Stop | StopEarly | Kill) -> None:
        """Hand what the executor is to do to it."""
        match instruction:
            case Start(trial, attempt, worker):
                self._executor.start(trial, attempt, worker)
                self._news = True
            case Stop(number, attempt, worker):
                self._executor.stop(number, attempt, worker)
            case StopEarly(number, attempt, worker):
                self._executor.stop_early(number, attempt, worker)
            case Kill():
                self._executor.kill()

    def _propose(self, q: int) -> None:
        history = self._coordinator.history  # as of now, whatever arrives meanwhile
        self._proposing = True

        def propose() -> Event:
            try:
                return Proposed(self._tuner.ask(history, q))
            finally:
                self._proposing = False

        self._executor.defer(propose)

    def _announce(self, entry: Entry) -> None:
        if isinstance(entry, Told):
            if self._checkpoints is not None:
                self._checkpoints.discard(entry.evaluation.trial.number)
            self.tell(last=entry.evaluation)
        elif isinstance(entry, Retried):
            error = entry.outcome.error
            reason = "" if error is None else f": {error.message}"
            self.tell(f"trial {entry.number} is tried again ({entry.outcome.status}){reason}")

    def _commit(self, entries: Sequence[Entry]) -> None:
        """Make the entries durable; while the disk is full, wait, and start nothing.

        Trainings go on meanwhile. Who stops the run twice gives the entries up: their trials stay
        pending. Raises StoreFull then, StoreError where the store cannot be written at all.
        """
        full = False
        while entries:
            try:
                self._store.commit(entries)
            except StoreFull as error:
                if any(isinstance(event, Halt) for event in self._signals):
                    raise
                if not full:
                    self.tell(f"{error}; the run waits for space, nothing is lost")
                full = True
                time.sleep(RETRY_SECONDS)
                continue
            if full:
                self.tell("there is space again; the run goes on")
            return

    def _remind(self) -> None:
        if self._coordinator.fleet.slots:
            self._reminded = self._executor.now()
        elif self._executor.now() - self._reminded >= PATIENCE_SECONDS:
            self._reminded = self._executor.now()
            self.tell("no worker is there; waiting for one to join")
