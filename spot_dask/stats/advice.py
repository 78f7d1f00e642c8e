"""Is more budget worth it? The expected improvement, a bound of the regret, and the noise.

f is minimised. What is believed of f at m candidate rows is a mean and an sd each; the n rows that
were evaluated are among the candidates or beside them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special, stats

from spot_dask.stats import FloatArray

CONFIDENCE = 0.1  # 1 - confidence of the bound of the regret
RECENT = 10  # evaluations that a trend is of

Verdict = Literal["stop: below the noise", "stop: not worth it", "go on"]


@dataclass(frozen=True)
class Trend:
    """What an evaluation changes the expected improvement to, as a factor, with a 95 % interval.

    Of the last n evaluations. A factor above 1 is no progress.
    """

    factor: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Advice:
    """Whether to stop, and why.

    ``gain`` is what ``more`` evaluations are expected to bring at most: each no more than the
    largest expected improvement now, and all of them no more than the ``bound`` of the regret.
    """

    verdict: Verdict
    improvement: float
    gain: float
    more: int
    bound: float
    noise: float | None
    relevant: float


def expected_improvement(mean: FloatArray, sd: FloatArray, best: float) -> FloatArray:
    """E max(best - f, 0) for f normal with mean and sd (m each); sd may be 0 [Mockus 1978]."""
    gap = best - mean
    z = np.divide(gap, sd, out=np.zeros_like(gap), where=sd > 0)
    density = np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    return np.where(sd > 0, gap * special.ndtr(z) + sd * density, np.maximum(gap, 0.0))


def confidence_factor(d: int, n: int) -> float:
    """sqrt(beta) of bounds mean -+ sqrt(beta) sd for d parameters after n >= 1 evaluations.

    beta = 2 log(d n^2 pi^2 / (6 delta)) / 5 with delta = 0.1: that of Srinivas et al. (2010,
    theorem 1) with d for the number of points, divided by 5 as in their experiments, which is what
    Makarova et al. (2022) stop by. No theorem holds with these two changes.
    """
    return math.sqrt(2.0 * math.log(d * n**2 * math.pi**2 / (6.0 * CONFIDENCE)) / 5.0)


def regret_bound(
    evaluated: tuple[FloatArray, FloatArray],
    candidates: tuple[FloatArray, FloatArray],
    factor: float,
) -> float:
    """min over evaluated of (mean + factor sd) - min over all of (mean - factor sd).

    Means and sds of the evaluated rows (n each) and of candidates (m each). As long as f is within
    its bounds, the configuration that attains the first minimum is not worse than the best
    candidate by more than that [Makarova et al. 2022, eq. 4]. Not negative, and infinite where
    nothing was evaluated.
    """
    means, sds = (np.concatenate(parts) for parts in zip(evaluated, candidates, strict=True))
    upper = evaluated[0] + factor * evaluated[1]
    best = float(upper.min(initial=math.inf))
    return best - float((means - factor * sds).min(initial=best))


def fold_noise(variance: float, k: int) -> float:
    """Noise of a mean over k >= 2 folds with this variance between folds.

    sqrt((1/k + 1/(k - 1)) variance): folds share data, so their mean is less certain than that of
    independent values [Nadeau & Bengio 2003, as Makarova et al. 2022 use it].
    """
    if k < 2:
        raise ValueError(f"got k={k}: expected at least two folds")
    return math.sqrt((1.0 / k + 1.0 / (k - 1)) * variance)


def trend(improvements: FloatArray) -> Trend | None:
    """The trend of the largest expected improvement after each evaluation, from the last ones.

    The median of slopes between pairs of its logarithm, with the interval of Sen (1968). None with
    fewer than 4 positive values among the last 10.
    """
    recent = improvements[-RECENT:]
    at = np.flatnonzero(np.isfinite(recent) & (recent > 0))
    if len(at) < 4:
        return None
    slope, _, low, high = np.exp(stats.theilslopes(np.log(recent[at]), at, 0.95))
    return Trend(float(slope), float(low), float(high), len(at))


def advise(
    improvement: float,
    bound: float,
    noise: float | None = None,
    relevant: float = 0.0,
    more: int = 20,
) -> Advice:
    """Stop where the regret is below the noise, or where the gain is not relevant.

    ``improvement`` is the largest expected improvement now, ``bound`` that of the regret; ``noise``
    the sd of the value that the best is known by (None: not known), and ``relevant`` the smallest
    gain that matters. ValueError where one of them is negative or ``more`` is not positive.
    """
    if min(improvement, bound, noise or 0.0, relevant) < 0 or more < 1:
        raise ValueError(
            f"got improvement={improvement}, bound={bound}, noise={noise}, relevant={relevant}, "
            f"more={more}"
        )
    gain = min(more * improvement, bound)
    verdict: Verdict = "go on"
    if noise is not None and bound < noise:
        verdict = "stop: below the noise"
    elif gain < relevant:
        verdict = "stop: not worth it"
    return Advice(verdict, improvement, gain, more, bound, noise, relevant)
