"""Several runs a method: published tables, scipy, exact coverage and enumeration."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from spot_dask.stats.several import (
    anytime_band,
    rank_methods,
    spread_targets,
    step_curve,
    superiority,
    targets_reached,
    wilcoxon,
)

# Hollander and Wolfe (1973), p. 140: 22 players round first base in three ways, in R's
# ``friedman.test``.
PRINTED = """
5.40 5.50 5.55  5.85 5.70 5.75  5.20 5.60 5.50  5.55 5.50 5.40  5.90 5.85 5.70  5.45 5.55 5.60
5.40 5.40 5.35  5.45 5.50 5.35  5.25 5.15 5.00  5.85 5.80 5.70  5.25 5.20 5.10  5.65 5.55 5.45
5.60 5.35 5.45  5.05 5.00 4.95  5.50 5.50 5.40  5.45 5.55 5.50  5.55 5.55 5.35  5.45 5.50 5.55
5.50 5.45 5.25  5.65 5.60 5.40  5.70 5.65 5.55  6.30 6.30 6.25
"""
ROUNDING = np.array(PRINTED.split(), dtype=float).reshape(22, 3)


def test_friedmans_test_is_the_one_that_r_prints() -> None:
    found = rank_methods(ROUNDING)
    assert (found.friedman, found.p) == pytest.approx((11.1429, 0.003805), rel=1e-4)
    assert found.friedman == pytest.approx(stats.friedmanchisquare(*ROUNDING.T).statistic)
    assert list(found.mean_ranks) == pytest.approx(stats.rankdata(ROUNDING, axis=1).mean(axis=0))


@pytest.mark.parametrize(("k", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)])
def test_the_critical_difference_is_demsars(k: int, q: float) -> None:
    """Demšar (2006), table 5; his example of 4 methods on 14 sets has 1.25."""
    found = rank_methods(np.random.default_rng(k).random((14, k)))
    assert found.critical_difference == pytest.approx(q * np.sqrt(k * (k + 1) / 84), rel=3e-4)
    if k == 4:
        assert found.critical_difference == pytest.approx(1.25, abs=0.005)


def test_pairs_are_tested_by_wilcoxon_and_adjusted() -> None:
    pairs = rank_methods(ROUNDING).pairs
    assert [(p.first, p.second) for p in pairs] == [(0, 1), (0, 2), (1, 2)]
    assert pairs[2].wins == np.sum(ROUNDING[:, 1] < ROUNDING[:, 2])  # without a tie
    d = (ROUNDING[:, 0] - ROUNDING[:, 2]).round(2)
    assert pairs[1].p == pytest.approx(stats.wilcoxon(d, method="asymptotic").pvalue, abs=0.002)
    assert pairs[2].p_holm == pytest.approx(3 * pairs[2].p)


@pytest.mark.parametrize("n", [5, 9, 11])
def test_wilcoxons_p_is_scipys(n: int) -> None:
    d = np.random.default_rng(n).normal(0.4, 1, size=n)
    assert wilcoxon(d) == pytest.approx(stats.wilcoxon(d, method="exact").pvalue)
    tied = np.round(d, 0)
    reference = stats.wilcoxon(tied[tied != 0], method=stats.PermutationMethod(n_resamples=np.inf))
    assert wilcoxon(tied) == pytest.approx(reference.pvalue)
    assert wilcoxon(np.arange(1.0, 6.0)) == 0.0625
    assert wilcoxon([0.0, 0.0]) == 1.0


def test_methods_that_are_the_same_rank_the_same() -> None:
    found = rank_methods(np.ones((5, 3)))
    assert (list(found.mean_ranks), found.friedman, found.p) == ([2, 2, 2], 0, 1)
    assert [(p.wins, p.p_holm) for p in found.pairs] == [(2.5, 1.0)] * 3
    assert found.alike == ((0, 1, 2),)


def test_methods_that_differ_much_are_not_alike() -> None:
    noise = np.random.default_rng(1).random((20, 3))
    found = rank_methods(noise + np.array([2.0, 1.0, 0.0]))
    assert list(found.mean_ranks) == [3, 2, 1]
    assert found.alike == ()
    assert found.friedman == pytest.approx(40)  # R (k - 1), its maximum
    near = rank_methods(noise + np.array([0.1, 0.0, 5.0]))
    assert near.alike == ((1, 0),) or near.alike == ((0, 1),)


def test_a_run_is_a_step_curve() -> None:
    found = step_curve([3.0, 1.0, 2.0, 5.0], [0.5, 0.9, np.nan, 0.7], [0.5, 1, 2.5, 3, 9])
    assert list(found) == [np.inf, 0.9, 0.9, 0.5, 0.5]


@pytest.mark.parametrize(
    ("R", "r", "coverage"),
    [(5, 1, 0.9375), (8, 1, 0.9921875), (9, 2, 0.9609375), (20, 6, 0.9586105)],
)
def test_the_band_is_between_order_statistics(R: int, r: int, coverage: float) -> None:
    """Coverages as tabulated, e.g. in Conover (1999)."""
    curves = np.random.default_rng(R).normal(size=(R, 3))
    found, ranked = anytime_band(curves), np.sort(curves, axis=0)
    assert found.coverage == pytest.approx(coverage)
    np.testing.assert_array_equal(found.low, ranked[r - 1])
    np.testing.assert_array_equal(found.high, ranked[-r])
    np.testing.assert_allclose(found.median, np.median(curves, axis=0))


def test_the_band_covers_the_median_of_skewed_runs_as_said() -> None:
    curves = np.random.default_rng(3).lognormal(sigma=2, size=(10, 4000))
    found = anytime_band(curves)
    assert np.mean((found.low <= 1) & (found.high >= 1)) == pytest.approx(found.coverage, abs=0.01)


def test_runs_that_have_nothing_yet_are_counted() -> None:
    curves = np.array([[np.inf, 1.0]] * 3 + [[2.0, 1.0]] * 3)
    found = anytime_band(curves)
    assert list(found.median) == [np.inf, 1.0]
    assert (list(found.low), list(found.high)) == ([2.0, 1.0], [np.inf, 1.0])


def test_targets_reached_are_counted() -> None:
    curves = [[np.inf, 3.0, 1.0], [2.0, 2.0, 2.0]]
    assert list(targets_reached(curves, [0.5, 1.0, 2.5])) == pytest.approx([1 / 6, 1 / 6, 3 / 6])
    targets = spread_targets([curves, [[5.0, 4.0, 4.0]]], count=5)
    assert list(targets) == [1.0, 2.0, 3.0, 4.0, 5.0]
    with pytest.raises(ValueError, match="at least one finite"):
        spread_targets([[[np.inf]]])


def test_the_probability_of_superiority_is_counted() -> None:
    a, b = [1.0, 2.0, 3.0, 3.0, 9.0], [2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    found = superiority(a, b)
    assert found.probability == np.mean([(x < y) + (x == y) / 2 for x in a for y in b])
    assert found.p == pytest.approx(stats.mannwhitneyu(a, b).pvalue)
    other = superiority(b, a)
    assert other.probability == pytest.approx(1 - found.probability)
    assert other.interval.low == pytest.approx(1 - found.interval.high)


def test_complete_separation_leaves_doubt() -> None:
    found = superiority(np.arange(5.0), np.arange(5.0) + 10)
    assert (found.probability, found.interval.high) == (1.0, 1.0)
    assert 0.4 < found.interval.low < 0.8
    assert found.p == pytest.approx(2 / 252)


def test_the_interval_of_superiority_covers_where_waldss_does_not() -> None:
    rng = np.random.default_rng(4)
    truth, hits, wald = stats.norm.cdf(1.5 / np.sqrt(2)), [], []
    for _ in range(300):
        a, b = rng.normal(size=8), rng.normal(1.5, 1, size=8)
        found = superiority(a, b)
        hits.append(found.interval.low <= truth <= found.interval.high)
        share = (a[:, None] < b).mean(axis=1), (a[:, None] < b).mean(axis=0)
        se = np.sqrt(share[0].var(ddof=1) / 8 + share[1].var(ddof=1) / 8)
        wald.append(abs(found.probability - truth) <= 1.96 * se)
    assert np.mean(hits) == pytest.approx(0.955, abs=0.02)
    assert np.mean(wald) < 0.9


@pytest.mark.parametrize("runs", [1, 4])
def test_fewer_than_five_runs_conclude_nothing(runs: int) -> None:
    few = np.ones((runs, 3))
    for call in (lambda: anytime_band(few), lambda: rank_methods(few),
                 lambda: superiority(few[:, 0], np.ones(9))):  # fmt: skip
        with pytest.raises(ValueError, match="at least 5"):
            call()
    with pytest.raises(ValueError, match="runs x methods"):
        rank_methods(np.ones((5, 1)))
    with pytest.raises(ValueError, match="without NaN"):
        anytime_band([[np.nan]] * 5)
