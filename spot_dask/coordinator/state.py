"""The state of a run and its transitions."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

from spot_dask.coordinator.ledger import Ledger
from spot_dask.coordinator.messages import (
    Commit,
    Drain,
    Event,
    Finish,
    Finished,
    Halt,
    Instruction,
    Joined,
    Kill,
    Left,
    Propose,
    Proposed,
    Start,
    Tick,
)
from spot_dask.coordinator.pace import Pace
from spot_dask.coordinator.policy import Policy
from spot_dask.records import (
    Asked,
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
class Lease:
    """An attempt that runs on a worker since a moment in seconds."""

    trial: Trial
    attempt: int
    worker: str
    since: float


@dataclass(frozen=True)
class Question:
    """A proposal that is awaited: of q trials, from so many evaluations, since (seconds)."""

    q: int
    known: int
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
        self.slots: dict[str, int] = {}
        self.running: dict[int, Lease] = {}
        self.queue = deque((t, attempts.get(t.number, 0)) for t in history.pending)
        self.stopping: str | None = None
        self.finished = False
        self._ledger = Ledger(history)
        self._asking: Question | None = None
        self._pace = Pace()
        self._exhausted = False
        self._earlier = len(history.evaluations)
        self._busy: Counter[str] = Counter()
        self._deadline = math.inf if policy.seconds is None else now + policy.seconds

    @property
    def history(self) -> History:
        """Everything known about the study, as of now."""
        return self._ledger.history

    @property
    def free(self) -> int:
        """Number of slots in which nothing runs."""
        return sum(self.slots.values()) - len(self.running)

    def handle(self, event: Event, now: float) -> list[Instruction]:
        """Take in one event at time ``now`` (seconds); what is to be done about it, in order."""
        if self.finished:
            return []
        instructions = self._react(event, now)
        if isinstance(event, Halt):
            self.finished = True
            return [Kill(), Finish(event.reason)]
        self._check_limits(now)
        instructions += self._start_queued(now)
        if isinstance(event, Tick):
            instructions += self._propose(now)
        if self._is_over():
            self.finished = True
            instructions.append(Finish(self._reason()))
        return instructions

    def _react(self, event: Event, now: float) -> list[Instruction]:
        match event:
            case Joined(worker, slots):
                self.slots[worker] = slots
            case Left(worker):
                return self._worker_left(worker, now)
            case Finished(number, attempt, outcome):
                return self._attempt_finished(number, attempt, outcome, now)
            case Proposed(trials):
                return self._trials_proposed(trials, now)
            case Drain(reason):
                self.stopping = self.stopping or reason
        return []

    def _worker_left(self, worker: str, now: float) -> list[Instruction]:
        self.slots.pop(worker, None)
        lost = [lease for lease in self.running.values() if lease.worker == worker]
        error = Failure("WorkerLost", f"worker {worker} went away while the trial ran")
        outcome = Outcome(Status.LOST, worker=worker, error=error)
        return [
            instruction
            for lease in lost
            for instruction in self._attempt_finished(
                lease.trial.number, lease.attempt, outcome, now
            )
        ]

    def _attempt_finished(
        self, number: int, attempt: int, outcome: Outcome, now: float
    ) -> list[Instruction]:
        lease = self.running.get(number)
        if lease is None or lease.attempt != attempt:
            return []  # late result of an attempt given up long ago: the newer attempt counts
        del self.running[number]
        self._busy[lease.worker] -= 1
        if outcome.status is Status.LOST and attempt + 1 < self.policy.attempts:
            self.queue.appendleft((lease.trial, attempt + 1))
            return [Commit(Retried(number, attempt, outcome))]
        if outcome.status is not Status.LOST:
            self._pace.trained(now - lease.since)
        evaluation = Evaluation(lease.trial, outcome, attempt)
        self._ledger.tell(evaluation)
        return [Commit(Told(evaluation))]

    def _trials_proposed(self, trials: tuple[Trial, ...], now: float) -> list[Instruction]:
        question, self._asking = self._asking, None
        if question is None or self.stopping:
            return []
        self._pace.proposed(now - question.since)
        self._exhausted = len(trials) < question.q
        if not trials:
            return []
        self._ledger.ask(trials)
        self.queue.extend((trial, 0) for trial in trials)
        return [Commit(Asked(trials, question.known, question.q))]

    def _check_limits(self, now: float) -> None:
        if now >= self._deadline:
            self.stopping = self.stopping or "wall"
        fresh = self._ledger.told - self._earlier
        if fresh >= self.policy.give_up and not self._ledger.succeeded:
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

    def _propose(self, now: float) -> list[Instruction]:
        if self.stopping or self._exhausted or self._asking:
            return []
        if self.policy.sync and self._ledger.pending:
            return []
        q = int(min(self._wanted(), self._budget_left()))
        if q < 1:
            return []
        self._asking = Question(q, self._ledger.told, now)
        return [Propose(q)]

    def _wanted(self) -> int:
        """How many trials to ask for: those that free slots and slots soon to be free will take."""
        slots = sum(self.slots.values())
        if self.policy.sync:
            return self.policy.batch or slots if self.free else 0
        ahead = self._pace.ahead(slots) if self.policy.ahead else 0
        wanted = self.free + ahead - len(self.queue)
        return min(self.policy.batch or wanted, wanted)

    def _budget_left(self) -> float:
        if self.policy.evaluations is None:
            return math.inf
        return self.policy.evaluations - self._ledger.asked

    def _is_over(self) -> bool:
        if self.running:
            return False
        if self.stopping:
            return True
        ended = self._exhausted or self._budget_left() < 1
        return ended and not self.queue and not self._asking

    def _reason(self) -> str:
        return self.stopping or ("exhausted" if self._budget_left() >= 1 else "budget")

    def _free_slots(self, worker: str) -> int:
        return self.slots[worker] - self._busy[worker]
