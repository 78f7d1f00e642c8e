"""Small numerical tools: BLAS with one thread, triangular products, normal priors, local descent.

Below some 1,500 rows a second BLAS thread spends its time waiting for the first, which on a machine
shared with Dask workers costs ten times what it saves.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy.linalg import blas
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


@dataclass(frozen=True)
class Prior:
    """Normal densities of the log length scales and of one further log parameter.

    Given are their centres and sds; theta are p of the former and then the latter.
    """

    length: float
    other: float
    other_sd: float
    length_sd: float = 0.75

    def moments(self, p: int) -> tuple[FloatArray, FloatArray]:
        """Centre and sd of theta (p + 1 each)."""
        centre = np.append(np.full(p, self.length), self.other)
        return centre, np.append(np.full(p, self.length_sd), self.other_sd)

    def penalty(self, theta: FloatArray) -> tuple[float, FloatArray]:
        """Minus the log density of theta, up to a constant, and its gradient (p + 1)."""
        centre, sd = self.moments(len(theta) - 1)
        deviation = (theta - centre) / sd
        return 0.5 * float(deviation @ deviation), deviation / sd


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
