"""Which rows a model of many evaluations is built on.

Hyperparameters are learned from rows that are good, because the model must be right there, and
rows that fill the space, because nothing else tells of slow trends. A posterior that cannot hold
all rows holds the good ones, all around the best ones whatever their value (the good ones alone
would be the lucky ones: the mean there would be too low), and rows that fill the space.

Choices depend on the rows and their values only. m rows, e columns.
"""

from __future__ import annotations

import numpy as np

from spot_dask.surrogates import FloatArray, IntArray
from spot_dask.surrogates.correlation import squared_distances

INCUMBENTS = 5  # best rows whose surroundings are kept


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
