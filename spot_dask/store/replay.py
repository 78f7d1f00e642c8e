"""From the records of a store to the state of its study: resuming is replaying."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from spot_dask.errors import StoreCorrupt
from spot_dask.records import (
    Asked,
    Closed,
    Entry,
    Evaluation,
    History,
    Imported,
    Opened,
    Record,
    Retried,
    Status,
    Told,
    Trial,
)
from spot_dask.store.chain import Tail

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Replay:
    """What the records add up to.

    ``retried`` holds how the attempts at a pending trial ended so far; ``elapsed`` the seconds
    that the sessions took, each from its ``open`` record to its last one; ``closed`` the reason
    given if the last session ended in good order; ``settings`` what the sessions changed, later
    ones winning; ``imports`` what was taken over from other stores, one entry per import;
    ``opened`` the last session's beginning, ``last`` the time of the last record.
    """

    history: History = field(default_factory=History)
    retried: dict[int, tuple[Status, ...]] = field(default_factory=dict)
    epoch: int = 0
    elapsed: float = 0.0
    closed: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    imports: tuple[Imported, ...] = ()
    opened: Opened | None = None
    last: float | None = None


def replay(records: Iterable[Record]) -> Replay:
    """Add up the records of a store, in their order.

    Of several evaluations of a trial the first one counts. Raises StoreCorrupt where a record
    speaks of a trial that was never asked, or asks one again.
    """
    state = Sum()
    for record in records:
        state.take(record)
    return state.result()


class Log(Protocol):
    """Where records are read from: a journal, opened for whatever purpose."""

    def follow(self, tail: Tail) -> Iterator[tuple[list[Record], Tail]]: ...


class Reading:
    """What was read of a run so far; reading on adds what has come since, and reads nothing twice.

    ``tail`` is the end of what was read.
    """

    def __init__(self, start: Tail) -> None:
        self.tail = start
        self._sum = Sum()

    def on(self, log: Log, end: int | None = None) -> Replay:
        """What the records (before ``end``) add up to; raises StoreCorrupt as ``replay`` does."""
        for records, tail in log.follow(self.tail):
            if end is not None and tail.seq > end:
                break
            self.tail = tail
            for record in records:
                self._sum.take(record)
        return self._sum.result()

    def end(self, log: Log) -> Replay:
        """What all records add up to; what was read is forgotten, a long run is large."""
        replayed, self._sum = self.on(log), Sum()
        return replayed


class Sum:
    """The sum of records so far, in containers that grow in constant time per record."""

    def __init__(self) -> None:
        self.pending: dict[int, Trial] = {}
        self.retried: dict[int, tuple[Status, ...]] = {}  # of every trial ever asked
        self.evaluations: dict[int, Evaluation] = {}
        self.sources = History()
        self.imported: list[Imported] = []
        self.settings: dict[str, Any] = {}
        self.opened: Opened | None = None
        self.closed: str | None = None
        self.epoch = 0
        self.elapsed = 0.0
        self.opened_at = 0.0
        self.last: float | None = None

    def take(self, record: Record) -> None:
        if isinstance(record.entry, Opened):
            self.elapsed = self._elapsed()
            self.opened, self.opened_at = record.entry, record.time
        self.epoch, self.last, self.closed = record.epoch, record.time, None
        self._add(record.entry, record.seq)

    def result(self) -> Replay:
        history = replace(
            self.sources,
            evaluations=tuple(self.evaluations.values()),
            pending=tuple(self.pending.values()),
        )
        retried = {n: self.retried[n] for n in self.pending if self.retried[n]}
        return Replay(
            history,
            retried,
            self.epoch,
            self._elapsed(),
            self.closed,
            dict(self.settings),
            tuple(self.imported),
            self.opened,
            self.last,
        )

    def _elapsed(self) -> float:
        # A clock set back during a session must not give time back to the budget.
        return self.elapsed + max(0.0, (self.last or 0.0) - self.opened_at)

    def _add(self, entry: Entry, seq: int) -> None:
        match entry:
            case Opened():
                self.settings |= entry.settings
            case Asked(trials=trials):
                self._ask(trials, seq)
            case Told(evaluation):
                self._tell(evaluation, seq)
            case Retried(number, _, outcome):
                if self._is_open(number, seq):
                    self.retried[number] = (*self.retried[number], outcome.status)
            case Imported():
                self.imported.append(entry)
                self.sources = self.sources.take_over(entry)
            case Closed(reason):
                self.closed = reason

    def _ask(self, trials: Sequence[Trial], seq: int) -> None:
        for trial in trials:
            if trial.number in self.retried:
                raise StoreCorrupt(f"record {seq} asks trial {trial.number} a second time")
            self.pending[trial.number] = trial
            self.retried[trial.number] = ()

    def _tell(self, evaluation: Evaluation, seq: int) -> None:
        number = evaluation.trial.number
        if self._is_open(number, seq):
            asked = self.pending.pop(number)
            if evaluation.trial == asked:  # keep it once
                evaluation = replace(evaluation, trial=asked)
            self.evaluations[number] = evaluation

    def _is_open(self, number: int, seq: int) -> bool:
        """Whether the trial is pending; False, and logged, where it has its evaluation already."""
        if number not in self.retried:
            raise StoreCorrupt(f"record {seq} is about trial {number}, which was never asked")
        if number in self.pending:
            return True
        logger.warning("record %d: trial %d has its evaluation already; ignored", seq, number)
        return False
