"""What kind of landscape the objective is: rugged or smooth, with one basin or several.

f is minimised. A *factor* is a column whose levels have no order; ``snap`` tells the levels of a
column, everything else is taken to be ordered.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.stats import qmc

from spot_dask.stats import BoolArray, FloatArray, IntArray, Predict, Snap

PROBES = 1024  # raw rows that tell the levels of the columns
MOST_LEVELS = 64  # a column with more different values is continuous
GRID = 257  # values of a continuous column
FRACTION = 16  # of a column's values: the longest move
SWEEPS = 60
BETWEEN = 11  # points on a line from one end to another
DEPTH = 0.05  # of the sd of f over the starts


@dataclass(frozen=True)
class Ruggedness:
    """Share of the variance that is noise, and turns (d) of f along the range of each parameter."""

    noise_share: float
    turns: FloatArray


@dataclass(frozen=True)
class Basins:
    """Local minima of f, the lowest first: rows (b x d), values (b) and their share of the starts.

    ``unseen`` is the estimated probability that a further start ends in a basin not found yet (the
    share of starts that are alone in theirs [Good 1953]). A minimum counts as one of its own if on
    straight lines to each lower one f rises by more than ``depth``.
    """

    rows: FloatArray
    values: FloatArray
    shares: FloatArray
    unseen: float
    depth: float
    starts: int


@dataclass(frozen=True)
class FitnessDistance:
    """Correlation of value and distance to the best of n others: Pearson's and Spearman's.

    Near 1 the landscape leads to the best; near 0 or below, values do not tell where it is.
    """

    pearson: float
    spearman: float
    n: int


def ruggedness(noise: float, process: float, length_scales: FloatArray) -> Ruggedness:
    """From the variances of noise and process, and the length scales (d) of a Matern-5/2 kernel.

    Along a range of length 1 a Gaussian process crosses its mean sqrt(-R''(0)) / pi times on
    average [Rice 1944], with -R''(0) = 5 / (3 l^2). ValueError for variances that are negative or
    both 0.
    """
    if noise < 0 or process < 0 or noise + process == 0:
        raise ValueError(f"got noise={noise}, process={process}: expected variances")
    return Ruggedness(noise / (noise + process), math.sqrt(5.0 / 3.0) / math.pi / length_scales)


def gower_distance(rows: FloatArray, row: FloatArray, factors: Sequence[int] = ()) -> FloatArray:
    """Mean over the d columns of abs(difference), for factors of 0 or 1: m distances in [0, 1].

    Between rows (m x d) and one row (d) [Gower 1971].
    """
    apart = np.abs(rows - row)
    columns = list(factors)
    apart[:, columns] = apart[:, columns] != 0
    return np.asarray(apart.mean(axis=1), dtype=np.float64)


def fitness_distance(
    rows: FloatArray, y: FloatArray, factors: Sequence[int] = ()
) -> FitnessDistance | None:
    """Of values y (n) at snapped rows (n x d) [Jones & Forrest 1995].

    The rows should fill the space: where a search chose them, good ones are close to each other
    because it looked there. Rows equal to the best are left out. None with fewer than 3 others, or
    where all others have one value or one distance.
    """
    if len(y) < 4:
        return None
    distance = gower_distance(rows, rows[int(np.argmin(y))], factors)
    distance, y = distance[distance > 0], y[distance > 0]
    if len(y) < 3 or np.ptp(y) == 0 or np.ptp(distance) <= 1e-12:
        return None
    pearson, spearman = stats.pearsonr(distance, y), stats.spearmanr(distance, y)
    return FitnessDistance(float(pearson.statistic), float(spearman.statistic), len(y))


def basins(
    predict: Predict,
    snap: Snap,
    d: int,
    rng: np.random.Generator,
    factors: Sequence[int] = (),
    starts: int = 32,
    depth: float | None = None,
    region: Snap = np.asarray,
) -> Basins:
    """Local descents of f from ``starts`` (a power of two) space-filling rows.

    Moves change one column: of a factor to any other level, else up or down by a step that becomes
    smaller, to the next level or 1/256 of the range [Hooke & Jeeves 1961]. ``depth`` is the least
    rise between two minima that makes two of them; 5 % of the sd of f over the starts by default.
    ``region`` maps raw rows to those of the part of the space that is meant.
    About 100 predictions a start for 3 parameters, 1,600 for 20.
    """
    if d < 1 or starts < 2 or starts & (starts - 1):
        raise ValueError(f"got d={d}, starts={starts}: expected d >= 1 and a power of two")
    limits = region(np.array([np.zeros(d), np.ones(d)]))
    values = column_values(snap(region(qmc.Sobol(d, rng=rng).random(PROBES))), limits)
    descent = _Descent(predict, snap, values, frozenset(factors))
    raw = snap(region(qmc.Sobol(d, rng=rng).random(starts)))
    at = np.stack([_nearest(v, raw[:, i]) for i, v in enumerate(values)], axis=1)
    first = descent.f(at)
    least = DEPTH * float(first.std()) if depth is None else depth
    # What a descent leaves is so at most about ``least``, were every column moved all of its range.
    ends, f = descent.run(at, first, least / (FRACTION * d))
    kept: list[int] = []
    home = np.empty(starts, dtype=np.int64)
    for end in np.argsort(f, kind="stable"):
        rises = descent.rises(ends[end], ends[kept]) - f[end]
        if kept and rises.min() <= least:
            home[end] = int(rises.argmin())
        else:
            home[end] = len(kept)
            kept.append(int(end))
    counts = np.bincount(home, minlength=len(kept))
    unseen = float((counts == 1).sum()) / starts
    rows = descent.rows(ends[kept])
    return Basins(rows, f[kept], counts / starts, unseen, least, starts)


def column_values(rows: FloatArray, ends: FloatArray) -> list[FloatArray]:
    """The values that each column can be moved to, from many snapped rows (m x d).

    Of a continuous one so many between its ``ends`` (2 x d).
    """
    found = [np.unique(column) for column in rows.T]
    lines = np.linspace(ends[0], ends[1], GRID).T
    return [v if len(v) <= MOST_LEVELS else line for v, line in zip(found, lines, strict=True)]


def _nearest(values: FloatArray, column: FloatArray) -> IntArray:
    """Indices (m) of the values nearest to those of a column (m)."""
    return np.asarray(np.abs(column[:, None] - values).argmin(axis=1), dtype=np.int64)


@dataclass(frozen=True)
class _Descent:
    """Descents on the lattice of the columns' values; a place is d indices of these."""

    predict: Predict
    snap: Snap
    values: list[FloatArray]
    factors: frozenset[int]

    def rows(self, at: IntArray) -> FloatArray:
        return self.snap(np.stack([v[at[:, i]] for i, v in enumerate(self.values)], axis=1))

    def f(self, at: IntArray) -> FloatArray:
        return self.predict(self.rows(at))

    def run(self, at: IntArray, f: FloatArray, slight: float) -> tuple[IntArray, FloatArray]:
        """Places (s x d) and values (s) where no move improves by more than ``slight``."""
        lengths = np.array([len(v) for v in self.values])
        longest = np.maximum(1, lengths // FRACTION)
        step = np.tile(longest, (len(at), 1))
        ends, lows, going = at.copy(), f.copy(), np.arange(len(at))
        for _ in range(SWEEPS):
            before = at
            for i in range(len(self.values)):
                at, f, better = self._moved(at, f, i, step[:, i], slight)
                step[:, i] = np.where(
                    better, np.minimum(2 * step[:, i], longest[i]), np.maximum(1, step[:, i] // 2)
                )
            # On in the direction that helped, where it helps again.
            ahead = np.clip(2 * at - before, 0, lengths - 1)
            ahead[:, list(self.factors)] = at[:, list(self.factors)]
            at, f = _lower(at, f, ahead, self.f(ahead), slight)
            ends[going], lows[going] = at, f
            more = (at != before).any(axis=1) | (step > 1).any(axis=1)
            if not more.any():
                break
            at, f, step, going = at[more], f[more], step[more], going[more]
        return ends, lows

    def _moved(
        self, at: IntArray, f: FloatArray, i: int, step: IntArray, slight: float
    ) -> tuple[IntArray, FloatArray, BoolArray]:
        """Places and values after the best move in column i, and whether there was one (s each)."""
        last = len(self.values[i]) - 1
        if i in self.factors:
            targets = [np.full(len(at), level) for level in range(last + 1)]
        else:
            targets = [np.maximum(at[:, i] - step, 0), np.minimum(at[:, i] + step, last)]
        tried = np.tile(at, (len(targets), 1))
        tried[:, i] = np.concatenate(targets)
        values = self.f(tried).reshape(len(targets), -1)
        best = values.argmin(axis=0)
        chosen = tried.reshape(len(targets), *at.shape)[best, np.arange(len(at))]
        moved, lower = _lower(at, f, chosen, values.min(axis=0), slight)
        return moved, lower, lower < f

    def rises(self, end: IntArray, others: IntArray) -> FloatArray:
        """The highest f on a line from a place (d) to each of b others, factors first or last."""
        if not len(others):
            return np.empty(0)
        share = np.linspace(0.0, 1.0, BETWEEN)[:, None, None]
        line = np.rint(end + share * (others - end)).astype(np.int64)
        columns = list(self.factors)
        heights = []
        for levels in (end, others):
            path = line.copy()
            path[..., columns] = levels[..., columns]
            values = self.f(path.reshape(-1, len(end))).reshape(path.shape[:-1])
            heights.append(values.max(axis=0))
        return np.asarray(np.min(heights, axis=0), dtype=np.float64)


def _lower(
    at: IntArray, f: FloatArray, other: IntArray, f_other: FloatArray, slight: float
) -> tuple[IntArray, FloatArray]:
    """Of two places (s x d each) with their values the lower, the first unless it is clear."""
    better = f_other < f - slight
    return np.where(better[:, None], other, at), np.where(better, f_other, f)
