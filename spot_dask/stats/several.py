"""Methods compared by several runs each: anytime curves, targets reached, ranks and tests.

``R`` runs of a method, ``T`` points in time or budget that all runs share, ``k`` methods. Values
are best-so-far losses, minimised; inf where a run has nothing yet. Nothing is concluded from fewer
than MIN_RUNS runs: such data can be shown, not tested.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy import optimize, special, stats

from spot_dask.stats import FloatArray
from spot_dask.stats.intervals import Interval, checked
from spot_dask.stats.paired import holm, sign_flip

MIN_RUNS = 5


@dataclass(frozen=True)
class AnytimeBand:
    """Median of R runs at T points, with a pointwise interval of exact ``coverage`` (T each)."""

    median: FloatArray
    low: FloatArray
    high: FloatArray
    coverage: float


def step_curve(times: npt.ArrayLike, values: npt.ArrayLike, grid: npt.ArrayLike) -> FloatArray:
    """The best of one run's values (n) that ended by each time of the grid (T); inf before.

    ``times`` (n) are the ends of its evaluations in any order; NaN values failed.
    """
    t, v = np.asarray(times, dtype=np.float64), np.asarray(values, dtype=np.float64)
    order = np.argsort(t, kind="stable")
    best = np.minimum.accumulate(np.where(np.isnan(v), np.inf, v)[order])
    reached = np.searchsorted(t[order], np.asarray(grid, dtype=np.float64), side="right")
    return np.asarray(np.concatenate([[np.inf], best])[reached])


def anytime_band(curves: npt.ArrayLike) -> AnytimeBand:
    """The median of R >= 5 curves (R x T) with an interval between two of the runs.

    The interval lies between the r-th lowest and the r-th highest run, with the largest r whose
    coverage 1 - 2 P(Binomial(R, 1/2) < r) is at least 0.95, or r = 1, which covers .9375 for 5
    runs. That is exact for every continuous distribution (Thompson 1936), and infinite values are
    allowed, where a bootstrap of so few medians is neither.
    """
    ranked = np.sort(_enough(curves), axis=0)
    R = len(ranked)
    missed = 2 * special.bdtr(np.arange((R + 1) // 2), R, 0.5)  # by rank r = 1, 2, ...
    r = max(1, int(np.sum(missed <= 0.05)))
    middle = ranked[(R - 1) // 2], ranked[R // 2]
    finite = np.isfinite(middle[1])
    median = np.where(finite, (middle[0] + np.where(finite, middle[1], 0.0)) / 2, np.inf)
    return AnytimeBand(median, ranked[r - 1], ranked[R - r], float(1 - missed[r - 1]))


def targets_reached(curves: npt.ArrayLike, targets: npt.ArrayLike) -> FloatArray:
    """The share of pairs of a run and a target that are reached at each of T points.

    Curves are R x T; the empirical distribution function of runtimes of COCO (Hansen et al. 2021).
    """
    found, levels = np.asarray(curves, dtype=np.float64), checked(targets)
    return np.asarray(np.mean(found[:, :, None] <= levels, axis=(0, 2)))


def spread_targets(curves: Sequence[npt.ArrayLike], count: int = 50) -> FloatArray:
    """Targets (count) for all methods: quantiles of what any of their runs (R x T each) reached.

    ValueError where no run reached anything.
    """
    pooled = np.concatenate([np.asarray(c, dtype=np.float64).ravel() for c in curves])
    return np.quantile(checked(np.unique(pooled[np.isfinite(pooled)])), np.linspace(0, 1, count))


@dataclass(frozen=True)
class Superiority:
    """P(a run of A is better than one of B), ties as halves, with its 95 % interval.

    ``p`` is the two-sided one of the Mann-Whitney test.
    """

    probability: float
    interval: Interval
    p: float


def superiority(first: npt.ArrayLike, second: npt.ArrayLike) -> Superiority:
    """P(A < B) from m and n >= 5 final values of independent runs; U / (m n).

    The interval is that of Newcombe (2006), method 5: all theta with (estimate - theta)^2 <=
    z^2 V(theta), V Hanley and McNeil's variance with (m + n) / 2 - 1 in place of m - 1 and n - 1.
    It is no point where all runs of A are better than all of B.
    """
    a, b = _enough(first), _enough(second)
    m, n = len(a), len(b)
    estimate = float(np.mean((a[:, None] < b) + (a[:, None] == b) / 2))
    size, z2 = (m + n) / 2 - 1, float(special.ndtri(0.975)) ** 2

    def beyond(theta: float) -> float:
        spread = 1 + size * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        return (estimate - theta) ** 2 - z2 * theta * (1 - theta) * spread / (m * n)

    # At 0 and 1 the estimate itself is one of the two roots, and not the one looked for.
    inside = min(max(estimate, 1e-9), 1 - 1e-9)
    low = optimize.brentq(beyond, 0.0, inside) if estimate > 0 else 0.0
    high = optimize.brentq(beyond, inside, 1.0) if estimate < 1 else 1.0
    p = float(stats.mannwhitneyu(a, b).pvalue)
    return Superiority(estimate, Interval(float(low), float(high)), p)


@dataclass(frozen=True)
class PairOfMethods:
    """Two methods (indices): wins of the first, ties as halves, two-sided Wilcoxon p and Holm's."""

    first: int
    second: int
    wins: float
    p: float
    p_holm: float


@dataclass(frozen=True)
class MethodRanking:
    """k methods on R shared seeds or problems; rank 1 is best.

    ``friedman`` is the statistic with its p. Mean ranks (k) that differ by more than
    ``critical_difference`` differ by Nemenyi's test at 5 % for all pairs; ``alike`` are the largest
    groups of methods, by rank, that do not. ``pairs`` are all pairs.
    """

    mean_ranks: FloatArray
    friedman: float
    p: float
    critical_difference: float
    alike: tuple[tuple[int, ...], ...]
    pairs: tuple[PairOfMethods, ...]


def rank_methods(values: npt.ArrayLike) -> MethodRanking:
    """Rank k >= 2 methods by final values (R x k, R >= 5) that share their seeds row by row.

    Friedman's test corrected for ties, Nemenyi's critical difference q sqrt(k (k + 1) / (6 R)) and
    Holm's adjustment of pairwise tests, as Demšar (2006) and García and Herrera (2008) recommend.
    """
    found = _enough(values)
    if found.ndim != 2 or found.shape[1] < 2:
        raise ValueError(f"got values of shape {found.shape}: expected runs x methods, 2 or more")
    R, k = found.shape
    ranks = stats.rankdata(found, axis=1)
    mean = ranks.mean(axis=0)
    # Var(rank) within rows is k (k + 1) / 12 without ties.
    spread = float(np.sum((ranks - (k + 1) / 2) ** 2)) / (R * (k - 1))
    between = R * float(np.sum((mean - (k + 1) / 2) ** 2))
    friedman = between / spread if spread > 0 else 0.0
    q = float(stats.studentized_range.ppf(0.95, k, np.inf)) / np.sqrt(2)
    critical = q * float(np.sqrt(k * (k + 1) / (6 * R)))
    tests = [(i, j, found[:, j] - found[:, i]) for i, j in combinations(range(k), 2)]
    ps = [wilcoxon(d) for _, _, d in tests]
    return MethodRanking(
        mean,
        friedman,
        float(special.chdtrc(k - 1, friedman)),
        critical,
        _alike(mean, critical),
        tuple(
            PairOfMethods(i, j, float(np.sum(d > 0) + np.sum(d == 0) / 2), p, float(adjusted))
            for (i, j, d), p, adjusted in zip(tests, ps, holm(ps), strict=True)
        ),
    )


def wilcoxon(differences: npt.ArrayLike) -> float:
    """Two-sided p of Wilcoxon's signed-rank test of n differences, zeros left out.

    The sign-flip test of the signed ranks: exact, also with ties, for n <= 16. The least p of 5
    differences is 2 / 2^5 = .0625.
    """
    d = checked(differences)
    d = d[d != 0]
    if not len(d):
        return 1.0
    # Rounded, because equal decimal differences are not equal in binary.
    signed = np.sign(d) * stats.rankdata(np.round(np.abs(d) / np.abs(d).max(), 12))
    return min(1.0, 2 * min(sign_flip(signed), sign_flip(-signed)))


def _enough(values: npt.ArrayLike) -> FloatArray:
    found = np.asarray(values, dtype=np.float64)
    if len(found) < MIN_RUNS or np.any(np.isnan(found)):
        raise ValueError(f"got {len(found)} runs: expected at least {MIN_RUNS}, without NaN")
    return found


def _alike(mean: FloatArray, critical: float) -> tuple[tuple[int, ...], ...]:
    order = np.argsort(mean, kind="stable")
    ends = np.searchsorted(mean[order], mean[order] + critical, side="right")
    is_largest = np.concatenate([[True], ends[1:] > ends[:-1]])
    return tuple(
        tuple(int(i) for i in order[start:end])
        for start, end in enumerate(ends)
        if is_largest[start] and end - start > 1
    )
