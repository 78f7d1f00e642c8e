"""Local minimisation of a smooth function in a box, by its gradient."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import Bounds, minimize

from spot_dask.surrogates import FloatArray


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
