"""The history of a run while it grows: constant time per event, a frozen value on demand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from spot_dask.records import Evaluation, History, Trial


class Ledger:
    """What was asked and told so far; starts from the history of earlier sessions.

    ``works`` tells that some training did not fail.
    """

    def __init__(self, history: History) -> None:
        self._evaluations = list(history.evaluations)
        self._pending = {trial.number: trial for trial in history.pending}
        self._begun = history
        self._history: History | None = history
        self.works = any(not e.failed for e in self._evaluations)

    @property
    def history(self) -> History:
        """All of it as one frozen value; copied only if something has changed since the last."""
        if self._history is None:
            self._history = replace(
                self._begun,
                evaluations=tuple(self._evaluations),
                pending=tuple(self._pending.values()),
            )
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
        return len(self._evaluations) + len(self._pending)

    def trial(self, number: int) -> Trial | None:
        """The pending trial of this number; None if there is none."""
        return self._pending.get(number)

    def ask(self, trials: Iterable[Trial]) -> None:
        """These trials are pending from now on."""
        self._pending |= {trial.number: trial for trial in trials}
        self._history = None

    def tell(self, evaluation: Evaluation) -> None:
        """A pending trial has its evaluation; KeyError if it is not pending."""
        del self._pending[evaluation.trial.number]
        self._evaluations.append(evaluation)
        self.works = self.works or not evaluation.failed
        self._history = None
