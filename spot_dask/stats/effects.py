"""Main effects, sections and contrasts of a surrogate's posterior.

The main effect of parameter i is E[f | x_i], the mean over the other parameters (their raw
columns uniform), approximated by the mean over one fixed sample of them. Its band is about exactly
that mean (Moosbauer et al. 2021), so it tells how well the surrogate knows the effect, not how much
single evaluations scatter. A section is the effect of a sample of one row: f along a line.

``band`` and ``contrasts`` make statements about all their values at once: with probability 95 % all
simultaneous intervals hold. Their factor c is the 95 % quantile of the largest |z| of a draw, as in
Tukey's test the studentized range is (Hothorn, Bretz & Westfall 2008). What belongs to draws can be
transformed before: ``paths`` may be those of the objective's own scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import qmc

from spot_dask.stats import FloatArray, IntArray, Paths, Predict, Snap

Z95 = 1.959963984540054


def raw_sample(n: int, d: int, rng: np.random.Generator) -> FloatArray:
    """A space-filling sample of raw rows (n x d), n a power of two."""
    return np.asarray(qmc.Sobol(d, rng=rng).random(n), dtype=np.float64)


def section(
    predict: Predict,
    snap: Snap,
    row: FloatArray,
    pair: tuple[int, int],
    grids: tuple[FloatArray, FloatArray],
) -> FloatArray:
    """f in the plane through ``row`` (d) along the columns of the pair: g_i x g_j values.

    Of an f with several values (k x m) at m rows, k x g_i x g_j.
    """
    grid_i, grid_j = grids
    rows = np.tile(row, (len(grid_i) * len(grid_j), 1))
    rows[:, pair[0]] = np.repeat(grid_i, len(grid_j))
    rows[:, pair[1]] = np.tile(grid_j, len(grid_i))
    values = predict(snap(rows))
    return values.reshape(*values.shape[:-1], len(grid_i), len(grid_j))


@dataclass(frozen=True)
class Band:
    """Posterior mean, sd and 95 % intervals of g values: pointwise, and of all values at once.

    The simultaneous interval is mean -+ factor sd.
    """

    mean: FloatArray
    sd: FloatArray
    low: FloatArray
    high: FloatArray
    simultaneous_low: FloatArray
    simultaneous_high: FloatArray
    factor: float


@dataclass(frozen=True)
class Contrasts:
    """Differences of levels, first minus second of each pair (p x 2, indices), with their band."""

    pairs: IntArray
    band: Band


def effect_draws(
    paths: Paths, snap: Snap, sample: FloatArray, i: int, grid: FloatArray
) -> FloatArray:
    """E[f | x_i] at the values ``grid`` (g) of column i for each function drawn: count x g.

    The mean is taken over a sample of raw rows (m x d), all g m rows at once. With one row it is
    the section through it.
    """
    rows = np.tile(sample, (len(grid), 1))
    rows[:, i] = np.repeat(grid, len(sample))
    values = paths(snap(rows))
    return np.asarray(values.reshape(len(values), len(grid), len(sample)).mean(axis=2))


def pair_draws(
    paths: Paths,
    snap: Snap,
    sample: FloatArray,
    pair: tuple[int, int],
    grids: tuple[FloatArray, FloatArray],
) -> FloatArray:
    """E[f | x_i, x_j] at values of the pair of columns for each draw: count x g_i x g_j.

    The mean is taken over a sample of raw rows (m x d), all g_i g_j m rows at once.
    """
    (i, j), (grid_i, grid_j), m = pair, grids, len(sample)
    rows = np.tile(sample, (len(grid_i) * len(grid_j), 1))
    rows[:, i] = np.repeat(grid_i, len(grid_j) * m)
    rows[:, j] = np.tile(np.repeat(grid_j, m), len(grid_i))
    values = paths(snap(rows))
    return np.asarray(values.reshape(len(values), len(grid_i), len(grid_j), m).mean(axis=3))


def band(draws: FloatArray) -> Band:
    """The band of draws (count x g) of g values; ValueError for fewer than 2 draws.

    Pointwise intervals are quantiles of the draws. With 128 draws the factor has a standard error
    of about 0.1.
    """
    if len(draws) < 2:
        raise ValueError(f"got {len(draws)} draws: expected at least 2")
    mean, sd = draws.mean(axis=0), draws.std(axis=0, ddof=1)
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    sd = np.where(sd > 1e-12 * np.abs(draws).max(axis=0), sd, 0.0)
    apart = np.abs(draws - mean)
    z = np.divide(apart, sd, out=np.zeros_like(apart), where=sd > 0)
    factor = float(np.quantile(z.max(axis=1, initial=0.0), 0.95))
    return Band(mean, sd, low, high, mean - factor * sd, mean + factor * sd, factor)


def contrasts(draws: FloatArray, reference: int | None = None) -> Contrasts:
    """Differences of the effects of levels from their draws (count x levels).

    Of all pairs (Tukey), or of every level to the level ``reference`` (Dunnett); none of a single
    level.
    """
    levels = draws.shape[1]
    if reference is None:
        first, second = np.triu_indices(levels, 1)
    else:
        first = np.delete(np.arange(levels), reference)
        second = np.full(levels - 1, reference)
    return Contrasts(
        np.stack([first, second], axis=1).astype(np.int64), band(draws[:, first] - draws[:, second])
    )
