"""Main effects, sections and differences of a surrogate's posterior.

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

Z95 = 1.959963984540054


@dataclass(frozen=True)
class Difference:
    """A normally distributed difference; ``low`` and ``high`` end its 95 % interval."""

    mean: float
    sd: float

    @property
    def low(self) -> float:
        return self.mean - Z95 * self.sd

    @property
    def high(self) -> float:
        return self.mean + Z95 * self.sd


def difference(joint: Joint, first: FloatArray, second: FloatArray) -> Difference:
    """f(first) - f(second) for two snapped rows (d each), correlation taken into account."""
    mean, covariance = joint(np.vstack([first, second]))
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    return Difference(float(mean[0] - mean[1]), float(np.sqrt(max(variance, 0.0))))


def raw_sample(n: int, d: int, rng: np.random.Generator) -> FloatArray:
    """A space-filling sample of raw rows (n x d), n a power of two."""
    return np.asarray(qmc.Sobol(d, rng=rng).random(n), dtype=np.float64)


def main_effect(
    joint: Joint, snap: Snap, sample: FloatArray, i: int, grid: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Mean and sd (g each) of E[f | x_i] at the values ``grid`` (g) of column i.

    The mean is taken over a sample of raw rows (m x d).
    """
    means, sds = np.empty(len(grid)), np.empty(len(grid))
    rows = sample.copy()
    for k, value in enumerate(grid):
        rows[:, i] = value
        mean, covariance = joint(snap(rows))
        means[k], sds[k] = mean.mean(), np.sqrt(max(float(covariance.mean()), 0.0))
    return means, sds


def section(
    predict: Predict,
    snap: Snap,
    row: FloatArray,
    pair: tuple[int, int],
    grids: tuple[FloatArray, FloatArray],
) -> FloatArray:
    """f in the plane through ``row`` (d) along the columns of the pair: g_i x g_j values."""
    grid_i, grid_j = grids
    rows = np.tile(row, (len(grid_i) * len(grid_j), 1))
    rows[:, pair[0]] = np.repeat(grid_i, len(grid_j))
    rows[:, pair[1]] = np.tile(grid_j, len(grid_i))
    return predict(snap(rows)).reshape(len(grid_i), len(grid_j))
