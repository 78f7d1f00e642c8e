"""The state of a run and its transitions."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace

from spot_dask.coordinator import (
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
    Paused,
    Policy,
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
from spot_dask.coordinator.curves import Courses
from spot_dask.coordinator.epochs import Epochs
from spot_dask.coordinator.fleet import Attempt, Fleet
from spot_dask.early_stopping.ruler import Ruler
from spot_dask.fold import Fold
from spot_dask.records import (
    Asked,
    Configuration,
    Evaluation,
    Failure,
    History,
    Origin,
    Outcome,
    Retried,
    Stage,
    Status,
    Told,
    Trial,
)
from spot_dask.tuner.confirmation import SHARE, reserve, seeds_of

TOLERATED = 0.01
"""The share of a training's duration for which its slot may have waited for a proposal."""

BUSY = 0.05
"""The share of the time in which proposals, one for each training, may be computed."""

STALE = 0.05
"""The share of the slots for which trials may be ready so that there are fewer proposals."""

SLACK = 1.25
"""How much longer than known trainings those that confirm may take, when time is reserved."""

UNBUILT = frozenset(
    {
        "AttributeError", "FileNotFoundError", "ImportError", "IndentationError",
        "ModuleNotFoundError", "NameError", "SyntaxError", "TypeError", "UnboundLocalError",
    }
)  # fmt: skip
"""Errors of code that cannot run at all. Where the default fails with one before it has reported
anything, so will everything else."""

NO_OBJECTIVE = "ObjectiveMissing"
"""The error of a training that ends without the objective; where the default does, so do others,
whatever they have reported."""

SMOOTHING = 0.2
"""The weight of the newest duration in a smoothed one."""


class Coordinator:
    """The state of a run. ``handle`` is its only mutator.

    ``past`` is what earlier sessions have recorded; it is copied. The reasons it finishes for:
    "budget" (evaluations or epochs used up), "wall" (time used up), "exhausted" (every
    configuration was tried), "until" (the tuner said that the search did enough), "failing"
    (nothing but failures), "broken" (the default cannot even be built, or ends without the
    objective; its evaluation is not told),
    or the reason of the ``Drain``, ``Halt`` or ``Detach`` it was given.
    """

    def __init__(self, policy: Policy, past: Fold, now: float) -> None:
        self.policy = policy
        self.fleet = Fleet()
        self.running: dict[int, Lease] = {}
        self.stopping: str | None = None
        self.paused = False
        self._paused_since = 0.0
        self.finished = False
        self._fold = past.copy()  # and what was decided since
        ruler = Ruler(policy.objective, policy.space, policy.length)
        self._curves = Courses(ruler, past.history.evaluations)
        self._epochs = Epochs(policy.epochs, policy.length, policy.each, past.history.evaluations)
        self._queue: deque[Trial] = deque()
        self._alone: deque[Trial] = deque()  # to be tried with a worker for themselves
        for trial in past.history.pending:
            self._enqueue(trial)
        self._asking: Question | None = None
        self._pace = Pace()
        self.broken: str | None = None  # why the default cannot be built
        self._exhausted = policy.enough  # the search has nothing left to ask
        self._enough = policy.enough  # because it has done enough
        self._confirmed = False  # nor has the stage that follows it
        self._extra = 0  # seeds above those that were kept for
        self._waits_for = -1  # so many evaluations were too few to ask for more
        self._wished: tuple[Configuration, ...] = ()  # to be tried next
        self._out_of_time = False  # the rest of the wall time is for confirmation
        self._deadline = math.inf if policy.seconds is None else now + policy.seconds
        self._grace_ends = math.inf
        self._fails_at = self._fold.told + policy.give_up  # so many evaluations, if none works
        self._ended: set[Attempt] = set()
        self._held: list[tuple[Trial, int, Outcome, int]] = []  # until the default has its end
        self._heard: dict[int, float] = {}  # when a running trial was last heard of
        self._handled = self._checked = now  # the last event; the last look at the leases

    @property
    def history(self) -> History:
        """Everything known about the study, as of now."""
        return self._fold.history

    @property
    def asks(self) -> bool:
        """Whether a proposal is awaited."""
        return self._asking is not None

    def handle(self, event: Event, now: float) -> list[Instruction]:
        """Take in one event at time ``now`` (seconds); what is to be done about it, in order."""
        if self.finished:
            return []
        instructions = self._react(event, now) + self._check_leases(now)
        if now >= self._deadline and not self.paused:
            self.stopping = self.stopping or "wall"
        if self._fold.told >= self._fails_at and not self._fold.works:
            self.stopping = self.stopping or "failing"
        self.fleet.release(now)
        if isinstance(event, Halt) or now >= self._grace_ends:
            instructions.append(Kill())
            self.running.clear()
            self._heard.clear()
        if not (self.stopping or self.paused):
            instructions += self._start_queued(now)
            if isinstance(event, Tick):
                instructions += self._propose(now)
        if isinstance(event, Detach) or self._is_over():
            self.finished = True
            used_up = "exhausted" if self._budget_left() >= 1 else "budget"
            used_up = "wall" if self._out_of_time else used_up
            used_up = "until" if self._enough else used_up
            instructions.append(Finish(self.stopping or used_up))
        return instructions

    def _react(self, event: Event, now: float) -> list[Instruction]:
        match event:
            case Finished(number, attempt, outcome):
                return self._attempt_finished(number, attempt, outcome, now)
            case Reported():
                return self._take_report(event, now)
            case Proposed(trials, enough):
                return self._trials_proposed(trials, enough, now)
            case Joined(worker, slots, host):
                self.fleet.join(worker, slots, host)
            case Left(worker):
                return self._worker_left(worker, now)
            case Attached(number, attempt, worker):
                return self._attach(number, attempt, worker, now)
            case Beat(worker, attempts):
                return self._hear(worker, attempts, now)
            case Paused() | Wished() | Ranged():
                self._heed(event, now)
            case Drain(reason, grace):
                self.stopping = self.stopping or reason
                self._grace_ends = min(self._grace_ends, now + grace)
            case Halt(reason) | Detach(reason):
                self.stopping = self.stopping or reason
        return []

    def _heed(self, request: Paused | Wished | Ranged, now: float) -> None:
        """Take in what somebody who watches the run wants of it."""
        match request:
            case Paused(on):
                if self.paused and not on:  # the time meanwhile does not count
                    self._deadline += now - self._paused_since
                self.paused, self._paused_since = on, now
            case Wished(configs):
                self._wished = configs
            case Ranged(space):
                self._exhausted = self._enough = self._confirmed = False
                self._curves.within(space)

    def _take_report(self, report: Reported, now: float) -> list[Instruction]:
        number = report.number
        lease = self._current(number, report.attempt)
        if lease is None:
            return []
        self._heard[number] = now
        self.fleet.hear(lease.worker, alive=True)
        value = self._curves.report(lease.trial, report.epoch, report.metrics)
        judged = not (lease.stopping or math.isnan(value))
        rule, spare = self.policy.early_stopping, self.policy.spare
        stop = judged and self._curves.hopeless(lease.trial, rule, spare)
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
            spared = self._curves.spared(number)
            self._drop(number)
            self._pace.trained(now - lease.since)
            return said + self._settle(lease.trial, attempt, outcome, spared)
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
        self._curves.forget(number)

    def _settle(
        self, trial: Trial, attempt: int, outcome: Outcome, spared: int = 0
    ) -> list[Instruction]:
        """Retry the trial after an attempt that counted, or tell its evaluation."""
        error = outcome.error if outcome.status is Status.FAILED else None
        in_vain = error is not None and (
            error.type == NO_OBJECTIVE or (error.type in UNBUILT and not outcome.epochs)
        )
        if error is not None and in_vain and self._default_is_pending:
            if trial.origin is Origin.DEFAULT:
                return self._break_off(error)
            self._held.append((trial, attempt, outcome, spared))
            return []
        before = self._fold.attempts(trial.number)
        if before.count(outcome.status) >= self.policy.retries.of(outcome.status):
            return self._tell(trial, attempt, outcome, spared)
        again = Retried(trial.number, attempt, outcome)
        self._fold.add(again)
        self._enqueue(trial)
        return [Commit(again)]

    def _tell(
        self, trial: Trial, attempt: int, outcome: Outcome, spared: int = 0
    ) -> list[Instruction]:
        told = Told(Evaluation(trial, outcome, attempt, spared))
        self._fold.add(told)
        self._curves.tell(told.evaluation)
        self._epochs.tell(told.evaluation)
        said: list[Instruction] = [Commit(told)]
        if self.policy.early_stopping and (line := self._curves.complaint(told.evaluation)):
            said.append(Say(line))
        if trial.origin is Origin.DEFAULT:
            held, self._held = self._held, []
            for other in held:
                said += self._tell(*other)
        return said

    @property
    def _default_is_pending(self) -> bool:
        return any(trial.origin is Origin.DEFAULT for trial in self._fold.history.pending)

    def _break_off(self, error: Failure) -> list[Instruction]:
        """End the run, since its default cannot even be built; all trials stay pending."""
        self.stopping = self.stopping or "broken"
        self._grace_ends = -math.inf
        self.broken = (
            f"the default configuration cannot be trained: {error.type}: {error.message};"
            " no evaluation was used up"
        )
        return [Say(self.broken)]

    def _withdraw(self, trial: Trial) -> list[Instruction]:
        """Take back the attempt at a trial that runs or waits."""
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
        """Give up the attempts that nothing was heard of for too long; their slots stay taken."""
        silence = self.policy.silence
        if now - self._handled > silence / 3:
            # This process was suspended: what workers said meanwhile is yet to come.
            self._heard = dict.fromkeys(self._heard, now)
        self._handled = now
        if now - self._checked < silence / 8:
            return []
        self._checked = now
        given_up: list[Instruction] = []
        for lease in [x for n, x in self.running.items() if now - self._heard[n] > silence]:
            number, worker = lease.trial.number, lease.worker
            seconds = now - self._heard[number]
            error = Failure("Silence", f"nothing was heard of worker {worker} for {seconds:.0f} s")
            outcome = Outcome(Status.LOST, worker=worker, error=error)
            given_up += self._note_end(worker, number, outcome, now)
            self.fleet.hear(worker, alive=False)
            self._drop(number)
            given_up.append(Stop(number, lease.attempt, worker))
            given_up += self._settle(lease.trial, lease.attempt, outcome)
        return given_up

    def _lease(self, trial: Trial, attempt: int, worker: str, now: float) -> None:
        self.running[trial.number] = Lease(trial, attempt, worker, now)
        self._heard[trial.number] = now

    # ------------------------------------------------------------ starts and proposals

    def _start_queued(self, now: float) -> list[Instruction]:
        started: list[Instruction] = []
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

    def _trials_proposed(
        self, trials: tuple[Trial, ...], enough: str | None, now: float
    ) -> list[Instruction]:
        question, self._asking = self._asking, None
        if question is None or self.stopping:
            return []
        self._pace.proposed(now - question.since)
        if len(trials) < question.q:
            if question.stage is None:
                self._exhausted, self._enough = True, enough is not None
            elif question.stage.kind == "try":
                pass  # the others are known
            elif question.waits:
                self._waits_for = question.known
            elif self._extra < question.stage.seeds and self._has_more:
                self._extra += 1  # what is left of the budget makes the interval shorter
            else:
                self._confirmed = True
        if not trials:
            return [] if enough is None else [Say(f"the search ends: {enough}")]
        asked = Asked(trials, question.known, question.q, question.stage)
        self._fold.add(asked)
        if question.stage is not None and question.stage.kind == "try":
            self._queue.extendleft(reversed(trials))  # the person who asked waits for it
        else:
            self._queue.extend(trials)
        return [Commit(asked)]

    def _propose(self, now: float) -> list[Instruction]:
        """Ask for as many trials as free slots, and slots that soon will be free, can take."""
        if self._asking or self._waits_for == self._fold.told:
            return []
        policy, free, stage = self.policy, self.fleet.free, self._stage(now)
        if self._wish_is_next:
            configs = self._wished[: int(min(len(self._wished), self._search_left()))]
            self._wished = self._wished[len(configs) :]
            return self._ask(Propose(len(configs), Stage("try", configs=configs)), now)
        if self._confirmed if stage else self._exhausted:
            return []
        if policy.sync and stage is None:
            waits = bool(self._fold.pending) or not free
            wanted = 0 if waits else policy.batch or self.fleet.slots
        else:
            least, most = self._pace.ahead(self.fleet.slots) if policy.ahead else (0, 0)
            waits = not free and len(self._queue) >= least
            wanted = 0 if waits else free + most - len(self._queue)
            wanted = min(policy.batch or wanted, wanted)
        left = self._search_left() if stage is None else self._budget_left()
        q = int(min(wanted, left))
        return self._ask(Propose(q, stage), now) if q >= 1 else []

    def _ask(self, question: Propose, now: float) -> list[Instruction]:
        searches = any(not trial.confirms for trial in self._fold.history.pending)
        self._asking = Question(question.q, self._fold.told, now, question.stage, searches)
        return [question]

    @property
    def _wish_is_next(self) -> bool:
        """Whether there is a wish, and budget for it; the first trial is the default."""
        searches = self.policy.only is None and not self._out_of_time
        return bool(self._wished) and searches and self._fold.asked > 0 and self._search_left() >= 1

    def _stage(self, now: float) -> Stage | None:
        """What is to be asked for next; None is the search."""
        if self.policy.only is not None:
            return self.policy.only
        if not self.policy.confirm and self.policy.confirm is not None:
            return None
        share, searched = self.policy.confirm, self._fold.asked - self._fold.confirming
        by_time = seeds_of(share, searched / (1 - (share or SHARE)))
        if by_time and not self._out_of_time and self._deadline < math.inf:
            rounds = math.ceil(reserve(self.history, by_time) / max(1, self.fleet.slots)) + 1
            self._out_of_time = self._deadline - now <= rounds * SLACK * self._pace.training
        if self._out_of_time:
            return Stage("confirm", by_time)
        budget = self._trainings
        seeds = by_time if budget == math.inf or self._enough else seeds_of(share, budget)
        over = self._exhausted or self._search_left() < 1
        return Stage("confirm", seeds + self._extra) if seeds and over else None

    def _search_left(self) -> float:
        """How many trials the search may still ask for."""
        budget = self._trainings
        seeds = 0 if budget == math.inf else seeds_of(self.policy.confirm, budget)
        return self._budget_left() - (reserve(self.history, seeds) if seeds else 0)

    @property
    def _trainings(self) -> float:
        """How many trainings the budget is, if none is stopped; infinite where not known."""
        evaluations = self.policy.evaluations
        return min(math.inf if evaluations is None else evaluations, self._epochs.trainings)

    @property
    def _has_more(self) -> bool:
        """Whether what the search leaves of a budget is to be used up."""
        return self._budget_left() < math.inf and not self._enough

    def _budget_left(self) -> float:
        """How many more trials may be asked for."""
        evaluations = self.policy.evaluations
        left = math.inf if evaluations is None else evaluations - self._fold.asked
        return min(left, self._epochs.left(self.running.values(), (*self._queue, *self._alone)))

    def _is_over(self) -> bool:
        if self.running:
            return False
        if self.stopping:
            return True
        if self._queue or self._alone or self._asking:
            return False
        if self._wish_is_next:
            return False
        confirms = self._stage(self._handled) is not None
        return self._budget_left() < 1 or (self._confirmed if confirms else self._exhausted)


@dataclass(frozen=True)
class Question:
    """A proposal that is awaited: of q trials, from ``known`` evaluations, since (seconds).

    ``waits``: trials of the search are pending, so that there may be more to ask for later.
    """

    q: int
    known: int
    since: float
    stage: Stage | None = None
    waits: bool = False


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
        self._proposal = math.nan  # seconds; NaN until one is known
        self._training = math.nan

    def proposed(self, seconds: float) -> None:
        """A proposal took so long."""
        self._proposal = _smooth(self._proposal, seconds)

    def trained(self, seconds: float) -> None:
        """A training took so long."""
        self._training = _smooth(self._training, seconds)

    @property
    def training(self) -> float:
        """The smoothed duration of a training (seconds); NaN until one is known."""
        return self._training

    def ahead(self, slots: int) -> tuple[int, int]:
        """Propose when fewer trials are ready than the first number, as many as the second.

        Both are for this number of slots, and 0 while durations are unknown.
        """
        if not self._proposal > TOLERATED * self._training:
            least = 0
        elif self._proposal >= self._training:
            least = slots
        else:
            least = math.ceil(slots * self._proposal / self._training)
        rarely = slots * self._proposal > BUSY * self._training
        return least, least + (math.floor(STALE * slots) if rarely else 0)


def _smooth(old: float, new: float) -> float:
    return new if math.isnan(old) else old + SMOOTHING * (new - old)
