"""Variance-based importance of parameters: Sobol indices by sampling.

With raw rows uniform on the unit cube, S_i = V[E(f | x_i)] / V[f] is the share of the variance of
f that parameter i explains alone, T_i = E[V(f | x_~i)] / V[f] the share in which it takes any part,
and S_ij the share that i and j explain together beyond what each explains alone. A parameter that
is not active has no effect there, because rows are snapped after columns were exchanged.

``sobol_posterior`` is about functions drawn from the posterior, so its intervals tell what the data
leave open. For a region, map raw rows into it before they are snapped:
``lambda raw: snap(region(raw))``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import qmc

from spot_dask.stats import FloatArray, Paths, Snap

ROWS = 12288  # at which functions drawn are evaluated
PARTS = 8  # of the base points; they tell the sampling error


@dataclass(frozen=True)
class Estimates:
    """Estimates of quantities with the ends of their intervals, arrays of one shape."""

    value: FloatArray
    low: FloatArray
    high: FloatArray


@dataclass(frozen=True)
class SobolPosterior:
    """Posterior medians and intervals of first, total (d each) and pair indices (d x d).

    ``pairs`` is symmetric with a diagonal of 0. ``variance`` is that of f over the space, of shape
    (). Of a function that is constant, all indices are 0. Indices are not clipped: sampling can
    make those near 0 negative. The sampling errors (d each) are standard errors of the medians,
    from their spread over parts of the base points; they are too large rather than too small.
    """

    first: Estimates
    total: Estimates
    pairs: Estimates
    variance: Estimates
    first_error: FloatArray
    total_error: FloatArray
    draws: int
    n: int


def base_points(d: int) -> int:
    """Base points for d parameters: a power of two from 256 to 4096, within ROWS if it can be."""
    fitting = max(256, ROWS // (2 * d + 2))
    return min(4096, 1 << (fitting.bit_length() - 1))


def sobol_posterior(
    paths: Paths,
    snap: Snap,
    d: int,
    rng: np.random.Generator,
    n: int | None = None,
    level: float = 0.95,
) -> SobolPosterior:
    """Sobol indices of each function drawn, with n base points: n (2 d + 2) rows.

    Two independent samples A and B of raw rows, and for each i A with column i of B and the
    reverse. With the differences a_i = f(A, i of B) - f(A) and b_i = f(B, i of A) - f(B),

        E[a_i b_i] = -2 V_i        E[a_i b_j] = V_ij        E[a_i^2] = E[b_i^2] = 2 V T_i

    because the factors of each product share no other columns. First and total indices are so
    those of Azzini, Mara & Rosati (2020), whose errors are small where the index is 0 or 1; pair
    indices need no further rows. Intervals hold the share ``level`` of the draws. n is a power of
    two and at least 16, d at least 1; ValueError otherwise.
    """
    if d < 1 or (n is not None and (n < 2 * PARTS or n & (n - 1))):
        raise ValueError(f"got d={d}, n={n}: expected d >= 1 and n >= 16, a power of two")
    n = base_points(d) if n is None else n
    base = qmc.Sobol(2 * d, rng=rng).random(n)
    A, B = base[:, :d], base[:, d:]
    f_A, a = _differences(paths, snap, A, B)
    f_B, b = _differences(paths, snap, B, A)
    count, apart = len(f_A), f_A - f_B
    smallest = 1e-24 * np.square(np.maximum(np.abs(f_A).max(axis=1), np.abs(f_B).max(axis=1)))
    first, total = np.empty((PARTS + 1, count, d)), np.empty((PARTS + 1, count, d))
    variance = np.zeros(count)
    for i in range(d):
        four_v = _means(np.square(apart) + np.square(apart + a[:, i] - b[:, i]))
        first[..., i] = _ratio(_means(-2.0 * a[:, i] * b[:, i]), four_v, smallest)
        total[..., i] = _ratio(_means(np.square(a[:, i]) + np.square(b[:, i])), four_v, smallest)
        variance += four_v[0] / (4.0 * d)
    products = a @ b.transpose(0, 2, 1) / n
    products = (products + products.transpose(0, 2, 1)) / 2.0
    pairs = _ratio(products, variance[:, None, None], smallest[:, None, None])
    pairs[:, np.arange(d), np.arange(d)] = 0.0
    return SobolPosterior(
        first=_of_draws(first[0], level),
        total=_of_draws(total[0], level),
        pairs=_of_draws(pairs, level),
        variance=_of_draws(variance, level),
        first_error=np.median(first[1:], axis=1).std(axis=0, ddof=1) / PARTS**0.5,
        total_error=np.median(total[1:], axis=1).std(axis=0, ddof=1) / PARTS**0.5,
        draws=count,
        n=n,
    )


def _differences(
    paths: Paths, snap: Snap, rows: FloatArray, others: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """f at raw rows (n x d): count x n; and what each column of the others changes: count x d x n.

    All are asked for at once, for they have their values in common.
    """
    n, d = rows.shape
    mixed = np.tile(rows, (d + 1, 1)).reshape(d + 1, n, d)
    mixed[np.arange(d), :, np.arange(d)] = others.T
    values = paths(snap(mixed.reshape(-1, d)))
    values = values.reshape(len(values), d + 1, n)
    return values[:, d], values[:, :d] - values[:, d:]


def _means(terms: FloatArray) -> FloatArray:
    """Means of terms (count x n) over all n, and over each part of them: PARTS + 1 x count."""
    parts = terms.reshape(len(terms), PARTS, -1).mean(axis=2).T
    return np.vstack([parts.mean(axis=0), parts])


def _ratio(part: FloatArray, whole: FloatArray, smallest: FloatArray) -> FloatArray:
    """part / whole, 0 where the whole is no more than rounding makes of 0."""
    return np.divide(part, whole, out=np.zeros(part.shape), where=whole > smallest)


def _of_draws(draws: FloatArray, level: float) -> Estimates:
    """Medians and intervals along the first axis."""
    low, median, high = np.quantile(draws, [0.5 - level / 2, 0.5, 0.5 + level / 2], axis=0)
    return Estimates(median, low, high)
