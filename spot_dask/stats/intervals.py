"""Intervals for the mean of a few values, for a share, and for any statistic by bootstrap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from spot_dask.stats import FloatArray

RESAMPLES = 9999
SEED = 20180927


@dataclass(frozen=True)
class Interval:
    """The ends of a confidence interval; -inf and inf where the data say nothing."""

    low: float
    high: float

    def cut(self, bounds: tuple[float, float]) -> Interval:
        """The part inside the bounds."""
        low, high = bounds
        return Interval(min(max(self.low, low), high), max(min(self.high, high), low))


ANYTHING = Interval(-np.inf, np.inf)


@dataclass(frozen=True)
class MeanEstimate:
    """The mean of n values with its standard error and two intervals of one ``level``.

    ``sd`` and ``se`` are NaN, and both intervals are unbounded, where n is 1.
    """

    n: int
    mean: float
    sd: float
    se: float
    level: float
    t: Interval
    bca: Interval


def checked(values: npt.ArrayLike) -> FloatArray:
    """The values as an array of n >= 1 finite numbers; ValueError where they are not."""
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1 or not len(found) or not np.all(np.isfinite(found)):
        raise ValueError(f"got {values!r}: expected a list of at least one finite number")
    return found


def nearly_equal(values: FloatArray) -> bool:
    """Whether the values (n) differ by rounding only."""
    return bool(np.ptp(values) <= 1e-12 * np.max(np.abs(values)))


def mean_interval(
    values: npt.ArrayLike,
    level: float = 0.95,
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> MeanEstimate:
    """The mean of n >= 1 finite values of one configuration, with its t and its BCa interval.

    Both are intervals for the *mean* on the scale of the values and are cut at ``bounds``, the
    values that the mean can have: (0, inf) for a loss that is never negative, (0, 1) for a rate.
    Cutting changes no coverage, because nothing outside could have been true.
    """
    v = checked(values)
    mean = float(v.mean())
    if len(v) == 1:
        return MeanEstimate(1, mean, np.nan, np.nan, level, *[ANYTHING.cut(bounds)] * 2)
    sd = 0.0 if nearly_equal(v) else float(v.std(ddof=1))
    se = sd / np.sqrt(len(v))
    half = float(special.stdtrit(len(v) - 1, (1 + level) / 2)) * se
    t = Interval(mean - half, mean + half).cut(bounds)
    return MeanEstimate(len(v), mean, sd, se, level, t, bca(v, level=level).cut(bounds))


def bca(
    values: FloatArray, statistic: Callable[..., Any] = np.mean, level: float = 0.95
) -> Interval:
    """The bias-corrected and accelerated bootstrap interval (Efron 1987) of a statistic.

    ``statistic(values, axis=...)`` works along an axis, as ``np.mean`` does. The resamples of
    the values (n) come from a fixed seed. Equal values give the point that they are.
    """
    if nearly_equal(values):
        return Interval(*[float(statistic(values, axis=-1))] * 2)
    found = stats.bootstrap(
        (values,),
        statistic,
        n_resamples=RESAMPLES,
        batch=max(1, 2_000_000 // len(values)),
        confidence_level=level,
        method="BCa",
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    return Interval(float(found.low), float(found.high))


def wilson(successes: float, n: float, level: float = 0.95) -> Interval:
    """Wilson's (1927) interval of the share of which ``successes`` of n >= 1 is the estimate."""
    z = float(special.ndtri((1 + level) / 2))
    share = successes / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return Interval(float(centre - half), float(centre + half)).cut((0.0, 1.0))


def jeffreys(successes: float, n: float, level: float = 0.95) -> Interval:
    """Jeffreys' interval of a share: quantiles of Beta(successes + 1/2, n - successes + 1/2).

    Its lower end is 0 without a success and its upper end 1 without a failure (Brown, Cai and
    DasGupta 2001). Successes may be halves, which is how ties are counted.
    """
    a, b = successes + 0.5, n - successes + 0.5
    low = float(special.betaincinv(a, b, (1 - level) / 2)) if successes > 0 else 0.0
    high = float(special.betaincinv(a, b, (1 + level) / 2)) if successes < n else 1.0
    return Interval(low, high)
