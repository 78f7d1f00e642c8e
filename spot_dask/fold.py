"""The fold: the only reader of records. What a journal says is what they add up to here.

The first evaluation of a trial counts, the first retry of an attempt, the first import of an
evaluation. What comes later about the same is late or double: it is logged and changes nothing.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from spot_dask.errors import StoreCorrupt
from spot_dask.magnitude import Magnitudes
from spot_dask.records import (
    PAUSED,
    Asked,
    Changed,
    Closed,
    Entry,
    Evaluation,
    History,
    Import,
    Imported,
    Opened,
    Record,
    Retried,
    Status,
    Told,
    Trial,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Arrival:
    """An evaluation, or one imported as data, with the place and time of its record.

    ``elapsed`` counts the seconds that all sessions had worked by then; ``time`` is in seconds
    since the epoch (UTC).
    """

    seq: int
    time: float
    elapsed: float
    evaluation: Evaluation | None = None
    imported: Import | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Trials that were asked for at once, and what ``Fold.question`` needs to ask for them again.

    ``settings`` is what sessions had changed by then; ``told`` and ``before`` count the evaluations
    that were known and the trials that had been asked.
    """

    asked: Asked
    settings: Mapping[str, Any]
    sources: History
    told: int
    before: int


class Fold:
    """The sum of the records taken so far; a record takes constant time.

    ``settings`` is what the sessions changed, later ones winning; ``ranges`` what became of the
    space, each time with the number of trials asked by then; ``sessions`` their number;
    ``opened`` the last one's beginning; ``elapsed`` the seconds that they worked, without what was
    between them and without the time that the run was paused; ``closed`` the reason given if the
    last record ended a session in good order; ``last`` the time of the last record, ``epoch`` its
    epoch.
    """

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {}
        self.ranges: list[tuple[int, Mapping[str, Any]]] = []
        self.sessions = 0
        self.opened: Opened | None = None
        self.closed: str | None = None
        self.why = ""
        self.epoch = 0
        self.elapsed = 0.0
        self.last: float | None = None
        self.works = False  # some training did not fail
        self._seq = -1
        self._paused = False
        self._trials: dict[int, Trial] = {}  # every trial asked, in that order
        self._pending: dict[int, Trial] = {}
        self._confirming = 0
        self._told: set[int] = set()
        self._evaluations: list[Evaluation] = []
        self._rows: list[Arrival] = []
        self._batches: list[Batch] = []
        self._ended: set[tuple[int, int]] = set()  # attempts that were followed by another
        self._retried: dict[int, tuple[Status, ...]] = {}
        self._retries: list[Retried] = []
        self._sources = History()
        self._taken: set[tuple[str, int]] = set()
        self._imports: list[Imported] = []
        self._history: History | None = None
        # The history before of the same sources, and how many trials had been asked.
        self._before: tuple[History, int] | None = None
        self._partial = False

    @classmethod
    def of(cls, records: Iterable[Record]) -> Fold:
        """The sum of these records; raises StoreCorrupt as ``take`` does."""
        fold = cls()
        for record in records:
            fold.take(record)
        return fold

    @classmethod
    def after(cls, told: Iterable[int], taken: Iterable[tuple[str, int]]) -> Fold:
        """A fold of later records only: ``rows`` are those that the earlier ones do not have.

        ``told`` are the trials that have an evaluation there, ``taken`` the runs and trials of the
        evaluations imported there. Which trials are pending is not known.
        """
        fold = cls()
        fold._told.update(told)
        fold._taken.update(taken)
        fold._partial = True
        return fold

    def copy(self) -> Fold:
        """A fold of the same records, to which others can be added."""
        twin = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, list | dict | set):
                setattr(twin, name, value.copy())
        return twin

    def at(self, found: Magnitudes) -> Fold:
        """A fold with the values of evaluations brought to ordinary magnitudes, for computing."""
        twin = self.copy()
        told = {e.trial.number: found.evaluation(e) for e in self._evaluations}

        def row(arrival: Arrival) -> Arrival:
            e, item = arrival.evaluation, arrival.imported
            return replace(
                arrival,
                evaluation=e and told[e.trial.number],
                imported=item and found.imported(item),
            )

        twin._trials = {n: found.trial(t) for n, t in self._trials.items()}
        twin._pending = {n: found.trial(t) for n, t in self._pending.items()}
        twin._evaluations = list(told.values())
        twin._rows = list(map(row, self._rows))
        twin._sources = found.history(self._sources)
        twin._imports = list(map(found.source, self._imports))
        twin.settings = found.settings(self.settings)
        twin._history = twin._before = None
        return twin

    # ------------------------------------------------------------ adding

    def take(self, record: Record) -> None:
        """Add a record, the one that follows those taken before.

        Raises StoreCorrupt where it speaks of a trial that was never asked, or asks one again.
        """
        if record.epoch == self.epoch and self.last is not None and not self._paused:
            # A clock set back during a session must not give time back to the budget.
            self.elapsed += max(0.0, record.time - self.last)
        if isinstance(record.entry, Opened) and record.epoch > self.epoch:
            self.sessions += 1
        self.epoch, self.last, self._seq = record.epoch, record.time, record.seq
        self.add(record.entry)

    def add(self, entry: Entry) -> None:
        """Add an entry whose record is not there yet, as part of the last one taken.

        Raises StoreCorrupt as ``take`` does.
        """
        self.closed = None
        match entry:
            case Opened():
                self.opened, self.settings = entry, {**self.settings, **entry.settings}
                self._paused = False  # else it is said anew
            case Changed(settings) if PAUSED in settings:
                self._paused = bool(settings[PAUSED])
            case Changed(settings):
                self.settings = {**self.settings, **settings}
                if "ranges" in settings:
                    self.ranges.append((len(self._trials), settings["ranges"]))
            case Asked():
                self._ask(entry)
            case Told(evaluation):
                self._tell(evaluation)
            case Retried():
                self._retry(entry)
            case Imported():
                self._take_over(entry)
            case Closed(reason, why):
                self.closed, self.why = reason, why

    def _ask(self, entry: Asked) -> None:
        told = self.told if entry.known is None else min(entry.known, self.told)
        batch = Batch(entry, self.settings, self._sources, told, len(self._trials))
        for trial in entry.trials:
            if trial.number in self._trials:
                raise StoreCorrupt(f"record {self._seq} asks trial {trial.number} a second time")
            self._trials[trial.number] = self._pending[trial.number] = trial
            self._confirming += trial.confirms
        self._batches.append(batch)
        self._history = None

    def _tell(self, evaluation: Evaluation) -> None:
        number = evaluation.trial.number
        if not self._is_open(number):
            return
        asked = self._pending.pop(number, None)
        if evaluation.trial is not asked and evaluation.trial == asked:  # keep it once
            evaluation = replace(evaluation, trial=asked)
        self._told.add(number)
        self._retried.pop(number, None)
        self._evaluations.append(evaluation)
        self._rows.append(self._arrival(evaluation=evaluation))
        self.works = self.works or not evaluation.failed
        self._history = None

    def _retry(self, entry: Retried) -> None:
        if not self._is_open(entry.number):
            return
        attempt = (entry.number, entry.attempt)
        if attempt in self._ended:
            logger.warning(
                "record %d: attempt %d at trial %d was tried again already; ignored",
                self._seq, entry.attempt, entry.number,
            )  # fmt: skip
            return
        self._ended.add(attempt)
        self._retries.append(entry)
        self._retried[entry.number] = (*self.attempts(entry.number), entry.outcome.status)

    def _take_over(self, entry: Imported) -> None:
        self._imports.append(entry)
        fresh = []
        for item in entry.items:
            key = (item.source_run, item.source_trial)
            if key not in self._taken:
                self._taken.add(key)
                fresh.append(item)
        self._sources = self._sources.take_over(replace(entry, items=tuple(fresh)))
        if entry.mode == "data":
            self._rows += [self._arrival(imported=item) for item in fresh]
        self._history = self._before = None

    def _arrival(
        self, evaluation: Evaluation | None = None, imported: Import | None = None
    ) -> Arrival:
        return Arrival(self._seq, self.last or 0.0, self.elapsed, evaluation, imported)

    def _is_open(self, number: int) -> bool:
        """Whether the trial is pending; False, and logged, where it has its evaluation already."""
        if number in self._told:
            logger.warning(
                "record %d: trial %d has its evaluation already; ignored", self._seq, number
            )
            return False
        if number not in self._trials and not self._partial:
            raise StoreCorrupt(f"record {self._seq} is about trial {number}, which was never asked")
        return True

    # ------------------------------------------------------------ what it adds up to

    @property
    def history(self) -> History:
        """Everything known, as one frozen value; made anew only if something has changed."""
        if self._history is None:
            history = replace(
                self._sources,
                evaluations=tuple(self._evaluations),
                pending=tuple(self._pending.values()),
            )
            if self._before is not None:
                before, known = self._before
                told = self._evaluations[len(before.evaluations) :]
                history.counting_on(before, told, [*islice(self._trials.values(), known, None)])
            self._history, self._before = history, (history, len(self._trials))
        return self._history

    @property
    def told(self) -> int:
        """Number of evaluations."""
        return len(self._evaluations)

    @property
    def pending(self) -> int:
        """Number of trials that have no evaluation yet."""
        return len(self._pending)

    @property
    def asked(self) -> int:
        """Number of trials ever asked."""
        return len(self._trials)

    @property
    def confirming(self) -> int:
        """Number of trials asked that confirm."""
        return self._confirming

    def knows(self, number: int) -> bool:
        """Whether a trial of this number was ever asked."""
        return number in self._trials

    def trial(self, number: int) -> Trial | None:
        """The pending trial of this number; None if there is none."""
        return self._pending.get(number)

    def attempts(self, number: int) -> tuple[Status, ...]:
        """How the attempts at a pending trial have ended that were followed by another one."""
        return self._retried.get(number, ())

    @property
    def retried(self) -> dict[int, tuple[Status, ...]]:
        """The ends of attempts of every pending trial that was tried again; by its number."""
        return dict(self._retried)

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Every trial asked, in that order."""
        return tuple(self._trials.values())

    @property
    def rows(self) -> tuple[Arrival, ...]:
        """Evaluations and imported ones that are data, each once, in the order of the journal."""
        return tuple(self._rows)

    @property
    def arrivals(self) -> tuple[Arrival, ...]:
        """The rows that are evaluations of the run itself."""
        return tuple(row for row in self._rows if row.evaluation is not None)

    @property
    def retries(self) -> tuple[Retried, ...]:
        """The attempts that were followed by another one, also of trials that have ended since."""
        return tuple(self._retries)

    @property
    def imports(self) -> tuple[Imported, ...]:
        """What was taken over from other stores, one entry per import."""
        return tuple(self._imports)

    @property
    def batches(self) -> tuple[Batch, ...]:
        """The batches asked for, in that order."""
        return tuple(self._batches)

    def question(self, batch: Batch) -> History:
        """The history that a batch of this fold was asked on."""
        evaluations = tuple(self._evaluations[: batch.told])
        seen = {e.trial.number for e in evaluations}
        asked = islice(self._trials.values(), batch.before)
        pending = tuple(trial for trial in asked if trial.number not in seen)
        return replace(batch.sources, evaluations=evaluations, pending=pending)
