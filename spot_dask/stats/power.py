"""What n paired differences can show: severity of claims, power, smallest effect, needed n.

Severity (Mayo 2018; Bartz et al. 2022, chapter 5) tells how well a claim was tested: with H0
"no improvement" rejected, SEV(improvement > delta) is the probability of a smaller observed mean
than the one seen if the improvement were only delta.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import optimize, special, stats

from spot_dask.stats import FloatArray

POWER = 0.8
ALPHA = 0.025


def severity_of(
    mean: float, se: float, delta: npt.ArrayLike, df: float = np.inf, rejected: bool = True
) -> FloatArray:
    """SEV(delta) = F((mean - delta) / se) of the claim "improvement > delta", F Student's t.

    ``df`` = inf makes it Mayo's normal form; for two unpaired samples of n values with sd s, se is
    s sqrt(2 / n). Where H0 was not rejected, it is the severity of "improvement <= delta", which
    is one minus that. With se = 0 the claims are true or false, and severity is 1 or 0.
    """
    gap = mean - np.asarray(delta, dtype=np.float64)
    if se == 0:
        holds = gap > 0 if rejected else gap <= 0
        return np.asarray(holds, dtype=np.float64)
    sign = 1.0 if rejected else -1.0
    return np.asarray(stats.t.cdf(sign * gap / se, df), dtype=np.float64)


def power(effect: float, sd: float, n: int, alpha: float = ALPHA) -> float:
    """Probability that the one-sided paired t test of level alpha sees a true mean ``effect``.

    ``sd`` > 0 is that of the n >= 2 differences; the test statistic has the noncentral t
    distribution with n - 1 degrees of freedom.
    """
    critical = float(special.stdtrit(n - 1, 1 - alpha))
    return float(stats.nct.sf(critical, n - 1, effect / sd * np.sqrt(n)))


def smallest_effect(sd: float, n: int, alpha: float = ALPHA, wanted: float = POWER) -> float:
    """The true mean that n differences of this sd would have shown with the ``wanted`` power.

    inf where n is 1, 0 where sd is 0.
    """
    if n < 2:
        return np.inf
    if sd == 0:
        return 0.0
    # t_(1-alpha) + t_(wanted) is within some per cent of the answer in units of se.
    guess = float(np.sum(special.stdtrit(n - 1, [1 - alpha, wanted]))) * sd / np.sqrt(n)
    return float(
        optimize.brentq(lambda d: power(d, sd, n, alpha) - wanted, 0.0, 3 * guess, xtol=1e-12 * sd)
    )


def needed_pairs(effect: float, sd: float, alpha: float = ALPHA, wanted: float = POWER) -> int:
    """The least n >= 2 with which a true mean ``effect`` > 0 is seen with the ``wanted`` power.

    The normal formula ((z_(1-alpha) + z_(wanted)) sd / effect)^2 is a lower bound, from which the
    noncentral t goes up.
    """
    if not effect > 0:
        raise ValueError(f"got effect={effect}: expected a positive effect")
    n = max(2, int(np.ceil(normal_pairs(effect, sd, alpha, wanted))))
    while sd > 0 and power(effect, sd, n, alpha) < wanted:
        n += 1
    return n


def normal_pairs(effect: float, sd: float, alpha: float = ALPHA, wanted: float = POWER) -> float:
    """The n of the normal formula, a real number, as if the sd were known."""
    return float((np.sum(special.ndtri([1 - alpha, wanted])) * sd / effect) ** 2)
