"""Small numerical tools: BLAS with one thread, triangular products, normal draws, local descent.

Below some 1,500 rows a second BLAS thread spends its time waiting for the first, which on a machine
shared with Dask workers costs ten times what it saves.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import numpy as np
from scipy.linalg import blas, lapack
from scipy.optimize import Bounds, minimize
from threadpoolctl import ThreadpoolController

from spot_dask.surrogates import FloatArray

LARGE = 1500


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()  # searches the loaded libraries: milliseconds, so once


def blas_threads(rows: int) -> AbstractContextManager[Any]:
    """A context in which BLAS uses one thread, unless there are many rows."""
    if rows >= LARGE:
        return nullcontext()
    limited: AbstractContextManager[Any] = _controller().limit(limits=1, user_api="blas")
    return limited


def times_triangle(U: FloatArray, B: FloatArray, transposed: bool) -> FloatArray:
    """U B or U' B (m x k) for an upper triangular U: half the work of a general product.

    U and B are column-major. A single column has a routine of its own, three times as fast.
    """
    if B.shape[1] == 1:
        column: FloatArray = blas.dtrmv(U, B[:, 0], trans=int(transposed), lower=0)
        return column[:, None]
    product: FloatArray = blas.dtrmm(1.0, U, B, trans_a=int(transposed), lower=0)
    return product


def draw(mean: FloatArray, covariance: FloatArray, n: int, rng: np.random.Generator) -> FloatArray:
    """n draws (n x k) for a mean (k) and a covariance (k x k), which may be singular.

    By the Cholesky factor with pivoting, which stops where only rounding is left [Higham 2002,
    sec. 10.3]: equal points have equal draws, and no variance is added.
    """
    factor, pivots, rank, _ = lapack.dpstrf(np.asfortranarray(covariance), lower=1)
    L = np.tril(factor)[:, :rank]
    drawn = np.empty((n, len(mean)))
    drawn[:, pivots - 1] = rng.standard_normal((n, rank)) @ L.T
    return drawn + mean


def descend(
    function: Callable[[FloatArray], tuple[float, FloatArray]],
    start: FloatArray,
    low: FloatArray,
    high: FloatArray,
    evaluations: int,
    tolerance: float = 1e-8,
) -> tuple[FloatArray, float]:
    """The best point that L-BFGS-B finds from ``start``, and its value; value and gradient given.

    Stops after about so many evaluations or where a step gains less than ``tolerance``, relative
    to the value. Never worse than the start, which must lie in the box.
    """
    best = minimize(
        function,
        start,
        method="L-BFGS-B",
        jac=True,
        bounds=Bounds(low, high),
        options={"maxfun": evaluations, "ftol": tolerance, "gtol": 1e-4},
    )
    return np.asarray(best.x, dtype=np.float64), float(best.fun)
