"""Local maximisation of a smooth function from several starts at once, by its gradient.

Dense BFGS in a box with a backtracking search, one inverse Hessian per start: all starts share
every call of the function, which costs little more for many points than for one [Nocedal & Wright
2006, ch. 6; bounds by projection, Bertsekas 1982]. b starts, e columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spot_dask.surrogates import FloatArray, IntArray

BoolArray = npt.NDArray[np.bool_]
Function = Callable[[FloatArray], tuple[FloatArray, FloatArray]]
"""Rows (m x e) -> values (m) and gradients (m x e)."""

LONGEST = 0.3  # largest step along a column of the unit cube
ENOUGH = 1e-4  # share of the predicted rise that a step must reach
SHORTEST = 1e-3  # the share of a step below which a line search is given up
FLAT = 1e-4  # a rise too small to go on
LEVEL = 1e-3  # largest entry of a gradient that is none


def climb(
    function: Function, starts: FloatArray, free: BoolArray, scales: FloatArray, evaluations: int
) -> FloatArray:
    """Rows (b x e) no lower than the starts, moved within [0, 1] along their free columns.

    ``free`` is b x e; ``scales`` (e) say how far a first step may go.
    """
    columns = np.flatnonzero(free.any(axis=0))
    if not len(columns):
        return starts
    state = _State.at(function, starts, columns, free[:, columns], np.minimum(scales, 1.0)[columns])
    for _ in range(evaluations - 1):
        if not len(state.moving):
            break
        state.advance(function)
    return state.rows


@dataclass(eq=False)
class _State:
    """Where the starts have got to: ``moving`` are the indices of those that still climb.

    H (b x k x k) approximates minus the inverse Hessian in the k free columns; t (b) is the share
    of the step P (b x k) to try next.
    """

    rows: FloatArray
    columns: IntArray
    free: BoolArray
    values: FloatArray
    G: FloatArray
    H: FloatArray
    P: FloatArray
    t: FloatArray
    moving: IntArray

    @classmethod
    def at(
        cls,
        function: Function,
        rows: FloatArray,
        columns: IntArray,
        free: BoolArray,
        scales: FloatArray,
    ) -> _State:
        values, gradient = function(rows)
        H = np.where(free, scales**2, 0.0)[:, :, None] * np.eye(len(columns))
        G = np.where(free, gradient[:, columns], 0.0)
        everyone = np.arange(len(rows))
        P, t = np.zeros_like(G), np.ones(len(rows))
        state = cls(rows.copy(), columns, free, values.copy(), G, H, P, t, everyone)
        state._aim(everyone)
        state.moving = everyone[state._slope(everyone) > FLAT]
        return state

    def advance(self, function: Function) -> None:
        """One evaluation of all that still move."""
        i = self.moving
        before = self.rows[np.ix_(i, self.columns)]
        after = np.clip(before + self.t[i, None] * self.P[i], 0.0, 1.0)
        rows = self.rows[i]
        rows[:, self.columns] = after
        values, gradient = function(rows)
        G, step = np.where(self.free[i], gradient[:, self.columns], 0.0), after - before
        rise = values - self.values[i]
        up = rise >= ENOUGH * np.einsum("bk,bk->b", self.G[i], step)
        won = i[up]
        if len(won):
            self._bend(won, step[up], G[up] - self.G[won])
            self.rows[won], self.values[won], self.G[won] = rows[up], values[up], G[up]
            self._aim(won)
            self.t[won] = 1.0
        self.t[i[~up]] *= 0.3
        going = self.t[i] >= SHORTEST
        going[up] = (rise[up] >= FLAT) & (self._slope(won) > LEVEL)
        self.moving = i[going]

    def _bend(self, i: IntArray, step: FloatArray, change: FloatArray) -> None:
        """The BFGS update of H where the curvature allows it [Nocedal & Wright, eq. 6.17]."""
        y = -change
        curvature = np.einsum("bk,bk->b", step, y)
        allowed = curvature > 1e-12
        i, s, y, r = i[allowed], step[allowed], y[allowed], 1.0 / curvature[allowed]
        Hy = np.einsum("bjk,bk->bj", self.H[i], y)
        grown = (1.0 + np.einsum("bk,bk->b", y, Hy) * r) * r
        cross = Hy[:, :, None] * s[:, None, :]
        self.H[i] += grown[:, None, None] * (s[:, :, None] * s[:, None, :])
        self.H[i] -= r[:, None, None] * (cross + cross.transpose(0, 2, 1))

    def _aim(self, i: IntArray) -> None:
        """The next steps of rows i: none out of the box, none too long, all upwards."""
        G = self._inward(i)
        P = np.where(G != 0.0, np.einsum("bjk,bk->bj", self.H[i], G), 0.0)
        down = np.einsum("bk,bk->b", P, G) <= 0.0
        P[down] = 0.01 * G[down]
        longest = np.abs(P).max(axis=1, keepdims=True)
        self.P[i] = P * np.minimum(1.0, LONGEST / np.maximum(longest, 1e-300))

    def _inward(self, i: IntArray) -> FloatArray:
        """The gradients of rows i without what points out of the box."""
        x, G = self.rows[np.ix_(i, self.columns)], self.G[i]
        inward: FloatArray = np.where(((x <= 0.0) & (G < 0.0)) | ((x >= 1.0) & (G > 0.0)), 0.0, G)
        return inward

    def _slope(self, i: IntArray) -> FloatArray:
        """The largest entry of those gradients."""
        slope: FloatArray = np.abs(self._inward(i)).max(axis=1)
        return slope
