"""The weighted mean of several surrogates, each trusted as far as it predicts.

Weights w (k, sum 1) maximise the density of the values left out [stacking of predictive
distributions: Yao, Vehtari, Simpson & Gelman 2018],

    sum_i log sum_k w_k N(y_i | mean_ik, sd_ik^2)

by the steps of expectation-maximisation from equal weights. Predictions are those of the mixture:

    mean = sum_k w_k mean_k        cov = sum_k w_k (cov_k + mean_k mean_k') - mean mean'

so that the surrogates' disagreement is uncertainty, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from spot_dask.surrogates import FloatArray, IntArray, Posterior, Surrogate, completed

STEPS = 100
MOST_PARTS = 16
NEGLIGIBLE = 1e-3  # weight of a surrogate that is left out


@dataclass(frozen=True)
class Mixture:
    """The mean of the surrogates ``parts``, in a name ``mean(kriging, kriging(starts=4))``."""

    parts: tuple[Surrogate, ...]

    def __post_init__(self) -> None:
        if not 2 <= len(self.parts) <= MOST_PARTS:
            raise ValueError(
                f"a mean of {len(self.parts)} surrogates; "
                f"expected two or more, at most {MOST_PARTS}"
            )

    def fit(
        self, X: FloatArray, y: FloatArray, groups: IntArray, rng: np.random.Generator
    ) -> Posterior:
        """Fit to finite values y (n >= 1) at features X (n x e); one that has all weight alone."""
        posteriors = [completed.fit(part, X, y, groups, rng) for part in self.parts]
        w = weights(y, [p.leave_one_out() if len(y) > 1 else None for p in posteriors])
        kept = w >= NEGLIGIBLE
        used = tuple(p for p, is_kept in zip(posteriors, kept, strict=True) if is_kept)
        return used[0] if len(used) == 1 else MixturePosterior(used, w[kept] / w[kept].sum())


def weights(y: FloatArray, left_out: Iterable[tuple[FloatArray, FloatArray] | None]) -> FloatArray:
    """The weights (k) from means and sds (n each) of values y (n) that were left out.

    None, where a surrogate cannot leave one out, has no weight; all are equal where none can.
    """
    logs = []
    for found in left_out:
        if found is None:
            logs.append(np.full(len(y), -np.inf))
        else:
            mean, sd = found
            logs.append(-0.5 * ((y - mean) / sd) ** 2 - np.log(sd))
    density = np.array(logs)
    w = np.full(len(density), 1.0 / len(density))
    if np.isneginf(density).all():
        return w
    density = np.exp(density - density.max(axis=0))
    for _ in range(STEPS):
        shares = w[:, None] * density
        w = (shares / shares.sum(axis=0)).mean(axis=1)
    return w


@dataclass(frozen=True, eq=False)
class MixturePosterior:
    """The mixture of posteriors with weights (k), which stay as they are when conditioned."""

    posteriors: tuple[Posterior, ...]
    weights: FloatArray

    def predict(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of the latent objective at X (m x e): two arrays of m."""
        return self._mixed(p.predict(X) for p in self.posteriors)

    def gradient(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Gradients of that mean and standard deviation with respect to X: two m x e arrays."""
        mean, sd = self.predict(X)
        by_mean, by_half_square = np.zeros(X.shape), np.zeros(X.shape)
        for w, p in zip(self.weights, self.posteriors, strict=True):
            (m, s), (dm, ds) = p.predict(X), p.gradient(X)
            by_mean += w * dm
            by_half_square += w * (s[:, None] * ds + (m - mean)[:, None] * dm)
        return by_mean, by_half_square / sd[:, None]

    def joint(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean (m) and covariance (m x m) of the latent objective at X (m x e)."""
        found = [p.joint(X) for p in self.posteriors]
        mean = np.einsum("k,km->m", self.weights, [m for m, _ in found])
        covariance = np.zeros((len(X), len(X)))
        for w, (m, C) in zip(self.weights, found, strict=True):
            covariance += w * (C + np.outer(m - mean, m - mean))
        return mean, covariance

    def condition(self, X: FloatArray, y: FloatArray) -> MixturePosterior:
        """The posterior after also seeing noise-free values y (m) at X (m x e)."""
        return replace(self, posteriors=tuple(p.condition(X, y) for p in self.posteriors))

    def locate(self, X: FloatArray) -> None:
        """None: the errors of a mixture are not jointly normal."""
        return None

    @property
    def columns(self) -> None:
        """None: not all surrogates have length scales."""
        return None

    def leave_one_out(self) -> tuple[FloatArray, FloatArray] | None:
        """Mean and sd of each value (n) from all others, the weights unchanged."""
        found = [p.leave_one_out() for p in self.posteriors]
        known = [pair for pair in found if pair is not None]
        return self._mixed(known) if len(known) == len(found) else None

    def _mixed(
        self, pairs: Iterable[tuple[FloatArray, FloatArray]]
    ) -> tuple[FloatArray, FloatArray]:
        """Mean and sd (m each) of the mixture of those of the surrogates."""
        means, sds = map(np.array, zip(*pairs, strict=True))
        mean = self.weights @ means
        return mean, np.sqrt(self.weights @ (sds**2 + (means - mean) ** 2))
