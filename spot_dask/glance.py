"""A run at a glance: what its journal tells by itself, without a surrogate.

Nothing here imports what models are made of, which takes seconds of a processor.
"""

from __future__ import annotations

import logging
import socket
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from spot_dask.cards import Listed
from spot_dask.errors import StoreCorrupt
from spot_dask.fold import Fold
from spot_dask.magnitude import mean_of
from spot_dask.records import (
    STOP,
    Evaluation,
    FoldPlan,
    Header,
    History,
    widened,
)
from spot_dask.settings import Budget, Settings
from spot_dask.space import Space
from spot_dask.space.parameters import canonical_json
from spot_dask.store.backend import address
from spot_dask.store.journal import Journal
from spot_dask.store.table import unfit

logger = logging.getLogger(__name__)

COMPLETE = ("budget", "wall", "exhausted", "until")
"""The reasons of a run that ended because it had done what it was asked to do."""


STOPPED = ("SIGHUP", "SIGINT", "SIGTERM", STOP)
"""The reasons of a run that was stopped before its end."""


@dataclass(frozen=True, repr=False)
class Glance(Listed):
    """A run as its records tell it, read at one moment.

    ``path`` is the store's address: text if it is the URL of an object store.
    """

    path: Path | str
    header: Header
    being_written: bool
    end: int
    journal: Journal = field(repr=False)

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open the store at ``path``; raises StoreError or StoreCorrupt if that is not possible."""
        path = address(path)
        journal = Journal.open(path)
        being_written = journal.being_written  # first: a run that ends meanwhile is not killed
        if lacks := journal.short():
            logger.warning("%s", lacks)
        return cls(path, journal.header, being_written, journal.count(), journal)

    @cached_property
    def space(self) -> Space:
        """The search space, with all that it has been where its ranges were changed.

        Raises StoreCorrupt if the store holds none.
        """
        try:
            return Space.from_json(self._widened.space)
        except ValueError as error:
            raise StoreCorrupt(f"{self.path}: the space in its header: {error}") from None

    @property
    def _widened(self) -> Header:
        return widened(self.header, self.fold.settings)

    @cached_property
    def fold(self) -> Fold:
        """The sum of the records, read once; raises StoreCorrupt naming what is wrong."""
        self.journal.read(self.end)
        assert self.journal.fold is not None
        for problem in unfit(widened(self.header, self.journal.fold.settings), self.journal.fold):
            raise StoreCorrupt(f"{self.path}: {problem}")
        return self.journal.fold

    @property
    def history(self) -> History:
        """All that is known of the run's trials."""
        return self.fold.history

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The settings the run began with, as later sessions changed them."""
        return self._checked({**self._begun_with, **self.fold.settings})

    @property
    def why(self) -> str:
        """Why the last session broke off, where its default cannot be trained; else empty."""
        return self.fold.why if self.fold.closed == "broken" else ""

    @property
    def ended(self) -> str | None:
        """Why the last session ended; None if it still runs or was killed."""
        return self.fold.closed

    @property
    def stopped(self) -> str | None:
        """What stopped the last session: a signal or a request; None if nothing did."""
        return self.ended if self.ended in STOPPED else None

    @property
    def state(self) -> str:
        """One of running, elsewhere, interrupted (killed), done, stopped (by a signal), failing,
        broken (the default cannot even be built).

        Elsewhere is a run in a directory that was begun on another machine and has not ended:
        whether it still goes on is not seen here, since locks are not.
        """
        if self.ended is None:
            if self.being_written:
                return "running"
            return "interrupted" if self._is_seen else "elsewhere"
        if self.ended in COMPLETE:
            return "done"
        return "stopped" if self.stopped else self.ended

    @property
    def _is_seen(self) -> bool:
        """Whether it would be seen here that a coordinator has the run."""
        opened = self.fold.opened
        return isinstance(self.path, str) or opened is None or opened.host == socket.gethostname()

    @property
    def sign(self) -> float:
        """-1 where the objective is maximised."""
        return 1.0 if self.header.direction == "min" else -1.0

    def signed(self, y: float) -> float:
        """An internal (minimised) objective value in the user's direction."""
        return self.sign * y

    @property
    def epochs(self) -> int:
        """How many epochs its evaluations have trained."""
        return sum(e.outcome.epochs for e in self.history.evaluations)

    @property
    def epochs_end_it(self) -> bool:
        """Whether its budget of epochs is used up."""
        limit = Budget(**self.settings["budget"]).epochs
        return limit is not None and self.epochs >= limit

    def status(self) -> dict[str, Any]:
        """How the run stands, as JSON, without what only a model tells, which is None."""
        history, budget = self.history, Budget(**self.settings["budget"])
        limit = budget.limit
        used = len(history.evaluations)
        opened = self.fold.opened
        return {
            "schema": "spot-dask/status/1",
            "store": str(self.path),
            "name": self.header.name,
            "state": self.state,
            "paused": self.journal.paused,
            "ended": self.ended,
            "why": self.why,
            "coordinator": opened and {"host": opened.host, "pid": opened.pid},
            "budget": {
                "used": used,
                "limit": limit,
                "fraction": None if limit is None else used / limit,
                "epochs_limit": budget.epochs,
                "epochs_used": self.epochs,
                "wall_limit_seconds": budget.wall,
                "wall_used_seconds": self.fold.elapsed,
                "until": budget.until,
                "enough": None,
            },
            "trials": {
                "done": len(history.ok),
                "failed": len(history.failed),
                "stopped": len(history.stopped),
                "pending": len(history.pending),
                "wished": len(self.journal.wishes()),
                "confirming": len(history.confirmations),
                "imported": len(history.imports),
                "hints": sum(map(len, history.priors)),
            },
            "folds": self._folds_json,
            "incumbent": None,
            "foretold": None,
            "last_event": self.fold.last,
        }

    @property
    def folds(self) -> FoldPlan:
        """The folds that each configuration is trained on."""
        return Settings.restored(self._begun_with)["folds"]  # type: ignore[no-any-return]

    @property
    def _folds_json(self) -> dict[str, int] | None:
        """How many configurations were begun, have all of so many folds, and ended before."""
        if not self.folds.several:
            return None
        from spot_dask.tuner.folds import table_of  # late: it imports what models need

        table = table_of(self.folds, self.history)
        begun = table.candidates.values()
        whole = [table.is_complete(c.config) for c in begun]
        given_up = [
            (c.ended or table.is_hopeless(c.config)) and not done
            for c, done in zip(begun, whole, strict=True)
        ]
        return {
            "of": self.folds.count,
            "configurations": len(whole),
            "complete": sum(whole),
            "given_up": sum(given_up),
        }

    def observed(self) -> tuple[Evaluation, float, int] | None:
        """What has come out best: a trial, its value in the user's direction, and fresh seeds.

        Where a configuration other than the default was confirmed: the one with the most fresh
        seeds, and their mean. Else the best value that was observed, which is the luckiest, and 0.
        None where nothing has succeeded.
        """
        found = self.history.ok
        fresh: defaultdict[str, list[Evaluation]] = defaultdict(list)
        for evaluation in found:
            if evaluation.trial.confirms and evaluation.trial.config != self.space.default:
                fresh[canonical_json(dict(evaluation.trial.config))].append(evaluation)
        if fresh:
            seeds = max(fresh.values(), key=len)
            config = seeds[0].trial.config
            first = next(e for e in found if e.trial.config == config)
            return first, self.signed(mean_of(e.y for e in seeds)), len(seeds)
        best = min(found, key=lambda e: e.y, default=None)
        return None if best is None else (best, self.signed(best.y), 0)

    @property
    def _begun_with(self) -> dict[str, Any]:
        return self._checked(self.header.settings)

    def _checked(self, document: dict[str, Any]) -> dict[str, Any]:
        """Settings with what older runs did; raises StoreCorrupt if there are no such settings."""
        try:
            return {**document, **Settings(**Settings.restored(document)).settings}
        except ValueError as error:
            raise StoreCorrupt(f"the settings of {self.path}: {error}") from error
