"""A budget of epochs: how many are used, promised to what runs or waits, and left.

A training that began may take all its epochs, and is given them: another begins only where one is
left when all of these have theirs. What is stopped early gives back what it has not used. So a run
goes beyond its budget by less than one training, but for those that began before any length was
known.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from spot_dask.coordinator import Lease
from spot_dask.records import Evaluation, Trial


class Epochs:
    """The epochs of a run, of at most ``limit`` (None: no such budget).

    A training takes as many as its parameter ``length`` says, or else ``each`` (0: not known), or
    as many as the longest that has ended. One that reports none counts as one epoch, so that the
    budget is used up whatever trainings report.
    """

    def __init__(
        self, limit: int | None, length: str | None, each: int, ended: Iterable[Evaluation]
    ) -> None:
        self._limit, self._length, self._each = limit, length, each
        self._used = self._longest = 0
        for evaluation in ended:
            self.tell(evaluation)

    def tell(self, evaluation: Evaluation) -> None:
        """Count the epochs of a trial that has its evaluation."""
        epochs = evaluation.outcome.epochs
        self._used += max(1, epochs)
        if evaluation.ok:
            self._longest = max(self._longest, epochs)

    @property
    def full(self) -> int:
        """Of a training that is not stopped; 0 while that is not known."""
        return max(self._each, self._longest)

    @property
    def trainings(self) -> float:
        """How many full trainings the whole budget is; infinite while that is not known."""
        if self._limit is None or not self.full:
            return math.inf
        return self._limit // self.full

    def left(self, running: Iterable[Lease], waiting: Iterable[Trial]) -> float:
        """How many more trainings may begin beside those that run and those that wait."""
        if self._limit is None:
            return math.inf
        promised = sum(self._promised(trial) for trial in waiting)
        for lease in running:
            epochs = 0 if lease.stopping else self._promised(lease.trial)
            promised += max(epochs, lease.epoch, 1)
        left = self._limit - self._used - promised
        return max(0, math.ceil(left / max(1, self.full)))

    def _promised(self, trial: Trial) -> int:
        own = trial.config.get(self._length, 0) if self._length else 0
        return max(1, int(own) if isinstance(own, int | float) and own else self.full)
