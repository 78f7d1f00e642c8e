"""Local maximisation of a smooth function from several starts at once, by its gradient.

Dense BFGS in a box with a backtracking search, one inverse Hessian per start: all starts share
every call of the function, which costs little more for many points than for one [Nocedal & Wright
2006, ch. 6; bounds by projection, Bertsekas 1982]. Wanted is the best of them: a start that cannot
catch up any more stops.

======== ========= ====================================================================
x        b x k     the free columns of b starts
G        b x k     gradients there, 0 where a start may not move
H        b x k x k minus the inverse Hessian, approximately
P        b x k     the next steps, H G but for the bounds
t        b         share of the step to try next
======== ========= ====================================================================
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
HOPE = 10.0  # times G'P, twice what a quadratic would rise: what a start may still rise


def climb(
    function: Function, starts: FloatArray, free: BoolArray, scales: FloatArray, evaluations: int
) -> FloatArray:
    """Rows (b x e) no lower than the starts, moved within [0, 1] along their free columns.

    ``free`` is b x e; ``scales`` (e) say how far a first step may go. Only the highest of them is
    a local maximum.
    """
    columns = np.flatnonzero(free.any(axis=0))
    if not len(columns):
        return starts
    state = _State.at(function, starts, columns, free[:, columns], np.minimum(scales, 1.0)[columns])
    for _ in range(evaluations - 1):
        if not len(state.moving):
            break
        state.advance(function)
    rows = starts.copy()
    rows[:, columns] = state.x
    return rows


@dataclass(eq=False)
class _State:
    """Where the starts have got to; the arrays are those of the table above.

    ``moving`` are the indices of those that still climb; ``slope`` (b) is the largest entry of
    their gradients and ``hope`` (b) G'P, both without what points out of the box; ``bent`` (b)
    says whose H is more than a guess.
    """

    rows: FloatArray
    columns: IntArray
    free: BoolArray
    x: FloatArray
    values: FloatArray
    G: FloatArray
    H: FloatArray
    P: FloatArray
    t: FloatArray
    slope: FloatArray
    hope: FloatArray
    bent: BoolArray
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
        b, k = free.shape
        G = np.where(free, gradient[:, columns], 0.0)
        H = np.where(free, scales**2, 0.0)[:, :, None] * np.eye(k)
        x, P, everyone = rows[:, columns], np.zeros((b, k)), np.arange(b)
        t, slope, hope, bent = np.ones(b), np.zeros(b), np.zeros(b), np.zeros(b, dtype=np.bool_)
        state = cls(rows, columns, free, x, values.copy(), G, H, P, t, slope, hope, bent, everyone)
        state._aim(everyone)
        state.moving = everyone[state.slope > FLAT]
        return state

    def advance(self, function: Function) -> None:
        """One evaluation of all that still move."""
        i = self.moving
        x = np.minimum(np.maximum(self.x[i] + self.t[i, None] * self.P[i], 0.0), 1.0)
        rows = self.rows[i]
        rows[:, self.columns] = x
        values, gradient = function(rows)
        G, step = np.where(self.free[i], gradient[:, self.columns], 0.0), x - self.x[i]
        rise = values - self.values[i]
        up = rise >= ENOUGH * np.einsum("bk,bk->b", self.G[i], step)
        won = i[up]
        if len(won):
            self._bend(won, step[up], self.G[won] - G[up])
            self.x[won], self.values[won], self.G[won] = x[up], values[up], G[up]
            self._aim(won)
            self.t[won] = 1.0
        self.t[i[~up]] *= 0.3
        going = self.t[i] >= SHORTEST
        going[up] = (rise[up] >= FLAT) & (self.slope[won] > LEVEL)
        going &= self.values[i] + HOPE * self.hope[i] >= self.values.max()
        self.moving = i[going]

    def _bend(self, i: IntArray, s: FloatArray, y: FloatArray) -> None:
        """The BFGS update of H from steps s and falls y of the gradient, where the curvature
        allows it [Nocedal & Wright, eq. 6.17]; the first one sets the scale of H as well [their
        eq. 6.20], which saves half of all evaluations."""
        curvature = np.einsum("bk,bk->b", s, y)
        allowed = curvature > 1e-12
        i, s, y, r = i[allowed], s[allowed], y[allowed], 1.0 / curvature[allowed]
        H = self.H[i]
        Hy = np.einsum("bjk,bk->bj", H, y)
        yHy = np.einsum("bk,bk->b", y, Hy)
        first = np.where(self.bent[i], 1.0, 1.0 / (r * yHy))
        H, Hy, yHy = H * first[:, None, None], Hy * first[:, None], yHy * first
        grown = (1.0 + yHy * r) * r
        cross = r[:, None, None] * (Hy[:, :, None] * s[:, None, :])
        H += grown[:, None, None] * (s[:, :, None] * s[:, None, :])
        self.H[i] = H - cross - cross.transpose(0, 2, 1)
        self.bent[i] = True

    def _aim(self, i: IntArray) -> None:
        """The next steps of rows i: none out of the box, none too long, all upwards."""
        x, G = self.x[i], self.G[i]
        G = np.where(((x <= 0.0) & (G < 0.0)) | ((x >= 1.0) & (G > 0.0)), 0.0, G)
        P = np.where(G != 0.0, np.einsum("bjk,bk->bj", self.H[i], G), 0.0)
        down = np.einsum("bk,bk->b", P, G) <= 0.0
        P[down] = 0.01 * G[down]
        longest = np.abs(P).max(axis=1, keepdims=True)
        P *= np.minimum(1.0, LONGEST / np.maximum(longest, 1e-300))
        self.P[i], self.slope[i] = P, np.abs(G).max(axis=1)
        self.hope[i] = np.einsum("bk,bk->b", P, G)
