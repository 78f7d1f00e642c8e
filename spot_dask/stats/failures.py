"""Which hyperparameters make trainings fail? Rates, tests, and the region that tells it shortest.

``n`` evaluations, of which ``failed`` (n, boolean) tells which failed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from spot_dask.stats import FloatArray
from spot_dask.stats.intervals import SEED, Interval, wilson
from spot_dask.stats.paired import holm
from spot_dask.stats.regression import Predictor

TABLES = 9999
CUTS = 16

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.integer]


@dataclass(frozen=True)
class FailureRate:
    """How many of n evaluations of a group failed, with Wilson's 95 % interval of the rate."""

    label: str
    failed: int
    n: int
    interval: Interval

    @property
    def rate(self) -> float:
        return self.failed / self.n


@dataclass(frozen=True)
class FailuresBy:
    """The rates by level, or by tercile of a number, with a two-sided test and its Holm p.

    p is that of the Mann-Whitney test of the numbers of failed and other evaluations, or of
    Fisher's exact test of the levels; 1 where all or none failed.
    """

    name: str
    rates: tuple[FailureRate, ...]
    p: float
    p_holm: float


@dataclass(frozen=True)
class Condition:
    """One condition of a region: a number ``above`` or at most the cut, or a factor's level."""

    name: str
    level: str = ""
    cut: float = np.nan
    above: bool = False

    def __str__(self) -> str:
        if self.level:
            return f"{self.name} = {self.level}"
        return f"{self.name} {'>' if self.above else '≤'} {self.cut:.4g}"


@dataclass(frozen=True)
class FailureRegion:
    """One or two conditions inside which failures are most frequent, and the counts.

    ``p`` is Fisher's one-sided p times twice the number of regions of so many conditions that were
    looked at (Bonferroni, half of the level for one condition and half for two).
    """

    conditions: tuple[Condition, ...]
    inside: FailureRate
    outside: FailureRate
    p: float


def failures_by(predictors: Sequence[Predictor], failed: npt.ArrayLike) -> tuple[FailuresBy, ...]:
    """The failure rates by each predictor, in their order; Holm over all of them."""
    bad = _outcome(failed, predictors)
    ps = [_p_of_levels(x, bad) if x.levels else _p_of_numbers(x.values, bad) for x in predictors]
    return tuple(
        FailuresBy(x.name, tuple(_rates(x, bad)), p, float(adjusted))
        for x, p, adjusted in zip(predictors, ps, holm(ps), strict=True)
    )


def failure_region(predictors: Sequence[Predictor], failed: npt.ArrayLike) -> FailureRegion | None:
    """The region of one or two conditions that explains the failures best, a stump of depth 2.

    All single conditions (at most 15 cuts of each number at its quantiles, both ways, and every
    level) and all pairs of them are compared by the likelihood of one rate inside and one outside;
    a second condition has to raise its log by log(n) / 2 + log(conditions), the first term as BIC
    asks and the second because the best of so many is looked for. Only regions in which the rate
    is higher count. None where there is no such region, as where all or none failed.
    """
    bad = _outcome(failed, predictors)
    candidates = [c for x in predictors for c in _conditions(x)]
    if not candidates or bad.all() or not bad.any():
        return None
    masks = np.array([mask for _, mask in candidates], dtype=np.float64)
    count, hits = masks @ masks.T, (masks * bad) @ masks.T
    gain = _gain(count, hits, len(bad), int(bad.sum()))
    single = np.diag(gain)
    i = j = int(np.argmax(single))
    pair = np.unravel_index(int(np.argmax(gain)), gain.shape)
    if gain[pair] > single[i] + np.log(len(bad)) / 2 + np.log(len(masks)):
        i, j = sorted(map(int, pair))
    if gain[i, j] <= 0:
        return None
    mask = (masks[i] * masks[j]).astype(bool)
    looked_at = 2 * len(masks) if i == j else len(masks) * (len(masks) - 1)
    table = np.array([[np.sum(part & bad), np.sum(part & ~bad)] for part in (mask, ~mask)])
    p = float(stats.fisher_exact(table, alternative="greater").pvalue)
    return FailureRegion(
        tuple(candidates[k][0] for k in dict.fromkeys([i, j])),
        _rate("inside", mask, bad),
        _rate("outside", ~mask, bad),
        min(1.0, p * looked_at),
    )


def _outcome(failed: npt.ArrayLike, predictors: Sequence[Predictor]) -> BoolArray:
    bad = np.asarray(failed, dtype=bool)
    if bad.ndim != 1 or not len(bad) or any(len(x.values) != len(bad) for x in predictors):
        raise ValueError(f"got {bad.shape} outcomes: expected one for each value of a predictor")
    return bad


def _rate(label: str, group: BoolArray, bad: BoolArray) -> FailureRate:
    k, n = int(np.sum(group & bad)), int(np.sum(group))
    return FailureRate(label, k, n, wilson(k, n))


def _rates(x: Predictor, bad: BoolArray) -> Iterator[FailureRate]:
    """By level, or by tercile; groups without an evaluation are left out."""
    if x.levels:
        groups = [(level, x.values == i) for i, level in enumerate(x.levels)]
    else:
        cuts = np.quantile(x.values, [1 / 3, 2 / 3], method="inverted_cdf")
        part = np.searchsorted(cuts, x.values)
        groups = [
            (f"{x.values[part == i].min():.4g} to {x.values[part == i].max():.4g}", part == i)
            for i in np.unique(part)
        ]
    yield from (_rate(label, group, bad) for label, group in groups if group.any())


def _p_of_numbers(values: FloatArray, bad: BoolArray) -> float:
    if bad.all() or not bad.any() or np.ptp(values) == 0:
        return 1.0
    return float(stats.mannwhitneyu(values[bad], values[~bad]).pvalue)


def _p_of_levels(x: Predictor, bad: BoolArray) -> float:
    """Fisher's exact p; from 9,999 random tables with the same margins for more than two levels."""
    totals = np.array([np.sum(x.values == i) for i in range(len(x.levels))])
    k = np.array([np.sum(bad[x.values == i]) for i in range(len(x.levels))])[totals > 0]
    totals = totals[totals > 0]
    if bad.all() or not bad.any() or len(totals) < 2:
        return 1.0
    if len(totals) == 2:
        return float(stats.fisher_exact(np.array([k, totals - k])).pvalue)
    rng = np.random.default_rng(SEED)
    tables = rng.multivariate_hypergeometric(totals, int(k.sum()), size=TABLES)
    # The probability of a table is the product of binomial coefficients, up to a constant.
    seen, drawn = (_log_binomial(totals, t).sum(axis=-1) for t in (k, tables))
    return float((1 + np.sum(drawn <= seen + 1e-9)) / (1 + TABLES))


def _log_binomial(n: IntArray, k: IntArray) -> FloatArray:
    return np.asarray(special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1))


def _conditions(x: Predictor) -> Iterator[tuple[Condition, BoolArray]]:
    """Every condition of one predictor that some evaluations meet and some do not."""
    if x.levels:
        found = [(Condition(x.name, level), x.values == i) for i, level in enumerate(x.levels)]
    else:
        cuts = np.unique(np.quantile(x.values, np.arange(1, CUTS) / CUTS, method="inverted_cdf"))
        found = [
            (Condition(x.name, cut=float(cut), above=above), (x.values > cut) == above)
            for cut in cuts
            for above in (True, False)
        ]
    yield from ((condition, mask) for condition, mask in found if 0 < mask.sum() < len(mask))


def _gain(inside: FloatArray, hits: FloatArray, n: int, failed: int) -> FloatArray:
    """By how much two rates are likelier (log) than one; 0 where the rate inside is not higher."""
    outside, misses = n - inside, failed - hits

    def likelihood(k: FloatArray, m: FloatArray) -> FloatArray:
        return np.asarray(special.xlogy(k, k) + special.xlogy(m - k, m - k) - special.xlogy(m, m))

    gain = likelihood(hits, inside) + likelihood(misses, outside)
    gain -= likelihood(np.asarray(float(failed)), np.asarray(float(n)))
    return np.where(hits * n > failed * inside, gain, 0.0)
