"""What trainings that were stopped early say: their results would have been above a bound.

Their curves are no results, and a result extrapolated from one would be a guess with an error that
no surrogate here is told of. Leaving them out would let a surrogate expect good results, as far as
it does not know better, just where trainings were stopped, again and again. So each is an
evaluation that is censored at the best finished one, and is believed to have

    E[Y | Y > b] = mu + sd phi(a) / Phi(-a),    a = (b - mu) / sd

with mu and sd as the finished evaluations alone predict [Hutter, Hoos & Leyton-Brown 2013; Schmee &
Hahn 1979]. That is more than mu and more than b: a stopped training makes nothing look better where
it was, and never becomes the best. It is for proposing only. The model that recommends, and that a
report shows, knows the finished ones alone, to which also the hyperparameters are fitted.
"""

from __future__ import annotations

import numpy as np

from spot_dask.surrogates import FloatArray, Posterior
from spot_dask.surrogates.feasibility import hazard

LEAST = -1e4
"""So many sd below the bound, what is believed is the bound itself."""


def above(mean: FloatArray, sd: FloatArray, bound: float) -> FloatArray:
    """E[Y | Y > bound] of Y ~ N(mean, sd^2), elementwise."""
    spread = np.maximum(sd, 1e-12 * (1.0 + np.abs(mean)))
    u = np.maximum((mean - bound) / spread, LEAST)
    expected: FloatArray = mean + spread * hazard(u)
    return np.maximum(expected, np.maximum(mean, bound))


def condition_above(posterior: Posterior, X: FloatArray, bound: float) -> Posterior:
    """The posterior given that results at X (k x e) would have been above a bound."""
    if not len(X):
        return posterior
    return posterior.condition(X, above(*posterior.predict(X), bound))
