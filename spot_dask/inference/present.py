"""The ranges that are searched at present, as a box in the space that the model describes.

Where ranges were changed while a study went on, the model knows the evaluations of all of them, but
a statement about "the space" is meant about the ranges that are searched now. Rows are snapped
points of the unit cube of the whole space, d free parameters; raw rows are any points of it.
"""

from __future__ import annotations

import numpy as np

from spot_dask.space import Categorical, Integer, Real, Space
from spot_dask.stats import BoolArray
from spot_dask.stats.effects import raw_sample
from spot_dask.stats.region import Box
from spot_dask.surrogates import FloatArray

PROBES = 1024  # rows that tell the values of a column
MOST_LEVELS = 64  # an integer with more values is as good as continuous
ROUNDING = 1e-9


def columns(space: Space) -> tuple[dict[int, FloatArray], frozenset[int]]:
    """The values of every discrete column of snapped rows, and the columns of unordered factors."""
    rows = space.snap(raw_sample(PROBES, space.d, np.random.default_rng(0)))
    levels: dict[int, FloatArray] = {}
    factors = set()
    for i, name in enumerate(space.free):
        parameter = space.parameters[name]
        values = np.unique(rows[:, i])
        if isinstance(parameter, (Categorical, Integer)) and len(values) <= MOST_LEVELS:
            levels[i] = values
        if isinstance(parameter, Categorical) and not parameter.ordered:
            factors.add(i)
    return levels, frozenset(factors)


def present_box(space: Space, within: Space) -> Box:
    """The ranges of ``within``, all in ``space``, as a box of raw rows of the latter."""
    low, high = np.zeros(space.d), np.ones(space.d)
    levels: dict[int, FloatArray] = {}
    discrete, _ = columns(space)
    for i, name in enumerate(space.free):
        widest, now = space.parameters[name], within.parameters[name]
        if isinstance(now, Categorical):
            levels[i] = np.sort(widest.position(widest.codes(now.levels)))
        elif isinstance(now, Real | Integer) and isinstance(widest, Real | Integer):
            ends = widest.position(widest.codes((now.low, now.high)))
            if i in discrete:
                between = (discrete[i] >= ends[0]) & (discrete[i] <= ends[1])
                levels[i] = np.union1d(discrete[i][between], ends)
            if (now.low, now.high) != (widest.low, widest.high):
                low[i], high[i] = ends
    return Box(low, high, levels)


def lies_in(space: Space, box: Box, rows: FloatArray) -> BoolArray:
    """Which rows (n x d) lie in the box, as far as their parameters are active."""
    inside = (rows >= box.low - ROUNDING) & (rows <= box.high + ROUNDING)
    for i, values in box.levels.items():
        apart = np.abs(rows[:, i, None] - values[None, :])
        inside[:, i] = apart.min(axis=1, initial=np.inf) <= ROUNDING
    return np.asarray((inside | ~space.active(rows)).all(axis=1))
