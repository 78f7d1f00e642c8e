"""The curves of trainings on one time axis, also where their lengths differ.

A rule compares trainings at equal epochs. Where a parameter holds the number of epochs, equal
epochs are no fair comparison: a learning-rate schedule is at its end where a longer one is in its
middle. So all curves are stretched to the length that the default configuration has, and a rung is
the same share of every training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from spot_dask.early_stopping import Curve
from spot_dask.magnitude import drawn_closer
from spot_dask.records import Evaluation, Objective, Trial
from spot_dask.space import Space


@dataclass(frozen=True)
class Ruler:
    """Makes curves of what trainings report.

    ``length`` is the parameter that holds a training's epochs (None: all are equally long). Without
    a ``space`` curves have no features and are as they are.
    """

    objective: Objective
    space: Space | None = None
    length: str | None = None

    def curve(self, trial: Trial, values: Sequence[float]) -> Curve:
        """The curve of a training that has reported these objectives by epoch (minimised)."""
        if trial.number not in self._known:  # asked for after every epoch
            (self._known[trial.number],) = self._features([trial])
        features = self._known[trial.number]
        values = drawn_closer(self._stretched(trial, values))
        return Curve(values, number=trial.number, features=features)

    def ended(self, evaluations: Sequence[Evaluation]) -> list[Curve]:
        """The curves of trainings that have their evaluations, whatever these are."""
        trials = [e.trial for e in evaluations]
        curves = (self.objective.curve(e.outcome.curves) for e in evaluations)
        return [
            Curve(
                drawn_closer(self._stretched(e.trial, values)),
                math.inf if e.failed else drawn_closer((e.y,))[0],
                e.stopped,
                e.trial.number,
                features,
            )
            for e, values, features in zip(evaluations, curves, self._features(trials), strict=True)
        ]

    def _features(self, trials: Sequence[Trial]) -> Sequence[Sequence[float]]:
        if self.space is None or not trials:
            return [()] * len(trials)
        rows = self.space.features(self.space.encode([trial.config for trial in trials]))
        return [tuple(row) for row in rows.tolist()]

    def epoch(self, trial: Trial, epoch: int) -> int:
        """The epoch of the common axis that a training has come to after so many of its own."""
        own, default = self._length(trial), self._default
        return epoch if not own or not default else epoch * default // own

    def _stretched(self, trial: Trial, values: Sequence[float]) -> Sequence[float]:
        if not self._length(trial) or not self._default:
            return values
        stretched = [math.nan] * self.epoch(trial, len(values))
        for epoch, value in enumerate(values, 1):
            at = self.epoch(trial, epoch)
            if at > 0 and not math.isnan(value):
                stretched[at - 1] = value
        return stretched

    def _length(self, trial: Trial) -> int:
        value = trial.config.get(self.length, 0) if self.length else 0
        return int(value) if isinstance(value, int | float) else 0

    @cached_property
    def _known(self) -> dict[int, Sequence[float]]:
        return {}

    @cached_property
    def _default(self) -> int:
        if self.space is None or self.length is None:
            return 0
        value = self.space.default.get(self.length, 0)
        return int(value) if isinstance(value, int | float) else 0
