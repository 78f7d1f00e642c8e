"""Can the surrogate be believed? Predictions of evaluations that were left out.

What is stated of the whole space is judged on evaluations that fill it, not on those that a search
chose: ``leave_one_out(...).at(filling)``, or ``held_out`` for all of them at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from scipy.special import chdtrc, ndtri

from spot_dask.stats import FloatArray, IntArray


@runtime_checkable
class CrossValidated(Protocol):
    """A posterior that can predict each of its own evaluations from all the others."""

    def leave_one_out(self) -> tuple[FloatArray, FloatArray] | None:
        """Means and standard deviations of new observations, each n, in the order of the data.

        None if it is built on a posterior that cannot.
        """
        ...


@dataclass(frozen=True)
class Predicted:
    """Values y and the mean and sd of each one's prediction without it, n each."""

    y: FloatArray
    mean: FloatArray
    sd: FloatArray

    @property
    def residuals(self) -> FloatArray:
        return self.y - self.mean

    @property
    def z(self) -> FloatArray:
        """Standardised residuals; a residual of 0 predicted with sd 0 counts as 0."""
        e = self.residuals
        return np.divide(e, self.sd, out=np.where(e == 0, 0.0, np.inf), where=self.sd > 0)

    @property
    def q2(self) -> float:
        """1 - sum e^2 / sum (y - mean y)^2: 1 is perfect, <= 0 no better than the mean of y.

        NaN where all y are equal, because there is nothing to explain then.
        """
        spread = float(np.sum((self.y - self.y.mean()) ** 2)) if len(self.y) else 0.0
        if spread <= 1e-24 * float(np.sum(self.y**2)) or spread == 0.0:
            return float("nan")
        return 1.0 - float(np.sum(self.residuals**2)) / spread

    def share_within(self, k: float) -> float:
        """Share of evaluations with abs(z) <= k; about 0.95 is expected for k = 2."""
        return float(np.mean(np.abs(self.z) <= k))

    @property
    def largest(self) -> int:
        """The index of the value with the largest abs(z); ValueError where there is none."""
        return int(np.argmax(np.abs(self.z)))

    def quantiles(self) -> tuple[FloatArray, FloatArray, IntArray]:
        """Points of a normal Q-Q plot: normal quantiles, z in ascending order, and their indices.

        The k-th of n belongs to the median of the k-th of n normal values [Filliben 1975].
        """
        order, n = np.argsort(self.z, kind="stable"), len(self.y)
        share = (np.arange(1, n + 1) - 0.3175) / (n + 0.365)
        if n:
            share[-1] = 0.5 ** (1.0 / n)
            share[0] = 1.0 - share[-1]
        return np.asarray(ndtri(share), dtype=np.float64), self.z[order], order

    def at(self, indices: IntArray) -> Predicted:
        """The part with these indices, such as the evaluations that fill the space.

        Where a search chose the rows, it has looked around each: the others tell more of those than
        of most of the space.
        """
        return Predicted(self.y[indices], self.mean[indices], self.sd[indices])


class LeaveOneOut(Predicted):
    """Each value predicted from all others."""


@dataclass(frozen=True)
class HeldOut(Predicted):
    """k values that were predicted together from all the others, with what binds their errors.

    ``distance`` is the squared Mahalanobis distance of the values from their means, which is chi
    squared with k degrees of freedom under the model, and ``p`` the probability of a larger one
    [Bastos & O'Hagan 2009, sec. 3.2]. It counts errors that go together once.
    """

    distance: float
    p: float


def held_out(y: FloatArray, mean: FloatArray, covariance: FloatArray) -> HeldOut:
    """Values y (k) against their joint prediction, mean (k) and covariance (k x k), noise included.

    ValueError without a value.
    """
    if not len(y):
        raise ValueError("got no value: expected at least one that was held out")
    sd = np.sqrt(np.maximum(np.diagonal(covariance), 0.0))
    e = y - mean
    distance = float(e @ np.linalg.pinv(covariance, hermitian=True) @ e)
    return HeldOut(y, mean, sd, distance, float(chdtrc(len(y), distance)))


def leave_one_out(posterior: object, y: FloatArray) -> LeaveOneOut | None:
    """Leave-one-out predictions of the values y (n) that the posterior was fitted to.

    None where the posterior does not offer them.
    """
    found = posterior.leave_one_out() if isinstance(posterior, CrossValidated) else None
    return None if found is None else LeaveOneOut(y, *found)
