"""A surrogate of values made symmetric by a monotone warp [Yeo & Johnson 2000].

With x = (y - centre) / scale, and s = |x|, power = lambda where x >= 0 and 2 - lambda below:

    z = sign(x) ((1 + s)^power - 1) / power        (log(1 + s) for power = 0)

lambda in [0, 2] maximises the normal likelihood of z; it is 1, which changes nothing, unless y is
skewed. Predictions come back in the user's units, to first order: the mean is the warped-back mean
of z, i.e. the median, the sd that of z times the slope there. Over real tables and noisy test
functions it did neither better nor worse than Kriging of winsorised values: it is an option.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.stats import skew

from spot_dask.surrogates import FloatArray, IntArray, Posterior, Surrogate
from spot_dask.surrogates.kriging import Kriging
from spot_dask.surrogates.posterior import KrigingPosterior
from spot_dask.surrogates.sampling import draw


@dataclass(frozen=True)
class Warped:
    """A surrogate (Kriging by default) of warped values, where their skewness is above ``skew``."""

    surrogate: Surrogate = field(default_factory=Kriging)
    skew: float = 1.0

    def fit(
        self, X: FloatArray, y: FloatArray, groups: IntArray, rng: np.random.Generator
    ) -> WarpedPosterior:
        """Fit to finite values y (n >= 1) at features X (n x e)."""
        warp = Warp.estimated(y, self.skew)
        return WarpedPosterior(self.surrogate.fit(X, warp.forward(y), groups, rng), warp)


@dataclass(frozen=True)
class Warp:
    """The monotone map y -> z."""

    power: float = 1.0
    centre: float = 0.0
    scale: float = 1.0

    @classmethod
    def estimated(cls, y: FloatArray, least: float) -> Warp:
        """The warp of maximum likelihood for values y (n), no warp if |skewness| <= least."""
        low, centre, high = (float(q) for q in np.quantile(y, [0.25, 0.5, 0.75]))
        scale = high - low
        if len(y) < 5 or not scale > 1e-9 * np.abs(y).max():
            return cls()
        x = (y - centre) / scale
        if abs(skew(x / np.abs(x).max())) <= least:
            return cls()
        jacobian = float((np.sign(x) * np.log1p(np.abs(x))).sum())

        def misfit(power: float) -> float:
            z = cls(power).forward(x)
            largest = float(np.abs(z).max())
            spread = np.log((z / largest).std()) + np.log(largest)
            return float(len(y) * spread - (power - 1.0) * jacobian)

        found = minimize_scalar(misfit, bounds=(0.0, 2.0), method="bounded")
        return cls(float(found.x), centre, scale)

    def forward(self, y: FloatArray) -> FloatArray:
        x = (y - self.centre) / self.scale
        power, logs = self._powers(x), np.log1p(np.abs(x))
        # expm1(a t) / a is t to first order, where division by a small a loses its digits.
        small = power < 1e-8
        z = np.where(small, logs, np.expm1(power * logs) / np.where(small, 1.0, power))
        warped: FloatArray = np.copysign(z, x)
        return warped

    def backward(self, z: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """y, dy/dz and d2y/dz2 at z."""
        power, s = self._powers(z), np.abs(z)
        small = power < 1e-8
        logs = np.where(small, s, np.log1p(power * s) / np.where(small, 1.0, power))
        y = self.centre + self.scale * np.copysign(np.expm1(logs), z)
        slope = self.scale * np.exp((1.0 - power) * logs)
        bend = self.scale * (1.0 - power) * np.exp((1.0 - 2.0 * power) * logs)
        return y, slope, np.copysign(bend, (1.0 - power) * z)

    def _powers(self, x: FloatArray) -> FloatArray:
        return np.where(x >= 0, self.power, 2.0 - self.power)


@dataclass(frozen=True, eq=False)
class WarpedPosterior:
    """The posterior ``inner`` of the warped values, seen in the user's units."""

    inner: Posterior
    warp: Warp

    def predict(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Median and first-order standard deviation of the objective at X (k x e), both k."""
        z, sd = self.inner.predict(X)
        y, slope, _ = self.warp.backward(z)
        return y, slope * sd

    def gradient(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Gradients of these two with respect to X, both k x e."""
        z, sd = self.inner.predict(X)
        by_z, by_sd = self.inner.gradient(X)
        _, slope, bend = self.warp.backward(z)
        return slope[:, None] * by_z, (bend * sd)[:, None] * by_z + slope[:, None] * by_sd

    def joint(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Median (k) and first-order covariance (k x k) of the objective at X (k x e)."""
        z, covariance = self.inner.joint(X)
        y, slope, _ = self.warp.backward(z)
        return y, slope[:, None] * covariance * slope

    def sample(self, X: FloatArray, n: int, rng: np.random.Generator) -> FloatArray:
        """n draws of the objective at X (k x e), jointly and exactly: n x k."""
        return self.warp.backward(draw(*self.inner.joint(X), n, rng))[0]

    def leave_one_out(self) -> tuple[FloatArray, FloatArray] | None:
        """Median and first-order sd of each value (n) predicted from all others, the warp and the
        hyperparameters unchanged. None if the surrogate inside cannot."""
        if not isinstance(self.inner, KrigingPosterior):
            return None
        z, sd = self.inner.leave_one_out()
        y, slope, _ = self.warp.backward(z)
        return y, slope * sd

    def locate(self, X: FloatArray) -> None:
        """None: the warped objective is not Gaussian, its covariances are first order only."""
        return None

    @property
    def columns(self) -> FloatArray | None:
        return self.inner.columns

    def condition(self, X: FloatArray, y: FloatArray) -> WarpedPosterior:
        """The posterior after noise-free values y (k) at X (k x e)."""
        return WarpedPosterior(self.inner.condition(X, self.warp.forward(y)), self.warp)
