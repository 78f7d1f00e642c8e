"""The state of a run and its transitions."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace

from spot_dask.coordinator.curves import Courses
from spot_dask.coordinator.fleet import Attempt, Fleet
from spot_dask.coordinator.messages import (
    Attached,
    Beat,
    Commit,
    Detach,
    Drain,
    Event,
    Finish,
    Finished,
    Halt,
    Instruction,
    Joined,
    Kill,
    Lease,
    Left,
    Policy,
    Propose,
    Proposed,
    Reported,
    Say,
    Start,
    Stop,
    StopEarly,
    Tick,
)
from spot_dask.fold import Fold
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

TOLERATED = 0.01
"""The share of a training's duration for which its slot may have waited for a proposal."""

BUSY = 0.05
"""The share of the time in which proposals, one for each training, may be computed."""

STALE = 0.05
"""The part of the slots for which trials may be ready so that there are fewer proposals."""

_WEIGHT = 0.2
"""Of the newest duration in the smoothed one."""


class Coordinator:
    """The state of a run. ``handle`` is its only mutator.

    ``past`` is what earlier sessions have recorded; it is copied.
    The reasons it finishes for: "budget" (evaluations used up), "wall" (time used up),
    "exhausted" (every configuration was tried), "failing" (nothing but failures), or the reason
    of the ``Drain``, ``Halt`` or ``Detach`` it was given.
    """

    def __init__(
        self,
        policy: Policy,
        past: Fold,
        now: float,
    ) -> None:
        self.policy = policy
        self.fleet = Fleet()
        self.running: dict[int, Lease] = {}
        self.stopping: str | None = None
        self.finished = False
        self._fold = past.copy()  # and what was decided since
        history = past.history
        self._courses = Courses(policy.objective, history.evaluations)
        self._queue: deque[Trial] = deque()
        self._alone: deque[Trial] = deque()  # to be tried with a worker for themselves
        for trial in history.pending:
            self._enqueue(trial)
        self._asking: Question | None = None
        self._pace = Pace()
        self._exhausted = False
        self._earlier = self._fold.told
        self._deadline = math.inf if policy.seconds is None else now + policy.seconds
        self._grace_ends = math.inf
        self._ended: set[Attempt] = set()
        self._heard: dict[int, float] = {}  # of a running trial: when we last heard of it
        self._last = self._looked = now

    @property
    def history(self) -> History:
        """Everything known about the study, as of now."""
        return self._fold.history

    def handle(self, event: Event, now: float) -> list[Instruction]:
        """Take in one event at time ``now`` (seconds); what is to be done about it, in order."""
        if self.finished:
            return []
        instructions = self._react(event, now) + self._check_leases(now)
        self._check_limits(now)
        self.fleet.release(now)
        if isinstance(event, Halt) or now >= self._grace_ends:
            instructions.append(Kill())
            self.running.clear()
            self._heard.clear()
        instructions += self._start_queued(now)
        if isinstance(event, Tick):
            instructions += self._propose(now)
        if isinstance(event, Detach) or self._is_over():
            self.finished = True
            instructions.append(Finish(self._reason()))
        return instructions

    def _react(self, event: Event, now: float) -> list[Instruction]:
        match event:
            case Finished(number, attempt, outcome):
                return self._attempt_finished(number, attempt, outcome, now)
            case Reported():
                return self._take_report(event, now)
            case Proposed(trials):
                return self._trials_proposed(trials, now)
            case Joined() | Left() | Attached() | Beat():
                return self._react_to_worker(event, now)
            case Drain(reason, grace):
                self.stopping = self.stopping or reason
                self._grace_ends = min(self._grace_ends, now + grace)
            case Halt(reason) | Detach(reason):
                self.stopping = self.stopping or reason
        return []

    def _react_to_worker(
        self, event: Joined | Left | Attached | Beat, now: float
    ) -> list[Instruction]:
        match event:
            case Joined(worker, slots, host):
                self.fleet.join(worker, slots, host)
                return []
            case Left(worker):
                return self._worker_left(worker, now)
            case Attached(number, attempt, worker):
                return self._attach(number, attempt, worker, now)
            case Beat(worker, attempts):
                return self._hear(worker, attempts, now)

    def _take_report(self, report: Reported, now: float) -> list[Instruction]:
        number = report.number
        lease = self._current(number, report.attempt)
        if lease is None:
            return []
        self._heard[number] = now
        self.fleet.hear(lease.worker, alive=True)
        value = self._courses.report(number, report.epoch, report.metrics)
        judged = not (lease.stopping or math.isnan(value))
        stop = judged and self._courses.hopeless(lease.trial, self.policy.early_stopping)
        self.running[number] = replace(
            lease,
            epoch=max(lease.epoch, report.epoch),
            value=lease.value if math.isnan(value) else value,
            stopping=lease.stopping or stop,
        )
        return [StopEarly(number, lease.attempt, lease.worker)] if stop else []

    # ------------------------------------------------------------ ends of attempts

    def _attempt_finished(
        self, number: int, attempt: int, outcome: Outcome, now: float
    ) -> list[Instruction]:
        if (number, attempt) in self._ended:
            return []  # reported twice
        self._ended.add((number, attempt))
        lease = self._current(number, attempt)
        worker = outcome.worker if lease is None else lease.worker
        said = self._note_end(worker, number, outcome, now) if lease or outcome.ok else []
        self.fleet.hear(worker, alive=True)
        self.fleet.give(worker, (number, attempt))
        if lease is not None:
            self._drop(number)
            self._pace.trained(now - lease.since)
            return said + self._settle(lease.trial, attempt, outcome)
        # An attempt that was given up: its result is as good as any, if it is the first.
        trial = self._fold.trial(number)
        if trial is None or not outcome.ok:
            return said
        return said + self._withdraw(trial) + self._tell(trial, attempt, outcome)

    def _current(self, number: int, attempt: int) -> Lease | None:
        """The lease of an attempt; None if it does not count (any more)."""
        lease = self.running.get(number)
        return lease if lease is not None and lease.attempt == attempt else None

    def _drop(self, number: int) -> None:
        del self.running[number], self._heard[number]
        self._courses.forget(number)

    def _settle(self, trial: Trial, attempt: int, outcome: Outcome) -> list[Instruction]:
        """An attempt that counts has ended: another one, or the trial's evaluation."""
        before = self._fold.attempts(trial.number)
        if before.count(outcome.status) < self.policy.retries.of(outcome.status):
            again = Retried(trial.number, attempt, outcome)
            self._fold.add(again)
            self._enqueue(trial)
            return [Commit(again)]
        return self._tell(trial, attempt, outcome)

    def _tell(self, trial: Trial, attempt: int, outcome: Outcome) -> list[Instruction]:
        evaluation = Evaluation(trial, outcome, attempt)
        told = Told(evaluation)
        self._fold.add(told)
        self._courses.tell(evaluation)
        said: list[Instruction] = [Commit(told)]
        if self.policy.early_stopping and (line := self._courses.complaint(evaluation)):
            said.append(Say(line))
        return said

    def _withdraw(self, trial: Trial) -> list[Instruction]:
        """Take back the attempt that is under way, or waits, at a trial."""
        lease = self.running.get(trial.number)
        if lease is not None:
            self._drop(trial.number)
            return [Stop(trial.number, lease.attempt, lease.worker)]
        for queue in (self._queue, self._alone):
            if trial in queue:
                queue.remove(trial)
        return []

    def _note_end(
        self, worker: str, number: int, outcome: Outcome, now: float
    ) -> list[Instruction]:
        host = self.fleet.ended(worker, number, bad=outcome.failed, now=now)
        if host is None:
            return []
        return [Say(f"trial after trial fails on {host}, not elsewhere: it gets none for a while")]

    def _enqueue(self, trial: Trial) -> None:
        """Have a trial attempted (again): what was interrupted before what has not begun."""
        before = self._fold.attempts(trial.number)
        if not before:
            self._queue.append(trial)
        elif before[-1] is Status.MEMORY:
            self._alone.append(trial)
        else:
            self._queue.appendleft(trial)

    # ------------------------------------------------------------ workers

    def _worker_left(self, worker: str, now: float) -> list[Instruction]:
        taken = sorted(self.fleet.taken(worker))
        lost = [lease for attempt in taken if (lease := self._current(*attempt)) is not None]
        error = Failure("WorkerLost", f"worker {worker} went away while the trial ran")
        outcome = Outcome(Status.LOST, worker=worker, error=error)
        # One bad end, however many trials ran there: they had one cause.
        instructions = self._note_end(worker, lost[0].trial.number, outcome, now) if lost else []
        self.fleet.leave(worker)
        for lease in lost:
            self._drop(lease.trial.number)
            instructions += self._settle(lease.trial, lease.attempt, outcome)
        return instructions

    def _attach(self, number: int, attempt: int, worker: str, now: float) -> list[Instruction]:
        self.fleet.take(worker, (number, attempt))
        trial = self._fold.trial(number)
        waits = trial in self._queue or trial in self._alone
        if trial is None or not waits or attempt != len(self._fold.attempts(number)):
            return [Stop(number, attempt, worker)]
        self._withdraw(trial)
        self._lease(trial, attempt, worker, now)
        return []

    def _hear(self, worker: str, attempts: tuple[Attempt, ...], now: float) -> list[Instruction]:
        if worker not in self.fleet:
            return []  # it has left meanwhile
        self.fleet.hear(worker, alive=True)
        stops: list[Instruction] = []
        for number, attempt in attempts:
            if self._current(number, attempt) is not None:
                self._heard[number] = now
            elif (number, attempt) not in self._ended:
                self.fleet.take(worker, (number, attempt))
                stops.append(Stop(number, attempt, worker))
        for number, attempt in self.fleet.taken(worker) - set(attempts):
            if self._current(number, attempt) is None:  # given up, and gone now
                self.fleet.give(worker, (number, attempt))
        return stops

    def _check_leases(self, now: float) -> list[Instruction]:
        """Give up the attempts that nothing was heard of for too long."""
        silence = self.policy.silence
        asleep = now - self._last > silence / 3  # we were: what was said meanwhile is yet to come
        self._last = now
        if asleep:
            self._heard = dict.fromkeys(self._heard, now)
        if now - self._looked < silence / 8:
            return []
        self._looked = now
        late = [lease for n, lease in self.running.items() if now - self._heard[n] > silence]
        return [i for lease in late for i in self._give_up(lease, now)]

    def _give_up(self, lease: Lease, now: float) -> list[Instruction]:
        number, worker = lease.trial.number, lease.worker
        seconds = now - self._heard[number]
        error = Failure("Silence", f"nothing was heard of worker {worker} for {seconds:.0f} s")
        outcome = Outcome(Status.LOST, worker=worker, error=error)
        said = self._note_end(worker, number, outcome, now)
        self.fleet.hear(worker, alive=False)  # the slot stays taken
        self._drop(number)
        stop = Stop(number, lease.attempt, worker)
        return [*said, stop, *self._settle(lease.trial, lease.attempt, outcome)]

    def _lease(self, trial: Trial, attempt: int, worker: str, now: float) -> None:
        self.running[trial.number] = Lease(trial, attempt, worker, now)
        self._heard[trial.number] = now

    def _start_queued(self, now: float) -> list[Instruction]:
        started: list[Instruction] = []
        if self.stopping is not None:
            return started
        while self._alone and (worker := self.fleet.vacant()) is not None:
            started.append(self._start(self._alone.popleft(), worker, now, alone=True))
        if not self._alone:
            self.fleet.unreserve()
        while self._queue and (worker := self.fleet.emptiest()) is not None:
            started.append(self._start(self._queue.popleft(), worker, now, alone=False))
        return started

    def _start(self, trial: Trial, worker: str, now: float, *, alone: bool) -> Start:
        attempt = len(self._fold.attempts(trial.number))
        self.fleet.take(worker, (trial.number, attempt), alone=alone)
        self._lease(trial, attempt, worker, now)
        return Start(trial, attempt, worker)

    # ------------------------------------------------------------ proposals and limits

    def _trials_proposed(self, trials: tuple[Trial, ...], now: float) -> list[Instruction]:
        question, self._asking = self._asking, None
        if question is None or self.stopping:
            return []
        self._pace.proposed(now - question.since)
        self._exhausted = len(trials) < question.q
        if not trials:
            return []
        asked = Asked(trials, question.known, question.q)
        self._fold.add(asked)
        self._queue.extend(trials)
        return [Commit(asked)]

    def _check_limits(self, now: float) -> None:
        if now >= self._deadline:
            self.stopping = self.stopping or "wall"
        fresh = self._fold.told - self._earlier
        if fresh >= self.policy.give_up and not self._fold.works:
            self.stopping = self.stopping or "failing"

    def _propose(self, now: float) -> list[Instruction]:
        if self.stopping or self._exhausted or self._asking:
            return []
        if self.policy.sync and self._fold.pending:
            return []
        q = int(min(self._wanted(), self._budget_left()))
        if q < 1:
            return []
        self._asking = Question(q, self._fold.told, now)
        return [Propose(q)]

    def _wanted(self) -> int:
        """How many trials to ask for: those that free slots and slots soon to be free will take."""
        free = self.fleet.free
        if self.policy.sync:
            return self.policy.batch or self.fleet.slots if free else 0
        least, most = self._pace.ahead(self.fleet.slots) if self.policy.ahead else (0, 0)
        if not free and len(self._queue) >= least:
            return 0
        wanted = free + most - len(self._queue)
        return min(self.policy.batch or wanted, wanted)

    def _budget_left(self) -> float:
        if self.policy.evaluations is None:
            return math.inf
        return self.policy.evaluations - self._fold.asked

    def _is_over(self) -> bool:
        if self.running:
            return False
        if self.stopping:
            return True
        waiting = self._queue or self._alone or self._asking
        return not waiting and (self._exhausted or self._budget_left() < 1)

    def _reason(self) -> str:
        return self.stopping or ("exhausted" if self._budget_left() >= 1 else "budget")


@dataclass(frozen=True)
class Question:
    """A proposal that is awaited: of q trials, from so many evaluations, since (seconds)."""

    q: int
    known: int
    since: float


class Pace:
    """How far ahead of demand to propose, from smoothed durations of proposals and trainings.

    A trial that is proposed before its slot is free does not know the results that arrive
    meanwhile. Therefore only as many are kept ready as slots become free while a proposal is made,
    and none where a slot would hardly notice that it waits.

    With very many slots, a proposal for each slot that becomes free would keep a core busy, and
    cost far more than few proposals of many trials. There as many are kept ready as know little
    less: what arrives meanwhile is a small part of what still runs.
    """

    def __init__(self) -> None:
        self._proposal = math.nan
        self._training = math.nan

    def proposed(self, seconds: float) -> None:
        """A proposal took so long."""
        self._proposal = _smooth(self._proposal, seconds)

    def trained(self, seconds: float) -> None:
        """A training took so long."""
        self._training = _smooth(self._training, seconds)

    def ahead(self, slots: int) -> tuple[int, int]:
        """Propose when fewer trials are ready than the first number, as many as the second.

        For so many slots; both are 0 while durations are unknown.
        """
        least = self._needed(slots)
        if slots * self._proposal > BUSY * self._training:
            return least, least + math.floor(STALE * slots)
        return least, least

    def _needed(self, slots: int) -> int:
        """How many trials are started while a proposal is made."""
        if not self._proposal > TOLERATED * self._training:
            return 0
        if self._proposal >= self._training:
            return slots
        return math.ceil(slots * self._proposal / self._training)


def _smooth(old: float, new: float) -> float:
    return new if math.isnan(old) else old + _WEIGHT * (new - old)
