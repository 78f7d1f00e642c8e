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
) -> tuple[FloatArray, float]:
    """The best point that L-BFGS-B finds from ``start``, and its value; value and gradient given.

    Stops after about so many evaluations. Never worse than the start, which must lie in the box.
    """
    best = minimize(
        function,
        start,
        method="L-BFGS-B",
        jac=True,
        bounds=Bounds(low, high),
        options={"maxfun": evaluations, "ftol": 1e-8, "gtol": 1e-4},
    )
    return np.asarray(best.x, dtype=np.float64), float(best.fun)
