"""Infill where trainings may fail: a log criterion weighted by the chance of success.

With P(success at x) = Phi(u(x)) from ``surrogates/feasibility.py`` the weighted criterion is

    g(log gain) + log Phi(CAUTION (u - u0)),    u0 = min(BORDER, typical - MARGIN)

- CAUTION > 1 makes the border steeper than the expected gain would have it: the candidates for
  which a classifier promises too much are just those that a criterion picks.
- u0 is no more than what succeeded so far attains, so that failures by chance weigh next to
  nothing: the factor is flat where the classifier is.
- g compresses gains below WORTH standard deviations of the objective. At the border itself a
  certain surrogate promises a little more just beyond for ever, against next to nothing anywhere
  else; so little is not worth a failure. What promises more is still tried.

No region is excluded for good, since far from all failures u is that of the share of successes,
and there is no penalty to be guessed. [A classifier's probability as the weight: Bachoc, Helbert &
Picheny 2020; the constants are measured]
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
WORTH = 1e-4
TIE = 0.1  # of the slope below WORTH, which still tells better from worse


@dataclass(frozen=True)
class Risk:
    """The chance of failure and what a gain is worth; ``unit`` is an sd of the objective."""

    feasibility: Feasibility
    unit: float

    def weigh(self, values: FloatArray, features: FloatArray) -> FloatArray:
        """The weighted criterion of m values of a log criterion at m x e features."""
        weight, _ = self._weight(self.feasibility.score(features))
        return _compressed(values, WORTH * self.unit)[0] + weight

    def weigh_gradient(
        self, values: FloatArray, gradient: FloatArray, features: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """The weighted criterion (m) and its gradient (m x e), from those of the criterion."""
        u, slope = self.feasibility.score_gradient(features)
        weight, by_u = self._weight(u)
        compressed, factor = _compressed(values, WORTH * self.unit)
        return compressed + weight, factor[:, None] * gradient + by_u[:, None] * slope

    def likely(self, features: FloatArray) -> BoolArray:
        """Where (m) a pending trial may be believed to succeed."""
        likely: BoolArray = self.feasibility.score(features) > self._threshold
        return likely

    def after(self, features: FloatArray) -> Risk:
        """The risk while trials at m x e features are pending: unlikely ones are believed to fail.

        So the mates of a pick beyond the border do not share its fate.
        """
        risk = self
        for x in features:
            if not risk.likely(x[None])[0]:
                risk = replace(risk, feasibility=risk.feasibility.after_failure(x))
        return risk

    @property
    def _threshold(self) -> float:
        return min(BORDER, self.feasibility.typical - MARGIN)

    def _weight(self, u: FloatArray) -> tuple[FloatArray, FloatArray]:
        """log Phi(CAUTION (u - u0)) elementwise and its derivative with respect to u."""
        excess = CAUTION * (u - self._threshold)
        return log_ndtr(excess), CAUTION * hazard(excess)


def _compressed(values: FloatArray, worth: float) -> tuple[FloatArray, FloatArray]:
    """g elementwise and its derivative, 1 for gains above what is worth a failure."""
    below = np.logaddexp(0.0, np.log(worth) - values)
    share = np.exp(-below)
    return values + below - TIE * np.log1p(below), share + TIE * (1.0 - share) / (1.0 + below)
