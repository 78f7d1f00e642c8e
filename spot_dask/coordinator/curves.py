"""The learning curves of a run, and which trainings to stop early because of them."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from spot_dask.early_stopping import Curve, Rule
from spot_dask.early_stopping.ruler import Ruler
from spot_dask.errors import warn_once
from spot_dask.records import Evaluation, Origin, Trial
from spot_dask.space import Space

logger = logging.getLogger(__name__)

SEARCHED = frozenset((Origin.INFILL, Origin.FALLBACK))
"""Trials that any rule may stop."""

DESIGNED = frozenset((Origin.DESIGN, Origin.PRIOR))
"""Those that a rule with ``design`` may stop, too."""

_SPARING = 6  # a stream of random numbers of its own


class Courses:
    """The curve of the objective of every training, ended or running, as far as it is reported."""

    def __init__(self, ruler: Ruler, ended: Iterable[Evaluation]) -> None:
        self._ruler = ruler
        self._ended: dict[int, Curve] = {}
        self._running: dict[int, list[float]] = {}
        self._curves: dict[int, Curve] = {}  # of those that run
        self._told: set[int] = set()  # that run and were told to end
        self._spared: dict[int, int] = {}
        self._longest = 0  # epochs of a training that was not stopped
        self._complained = False
        self._add(list(ended))

    def within(self, space: Space) -> None:
        """Trials may be of this space from now on."""
        self._ruler = replace(self._ruler, space=space)

    def report(self, trial: Trial, epoch: int, metrics: Mapping[str, float]) -> float:
        """Add an epoch of a running trial; returns its objective, minimised, NaN without one."""
        value = self._ruler.objective.minimised(metrics)
        values = self._running.setdefault(trial.number, [])
        if not math.isnan(value) and epoch > len(values):  # reports out of order are dropped
            values.extend([math.nan] * (epoch - len(values) - 1))
            values.append(value)
            self._curves[trial.number] = self._ruler.curve(trial, values)
        return value

    def forget(self, number: int) -> None:
        """Remove the curve of an attempt that has ended; the next attempt begins a new one."""
        for known in (self._running, self._curves, self._spared):
            known.pop(number, None)
        self._told.discard(number)

    def tell(self, evaluation: Evaluation) -> None:
        """Add the whole curve of a trial that has its evaluation."""
        self._add([evaluation])

    def _add(self, ended: Sequence[Evaluation]) -> None:
        for evaluation, curve in zip(ended, self._ruler.ended(ended), strict=True):
            if curve.values:
                self._ended[evaluation.trial.number] = curve
            if evaluation.ok:
                self._longest = max(self._longest, len(curve.values))

    def spared(self, number: int) -> int:
        """The epoch after which a running trial would have been stopped but for chance; else 0."""
        return self._spared.get(number, 0)

    def hopeless(self, trial: Trial, rule: Rule | None, spare: float = 0.0) -> bool:
        """Whether the rule stops a trial after the epoch that it has just reported.

        The default, which all is compared with, is never stopped, nor what the user asked for. The
        initial design is where the rule learns from finished trainings alone: the curves of others
        are judged by theirs. Replicates are never stopped either, nor folds after a configuration's
        first: a mean without its bad luck would flatter. Nor is a training that is as long as any
        before: it has nothing left to save, but a result to lose. And the share ``spare`` of
        trainings, drawn by their seeds and numbers, goes on whatever the rule says.
        """
        number = trial.number
        judged = SEARCHED | (DESIGNED if getattr(rule, "design", False) else frozenset())
        if rule is None or trial.origin not in judged or number in self._spared:
            return False
        if trial.partition is not None and trial.replicate:
            return False
        curve, epochs = self._curves[number], len(self._running[number])
        if 0 < self._longest <= len(curve.values):
            return False
        if self._ruler.epoch(trial, epochs) == self._ruler.epoch(trial, epochs - 1):
            return False  # no further on the axis on which rungs are
        others = [*self._ended.values()]
        others += [
            replace(c, stopped=True) if n in self._told else c
            for n, c in self._curves.items()
            if n != number
        ]
        try:
            stops = bool(rule.stops(curve, others))
        except Exception as error:  # the rule may be the user's; weeks of training must not end
            warn_once(logger, "early stopping failed (%s): nothing is stopped", repr(error))
            return False
        if stops and np.random.default_rng([_SPARING, trial.seed, number]).random() < spare:
            self._spared[number] = epochs
            return False
        if stops:
            self._told.add(number)
        return stops

    def complaint(self, evaluation: Evaluation) -> str | None:
        """What to tell the user, once, of trainings that do not report their objective."""
        if self._complained or not evaluation.ok or evaluation.trial.number in self._ended:
            return None
        self._complained = True
        name = self._ruler.objective.name
        reported = ", ".join(evaluation.outcome.curves) or "nothing"
        return (
            f"early stopping needs {name} by epoch, but the training reports {reported}: nothing "
            f"is stopped early; call trial.report(epoch, {name}=...) after each epoch"
        )
