"""Failures by hyperparameter: counts by hand, tests against scipy, planted regions found."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from spot_dask.stats.failures import failure_region, failures_by
from spot_dask.stats.intervals import wilson
from spot_dask.stats.regression import Predictor


def design(n: int, seed: int = 0) -> list[Predictor]:
    rng = np.random.default_rng(seed)
    return [
        Predictor("width", rng.integers(16, 257, size=n).astype(float)),
        Predictor("lr", rng.random(n)),
        Predictor("opt", rng.integers(0, 3, size=n).astype(float), ("sgd", "adam", "lion")),
        Predictor("bias", rng.integers(0, 2, size=n).astype(float), ("no", "yes")),
    ]


def test_rates_are_counted_by_tercile_and_level() -> None:
    number = Predictor("a", np.array([1.0, 2, 3, 4, 5, 6]))
    factor = Predictor("f", np.array([0.0, 0, 0, 2, 2, 2]), ("u", "never", "w"))
    by_number, by_level = failures_by([number, factor], [False, False, False, True, True, True])
    assert [(r.label, r.failed, r.n) for r in by_number.rates] == [
        ("1 to 2", 0, 2), ("3 to 4", 1, 2), ("5 to 6", 2, 2)]  # fmt: skip
    assert [(r.label, r.rate) for r in by_level.rates] == [("u", 0.0), ("w", 1.0)]
    assert by_level.rates[1].interval == wilson(3, 3)
    assert (by_number.p, by_level.p) == pytest.approx((0.1, 0.1))  # 2 of the 20 orders
    assert (by_number.p_holm, by_level.p_holm) == pytest.approx((0.2, 0.2))


def test_p_values_are_scipys() -> None:
    predictors = design(40)
    bad = np.random.default_rng(1).random(40) < 0.2 + 0.5 * (predictors[2].values == 1)
    width, _, opt, bias = failures_by(predictors, bad)
    x = predictors[0].values
    assert width.p == pytest.approx(stats.mannwhitneyu(x[bad], x[~bad]).pvalue)
    table = [[np.sum(bad & (predictors[3].values == i)), np.sum(~bad & (predictors[3].values == i))]
             for i in (0, 1)]  # fmt: skip
    assert bias.p == pytest.approx(stats.fisher_exact(table).pvalue)
    totals = [int(np.sum(predictors[2].values == i)) for i in range(3)]
    seen = [int(np.sum(bad & (predictors[2].values == i))) for i in range(3)]
    reference = stats.multivariate_hypergeom(totals, bad.sum())
    every = [reference.pmf([a, b, bad.sum() - a - b])
             for a in range(totals[0] + 1) for b in range(totals[1] + 1)
             if 0 <= bad.sum() - a - b <= totals[2]]  # fmt: skip
    exact = sum(p for p in every if p <= reference.pmf(seen) * (1 + 1e-9))
    assert opt.p == pytest.approx(exact, abs=0.01)


def test_a_planted_conjunction_is_found() -> None:
    predictors = design(120)
    bad = (predictors[0].values > 190) & (predictors[2].values == 2)
    found = failure_region(predictors, bad)
    assert found is not None
    first, second = found.conditions
    assert (first.name, first.above, str(second)) == ("width", True, "opt = lion")
    assert str(first).startswith("width > 1")
    assert (
        found.inside.failed == bad.sum() == found.inside.n - (found.inside.n - found.inside.failed)
    )
    assert found.inside.rate > 0.8
    assert found.outside.failed == 0
    assert found.p < 1e-6


def test_one_condition_is_enough_where_it_explains_all() -> None:
    predictors = design(80)
    found = failure_region(predictors, predictors[1].values > np.median(predictors[1].values))
    assert found is not None
    assert [str(c)[:4] for c in found.conditions] == ["lr >"]
    assert (found.inside.rate, found.outside.rate) == (1.0, 0.0)


def test_a_second_condition_is_not_added_for_chance() -> None:
    single = significant = 0
    for seed in range(40):
        predictors = design(80, seed)
        rate = np.where(predictors[1].values > 0.6, 0.7, 0.05)
        found = failure_region(predictors, np.random.default_rng(seed + 100).random(80) < rate)
        assert found is not None
        significant += found.p < 0.05
        single += [c.name for c in found.conditions] == ["lr"]
    assert single >= 34
    assert significant >= 38


def test_a_region_of_nothing_is_not_significant() -> None:
    significant = 0
    for seed in range(100):
        found = failure_region(design(30, seed), np.random.default_rng(seed).random(30) < 0.3)
        assert found is None or found.inside.rate > found.outside.rate
        significant += found is not None and found.p < 0.05
    assert significant <= 8


def test_all_none_and_nothing_to_blame() -> None:
    predictors = design(10)
    for bad in (np.zeros(10, dtype=bool), np.ones(10, dtype=bool)):
        assert failure_region(predictors, bad) is None
        assert [found.p for found in failures_by(predictors, bad)] == [1.0] * 4
    constant = [Predictor("a", np.ones(4)), Predictor("f", np.zeros(4), ("u", "v"))]
    assert failure_region(constant, [True, False, False, True]) is None
    assert [f.p for f in failures_by(constant, [True, False, False, True])] == [1.0, 1.0]
    assert failures_by([], [True]) == ()
    assert failure_region([], [True, False]) is None
    with pytest.raises(ValueError, match="expected one"):
        failures_by(predictors, [True])
