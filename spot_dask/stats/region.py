"""The part of a space in which good configurations are, as a map of raw rows.

Importances and effects in a region are those of ``lambda raw: snap(region(raw))``: near the optimum
other parameters matter than in the whole space, where one bad edge can be all there is to see.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass

import numpy as np

from spot_dask.stats import FloatArray


@dataclass(frozen=True)
class Box:
    """Raw rows of the unit cube (m x d) to raw rows of a box.

    A column goes from ``low`` to ``high`` (d each), or takes one of the ``levels`` that it has
    there, all equally likely.
    """

    low: FloatArray
    high: FloatArray
    levels: Mapping[int, FloatArray]

    def __call__(self, raw: FloatArray) -> FloatArray:
        rows = self.low + raw * (self.high - self.low)
        for i, values in self.levels.items():
            place = np.minimum((raw[:, i] * len(values)).astype(np.int64), len(values) - 1)
            rows[:, i] = values[place]
        return rows


def box_around(
    rows: FloatArray,
    levels: Mapping[int, FloatArray],
    factors: Set[int] = frozenset(),
    width: float = 0.1,
) -> Box:
    """The smallest box that holds the rows (m x d, m >= 1), such as those that may be the best.

    ``levels`` has the values of every discrete column. Of a factor the box keeps the levels that
    the rows have, of another discrete column all between the least and the largest, and at least
    the neighbours of a single one. Continuous columns are made at least ``width`` wide. ValueError
    without a row.
    """
    if not len(rows):
        raise ValueError("got no row: expected at least one that the box has to hold")
    low, high = rows.min(axis=0), rows.max(axis=0)
    more = np.maximum(width - (high - low), 0.0) / 2.0
    # What does not fit on one side is added on the other.
    start = np.clip(low - more, 0.0, np.maximum(1.0 - (high - low) - 2.0 * more, 0.0))
    stop = np.minimum(start + (high - low) + 2.0 * more, 1.0)
    kept = {}
    for i, values in levels.items():
        values = np.union1d(values, rows[:, i])
        inside = np.isin(values, rows[:, i])
        if i not in factors:
            first, last = np.flatnonzero(inside)[[0, -1]]
            if first == last:
                first, last = max(first - 1, 0), last + 1
            inside = (np.arange(len(values)) >= first) & (np.arange(len(values)) <= last)
        kept[i] = values[inside]
    return Box(start, stop, kept)
