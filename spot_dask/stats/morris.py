"""Screening by elementary effects [Morris 1991; Campolongo, Cariboni & Saltelli 2007].

From random points of a grid with 8 values a parameter, one raw column after the other is moved by
4/7 of its range. The elementary effect is what f changes by, divided by that share. Its mean mu
tells a direction, the mean of its absolute value mu* an overall influence, its standard deviation
sigma whether the influence depends on the point: by a curve, by other parameters, or by levels
without an order. Where a parameter is not active its effect is 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spot_dask.stats import FloatArray, Predict, Snap

LEVELS = 8
STEP = LEVELS / (2 * (LEVELS - 1))


@dataclass(frozen=True)
class ElementaryEffects:
    """mu, mu* and sigma (d each) of r elementary effects of each parameter.

    ``error`` (d) is the standard error of mu* that the choice of points leaves.
    """

    mu: FloatArray
    mu_star: FloatArray
    sigma: FloatArray
    error: FloatArray
    r: int


def elementary_effects(
    predict: Predict, snap: Snap, d: int, rng: np.random.Generator, r: int = 64
) -> ElementaryEffects:
    """Elementary effects of f from r >= 2 walks: r (d + 1) rows; d >= 1; ValueError otherwise."""
    if d < 1 or r < 2:
        raise ValueError(f"got d={d}, r={r}: expected d >= 1 and r >= 2")
    # The lower half of the values, up or down: every value is visited equally often.
    start = rng.integers(LEVELS // 2, size=(r, d)) / (LEVELS - 1)
    up = rng.random((r, d)) < 0.5
    before, after = np.where(up, start, start + STEP), np.where(up, start + STEP, start)
    turn = np.argsort(rng.random((r, d)), axis=1)
    moved = turn[:, None, :] < np.arange(d + 1)[None, :, None]
    rows = np.where(moved, after[:, None, :], before[:, None, :])
    values = predict(snap(rows.reshape(-1, d))).reshape(r, d + 1)
    walk = np.arange(r)[:, None]
    change = values[walk, turn + 1] - values[walk, turn]
    effects = np.where(up, change, -change) / STEP
    size = np.abs(effects)
    return ElementaryEffects(
        mu=effects.mean(axis=0),
        mu_star=size.mean(axis=0),
        sigma=effects.std(axis=0, ddof=1),
        error=size.std(axis=0, ddof=1) / np.sqrt(r),
        r=r,
    )
