"""Can the surrogate be believed? Leave-one-out predictions and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from spot_dask.stats import FloatArray


@runtime_checkable
class CrossValidated(Protocol):
    """A posterior that can predict each of its own evaluations from all the others."""

    def leave_one_out(self) -> tuple[FloatArray, FloatArray] | None:
        """Means and standard deviations of new observations, each n, in the order of the data.

        None if it is built on a posterior that cannot.
        """
        ...


@dataclass(frozen=True)
class LeaveOneOut:
    """Values y and the mean and sd of each one's prediction from the others, n each."""

    y: FloatArray
    mean: FloatArray
    sd: FloatArray

    @property
    def residuals(self) -> FloatArray:
        return self.y - self.mean

    @property
    def z(self) -> FloatArray:
        """Standardised residuals; a residual of 0 predicted with sd 0 counts as 0."""
        e = self.residuals
        return np.divide(e, self.sd, out=np.where(e == 0, 0.0, np.inf), where=self.sd > 0)

    @property
    def q2(self) -> float:
        """1 - sum e^2 / sum (y - mean y)^2: 1 is perfect, <= 0 no better than the mean of y.

        NaN where all y are equal, because there is nothing to explain then.
        """
        spread = float(np.sum((self.y - self.y.mean()) ** 2)) if len(self.y) else 0.0
        if spread <= 1e-24 * float(np.sum(self.y**2)) or spread == 0.0:
            return float("nan")
        return 1.0 - float(np.sum(self.residuals**2)) / spread

    def share_within(self, k: float) -> float:
        """Share of evaluations with abs(z) <= k; about 0.95 is expected for k = 2."""
        return float(np.mean(np.abs(self.z) <= k))


def leave_one_out(posterior: object, y: FloatArray) -> LeaveOneOut | None:
    """Leave-one-out predictions of the values y (n) that the posterior was fitted to.

    None where the posterior does not offer them.
    """
    found = posterior.leave_one_out() if isinstance(posterior, CrossValidated) else None
    return None if found is None else LeaveOneOut(y, *found)
