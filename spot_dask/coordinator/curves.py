"""How trainings go: their learning curves, and which of them to stop early."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping

from spot_dask.early_stopping import Curve, Rule
from spot_dask.errors import warn_once
from spot_dask.records import Evaluation, Objective, Origin, Trial

logger = logging.getLogger(__name__)


class Courses:
    """The objective's curve of every training that has ended or runs, as far as it was reported."""

    def __init__(self, objective: Objective, ended: Iterable[Evaluation]) -> None:
        self._objective = objective
        self._ended: dict[int, Curve] = {}
        self._running: dict[int, list[float]] = {}
        self._longest = 0  # epochs of a training that was not stopped
        self._asked_for = False  # whether the user was told that there are no curves
        for evaluation in ended:
            self.tell(evaluation)

    def report(self, number: int, epoch: int, metrics: Mapping[str, float]) -> float:
        """A running trial has finished an epoch; its objective (minimised), NaN without one."""
        value = self._objective.minimised(metrics)
        values = self._running.setdefault(number, [])
        if not math.isnan(value) and epoch > len(values):  # a late one changes nothing any more
            values.extend([math.nan] * (epoch - len(values) - 1))
            values.append(value)
        return value

    def forget(self, number: int) -> None:
        """An attempt at a trial has ended; another one begins anew."""
        self._running.pop(number, None)

    def tell(self, evaluation: Evaluation) -> None:
        """A trial has its evaluation."""
        values = self._objective.curve(evaluation.outcome.curves)
        if values:
            self._ended[evaluation.trial.number] = Curve(values, evaluation.y)
        if evaluation.ok:
            self._longest = max(self._longest, len(values))

    def hopeless(self, trial: Trial, rule: Rule | None) -> bool:
        """Whether to stop a trial after what it has just reported.

        The initial design runs to its end: it is what the curves of others are judged by, and holds
        the default, which all is compared with. So do replicates: a mean without its bad luck would
        flatter. One as long as any before has nothing left to save, but a result to lose.
        """
        number = trial.number
        if rule is None or trial.origin is not Origin.INFILL:
            return False
        if 0 < self._longest <= len(self._running[number]):
            return False
        others = [*self._ended.values()]
        others += [Curve(values) for n, values in self._running.items() if n != number]
        try:
            return rule.stops(Curve(self._running[number]), others)
        except Exception as error:  # weeks of training must not end for one rule
            warn_once(logger, "early stopping failed (%s): nothing is stopped", repr(error))
            return False

    def complaint(self, evaluation: Evaluation) -> str | None:
        """What to tell the user, once, of trainings that do not report their objective."""
        if self._asked_for or not evaluation.ok or evaluation.trial.number in self._ended:
            return None
        self._asked_for = True
        name = self._objective.name
        reported = ", ".join(evaluation.outcome.curves) or "nothing"
        return (
            f"early stopping needs {name} by epoch, but the training reports {reported}: nothing "
            f"is stopped early; call trial.report(epoch, {name}=...) after each epoch"
        )
