"""What random search would have reached with the same number of evaluations.

The objective is minimised. A random search of k evaluations is one of k configurations drawn
without replacement from those that were seen (or simulated).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spot_dask.stats import FloatArray
from spot_dask.stats.intervals import checked


@dataclass(frozen=True)
class RandomSearch:
    """The best of 1, ..., k random evaluations: its expectation and 5 % and 95 % quantiles, k each.

    The quantiles are those of single searches, not the error of the expectation.
    """

    mean: FloatArray
    low: FloatArray
    high: FloatArray


def chances(n: int, k: int) -> FloatArray:
    """P(the best of j drawn from n without replacement has rank i), k x n, j = 1, ..., k.

    It is C(n - i, j - 1) / C(n, j), because the other j - 1 are drawn from the n - i worse ones.
    ValueError unless 1 <= k <= n.
    """
    if not 1 <= k <= n:
        raise ValueError(f"got k={k} of {n} values: expected 1 <= k <= {n}")
    drawn = np.arange(k)[:, None]
    # P(rank > i) = C(n - i, j) / C(n, j), a product over the draws.
    survival = np.cumprod(np.maximum(n - np.arange(n + 1) - drawn, 0) / (n - drawn), axis=0)
    return np.asarray(survival[:, :-1] - survival[:, 1:])


def expected_best(values: npt.ArrayLike, k: int) -> RandomSearch:
    """The best of 1, ..., k evaluations drawn without replacement from n finite values seen.

    ValueError beyond k = n, about which the values say nothing: see ``expected_best_of_draws``.
    An evaluation that failed is to be given as a value that is never best, such as the worst.
    """
    ranked = np.sort(checked(values))
    p = chances(len(ranked), k)
    below = np.cumsum(p, axis=1)
    low, high = (ranked[np.argmax(below >= q - 1e-12, axis=1)] for q in (0.05, 0.95))
    return RandomSearch(p @ ranked, low, high)


def expected_best_of_draws(draws: npt.ArrayLike, k: int) -> RandomSearch:
    """The same from s simulated functions at N random configurations (s x N), k <= N.

    Each row is one coherent draw of the values at the same random rows, such as a posterior path;
    noise is to be added if that is what the search would see. The expectation is that over the
    draws too, and the quantiles are those of the mixture.
    """
    found = np.asarray(draws, dtype=np.float64)
    if found.ndim != 2 or not found.size or not np.all(np.isfinite(found)):
        raise ValueError(f"got draws of shape {found.shape}: expected finite values (s x N)")
    ranked = np.sort(found, axis=1)
    p = chances(ranked.shape[1], k)
    low, high = (_quantiles(ranked, np.cumsum(p, axis=1), q) for q in (0.05, 0.95))
    return RandomSearch((p @ ranked.T).mean(axis=1), low, high)


def _quantiles(ranked: FloatArray, below: FloatArray, q: float) -> FloatArray:
    """The q quantile (k) of the best of 1, ..., k, ``below`` (k x N) being P(its rank <= i).

    By bisection among all values: a value x is at least the quantile if the mean over the draws of
    P(the best <= x) is at least q.
    """
    pooled, each = np.sort(ranked, axis=None), np.arange(len(below))[:, None]
    chance = np.hstack([np.zeros((len(below), 1)), below])
    first, last = np.zeros(len(below), dtype=np.int64), np.full(len(below), len(pooled) - 1)
    while (first < last).any():
        middle = (first + last) // 2
        ranks = np.stack([np.searchsorted(row, pooled[middle], side="right") for row in ranked])
        enough = chance[each, ranks.T].mean(axis=1) >= q - 1e-12
        first, last = np.where(enough, first, middle + 1), np.where(enough, middle, last)
    return np.asarray(pooled[first])
