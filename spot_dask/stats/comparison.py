"""How much better is one configuration than another, by the surrogate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spot_dask.stats import FloatArray, Joint

Z95 = 1.959963984540054


@dataclass(frozen=True)
class Difference:
    """A normally distributed difference; ``low`` and ``high`` end its 95 % interval."""

    mean: float
    sd: float

    @property
    def low(self) -> float:
        return self.mean - Z95 * self.sd

    @property
    def high(self) -> float:
        return self.mean + Z95 * self.sd


def difference(joint: Joint, first: FloatArray, second: FloatArray) -> Difference:
    """f(first) - f(second) for two snapped rows (d each), correlation taken into account."""
    mean, covariance = joint(np.vstack([first, second]))
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    return Difference(float(mean[0] - mean[1]), float(np.sqrt(max(variance, 0.0))))
