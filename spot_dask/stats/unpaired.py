"""Two configurations without seeds in common: Welch's comparison of their means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from spot_dask.stats.intervals import Interval, checked


@dataclass(frozen=True)
class WelchComparison:
    """The difference of two means, second - first: positive where the first is lower.

    ``t`` is the 95 % interval of the difference of the expectations, ``p`` two-sided.
    """

    n_first: int
    n_second: int
    mean: float
    se: float
    df: float
    t: Interval
    p: float


def compare_unpaired(first: npt.ArrayLike, second: npt.ArrayLike) -> WelchComparison:
    """Compare m >= 2 and n >= 2 finite values of independent samples by Welch's (1947) t test.

    Variances may differ. With no variance at all the interval is the difference, and p is 0 or 1.
    ValueError for fewer values.
    """
    a, b = checked(first), checked(second)
    if min(len(a), len(b)) < 2:
        raise ValueError(f"got {len(a)} and {len(b)} values: expected at least 2 each")
    mean = float(b.mean() - a.mean())
    parts = np.array([a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)])
    se = float(np.sqrt(parts.sum()))
    if se <= 1e-14 * max(abs(float(a.mean())), abs(float(b.mean()))):
        point = Interval(mean, mean)
        return WelchComparison(len(a), len(b), mean, 0.0, np.inf, point, float(mean == 0))
    df = float(parts.sum() ** 2 / np.sum(parts**2 / [len(a) - 1, len(b) - 1]))
    half = float(special.stdtrit(df, 0.975)) * se
    p = 2 * float(special.stdtr(df, -abs(mean) / se))
    return WelchComparison(len(a), len(b), mean, se, df, Interval(mean - half, mean + half), p)
