"""Variance-based importance of parameters: Sobol indices of a surrogate by Saltelli sampling.

With f the surrogate's mean and raw rows uniform on the unit cube, S_i = V[E(f | x_i)] / V[f] is
the share of the variance that parameter i explains alone, and T_i = E[V(f | x_~i)] / V[f] the
share in which it takes any part. S_i is estimated as in Saltelli et al. (2010), eq. (b) of
table 2, T_i as in Jansen (1999). A parameter that is not active has no effect there, because
rows are snapped after columns were exchanged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import qmc

from spot_dask.stats import FloatArray, Predict, Snap

BASE_POINTS = 2048
RESAMPLES = 200


@dataclass(frozen=True)
class Estimates:
    """Estimates of d quantities with the ends of their 95 % bootstrap intervals, each d."""

    value: FloatArray
    low: FloatArray
    high: FloatArray


@dataclass(frozen=True)
class Sobol:
    """First-order and total indices of d parameters, the variance of f and the base points.

    The intervals tell the error of the sampling, not that of the surrogate. All are 0 where f is
    constant.
    """

    first: Estimates
    total: Estimates
    variance: float
    n: int


def sobol_indices(
    predict: Predict, snap: Snap, d: int, rng: np.random.Generator, n: int = BASE_POINTS
) -> Sobol:
    """Sobol indices of ``predict`` with n base points, a power of two: n (d + 2) predictions."""
    if d < 1 or n < 2 or n & (n - 1):
        raise ValueError(f"got d={d}, n={n}: expected d >= 1 and n a power of two")
    base = qmc.Sobol(2 * d, rng=rng).random(n)
    A, B = base[:, :d], base[:, d:]
    f_A, f_B = predict(snap(A)), predict(snap(B))
    f_AB = np.empty((n, d))
    for i in range(d):
        rows = A.copy()
        rows[:, i] = B[:, i]
        f_AB[:, i] = predict(snap(rows))
    scale = max(float(np.abs(f_A).max()), float(np.abs(f_B).max()))
    if float(np.std(np.concatenate([f_A, f_B]))) <= 1e-12 * scale:
        zero = Estimates(np.zeros(d), np.zeros(d), np.zeros(d))
        return Sobol(zero, zero, 0.0, n)
    return _estimate(f_A, f_B, f_AB, rng)


def _estimate(
    f_A: FloatArray, f_B: FloatArray, f_AB: FloatArray, rng: np.random.Generator
) -> Sobol:
    """Both kinds of indices from f at A (n), B (n) and the exchanged rows (n x d)."""
    n = len(f_A)
    # The first-order estimator is unbiased for any shift of f but far less noisy for mean zero.
    shift = (f_A.mean() + f_B.mean()) / 2
    f_A, f_B, f_AB = f_A - shift, f_B - shift, f_AB - shift
    first = f_B[:, None] * (f_AB - f_A[:, None])
    total = (f_A[:, None] - f_AB) ** 2 / 2
    moments = np.column_stack([(f_A + f_B) / 2, (f_A**2 + f_B**2) / 2])
    counts = np.vstack([np.ones(n), rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES)])
    mean, square = (counts @ moments / n).T
    # A resample of a nearly constant f can have no variance at all; its indices are then 0.
    variance = np.maximum(square - mean**2, np.finfo(np.float64).tiny)
    S = counts @ first / n / variance[:, None]
    T = counts @ total / n / variance[:, None]
    return Sobol(_interval(S), _interval(T), float(variance[0]), n)


def _interval(values: FloatArray) -> Estimates:
    """From the estimate (row 0) and its resamples (other rows)."""
    low, high = np.quantile(values[1:], [0.025, 0.975], axis=0)
    return Estimates(values[0], np.minimum(low, values[0]), np.maximum(high, values[0]))
