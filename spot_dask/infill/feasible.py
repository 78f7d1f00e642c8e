"""Infill where trainings may fail: a log criterion weighted by the chance of success.

With P(success at x) = Phi(u(x)) from ``surrogates/feasibility.py`` the weighted criterion is

    g(log gain) + log Phi(CAUTION (u - u0)),    u0 = min(BORDER, typical - MARGIN)

- CAUTION > 1 makes the border steeper than the expected gain would have it: the candidates for
  which a classifier promises too much are just those that a criterion picks.
- u0 compares with what succeeded so far, so that failures by chance weigh nothing: the factor is
  flat wherever the classifier is.
- g compresses gains below WORTH standard deviations of the objective. At the border itself a
  certain surrogate promises a little more just beyond for ever, against next to nothing anywhere
  else; so little is not worth a failure. What promises more is still tried.

Nothing is excluded for good and there is no penalty to be guessed. [Multiplying by the probability
of success: Schonlau 1997; by a Gaussian process classifier: Bachoc, Helbert & Picheny 2020; the
constants are measured]
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import log_ndtr

from spot_dask.surrogates import FloatArray
from spot_dask.surrogates.feasibility import BoolArray, Feasibility, hazard

CAUTION = 6.0
BORDER = 0.7
MARGIN = 0.25
WORTH = 1e-3
TIE = 0.1  # of the slope below WORTH, which still tells better from worse
DOUBTFUL = 1.6  # u of a pick below which its batch mates are chosen as if it failed


@dataclass(frozen=True)
class Risk:
    """The chance of failure and what a gain is worth; ``unit`` is an sd of the objective."""

    feasibility: Feasibility
    unit: float

    def weigh(self, values: FloatArray, features: FloatArray) -> FloatArray:
        """The weighted criterion of m values of a log criterion at m x e features."""
        u = self.feasibility.score(features)
        compressed, _ = self._compressed(values)
        return compressed + log_ndtr(CAUTION * (u - self._threshold))

    def weigh_gradient(
        self, values: FloatArray, gradient: FloatArray, features: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """The weighted criterion (m) and its gradient (m x e), from those of the criterion."""
        u, slope = self.feasibility.score_gradient(features)
        excess = CAUTION * (u - self._threshold)
        compressed, factor = self._compressed(values)
        total = factor[:, None] * gradient + (CAUTION * hazard(excess))[:, None] * slope
        return compressed + log_ndtr(excess), total

    def likely(self, features: FloatArray) -> BoolArray:
        """Where success is likely enough (m) for a pending value to count as reached."""
        likely: BoolArray = self.feasibility.score(features) > self._threshold
        return likely

    def after(self, features: FloatArray) -> Risk:
        """The risk while trials at m x e features are pending: the doubtful ones fail."""
        feasibility = self.feasibility
        for x in features:
            if feasibility.score(x[None])[0] < DOUBTFUL:
                feasibility = feasibility.after_failure(x)
        return replace(self, feasibility=feasibility)

    @property
    def _threshold(self) -> float:
        return min(BORDER, self.feasibility.typical - MARGIN)

    def _compressed(self, values: FloatArray) -> tuple[FloatArray, FloatArray]:
        """g elementwise and its derivative: slope 1 above the log of what is worth it."""
        floor = float(np.log(WORTH * self.unit))
        below = np.logaddexp(0.0, floor - values)
        share = np.exp(-below)
        compressed = values + below - TIE * np.log1p(below)
        return compressed, share + TIE * (1.0 - share) / (1.0 + below)
