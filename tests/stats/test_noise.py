"""Replicate variance and its components: balanced formulas, simulation, and what cannot be told."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from spot_dask.stats.noise import (
    PureError,
    check_nugget,
    components,
    configuration_effect,
    pure_error,
)


def test_the_pooled_variance_is_that_of_one_way_anova() -> None:
    groups = [[1.0, 2.0, 4.0], [7.0], [3.0, 3.5]]
    y = np.concatenate(groups)
    found = pure_error(y, [5, 5, 5, 1, 9, 9])
    squares = sum(np.var(g) * len(g) for g in groups)
    assert (found.df, found.variance) == (3, pytest.approx(squares / 3))
    reference = stats.chi2(3)
    assert found.interval.low == pytest.approx(squares / reference.ppf(0.975))
    assert found.interval.high == pytest.approx(squares / reference.ppf(0.025))
    assert found.sd_interval.low**2 == pytest.approx(found.interval.low)
    assert found.sd**2 == pytest.approx(found.variance)


def test_the_interval_of_the_variance_covers() -> None:
    rng = np.random.default_rng(1)
    hits = [
        pure_error(rng.normal(np.repeat(rng.normal(size=4), 2), 0.7), np.repeat(range(4), 2))
        for _ in range(3000)
    ]
    assert np.mean([h.interval.low <= 0.49 <= h.interval.high for h in hits]) == pytest.approx(
        0.95, abs=0.012
    )


def test_without_replicates_nothing_is_known() -> None:
    found = pure_error([1.0, 2.0, 3.0], [0, 1, 2])
    assert (found.df, found.interval.low, found.interval.high) == (0, 0.0, np.inf)
    assert np.isnan([found.variance, found.sd]).all()
    assert check_nugget(0.1, found).agrees
    equal = pure_error([1.0, 1.0], [0, 0])
    assert (equal.variance, equal.interval.low, equal.interval.high) == (0.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="expected one each"):
        pure_error([1.0, 2.0], [0])


def test_balanced_components_are_the_textbooks() -> None:
    """Mean squares of two-way data without replication: sigma_seed^2 = (MS_seed - MS_e) / a."""
    y = np.random.default_rng(2).normal(size=(4, 6)) + 2 * np.arange(6)[None, :]
    a, b = y.shape
    seeds = y.mean(axis=0) - y.mean()
    ms_seed = a * np.sum(seeds**2) / (b - 1)
    rest = y - y.mean(axis=1, keepdims=True) - seeds
    ms_rest = np.sum(rest**2) / ((a - 1) * (b - 1))
    configuration, seed = np.divmod(np.arange(24), 6)
    found = components(y.ravel(), configuration, seed=seed)
    (effect,) = found.effects
    assert (effect.name, effect.df, found.residual_df) == ("seed", 5, 15)
    assert found.residual == pytest.approx(ms_rest)
    assert effect.variance == pytest.approx((ms_seed - ms_rest) / a)
    assert found.total == pytest.approx(effect.variance + ms_rest)
    assert effect.p == pytest.approx(stats.f.sf(ms_seed / ms_rest, 5, 15))
    # Burdick and Graybill (1992): exact limits of the share for balanced data.
    upper, lower = ms_seed / ms_rest / stats.f.ppf([0.025, 0.975], 5, 15)
    expected = [(lower - 1) / (lower - 1 + a), (upper - 1) / (upper - 1 + a)]
    assert [effect.share_interval.low, effect.share_interval.high] == pytest.approx(expected)


def unbalanced(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Values with sd 1 of the seed, 0.5 of the fold and 0.8 of the rest, half of the cells gone."""
    configuration, seed, fold = (
        a.ravel() for a in np.meshgrid(range(5), range(6), range(3), indexing="ij")
    )
    kept = rng.random(90) < 0.5
    configuration, seed, fold = configuration[kept], seed[kept], fold[kept]
    y = (
        rng.normal(size=5)[configuration] * 10
        + rng.normal(size=6)[seed]
        + 0.5 * rng.normal(size=3)[fold]
        + 0.8 * rng.normal(size=len(seed))
    )
    return y, configuration, seed, fold


def test_unbalanced_components_are_unbiased_and_their_intervals_cover() -> None:
    rng = np.random.default_rng(3)
    variances, covers, level = [], [], []
    for _ in range(350):
        y, configuration, seed, fold = unbalanced(rng)
        found = components(y, configuration, seed=seed, fold=fold)
        variances.append([*(e.variance for e in found.effects), found.residual])
        share = found.effects[0].share_interval
        covers.append(share.low <= 1 / 1.64 <= share.high)
        noise = 0.8 * rng.normal(size=len(y))
        level.append(components(noise, configuration, seed=seed).effects[0].p)
    seeds, folds, rest = np.mean(variances, axis=0)
    assert seeds == pytest.approx(1.0, abs=0.1)
    assert folds == pytest.approx(0.25, abs=0.08)  # cutting at 0 adds a little
    assert rest == pytest.approx(0.64, abs=0.03)
    assert np.mean(covers) == pytest.approx(0.95, abs=0.025)
    assert stats.kstest(level, "uniform").pvalue > 0.01


def test_an_effect_that_the_data_cannot_tell_is_not_told() -> None:
    confounded = components(
        [1.0, 2.0, 4.0, 3.0], [0, 0, 1, 1], seed=[0, 1, 0, 1], fold=[0, 1, 0, 1]
    )
    assert [effect.df for effect in confounded.effects] == [0, 0]
    assert np.isnan([effect.variance for effect in confounded.effects]).all()
    alone = components([1.0, 2.0, 4.0], [0, 0, 0], seed=[0, 1, 2])
    assert (alone.residual_df, alone.effects[0].df) == (0, 2)
    assert np.isnan([alone.residual, alone.effects[0].variance, alone.total]).all()
    interval = alone.effects[0].share_interval
    assert (interval.low, interval.high) == (0.0, 1.0)


def test_noise_free_data_have_no_components() -> None:
    assert pure_error([0.1 + 0.2, 0.3], [0, 0]).variance == 0.0
    found = components([1.0, 1.0, 4.0, 4.0], [0, 0, 1, 1], seed=[0, 1, 0, 1])
    assert (found.total, found.effects[0].share, found.effects[0].p) == (0.0, 0.0, 1.0)
    seeds = components([1.0, 2.0, 4.0, 5.0], [0, 0, 1, 1], seed=[0, 1, 0, 1]).effects[0]
    assert (seeds.variance, seeds.share, seeds.p) == (pytest.approx(0.5), 1.0, 0.0)


def replicated(variance: float, df: int) -> PureError:
    values = np.random.default_rng(5).normal(size=df + 1)
    return pure_error(
        (values - values.mean()) * np.sqrt(variance / np.var(values, ddof=1)), np.zeros(df + 1)
    )


def test_the_nugget_is_compared_with_replicates() -> None:
    error = replicated(0.04, 10)
    found = check_nugget(0.01, error, nugget_df=20)
    assert found.ratio == pytest.approx(0.25)
    low, high = stats.f.ppf([0.025, 0.975], 20, 10)
    assert (found.interval.low, found.interval.high) == pytest.approx((0.25 / high, 0.25 / low))
    assert not found.agrees
    plugged = check_nugget(0.01, error)
    low, high = stats.chi2.ppf([0.025, 0.975], 10) / 10
    assert (plugged.interval.low, plugged.interval.high) == pytest.approx(
        (0.25 * low, 0.25 * high), rel=1e-6
    )
    assert check_nugget(0.03, error).agrees  # within a factor of two
    assert check_nugget(0.01, replicated(0.04, 1)).agrees  # too few to tell
    assert not check_nugget(0.2, error).agrees


def test_replicates_without_noise_refute_a_nugget() -> None:
    silent = pure_error([2.0, 2.0], [0, 0])
    assert not check_nugget(0.1, silent).agrees
    assert check_nugget(0.0, silent).agrees


def test_the_interval_of_the_total_is_satterthwaites_of_the_two_mean_squares() -> None:
    rng = np.random.default_rng(2)
    y = rng.normal(size=(3, 5)) + 2 * rng.normal(size=5)  # 3 configurations on the same 5 seeds
    found = components(y.ravel(), np.repeat(range(3), 5), seed=np.tile(range(5), 3))
    centred = y - y.mean(axis=1, keepdims=True)
    between = 3 * np.sum(centred.mean(axis=0) ** 2) / 4
    within = np.sum((centred - centred.mean(axis=0)) ** 2) / 8
    total = (between + 2 * within) / 3
    df = total**2 / ((between / 3) ** 2 / 4 + (2 * within / 3) ** 2 / 8)
    assert found.total == pytest.approx(total)
    expected = df * total / stats.chi2.ppf([0.975, 0.025], df)
    assert [found.total_interval.low, found.total_interval.high] == pytest.approx(list(expected))


def test_an_interval_of_the_total_holds_where_configurations_share_seeds() -> None:
    rng, covered = np.random.default_rng(5), 0
    for _ in range(200):
        y = np.sqrt(0.1) * rng.normal(size=(3, 5)) + np.sqrt(0.9) * rng.normal(size=5)
        interval = components(
            y.ravel(), np.repeat(range(3), 5), seed=np.tile(range(5), 3)
        ).total_interval
        covered += interval.low < 1 < interval.high
    assert covered >= 178  # .94 is expected; that of pure error covers .78


def test_two_configurations_on_the_same_seeds_are_compared_as_by_the_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    shared, own = rng.normal(size=7), 0.3 * rng.normal(size=(2, 7))
    y = np.concatenate([shared + own[0], 0.2 + shared + own[1]])
    found = configuration_effect(y, np.repeat([3, 8], 7), np.tile(np.arange(7), 2))
    expected = stats.ttest_rel(y[:7], y[7:])
    assert found.paired
    assert (found.df, found.residual_df) == (1, 6)
    assert pytest.approx(expected.statistic**2) == found.F
    assert found.p == pytest.approx(expected.pvalue)


@pytest.mark.parametrize("sizes", [(4, 7), (3, 2, 9), (5, 5, 5, 2)])
def test_configurations_on_seeds_of_their_own_are_compared_by_welch_s_test(sizes) -> None:
    rng = np.random.default_rng(len(sizes))
    parts = [rng.normal(0.4 * i, 1 + i, n) for i, n in enumerate(sizes)]
    y, place = np.concatenate(parts), np.repeat(np.arange(len(sizes)), sizes)
    found = configuration_effect(y, place, np.arange(len(y)))
    assert not found.paired
    means, variances = (np.array([f(p) for p in parts]) for f in (np.mean, lambda p: p.var(ddof=1)))
    n, k = np.array(sizes), len(sizes)
    if k == 2:
        assert found.p == pytest.approx(stats.ttest_ind(*parts, equal_var=False).pvalue)
    w = n / variances
    centre = (w * means).sum() / w.sum()  # Welch 1951, as SAS and R's oneway.test have it
    extra = ((1 - w / w.sum()) ** 2 / (n - 1)).sum() / (k**2 - 1)
    F = (w * (means - centre) ** 2).sum() / ((k - 1) * (1 + 2 * (k - 2) * extra))
    assert pytest.approx(F) == found.F
    assert found.p == pytest.approx(stats.f.sf(F, k - 1, 1 / (3 * extra)))


@pytest.mark.parametrize("common", [True, False])
def test_of_nothing_but_noise_one_p_in_twenty_is_below_five_percent(common: bool) -> None:
    rng = np.random.default_rng(5)
    place = np.repeat(np.arange(4), 5)
    seeds = np.tile(np.arange(5), 4) if common else np.arange(20)
    p = []
    for _ in range(2000):
        y = rng.normal(size=20) + (2 * rng.normal(size=5)[seeds] if common else 0)
        p.append(configuration_effect(y, place, seeds).p)
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.015)


def test_what_has_no_noise_differs_or_does_not() -> None:
    place, seeds = [0, 0, 1, 1], [0, 1, 0, 1]
    assert configuration_effect([1.0, 1.0, 1.0, 1.0], place, seeds).p == 1.0
    assert configuration_effect([1.0, 1.0, 2.0, 2.0], place, seeds).p == 0.0
    assert configuration_effect([1.0, 1.0, 1.0, 1.0], place, [0, 1, 2, 3]).p == 1.0
    assert configuration_effect([1.0, 1.0, 2.0, 2.0], place, [0, 1, 2, 3]).p == 0.0
    assert np.isnan(configuration_effect([1.0, 1.0, 2.0, 3.0], place, [0, 1, 2, 3]).p)
    with pytest.raises(ValueError, match="expected two of two"):
        configuration_effect([1.0, 2.0, 3.0], [0, 0, 1], [0, 1, 2])
