"""What is known of outcome constraints, for a criterion: models of metrics, and what fulfils all.

A metric is learnt by Kriging on its own scale, on which the constraint is m(x) <= b or m(x) >= b:

    P(x) = Phi(u),    u = side (b - mean) / sd,    side = 1 for at most, -1 for at least

of the metric without its noise. A criterion is multiplied by the P of all constraints, as far as
metrics are independent [Schonlau, Welch & Jones 1998; Gardner et al. 2014; Gelbart et al. 2014],
and its incumbent is the best configuration that fulfils them. While nothing does, P alone counts.

What is pending will be known. Once something fulfils all, a pending point is believed to have the
mean of each metric. Before that, a further point is worth its training only if those before it
do not fulfil all, so each is believed to break the constraint that it is likeliest to break:

    P(one of x1 .. xq fulfils all) = P(x1) + P(x2, not x1) + ...

which a batch picked one after the other maximises greedily; a normal metric that breaks its bound
is believed at its mean then, mean + side sd phi(u) / Phi(-u). m points, e feature columns.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import log_ndtr

from spot_dask.constraints import EVEN
from spot_dask.surrogates import FloatArray, Posterior
from spot_dask.surrogates.feasibility import BoolArray, hazard

LEAST = 1e-9  # sd of a metric, as a share of 1 + |bound|: one without any is either side of it


@dataclass(frozen=True, eq=False)
class MetricLimit:
    """A constraint on a metric with this posterior; ``bound`` is on the posterior's scale."""

    posterior: Posterior
    side: float
    bound: float

    def __call__(
        self, mean: FloatArray, sd: FloatArray, best: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """log P elementwise and its derivatives with respect to mean and sd: a ``Score``."""
        sd = np.maximum(sd, LEAST * (1.0 + abs(self.bound)))
        u = self.side * (self.bound - mean) / sd
        slope = hazard(u) / sd
        return log_ndtr(u), -self.side * slope, -u * slope

    def log_chance(self, X: FloatArray) -> FloatArray:
        """log P at features X (m x e): m."""
        mean, sd = self.posterior.predict(X)
        return self(mean, sd, mean)[0]

    def beyond(self, mean: FloatArray, sd: FloatArray) -> FloatArray:
        """The mean of the metric where it breaks the bound, elementwise."""
        u = self.side * (self.bound - mean) / np.maximum(sd, LEAST * (1.0 + abs(self.bound)))
        broken: FloatArray = mean + self.side * sd * hazard(-u)
        return broken


@dataclass(frozen=True, eq=False)
class Constrained:
    """The constraints whose metrics can be modelled, and which evaluated rows (n) fulfil all."""

    limits: tuple[MetricLimit, ...]
    feasible: BoolArray

    @property
    def alone(self) -> bool:
        """Whether nothing fulfils all, so that the criterion looks for that alone."""
        return not self.feasible.any()

    def log_chance(self, X: FloatArray) -> FloatArray:
        """The log of the probability that all are fulfilled at features X (m x e): m."""
        total: FloatArray = np.zeros(len(X)) + sum(limit.log_chance(X) for limit in self.limits)
        return total

    def likely(self, X: FloatArray) -> BoolArray:
        """Where (m) a pending point may become the incumbent: that all are fulfilled is likelier
        than not, and something is known to fulfil them."""
        if self.alone:
            return np.zeros(len(X), dtype=np.bool_)
        found: BoolArray = self.log_chance(X) >= np.log(EVEN)
        return found

    def after(self, X: FloatArray) -> Constrained:
        """As if points at features X (k x e) were evaluated, one after the other."""
        found = self
        for x in X[:, None]:
            limits = list(found.limits)
            chances = [float(limit.log_chance(x)[0]) for limit in limits]
            likely = found.likely(x)
            for i, limit in enumerate(limits):
                mean, sd = limit.posterior.predict(x)
                if self.alone and i == int(np.argmin(chances)):
                    mean = limit.beyond(mean, sd)
                limits[i] = replace(limit, posterior=limit.posterior.condition(x, mean))
            found = Constrained(tuple(limits), np.append(found.feasible, likely))
        return found
