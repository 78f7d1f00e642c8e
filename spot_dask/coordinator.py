"""The coordinator: a state machine that decides what happens next in a run.

Events go in, instructions come out; it does no I/O and has no clock (every event is handled at a
``now`` given in seconds), so the same code runs against a real cluster, a simulated one and a
scripted test. Whoever drives it must carry out the instructions of one event, in order, before
it hands in the next event: a ``Commit`` therefore is durable before anything that follows from
it, and a trial is in the journal before it is dispatched.

====================  ==========================================================================
event                 meaning
====================  ==========================================================================
``Joined, Left``      a worker offers slots; a worker is gone with all that ran on it
``Finished``          an attempt ended, in whatever way
``Proposed``          the answer to ``Propose``; fewer trials than asked: the space is exhausted
``Drain, Halt``       finish what runs and stop; stop at once, leaving trials pending
``Tick``              nothing happened; handed in after the other events, it triggers proposals
====================  ==========================================================================
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

from spot_dask.records import (
    Asked,
    Entry,
    Evaluation,
    Failure,
    History,
    Outcome,
    Retried,
    Status,
    Told,
    Trial,
)


@dataclass(frozen=True)
class Joined:
    """A worker offers ``slots`` slots; a worker known already has changed its number of slots."""

    worker: str
    slots: int


@dataclass(frozen=True)
class Left:
    """A worker is gone, and with it every attempt that ran there."""

    worker: str


@dataclass(frozen=True)
class Finished:
    """An attempt at a trial ended; status LOST means through no fault of the training."""

    number: int
    attempt: int
    outcome: Outcome


@dataclass(frozen=True)
class Proposed:
    """New trials, in answer to ``Propose``."""

    trials: tuple[Trial, ...]


@dataclass(frozen=True)
class Drain:
    """Propose and start nothing more; finish what runs, then stop."""

    reason: str


@dataclass(frozen=True)
class Halt:
    """Stop at once; what runs is killed and stays pending for the next session."""

    reason: str


@dataclass(frozen=True)
class Tick:
    """All events so far are handled: propose if there is room."""


Event = Joined | Left | Finished | Proposed | Drain | Halt | Tick


@dataclass(frozen=True)
class Propose:
    """Ask the tuner for q trials, given the coordinator's present history."""

    q: int


@dataclass(frozen=True)
class Commit:
    """Make this entry durable in the store."""

    entry: Entry


@dataclass(frozen=True)
class Start:
    """Start an attempt at a trial on a worker."""

    trial: Trial
    attempt: int
    worker: str


@dataclass(frozen=True)
class Kill:
    """Stop every running training."""


@dataclass(frozen=True)
class Finish:
    """The run is over; the reasons are listed at ``Coordinator``."""

    reason: str


Instruction = Propose | Commit | Start | Kill | Finish


@dataclass(frozen=True)
class Policy:
    """How a run is conducted.

    ``evaluations`` counts all evaluations of the study, failed ones and those of earlier
    sessions included; ``seconds`` is the wall time left for this session. ``batch`` is the batch
    size q: at most q trials are proposed together, and ``sync`` runs wait for all of a batch
    before the next (None: as many as there are free slots). A trial whose worker is lost is
    attempted ``attempts`` times; a session that adds ``give_up`` failures to a run without any
    success is stopped.
    """

    evaluations: int | None = None
    seconds: float | None = None
    batch: int | None = None
    sync: bool = False
    attempts: int = 3
    give_up: int = 10

    def __post_init__(self) -> None:
        for name in ("evaluations", "batch", "attempts", "give_up"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; expected at least 1")
        if self.seconds is not None and not self.seconds >= 0:
            raise ValueError(f"seconds is {self.seconds}; expected a non-negative number")


@dataclass(frozen=True)
class Lease:
    """An attempt that runs on a worker since a moment in seconds."""

    trial: Trial
    attempt: int
    worker: str
    since: float


class Coordinator:
    """The state of a run. ``handle`` is its only mutator.

    ``attempts[number]`` is the attempt to be made next at a pending trial of ``history``. The
    reasons it finishes for: "budget" (evaluations used up), "wall" (time used up), "exhausted"
    (every configuration was tried), "failing" (nothing but failures), or the reason of the
    ``Drain`` or ``Halt`` it was given.
    """

    def __init__(
        self, policy: Policy, history: History, attempts: Mapping[int, int], now: float
    ) -> None:
        self.policy = policy
        self.history = history
        self.slots: dict[str, int] = {}
        self.running: dict[int, Lease] = {}
        self.queue = deque((t, attempts.get(t.number, 0)) for t in history.pending)
        self.stopping: str | None = None
        self.finished = False
        self._wanted = 0  # trials asked of the tuner and not yet proposed
        self._exhausted = False
        self._earlier = len(history.evaluations)
        self._busy: Counter[str] = Counter()
        self._deadline = math.inf if policy.seconds is None else now + policy.seconds

    @property
    def free(self) -> int:
        """Number of slots in which nothing runs."""
        return sum(self.slots.values()) - len(self.running)

    def handle(self, event: Event, now: float) -> list[Instruction]:
        """Take in one event at time ``now`` (seconds); what is to be done about it, in order."""
        if self.finished:
            return []
        instructions = self._react(event)
        if isinstance(event, Halt):
            self.finished = True
            return [Kill(), Finish(event.reason)]
        self._check_limits(now)
        instructions += self._start_queued(now)
        if isinstance(event, Tick):
            instructions += self._propose()
        if self._is_over():
            self.finished = True
            instructions.append(Finish(self._reason()))
        return instructions

    def _react(self, event: Event) -> list[Instruction]:
        match event:
            case Joined(worker, slots):
                self.slots[worker] = slots
            case Left(worker):
                return self._worker_left(worker)
            case Finished(number, attempt, outcome):
                return self._attempt_finished(number, attempt, outcome)
            case Proposed(trials):
                return self._trials_proposed(trials)
            case Drain(reason):
                self.stopping = self.stopping or reason
        return []

    def _worker_left(self, worker: str) -> list[Instruction]:
        self.slots.pop(worker, None)
        lost = [lease for lease in self.running.values() if lease.worker == worker]
        error = Failure("WorkerLost", f"worker {worker} went away while the trial ran")
        outcome = Outcome(Status.LOST, worker=worker, error=error)
        return [
            instruction
            for lease in lost
            for instruction in self._attempt_finished(lease.trial.number, lease.attempt, outcome)
        ]

    def _attempt_finished(self, number: int, attempt: int, outcome: Outcome) -> list[Instruction]:
        lease = self.running.get(number)
        if lease is None or lease.attempt != attempt:
            return []  # late result of an attempt given up long ago: the newer attempt counts
        del self.running[number]
        self._busy[lease.worker] -= 1
        if outcome.status is Status.LOST and attempt + 1 < self.policy.attempts:
            self.queue.appendleft((lease.trial, attempt + 1))
            return [Commit(Retried(number, attempt, outcome))]
        evaluation = Evaluation(lease.trial, outcome, attempt)
        self.history = self.history.tell(evaluation)
        return [Commit(Told(evaluation))]

    def _trials_proposed(self, trials: tuple[Trial, ...]) -> list[Instruction]:
        self._exhausted = len(trials) < self._wanted
        self._wanted = 0
        if not trials:
            return []
        self.history = self.history.ask(trials)
        self.queue.extend((trial, 0) for trial in trials)
        return [Commit(Asked(trials))]

    def _check_limits(self, now: float) -> None:
        evaluations = self.history.evaluations
        if now >= self._deadline:
            self.stopping = self.stopping or "wall"
        fresh = len(evaluations) - self._earlier
        if fresh >= self.policy.give_up and not any(e.ok for e in evaluations):
            self.stopping = self.stopping or "failing"

    def _start_queued(self, now: float) -> list[Instruction]:
        started: list[Instruction] = []
        while self.queue and self.stopping is None and self.free > 0:
            # The emptiest worker first, so that trials spread over machines.
            worker = max(sorted(self.slots), key=self._free_slots)
            trial, attempt = self.queue.popleft()
            self.running[trial.number] = Lease(trial, attempt, worker, now)
            self._busy[worker] += 1
            started.append(Start(trial, attempt, worker))
        return started

    def _propose(self) -> list[Instruction]:
        if self.stopping or self._exhausted or self._wanted or self.queue or not self.free:
            return []
        if self.policy.sync and self.history.pending:
            return []
        q = min(self._batch(), self._budget_left())
        if q < 1:
            return []
        self._wanted = int(q)
        return [Propose(int(q))]

    def _batch(self) -> int:
        if self.policy.sync:
            return self.policy.batch or sum(self.slots.values())
        return min(self.policy.batch or self.free, self.free)

    def _budget_left(self) -> float:
        if self.policy.evaluations is None:
            return math.inf
        return self.policy.evaluations - self.history.asked

    def _is_over(self) -> bool:
        if self.running or self._wanted:
            return False
        if self.stopping:
            return True
        return not self.queue and (self._exhausted or self._budget_left() < 1)

    def _reason(self) -> str:
        return self.stopping or ("exhausted" if self._budget_left() >= 1 else "budget")

    def _free_slots(self, worker: str) -> int:
        return self.slots[worker] - self._busy[worker]
