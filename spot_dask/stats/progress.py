"""How a search went: the incumbent over time."""

from __future__ import annotations

import numpy as np

from spot_dask.stats import FloatArray


def incumbent_curve(y: FloatArray) -> FloatArray:
    """Best value so far after each of n evaluations in order; y is NaN where one failed.

    NaN until the first success.
    """
    return np.asarray(np.fmin.accumulate(y), dtype=np.float64)
