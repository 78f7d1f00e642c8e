"""The learning curves of a run, and which trainings to stop early because of them."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping

from spot_dask.early_stopping import Curve, Rule
from spot_dask.errors import warn_once
from spot_dask.records import Evaluation, Objective, Origin, Trial

logger = logging.getLogger(__name__)


class Courses:
    """The curve of the objective of every training, ended or running, as far as it is reported."""

    def __init__(self, objective: Objective, ended: Iterable[Evaluation]) -> None:
        self._objective = objective
        self._ended: dict[int, Curve] = {}
        self._running: dict[int, list[float]] = {}
        self._longest = 0  # epochs of a training that was not stopped
        self._complained = False
        for evaluation in ended:
            self.tell(evaluation)

    def report(self, number: int, epoch: int, metrics: Mapping[str, float]) -> float:
        """Add an epoch of a running trial; returns its objective, minimised, NaN without one."""
        value = self._objective.minimised(metrics)
        values = self._running.setdefault(number, [])
        if not math.isnan(value) and epoch > len(values):  # reports out of order are dropped
            values.extend([math.nan] * (epoch - len(values) - 1))
            values.append(value)
        return value

    def forget(self, number: int) -> None:
        """Remove the curve of an attempt that has ended; the next attempt begins a new one."""
        self._running.pop(number, None)

    def tell(self, evaluation: Evaluation) -> None:
        """Add the whole curve of a trial that has its evaluation."""
        values = self._objective.curve(evaluation.outcome.curves)
        if values:
            self._ended[evaluation.trial.number] = Curve(values, evaluation.y)
        if evaluation.ok:
            self._longest = max(self._longest, len(values))

    def hopeless(self, trial: Trial, rule: Rule | None) -> bool:
        """Whether the rule stops a trial after the epoch that it has just reported.

        Trials of the initial design are never stopped: the curves of others are judged by theirs,
        and the default, which all is compared with, is one of them. Replicates are never stopped
        either: a mean without its bad luck would flatter. Nor is a training that is as long as any
        before: it has nothing left to save, but a result to lose.
        """
        number = trial.number
        if rule is None or trial.origin not in (Origin.INFILL, Origin.FALLBACK):
            return False
        if 0 < self._longest <= len(self._running[number]):
            return False
        others = [*self._ended.values()]
        others += [Curve(values) for n, values in self._running.items() if n != number]
        try:
            return rule.stops(Curve(self._running[number]), others)
        except Exception as error:  # the rule may be the user's; weeks of training must not end
            warn_once(logger, "early stopping failed (%s): nothing is stopped", repr(error))
            return False

    def complaint(self, evaluation: Evaluation) -> str | None:
        """What to tell the user, once, of trainings that do not report their objective."""
        if self._complained or not evaluation.ok or evaluation.trial.number in self._ended:
            return None
        self._complained = True
        name = self._objective.name
        reported = ", ".join(evaluation.outcome.curves) or "nothing"
        return (
            f"early stopping needs {name} by epoch, but the training reports {reported}: nothing "
            f"is stopped early; call trial.report(epoch, {name}=...) after each epoch"
        )
