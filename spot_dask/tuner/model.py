"""What a surrogate says of a study: the fitted model, and the configuration it recommends."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from spot_dask.records import Configuration, Evaluation
from spot_dask.space import Space
from spot_dask.stats.diagnostics import leave_one_out
from spot_dask.surrogates import FloatArray, Posterior


@dataclass(frozen=True)
class Model:
    """The surrogate as fitted: rows X (n x d), values y (n, minimised) and the posterior."""

    space: Space
    X: FloatArray
    y: FloatArray
    posterior: Posterior

    def predict(self, rows: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of the objective at snapped rows (m x d)."""
        return self.posterior.predict(self.space.features(rows))

    @property
    def predicts(self) -> bool:
        """Whether left-out values are predicted better than by their mean (Q^2 above 0).

        Where the surrogate cannot leave one out: whether its means follow the values it was fitted
        to (R^2 above 0.5).
        """
        loo = leave_one_out(self.posterior, self.y)
        if loo is not None:
            return loo.q2 > 0
        mean, _ = self.predict(self.X)
        return 2 * float(np.mean((self.y - mean) ** 2)) < float(np.var(self.y))


@dataclass(frozen=True)
class Best:
    """The successful evaluations of the recommended configuration, and the surrogate there.

    They are ordered by trial number; more than one if it was replicated. ``mean`` and ``sd`` are
    NaN while too little is known to fit a surrogate; the recommendation is then the best observed
    value.
    """

    evaluations: tuple[Evaluation, ...]
    mean: float = math.nan
    sd: float = math.nan

    @property
    def evaluation(self) -> Evaluation:
        """The one that stands for the configuration: the first."""
        return self.evaluations[0]

    @property
    def config(self) -> Configuration:
        return self.evaluation.trial.config

    @property
    def observed(self) -> float:
        """Mean of the observed values."""
        return float(np.mean([e.y for e in self.evaluations]))

    @property
    def expected(self) -> float:
        """The surrogate's mean; the observed mean where there is no surrogate."""
        return self.observed if math.isnan(self.mean) else self.mean
