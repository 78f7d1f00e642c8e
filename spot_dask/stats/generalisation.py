"""Does a low validation value mean a low test value? Gap, rank correlation and overtuning.

``n`` evaluations in the order in which they ended, with a validation and a test value each, both
minimised. The search saw only the validation values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from spot_dask.stats import FloatArray
from spot_dask.stats.intervals import Interval, MeanEstimate, checked, mean_interval, nearly_equal


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rho with its 95 % interval and p against 0, from n pairs.

    rho and p are NaN and the interval is (-1, 1) with fewer than 4 pairs or all values of one kind
    equal.
    """

    rho: float
    interval: Interval
    p: float
    n: int


@dataclass(frozen=True)
class Generalisation:
    """What the test values say of a search that did not see them.

    ``gap`` is the mean of test - validation over all evaluations. ``overtuning`` (n) tells after
    each evaluation how much worse the incumbent's test value is than the best one of an incumbent
    so far, and ``relative`` (n) divides that by the improvement of that best one over the first
    incumbent: above 1 the chosen one is worse than the first. It is NaN where nothing was improved.
    ``incumbents`` (n) are the indices of the incumbents.
    """

    gap: MeanEstimate
    correlation: RankCorrelation
    incumbents: tuple[int, ...]
    overtuning: FloatArray
    relative: FloatArray


def generalisation(validation: npt.ArrayLike, test: npt.ArrayLike) -> Generalisation:
    """Compare n >= 1 finite validation values with test values.

    Overtuning is ot_t = test(best by validation until t) - min of test over the incumbents until t
    (Schneider, Bischl and Feurer 2025).
    """
    v, t = checked(validation), checked(test)
    if len(v) != len(t):
        raise ValueError(f"got {len(v)} validation and {len(t)} test values: expected pairs")
    # An equal value later does not replace the incumbent.
    is_new = np.concatenate([[True], v[1:] < np.minimum.accumulate(v)[:-1]])
    incumbents = np.maximum.accumulate(np.where(is_new, np.arange(len(v)), 0))
    best = np.minimum.accumulate(t[incumbents])
    overtuning = t[incumbents] - best
    improved = t[0] - best
    relative = np.divide(overtuning, improved, out=np.full(len(v), np.nan), where=improved > 0)
    return Generalisation(
        mean_interval(t - v),
        rank_correlation(v, t),
        tuple(int(i) for i in incumbents),
        overtuning,
        relative,
    )


def rank_correlation(first: FloatArray, second: FloatArray) -> RankCorrelation:
    """Spearman's rho of n pairs, with the interval of Bonett and Wright (2000).

    That is tanh(atanh(rho) +- z sqrt((1 + rho^2 / 2) / (n - 3))); p is that of Student's t with
    n - 2 degrees of freedom. Of a perfect correlation, whose interval would be a point, the inner
    end is that of the next lower rho and p that of all orders being as likely, 2 / n!.
    """
    n = len(first)
    if n < 4 or nearly_equal(first) or nearly_equal(second):
        return RankCorrelation(np.nan, Interval(-1.0, 1.0), np.nan, n)
    rho = float(np.corrcoef(stats.rankdata(first), stats.rankdata(second))[0, 1])
    next_lower = 1 - 12 / (n * (n**2 - 1))
    inner = float(np.clip(rho, -next_lower, next_lower))
    half = float(special.ndtri(0.975)) * np.sqrt((1 + inner**2 / 2) / (n - 3))
    low, high = np.tanh(np.arctanh(inner) + np.array([-half, half]))
    if abs(rho) > 1 - 1e-12:
        rho = float(np.sign(rho))
        p = 2 / float(special.factorial(n))
        return RankCorrelation(rho, Interval(min(float(low), rho), max(float(high), rho)), p, n)
    t = rho * np.sqrt((n - 2) / (1 - rho**2))
    p = float(2 * special.stdtr(n - 2, -abs(t)))
    return RankCorrelation(rho, Interval(float(low), float(high)), p, n)
