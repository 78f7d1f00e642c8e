"""Statistics of a study: arrays and callables in, arrays and frozen results out.

Nothing here reads a store, draws a figure or knows the user's sign: the objective is minimised.
``n`` evaluations, ``d`` row columns (free parameters, each in [0, 1]), ``g`` grid points. A
*raw* row is any point of the unit cube; ``snap`` turns it into the row of a configuration.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

Predict = Callable[[FloatArray], FloatArray]
"""Snapped rows (m x d) to the surrogate's mean (m)."""

Joint = Callable[[FloatArray], tuple[FloatArray, FloatArray]]
"""Snapped rows (m x d) to the joint posterior's mean (m) and covariance (m x m)."""

Paths = Callable[[FloatArray], FloatArray]
"""Snapped rows (m x d) to values (count x m): ``count`` functions drawn from the posterior.

The draws are coherent: however often it is asked, row k of the answer is of the same function.
"""

Snap = Callable[[FloatArray], FloatArray]
"""Raw rows (m x d) to snapped rows (m x d)."""

__all__ = ["BoolArray", "FloatArray", "IntArray", "Joint", "Paths", "Predict", "Snap"]
