"""Evaluations of the same point merged into one row with their mean and their count.

n evaluations at m distinct points. Their covariance is C = A R A' + nugget I, where A (n x m) says
which point an evaluation belongs to. With counts r and the m x m matrix M = R + nugget diag(1/r),
everything the n x n matrix is needed for follows from M alone [Binois, Gramacy & Ludkovski 2018]:

    log det C    = log det M + sum log r + (n - m) log nugget
    v' C^-1 v    = a' M^-1 a + within / nugget
    (C^-1 v)_i   = (M^-1 a)_k / r_k + (v_i - a_k) / nugget
    (C^-1)_ii    = (M^-1)_kk / r_k^2 + (1 - 1/r_k) / nugget

for the means a of v within the points, k the point of i, and the sum of squares ``within`` of v
around them. So the cost follows m, and nothing is lost.

Hyperparameters are learned from rows that are good, because the model must be right there, and
rows that fill the space, because nothing else tells of slow trends. A posterior that cannot hold
all rows holds the good ones, all around the best ones whatever their value (the good ones alone
would be the lucky ones: the mean there would be too low), and rows that fill the space.

Choices depend on the rows and their values only. m rows, e columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from spot_dask.surrogates import FloatArray, IntArray
from spot_dask.surrogates.correlation import squared_distances

INCUMBENTS = 5  # best rows whose surroundings are kept


@dataclass(frozen=True, eq=False)
class Merged:
    """Distinct points X (m x e), means y and counts (m each) of the values (n) at them.

    ``place`` (n) is the row in X of every value.
    """

    X: FloatArray
    y: FloatArray
    counts: FloatArray
    values: FloatArray
    place: IntArray

    @cached_property
    def within(self) -> float:
        """Sum of squares of the values around the mean of their point."""
        return float(np.square(self.values - self.y[self.place]).sum())

    def rows(self, chosen: IntArray) -> Merged:
        """The points with these indices, in that order, and the evaluations there."""
        if len(chosen) == len(self.y) and (chosen == np.arange(len(chosen))).all():
            return self
        row = np.full(len(self.y), -1)
        row[chosen] = np.arange(len(chosen))
        place = row[self.place]
        kept = place >= 0
        return Merged(
            self.X[chosen], self.y[chosen], self.counts[chosen], self.values[kept], place[kept]
        )


def merge(X: FloatArray, values: FloatArray) -> Merged:
    """Values (n) at X (n x e) merged by equal rows, in the order of their first appearance."""
    n = len(values)
    if X.shape[1] == 0:
        first, place = np.zeros(1, dtype=np.int64), np.zeros(n, dtype=np.int64)
    else:
        _, first, place = np.unique(X, axis=0, return_index=True, return_inverse=True)
    if len(first) == n:
        return Merged(X, values, np.ones(n), values, np.arange(n))
    order = np.argsort(first)
    place = np.argsort(order)[place.reshape(n)]
    counts = np.bincount(place).astype(np.float64)
    means = np.bincount(place, values) / counts
    return Merged(X[first[order]], means, counts, values, place)


def good_and_spread(X: FloatArray, y: FloatArray, count: int) -> IntArray:
    """Indices (count, ascending) of rows X (m x e): half the lowest y (m), half space-filling."""
    if count >= len(y):
        return np.arange(len(y))
    return np.sort(_spread(X, _best(y, max(1, count // 2)), count))


def good_near_and_spread(X: FloatArray, y: FloatArray, count: int) -> IntArray:
    """Indices (count, ascending): a third the lowest y (m), a third next to the best, the rest
    space-filling; near and far as measured in X (m x e), which should be scaled."""
    if count >= len(y):
        return np.arange(len(y))
    good = _best(y, max(1, count // 3))
    apart = squared_distances(X, X[good[:INCUMBENTS]]).min(axis=1)
    apart[good] = np.inf
    return np.sort(_spread(X, np.append(good, _best(apart, count // 3)), count))


def _best(y: FloatArray, count: int) -> IntArray:
    return np.argsort(y, kind="stable")[:count]


def _spread(X: FloatArray, chosen: IntArray, count: int) -> IntArray:
    """The chosen indices and further ones up to ``count``, each the farthest from all before."""
    picked = np.concatenate((chosen, np.empty(count - len(chosen), dtype=np.int64)))
    norms = np.einsum("ij,ij->i", X, X)
    apart = squared_distances(X, X[chosen]).min(axis=1)
    apart[chosen] = -1.0
    for k in range(len(chosen), count):
        new = picked[k] = apart.argmax()
        # Squared distances to the new row, without the copies that a difference would make.
        np.minimum(apart, norms + (norms[new] - 2.0 * (X @ X[new])), out=apart)
        apart[new] = -1.0
    return picked
