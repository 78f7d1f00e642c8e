"""From the records of a store to the state of its study: resuming is replaying."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from spot_dask.errors import StoreCorrupt
from spot_dask.records import Evaluation, History, Status, Trial
from spot_dask.store import Asked, Closed, Entry, Imported, Opened, Record, Retried, Told

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Replay:
    """What the records add up to.

    ``retried`` holds how the attempts at a pending trial ended so far; ``elapsed`` the seconds
    that the sessions took, each from its ``open`` record to its last one; ``closed`` the reason
    given if the last session ended in good order; ``settings`` what the sessions changed, later
    ones winning; ``imports`` what was taken over from other stores, one entry per import.
    """

    history: History = field(default_factory=History)
    retried: dict[int, tuple[Status, ...]] = field(default_factory=dict)
    epoch: int = 0
    elapsed: float = 0.0
    closed: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    imports: tuple[Imported, ...] = ()


def replay(records: Iterable[Record]) -> Replay:
    """Add up the records of a store, in their order.

    Of several evaluations of a trial the first one counts. Raises StoreCorrupt where a record
    speaks of a trial that was never asked, or asks one again.
    """
    state = _State()
    for record in records:
        state.take(record)
    return state.result()


class _State:
    """The sum so far, in containers that grow in constant time per record."""

    def __init__(self) -> None:
        self.pending: dict[int, Trial] = {}
        self.retried: dict[int, tuple[Status, ...]] = {}  # of every trial ever asked
        self.evaluations: dict[int, Evaluation] = {}
        self.sources = History()
        self.imported: list[Imported] = []
        self.settings: dict[str, Any] = {}
        self.closed: str | None = None
        self.epoch = 0
        self.elapsed = 0.0
        self.opened_at = self.last_at = 0.0

    def take(self, record: Record) -> None:
        if isinstance(record.entry, Opened):
            self._end_session()
            self.opened_at = record.time
        self.epoch, self.last_at, self.closed = record.epoch, record.time, None
        self._add(record.entry, record.seq)

    def result(self) -> Replay:
        self._end_session()
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
            self.elapsed,
            self.closed,
            self.settings,
            tuple(self.imported),
        )

    def _end_session(self) -> None:
        # A clock set back during a session must not give time back to the budget.
        self.elapsed += max(0.0, self.last_at - self.opened_at)
        self.opened_at = self.last_at

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
            del self.pending[number]
            self.evaluations[number] = evaluation

    def _is_open(self, number: int, seq: int) -> bool:
        """Whether the trial is pending; False, and logged, where it has its evaluation already."""
        if number not in self.retried:
            raise StoreCorrupt(f"record {seq} is about trial {number}, which was never asked")
        if number in self.pending:
            return True
        logger.warning("record %d: trial %d has its evaluation already; ignored", seq, number)
        return False
