"""Paired comparison: published constants, scipy, enumeration by hand, and degenerate pairs."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats

from spot_dask.stats import power
from spot_dask.stats.intervals import RESAMPLES, SEED, jeffreys, mean_interval, wilson
from spot_dask.stats.paired import compare_paired, holm, sign_flip

# Student's (1908) sleep data: hours gained by ten patients under two drugs.
FIRST = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
SECOND = np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])


def test_severity_has_the_constants_of_mayo() -> None:
    """Mayo (2018), p. 345, as in the tests of the R package SPOT."""
    found = power.severity_of(90.0, 450 * np.sqrt(2 / 200), [200, 100, 50, 10])
    np.testing.assert_allclose(
        found, [0.007253771, 0.4120704, 0.8129686, 0.9622798], rtol=1e-7, atol=5e-8
    )


def test_students_sleep_data_have_their_published_t_test() -> None:
    found = compare_paired(SECOND, FIRST)
    assert found.mean == pytest.approx(1.58)
    assert found.mean / found.se == pytest.approx(4.0621, abs=5e-5)
    assert 2 * found.p_t == pytest.approx(0.002833, abs=5e-7)
    assert found.t.low == pytest.approx(0.7001142, abs=1e-7)
    assert found.t.high == pytest.approx(2.4598858, abs=1e-7)
    assert found.better
    assert found.d_z == pytest.approx(1.58 / np.std(SECOND - FIRST, ddof=1))


def test_the_severity_of_pairs_is_that_of_students_t() -> None:
    found = compare_paired(SECOND, FIRST)
    assert found.severity(0.0) == pytest.approx(1 - found.p_t)
    assert found.severity(found.t.low) == pytest.approx(0.975)
    assert found.severity(found.warranted()) == pytest.approx(0.95)
    assert found.severity(found.mean) == pytest.approx(0.5)
    assert np.all(np.diff(found.severity(np.linspace(-1, 4, 20))) < 0)


def test_without_rejection_severity_is_that_of_a_small_improvement() -> None:
    found = compare_paired([1.0, 2.0, 3.0, 2.5], [1.5, 1.0, 3.5, 2.0])
    assert not found.better
    reference = stats.t(3, loc=found.mean, scale=found.se)
    assert found.severity([0.1, 0.7]) == pytest.approx(reference.cdf([0.1, 0.7]))
    assert found.warranted(0.9) == pytest.approx(reference.ppf(0.9))


@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_the_sign_flip_test_enumerates_all_signs(n: int) -> None:
    d = np.random.default_rng(n).normal(0.3, 1, size=n).round(1)
    flips = [np.dot(signs, np.abs(d)) for signs in product([-1, 1], repeat=n)]
    expected = np.mean([flip >= d.sum() - 1e-9 for flip in flips])
    assert sign_flip(d) == pytest.approx(expected)


def test_the_sign_flip_test_is_scipys() -> None:
    d = SECOND - FIRST
    expected = stats.permutation_test(
        (d,), np.mean, permutation_type="samples", alternative="greater", n_resamples=np.inf
    ).pvalue
    assert sign_flip(d) == pytest.approx(expected)


def test_many_pairs_are_flipped_at_random() -> None:
    d = np.random.default_rng(1).normal(0.3, 1, size=30)
    exact_enough = stats.norm.sf(d.sum() / np.sqrt(np.sum(d**2)))
    assert sign_flip(d) == pytest.approx(exact_enough, abs=0.01)
    assert sign_flip(np.ones(60)) == pytest.approx(1 / 100_001)
    assert sign_flip(d) == sign_flip(d)


def test_the_least_p_of_few_pairs_is_told() -> None:
    assert compare_paired([2.0] * 5, [1.0, 0.5, 1.2, 1.1, 0.9]).p_smallest == 0.03125
    assert compare_paired([2.0] * 5, [1.0, 0.5, 1.2, 1.1, 0.9]).p_sign_flip == 0.03125
    assert compare_paired([2.0, 2.0, 2.0], [2.0, 1.0, 1.5]).p_smallest == 0.25  # one is a tie


def test_the_bootstrap_interval_is_efrons() -> None:
    """By hand from the same resamples: Efron and Tibshirani (1993), 14.9 to 14.15."""
    d = np.random.default_rng(2).lognormal(size=12)
    resamples = np.random.default_rng(SEED).integers(0, 12, size=(RESAMPLES, 12))
    means = d[resamples].mean(axis=1)
    z0 = stats.norm.ppf(np.mean(means < d.mean()))
    left_out = (d.sum() - d) / 11
    gap = left_out.mean() - left_out
    a = np.sum(gap**3) / (6 * np.sum(gap**2) ** 1.5)
    expanded = np.sqrt(12 / 11) * stats.t.ppf(0.975, 11)  # Hesterberg (2015), section 6
    z = z0 + np.array([-expanded, expanded])
    expected = np.quantile(means, stats.norm.cdf(z0 + z / (1 - a * z)))
    found = mean_interval(d).bca
    assert [found.low, found.high] == pytest.approx(expected, rel=1e-3)
    assert found.high - d.mean() > 1.2 * (d.mean() - found.low)  # it follows the skewness


def test_the_bootstrap_interval_of_five_values_covers_as_said() -> None:
    """.93; .84 without the expansion of its tails."""
    samples = np.random.default_rng(8).normal(size=(300, 5))
    found = [mean_interval(sample).bca for sample in samples]
    assert 0.90 < np.mean([interval.low <= 0 <= interval.high for interval in found]) < 0.96


def test_intervals_stay_where_the_mean_can_be() -> None:
    loss = [0.01, 0.02, 0.5]
    raw = mean_interval(loss)
    found = mean_interval(loss, bounds=(0.0, np.inf))
    assert raw.t.low < 0 < found.t.low < raw.bca.low + 1e-9
    half = stats.t.ppf(0.975, 2) * stats.sem(loss) / np.mean(loss)  # se of the mean's log
    assert np.log([found.t.low, found.t.high]) == pytest.approx(
        [np.log(np.mean(loss)) - half, np.log(np.mean(loss)) + half]
    )
    mirrored = mean_interval([5 - v for v in loss], bounds=(-np.inf, 5.0))
    assert mirrored.t.high == pytest.approx(5 - found.t.low)
    assert mirrored.t.low == pytest.approx(5 - found.t.high)


def test_the_interval_of_a_rate_stays_below_1() -> None:
    rates = np.array([0.99, 1.0, 0.7])
    found = mean_interval(rates, bounds=(0.0, 1.0))
    assert mean_interval(rates).t.high > 1 > found.t.high > rates.mean()
    p = rates.mean()
    half = stats.t.ppf(0.975, 2) * stats.sem(rates) / (p * (1 - p))  # se of the mean's logit
    assert np.log(found.t.low / (1 - found.t.low)) == pytest.approx(np.log(p / (1 - p)) - half)
    percent = mean_interval(100 * rates, bounds=(0.0, 100.0))
    assert percent.t.low == pytest.approx(100 * found.t.low)
    error = mean_interval(1 - rates, bounds=(0.0, 1.0))
    assert error.t.low == pytest.approx(1 - found.t.high)


@pytest.mark.parametrize("scale", [1e-300, 1e-9, 1e9, 1e300])
def test_the_scale_of_the_values_does_not_matter(scale: float) -> None:
    """Also where their squares are no numbers."""
    values = np.array([1.0, 2.0, 1.2, 1.1])
    for bounds in ((-np.inf, np.inf), (0.0, np.inf), (0.0, 3.0)):
        one = mean_interval(values, bounds=bounds)
        found = mean_interval(values * scale, bounds=(bounds[0] * scale, bounds[1] * scale))
        assert found.sd == pytest.approx(one.sd * scale, rel=1e-9, abs=0.0)
        for a, b in ((found.t, one.t), (found.bca, one.bca)):
            assert (a.low, a.high) == pytest.approx(
                (b.low * scale, b.high * scale), rel=1e-9, abs=0.0
            )


def test_at_a_bound_there_is_no_doubt_and_one_value_says_nothing() -> None:
    found = mean_interval([1.0, 1.0], bounds=(0.0, 1.0))
    assert (found.t.low, found.t.high, found.sd) == (1.0, 1.0, 0.0)
    found = mean_interval([0.3], bounds=(0.0, np.inf))
    assert (found.t.low, found.t.high) == (0.0, np.inf)
    found = mean_interval([0.0, 8.0], bounds=(0.0, np.inf))  # the worst that two values can be
    assert 0 < found.t.low < 1e-4
    assert 8 < found.t.high < np.inf
    with pytest.raises(ValueError, match="expected them in"):
        mean_interval([0.5, 1.1], bounds=(0.0, 1.0))


SAMPLES = 8000


def covered(values: np.ndarray, mean: float, quantile: float) -> float:
    """Coverage of the interval on the log's scale with this quantile, for samples (m x n)."""
    half = quantile * stats.sem(values, axis=1) / values.mean(axis=1)
    return float(np.mean(np.abs(np.log(values.mean(axis=1) / mean)) <= half))


def test_the_mean_of_a_skewed_loss_is_covered_as_said_and_normal_quantiles_do_not() -> None:
    losses = np.random.default_rng(4).lognormal(-(0.3**2) / 2, 0.3, size=(SAMPLES, 5))
    t = stats.t.ppf(0.975, 4)
    assert 0.93 < covered(losses, 1.0, t) < 0.97
    assert covered(losses, 1.0, 1.96) < 0.89
    for sample in losses[:50]:
        found = mean_interval(sample, bounds=(0.0, np.inf)).t
        assert (found.low <= 1 <= found.high) == (covered(sample[None], 1.0, t) == 1)


def claims(differences: np.ndarray, quantile: float) -> float:
    """Share of samples (m x n) of which an improvement would be claimed."""
    return float(np.mean(differences.mean(axis=1) > quantile * stats.sem(differences, axis=1)))


NOISE = {
    "normal": lambda rng, size: rng.normal(size=size),
    "skewed": lambda rng, size: rng.lognormal(sigma=0.7, size=size),
    "heavy": lambda rng, size: rng.standard_t(3, size=size),
    "diverging": lambda rng, size: rng.normal(size=size) + 20 * (rng.random(size) < 0.05),
}


@pytest.mark.parametrize("noise", NOISE)
def test_false_claims_are_as_rare_as_said_and_normal_quantiles_make_more(noise: str) -> None:
    rng = np.random.default_rng(5)
    default, tuned = (NOISE[noise](rng, (SAMPLES, 5)) for _ in range(2))
    d = default - tuned
    least_sure = 0.025 + 2 * np.sqrt(0.025 * 0.975 / SAMPLES)
    assert claims(d, stats.t.ppf(0.975, 4)) <= least_sure < claims(d, stats.norm.ppf(0.975))
    for first, second in zip(default[:25], tuned[:25], strict=True):
        expected = claims((first - second)[None], stats.t.ppf(0.975, 4)) == 1
        assert compare_paired(first, second).better == expected


def test_no_rule_guards_against_noise_that_only_tuned_has() -> None:
    """The limit that the docstring of ``better`` tells of."""
    tuned = np.random.default_rng(6).lognormal(-(0.5**2) / 2, 0.5, size=(SAMPLES, 5))
    assert claims(1.0 - tuned, stats.t.ppf(0.975, 4)) == pytest.approx(0.077, abs=0.01)


@pytest.mark.parametrize(("k", "n"), [(0, 5), (3, 5), (5, 5), (37, 80)])
def test_intervals_of_shares(k: int, n: int) -> None:
    reference = stats.binomtest(k, n).proportion_ci(method="wilson")
    found = wilson(k, n)
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high), abs=1e-12)
    found = jeffreys(k, n)
    assert found.low == (pytest.approx(stats.beta.ppf(0.025, k + 0.5, n - k + 0.5)) if k else 0)
    assert found.high == (
        pytest.approx(stats.beta.ppf(0.975, k + 0.5, n - k + 0.5)) if k < n else 1
    )


def test_wins_are_counted_with_ties_as_halves() -> None:
    found = compare_paired([1.0, 2.0, 3.0, 0.1 + 0.2], [0.5, 1.0, 4.0, 0.3])
    assert found.share == (2 + 0.5) / 4
    assert found.share_interval == jeffreys(2.5, 4)


@pytest.mark.parametrize(("d_z", "n"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_needed_seeds_are_the_published_ones(d_z: float, n: int) -> None:
    """The paired t test at two-sided 0.05 and power 0.8, as in G*Power and R's pwr."""
    assert power.needed_pairs(d_z, 1.0) == n
    assert power.power(d_z, 1.0, n) >= 0.8 > power.power(d_z, 1.0, n - 1)
    formula = ((1.959964 + 0.841621) / d_z) ** 2
    assert power.normal_pairs(3 * d_z, 3.0) == pytest.approx(formula, rel=1e-5)
    assert formula < n < formula + 4


def test_the_power_of_few_pairs_is_what_simulation_gives() -> None:
    d = np.random.default_rng(3).normal(1.4, 1.0, size=(40_000, 5))
    seen = np.mean(d.mean(axis=1) / d.std(axis=1, ddof=1) * np.sqrt(5) > stats.t.ppf(0.975, 4))
    assert power.power(1.4, 1.0, 5) == pytest.approx(seen, abs=0.01)


@pytest.mark.parametrize("n", [2, 5, 20])
def test_the_smallest_effect_has_the_power_asked_for(n: int) -> None:
    effect = power.smallest_effect(0.3, n)
    assert power.power(effect, 0.3, n) == pytest.approx(0.8)


def test_few_seeds_see_a_small_effect_no_better_than_the_comparison_says() -> None:
    found = compare_paired(SECOND, FIRST)
    assert found.smallest_effect == power.smallest_effect(found.sd, 10)
    assert found.needed_seeds(found.smallest_effect) == 10
    assert found.needed_seeds(found.smallest_effect / 10) > 500


@pytest.mark.parametrize("n", [1, 2, 7, 20])
def test_equal_values_give_no_improvement(n: int) -> None:
    found = compare_paired([0.1 + 0.2] * n, [0.3] * n)
    assert (found.mean, found.share, found.p_sign_flip, found.p_smallest) == (0.0, 0.5, 1.0, 1.0)
    assert not found.better
    if n > 1:
        assert (found.sd, found.d_z, found.smallest_effect) == (0.0, 0.0, 0.0)
        assert (found.t.low, found.t.high, found.bca.low, found.bca.high) == (0, 0, 0, 0)
        assert found.p_t == 0.5
        assert list(found.severity([-0.1, 0.0, 0.1])) == [0.0, 1.0, 1.0]  # of "<= delta"


def test_a_constant_difference_is_an_improvement_without_doubt() -> None:
    values = np.array([0.3, 0.1, 0.7])
    found = compare_paired(values + 0.1, values)
    assert found.better
    assert (found.sd, found.p_t, found.d_z) == (0.0, 0.0, np.inf)
    assert (found.p_sign_flip, found.p_smallest) == (0.125, 0.125)
    assert found.t.low == found.t.high == found.bca.low == pytest.approx(0.1)
    assert found.warranted() == pytest.approx(0.1)
    assert list(found.severity([0.05, 0.2])) == [1.0, 0.0]
    assert found.needed_seeds(0.01) == 2


def test_the_claim_is_that_of_t_also_where_the_bootstrap_would_claim() -> None:
    found = compare_paired([1.0, 0.9, 1.1, 0.1, 0.05], [0.0] * 5)
    assert found.t.low < 0 < found.bca.low
    assert not found.better


def test_one_pair_claims_nothing() -> None:
    found = compare_paired([2.0], [1.0])
    assert (found.n, found.mean, found.share) == (1, 1.0, 1.0)
    assert np.isnan([found.sd, found.se, found.d_z, found.warranted()]).all()
    assert np.isnan(found.severity([0.0])).all()
    assert (found.t.low, found.t.high) == (-np.inf, np.inf)
    assert found.smallest_effect == np.inf
    assert (found.p_t, found.p_sign_flip) == (1.0, 0.5)
    assert not found.better
    with pytest.raises(ValueError, match="at least 2 pairs"):
        found.needed_seeds(0.1)


@pytest.mark.parametrize(
    ("default", "tuned"), [([], []), ([1.0, 2.0], [1.0]), ([np.nan], [1.0]), ([1.0], [np.inf])]
)
def test_what_is_no_pair_is_refused(default: list[float], tuned: list[float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        compare_paired(default, tuned)


def test_no_effect_is_nothing_to_need_seeds_for() -> None:
    with pytest.raises(ValueError, match="positive effect"):
        power.needed_pairs(0.0, 1.0)


def test_holm_is_the_published_example() -> None:
    """R's ``p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")``."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == pytest.approx([1.0, 1.0])
    assert holm([]).shape == (0,)
