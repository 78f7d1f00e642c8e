"""A session of a run: the loop that drives the coordinator, where time passes.

The coordinator decides, the tuner proposes, the executor trains, the store remembers; the loop
carries instructions and events between them. It makes every entry durable before anything that
follows from it happens, so that nothing acknowledged is ever lost.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import FrameType

from spot_dask import endings
from spot_dask.constraints import missing, parsed
from spot_dask.coordinator import (
    Commit,
    Detach,
    Drain,
    Event,
    Finish,
    Finished,
    Halt,
    Instruction,
    Kill,
    Lease,
    Left,
    Paused,
    Propose,
    Proposed,
    Ranged,
    Reported,
    Say,
    Start,
    Stop,
    StopEarly,
    Tick,
    Wished,
)
from spot_dask.coordinator.state import Coordinator
from spot_dask.errors import StoreError, StoreFull
from spot_dask.executors import Executor
from spot_dask.executors.artifacts import ArtifactFolder
from spot_dask.executors.checkpoints import Folder
from spot_dask.progress import Update, Watcher
from spot_dask.records import (
    PAUSED,
    STOP,
    Asked,
    Changed,
    Closed,
    Entry,
    Evaluation,
    History,
    Retried,
    Stage,
    Status,
    Told,
    Wish,
)
from spot_dask.store import Store
from spot_dask.tuner import Tuner
from spot_dask.tuner.folds import table_of
from spot_dask.tuner.limited import rank
from spot_dask.tuner.model import Best
from spot_dask.tuner.ranges import changed, holds, hull_of

logger = logging.getLogger(__name__)

SHORTLIST = 5
"""Of how many configurations artifacts are kept, by surrogate and by observed values: as more is
learnt, the recommendation goes from one to another of them."""

POLL_SECONDS = 0.5
"""How long the loop may sleep before it looks at the clock and at signals."""

REQUEST_SECONDS = 2.0
"""How often the store is asked whether somebody wants something of the run."""

RETRY_SECONDS = 2.0
"""How often a run that waits for space on its disk tries again."""

PATIENCE_SECONDS = 60.0
"""How often a run without workers says that it waits for some."""

SHARE = 0.02
"""The share of one core that may be spent on surrogates that are fitted only to be shown."""

PAUSE_SECONDS = 2.0
"""The least time between two such surrogates."""

QUIET_SECONDS = 5.0
"""How often a watcher is told how things stand while nothing happens."""


class Session:
    """Drives a coordinator to its end. ``elapsed`` is the time earlier sessions took (seconds).

    Without a watcher messages are logged. ``heard`` is told entries as soon as they are durable.
    """

    def __init__(
        self,
        coordinator: Coordinator,
        tuner: Tuner,
        executor: Executor,
        store: Store,
        watcher: Watcher | None = None,
        elapsed: float = 0.0,
        ending: Ending | None = None,
        checkpoints: Folder | None = None,
        heard: Callable[[Sequence[Entry]], None] | None = None,
        artifacts: ArtifactFolder | None = None,
        keep: str | None = None,
    ) -> None:
        self._coordinator = coordinator
        self._tuner = tuner
        self._executor = executor
        self._store = store
        self._watcher = watcher
        self._checkpoints = checkpoints
        self._heard = heard
        self._artifacts, self._keep = artifacts, keep
        self._incumbent = Incumbent(tuner)
        self._proposing = False
        self._signals: deque[Event] = deque()
        self._began = executor.now() - elapsed
        self._paused_since = 0.0
        self._ending = ending or Ending()
        self._reminded = self._told = executor.now()
        self._looked = -math.inf
        self._wishes: tuple[Wish, ...] = ()
        self._ended: str | None = None  # why the coordinator has finished
        self._unknown: set[str] = set()  # metrics of which it was said that they are missing
        self._news = False  # something has happened that the watcher was not told yet
        self._refused: Sequence[Entry] = ()  # what the store did not take

    def run(self) -> str:
        """Run until the coordinator finishes; returns its reason, which is also in the store."""
        with as_events(self._ending) as self._signals:
            self._executor.listen(self._hear)
            self._clear_artifacts()  # what a killed coordinator had no time to remove
            while True:
                self._handle(self._arrived())
                if self._ended is not None:
                    break
                self._tell_news()
            if self._ended == "exhausted":
                self.tell("every configuration of the search space has been tried")
            self._commit([Closed(self._ended, self._coordinator.broken or "")])
            if self._tuner.constraints:
                self._incumbent.look(self._coordinator.history)
                best = self._incumbent.of(self._coordinator.history)
                if best is not None and not best.feasible:
                    self.tell(best.limits)
            return self._ended

    def unstored(self) -> list[Entry]:
        """What the store did not take, and what trainings have told since that ended meanwhile."""
        entries, state = list(self._refused), self._coordinator
        for event in self._executor.wait(0.0) if self._executor.concurrent else ():
            found = state.handle(event, self._executor.now())
            entries += [i.entry for i in found if isinstance(i, Commit)]
        return entries

    def tell(self, message: str | None = None, last: Evaluation | None = None) -> None:
        """Let the watcher know how things stand."""
        now, state = self._executor.now(), self._coordinator
        if self._watcher is None:
            if message is not None:
                logger.info(message)
            return
        self._news, self._told = False, now
        self._watcher(
            Update(
                history=state.history,
                best=self._incumbent.of(state.history),
                running=tuple(state.running.values()),
                slots=state.fleet.slots,
                workers=len(state.fleet),
                elapsed=(self._paused_since if state.paused else now) - self._began,
                now=now,
                stopping=state.stopping,
                paused=state.paused,
                last=last,
                message=message,
            )
        )

    # ------------------------------------------------------------ events

    def _arrived(self) -> list[Event]:
        """What has happened, in order; waits for a moment if nothing has."""
        arrived = self._executor.wait(POLL_SECONDS)
        events = [*self._requests()]  # first: nothing must start in a run that is paused
        events += [e for event in arrived for e in (*self._unheard(event), event)]
        while self._signals:
            events.append(self._signals.popleft())
        return [*events, Tick()]

    def _requests(self) -> Iterator[Event]:
        """What somebody wants of the run, through its store, that the coordinator does not know."""
        now, state = self._executor.now(), self._coordinator
        if state.stopping or now - self._looked < REQUEST_SECONDS:
            return
        self._looked = now
        if self._store.stop_requested:
            yield Drain(STOP)
        if (paused := self._store.paused) != state.paused:
            self._commit([Changed({PAUSED: paused})])
            if not paused:
                self._began += now - self._paused_since
            self._paused_since = now
            yield Paused(paused)
            rest = "no training begins until `spot-dask unpause`; what runs goes on"
            self.tell(f"paused: {rest}" if paused else "the run goes on")
        if not state.asks:  # what is proposed is recorded under the ranges it was proposed from
            for wish in self._store.range_wishes():
                yield from self._changed(wish)
        if (wishes := tuple(self._store.wishes())) or self._wishes:
            self._wishes = tuple(wish for wish in wishes if not self._is_known(wish))
            yield Wished(tuple(wish.config for wish in self._wishes))

    def _changed(self, wish: Wish) -> Iterator[Event]:
        """Search other ranges from now on, once the journal says so."""
        tuner, ranges = self._tuner, {k: str(v) for k, v in wish.config.items()}
        before, changes = tuner.within or tuner.space, list[str]()
        try:
            box = changed(before, tuner.space, ranges)
            hull = hull_of(tuner.space, box)
            changes = box.difference(before)
        except ValueError as error:
            self.tell(f"the ranges stay as they are: {error}")
        if changes:
            told = {"within": box, "before": before, "hull": hull}
            entry = Changed({"ranges": {k: space.to_json() for k, space in told.items()}})
            self._commit([entry])
            stopping = tuner.stopping and replace(tuner.stopping, space=hull, within=box)
            self._tuner = replace(tuner, space=hull, within=box, stopping=stopping)
            self._incumbent = Incumbent(self._tuner)
            self.tell(
                f"other ranges from now on: {', '.join(f'{k} {v}' for k, v in ranges.items())}"
            )
            yield Ranged(hull)
        self._store.grant(wish)

    def _is_known(self, wish: Wish) -> bool:
        """Whether the journal has what is wished for; then it is no wish any more."""
        history, config = self._coordinator.history, dict(wish.config)
        asked = [e.trial for e in history.evaluations] + list(history.pending)
        number = next((t.number for t in asked if dict(t.config) == config), None)
        if number is None:
            return False
        self.tell(f"trial {number} has the configuration that was asked for already")
        self._store.grant(wish)
        return True

    def _unheard(self, event: Event) -> list[Event]:
        """The outcomes in the store's inbox for trials that this event would otherwise restart."""
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

    def _hear(self, event: Event) -> None:
        """Handle an event of the executor's own thread, which is this one, while it waits."""
        self._handle([event])
        self._tell_news()

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

    def _tell_news(self) -> None:
        """Let the watcher know of what has no message of its own, and that the run goes on."""
        now = self._executor.now()
        if self._coordinator.fleet.slots:
            self._reminded = now
        elif now - self._reminded >= PATIENCE_SECONDS:
            self._reminded = now
            none = "no worker is there; waiting for one to join (its own log says why it does not)"
            unfit = "no worker that is there can train now; waiting for one that can"
            self.tell(unfit if len(self._coordinator.fleet) else none)
        if self._watcher is None and self._artifacts is None:
            return
        history = self._coordinator.history
        # Looked for beside the trainings, but not beside a proposal.
        if not self._proposing and self._incumbent.begin(history):

            def look() -> Event:
                self._incumbent.look(history)
                self._news = True
                return Tick()

            self._executor.defer(look)
        if self._news or now - self._told >= QUIET_SECONDS:
            self.tell()

    # ------------------------------------------------------------ instructions

    def _carry_out(self, instruction: Instruction) -> None:
        match instruction:
            case Commit(entry):
                self._announce(entry)
            case Propose(q, stage):
                self._propose(q, stage)
            case Start(trial, attempt, worker):
                self._executor.start(trial, attempt, worker)
                self._news = True
            case Stop(number, attempt, worker):
                self._executor.stop(number, attempt, worker)
            case StopEarly(number, attempt, worker):
                self._executor.stop_early(number, attempt, worker)
            case Kill():
                self._executor.kill()
            case Say(message):
                self.tell(message)
            case Finish(reason):
                self._ended = reason

    def _announce(self, entry: Entry) -> None:
        if isinstance(entry, Told):
            if self._checkpoints is not None:
                self._checkpoints.discard(entry.evaluation.trial.number)
            self._clear_artifacts()
            self.tell(last=entry.evaluation)
            self._tell_unknown(entry.evaluation)
        elif isinstance(entry, Retried):
            error = entry.outcome.error
            reason = "" if error is None else f": {error.message}"
            self.tell(f"trial {entry.number} is tried again ({entry.outcome.status}){reason}")
        elif isinstance(entry, Asked) and entry.stage is not None and entry.stage.kind == "try":
            for trial in entry.trials:
                self.tell(f"trial {trial.number} is what was asked for by hand")
            asked = [dict(trial.config) for trial in entry.trials]
            for wish in self._wishes:
                if dict(wish.config) in asked:
                    self._store.grant(wish)
            self._wishes = tuple(w for w in self._wishes if dict(w.config) not in asked)

    def _clear_artifacts(self) -> None:
        """Remove artifacts that are not to be kept, of evaluations that are all in the store.

        Where the best's are kept, those of every training of the configurations that come first by
        the surrogate, as of the last look, or by their observed values, and of those that lack some
        of several folds; all, until the first look.
        """
        if self._artifacts is None:
            return
        history = self._coordinator.history
        kept = None
        if self._keep == "best" and self._incumbent.ranked:
            seen = self._tuner.ranked(history.searched, None)[:SHORTLIST]
            configs = [best.config for best in (*seen, *self._incumbent.ranked)]
            if self._tuner.folds.several:
                configs += table_of(self._tuner.folds, history).undecided()
            kept = {e.trial.number for e in history.ok if e.trial.config in configs}
        self._artifacts.settle(history, kept)

    def _tell_unknown(self, evaluation: Evaluation) -> None:
        """Say, once of each, which constrained metrics a training does not report."""
        outcome = evaluation.outcome
        limits = parsed(self._tuner.constraints) if outcome.ok else ()
        for name in missing(limits, outcome.metrics):
            if name not in self._unknown:
                self._unknown.add(name)
                there = ", ".join(n for n in outcome.metrics if n != name) or "none"
                said = f"trial {evaluation.trial.number} reports no {name}, which is constrained"
                self.tell(f"{said} (there are {there}): such a training fulfils no limit of it")

    def _propose(self, q: int, stage: Stage | None) -> None:
        history = self._coordinator.history  # as of now, whatever arrives meanwhile
        self._proposing = True

        def propose() -> Event:
            try:
                trials = self._tuner.ask(history, q, stage)
                enough = None if trials or stage else self._tuner.enough(history)
                return Proposed(trials, None if enough is None else str(enough))
            finally:
                self._proposing = False

        self._executor.defer(propose)

    def _commit(self, entries: Sequence[Entry]) -> None:
        """Make the entries durable; while the disk is full, wait, and start nothing.

        Trainings go on meanwhile. Stopping the run twice gives the entries up: their trials stay
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
            except StoreError:
                self._refused = entries
                raise
            if full:
                self.tell("there is space again; the run goes on")
            if self._heard is not None:
                self._heard(entries)
            return


class Incumbent:
    """The tuner's recommendation as of the last look; a look fits the surrogate anew."""

    def __init__(self, tuner: Tuner) -> None:
        self._tuner = tuner
        self.ranked: list[Best] = []  # what comes first
        self._best: Best | None = None
        self._known = 0  # evaluations at the last look
        self._looking = False
        self._next = 0.0  # when the next look may begin

    def begin(self, history: History) -> bool:
        """Whether to ``look`` now: there is something new, and the last look was long ago.

        It is False from then on until that look, perhaps in another thread, has ended.
        """
        if self._looking or time.monotonic() < self._next:
            return False
        self._looking = len(history.evaluations) > self._known
        return self._looking

    def look(self, history: History) -> None:
        """Make the recommendation from this history."""
        began = time.monotonic()
        self.ranked = self._tuner.ranked(history.searched, self._tuner.model(history))[:SHORTLIST]
        self._best = self.ranked[0] if self.ranked else None
        seconds = time.monotonic() - began
        self._known = len(history.evaluations)
        self._next = began + max(PAUSE_SECONDS, seconds / SHARE)
        self._looking = False

    def of(self, history: History) -> Best | None:
        """The recommendation, or what was observed since the last look and is better."""
        later = history.evaluations[self._known :]
        box = self._tuner.within
        found = self._tuner.seen(
            [
                e
                for e in later
                if e.ok and not e.trial.confirms and (box is None or holds(box, e.trial.config))
            ],
            history,
        )
        if self._best is not None:
            found.append(self._best)
        return min(found, key=lambda best: rank(best, best.expected), default=None)


@dataclass(frozen=True)
class Ending:
    """What becomes of running trainings after the first signal.

    They are finished, but after SIGTERM and SIGHUP within ``grace`` seconds, because SIGKILL may
    follow SIGTERM, and nobody can press Ctrl-C any more in a terminal that was closed. Or,
    with ``detach``, they are left to the next session of the run.
    """

    grace: float = math.inf
    detach: bool = False

    def event(self, name: str) -> Event:
        """What the first signal, of this name, asks of the coordinator."""
        if self.detach:
            return Detach(name)
        return Drain(name, math.inf if name == "SIGINT" else self.grace)


@contextmanager
def as_events(ending: Ending) -> Iterator[deque[Event]]:
    """A queue that signals which end us are put in as events; empty but in the main thread.

    The first signal ends the run gently, the second at once, the third exits.
    """
    arrived: deque[Event] = deque()
    if threading.current_thread() is not threading.main_thread():
        yield arrived
        return
    count = 0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal count
        count += 1
        name = signal.Signals(number).name
        if number == signal.SIGHUP:
            endings.forget_terminal()
        if count == 1:
            arrived.append(ending.event(name))
            what = "leaving" if ending.detach else "finishing"
            logger.warning("%s: %s the running trainings; again to stop them", name, what)
        elif count == 2:
            arrived.append(Halt(name))
            logger.warning("%s: stopping the running trainings; again to exit at once", name)
        else:
            os._exit(128 + number)

    # A run in the background of a script is interrupted all the same, by whoever knows its number.
    before = {s: signal.signal(s, handle) for s in {signal.SIGINT, *endings.heeded()}}
    try:
        yield arrived
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
