"""An additive two-way model of an incomplete table: values of rows after the columns' effects.

    y_rc = mu_r + f_c + e_rc,    e of variance sigma^2,    sum of f = 0

by least squares. With the rows' means taken out [Searle 1971, Linear Models, chapter 7, "reduced
normal equations"], the columns' effects solve A f = b, where for the counts n_rc

    A = diag(n_.c) - N' diag(1 / n_r.) N,    b_c = sum of (y - mean of its row) in column c

and a row's value is the mean of y - f over its cells. Rows and columns that nothing connects are
not comparable: within each connected part the effects then add up to 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spot_dask.stats import FloatArray, IntArray


@dataclass(frozen=True)
class TwoWay:
    """The fitted model of R rows and C columns.

    ``values`` (R) are the rows', ``effects`` (C) the columns', ``counts`` (R x C) the cells'.
    ``sigma`` is the sd of a cell, estimated with ``df`` degrees of freedom; NaN with none.
    """

    values: FloatArray
    effects: FloatArray
    counts: FloatArray
    sigma: float
    df: int
    inverse: FloatArray

    def difference_sd(self, row: int, other: int) -> float:
        """The standard error of the difference of two rows' values; NaN with no df."""
        n = self.counts.sum(axis=1)
        apart = self.counts[row] / n[row] - self.counts[other] / n[other]
        spread = 1 / n[row] + 1 / n[other] + float(apart @ self.inverse @ apart)
        return self.sigma * float(np.sqrt(max(0.0, spread)))


def two_way(rows: IntArray, columns: IntArray, y: FloatArray, shape: tuple[int, int]) -> TwoWay:
    """The model of values y (n) in cells (rows, columns) (n each) of a table of this shape.

    Every row has a value. Columns without any have no effect.
    """
    counts, sums = np.zeros(shape), np.zeros(shape)
    np.add.at(counts, (rows, columns), 1.0)
    np.add.at(sums, (rows, columns), y)
    n = counts.sum(axis=1, keepdims=True)
    means = sums.sum(axis=1, keepdims=True) / n
    normal = np.diag(counts.sum(axis=0)) - counts.T @ (counts / n)
    # A is a graph's Laplacian: its inverse that is 0 on each part's constants is the one wanted.
    inverse = np.linalg.pinv(normal, rcond=1e-10, hermitian=True)
    rank = int(
        np.linalg.matrix_rank(normal, tol=1e-9 * max(1.0, float(counts.sum())), hermitian=True)
    )
    effects = inverse @ (sums - counts * means).sum(axis=0)
    values = (sums.sum(axis=1) - counts @ effects) / n[:, 0]
    df = len(y) - shape[0] - rank
    left = float(np.square(y - values[rows] - effects[columns]).sum())
    sigma = float(np.sqrt(left / df)) if df > 0 else float("nan")
    return TwoWay(values, effects, counts, sigma, df, inverse)
