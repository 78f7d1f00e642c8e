"""Main effects and contours of a surrogate.

The main effect of parameter i is E[f | x_i], the mean over the other parameters (their raw
columns uniform), approximated by the mean over one fixed sample of them. Its band is the
posterior sd of exactly that mean, from the joint posterior (Moosbauer et al. 2021), so it tells
how well the surrogate knows the effect, not how much single evaluations scatter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import qmc

from spot_dask.stats import FloatArray, Joint, Predict, Snap


@dataclass(frozen=True)
class Effect:
    """Mean and sd of E[f | x_i = grid value], each g."""

    grid: FloatArray
    mean: FloatArray
    sd: FloatArray


@dataclass(frozen=True)
class Contour:
    """Means of f on a grid: ``mean[a, b]`` belongs to ``grid_i[a]`` and ``grid_j[b]``."""

    grid_i: FloatArray
    grid_j: FloatArray
    mean: FloatArray


def raw_sample(n: int, d: int, rng: np.random.Generator) -> FloatArray:
    """A space-filling sample of raw rows (n x d), n a power of two."""
    return np.asarray(qmc.Sobol(d, rng=rng).random(n), dtype=np.float64)


def main_effect(joint: Joint, snap: Snap, sample: FloatArray, i: int, grid: FloatArray) -> Effect:
    """E[f | x_i] at the values ``grid`` (g) of column i, over a sample of raw rows (m x d)."""
    results = [_averaged(joint, snap, sample, i, value) for value in grid]
    means, sds = zip(*results, strict=True)
    return Effect(grid, np.array(means), np.array(sds))


def _averaged(
    joint: Joint, snap: Snap, sample: FloatArray, i: int, value: float
) -> tuple[float, float]:
    rows = sample.copy()
    rows[:, i] = value
    mean, covariance = joint(snap(rows))
    return float(mean.mean()), float(np.sqrt(max(float(covariance.mean()), 0.0)))


def contour(
    predict: Predict,
    snap: Snap,
    row: FloatArray,
    pair: tuple[int, int],
    grids: tuple[FloatArray, FloatArray],
) -> Contour:
    """The section of f through ``row`` (d) along the columns of the pair (i, j)."""
    grid_i, grid_j = grids
    rows = np.tile(row, (len(grid_i) * len(grid_j), 1))
    rows[:, pair[0]] = np.repeat(grid_i, len(grid_j))
    rows[:, pair[1]] = np.tile(grid_j, len(grid_i))
    return Contour(grid_i, grid_j, predict(snap(rows)).reshape(len(grid_i), len(grid_j)))
