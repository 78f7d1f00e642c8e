"""How a search went: the incumbent over time, and what random search would have reached."""

from __future__ import annotations

import numpy as np

from spot_dask.stats import FloatArray


def incumbent_curve(y: FloatArray) -> FloatArray:
    """Best value so far after each of n evaluations in order; y is NaN where one failed.

    NaN until the first success.
    """
    return np.asarray(np.fmin.accumulate(y), dtype=np.float64)


def expected_best(values: FloatArray, k: int) -> FloatArray:
    """Expected best of 1, ..., k random evaluations, from n >= 1 random evaluations seen.

    E[min of k] = sum over i of v_(i) (F(v_(i-1))^k - F(v_(i))^k) with F(v_(i)) = 1 - i/n, which
    draws from the n values with replacement; beyond k = n it says nothing more than their best.
    """
    n = len(values)
    if n < 1 or k < 1:
        raise ValueError(f"got {n} values, k={k}: expected at least one value and k >= 1")
    survival = 1.0 - np.arange(n + 1) / n
    powers = survival[None, :] ** np.arange(1, k + 1)[:, None]
    return np.asarray((powers[:, :-1] - powers[:, 1:]) @ np.sort(values), dtype=np.float64)
