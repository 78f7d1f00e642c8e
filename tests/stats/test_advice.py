"""Advice about stopping against integrals and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from exact_posterior import CosinePosterior
from numpy.testing import assert_allclose
from scipy import integrate, stats

from spot_dask.stats.advice import (
    advise,
    confidence_factor,
    expected_improvement,
    fold_noise,
    regret_bound,
    trend,
)


@pytest.mark.parametrize(("mean", "sd"), [(0.0, 1.0), (2.0, 0.5), (-1.0, 0.3), (5.0, 2.0)])
def test_expected_improvement_is_an_integral(mean, sd):
    def gain(x):
        return (1.0 - x) * stats.norm.pdf(x, mean, sd)

    expected = integrate.quad(gain, mean - 12 * sd, 1.0)[0] if mean - 12 * sd < 1 else 0.0
    found = expected_improvement(np.array([mean]), np.array([sd]), 1.0)
    assert_allclose(found, expected, rtol=1e-8)


def test_what_is_certain_improves_by_the_gap_or_not_at_all():
    found = expected_improvement(np.array([1.0, 3.0]), np.zeros(2), 2.0)
    assert found.tolist() == [1.0, 0.0]


def test_the_factor_is_that_of_the_formula_and_grows_slowly():
    assert confidence_factor(1, 1) == pytest.approx(
        math.sqrt(0.4 * (2 * math.log(math.pi) - math.log(0.6)))
    )
    assert confidence_factor(10, 100) < 2 * confidence_factor(2, 10)


def test_the_bound_by_hand():
    seen = np.array([1.0, 0.5]), np.array([0.1, 0.4])
    others = np.array([2.0, 0.9]), np.array([1.0, 0.1])
    # Lowest upper end 1.2, lowest lower end 0.
    assert regret_bound(seen, others, 2.0) == pytest.approx(1.2 + 0.3)
    assert regret_bound((np.array([0.3]), np.zeros(1)), (np.array([0.5]), np.zeros(1)), 2.0) == 0
    nothing = np.empty(0), np.empty(0)
    assert regret_bound(nothing, others, 2.0) == math.inf


def test_the_bound_holds_for_functions_of_the_posterior_and_is_not_idle():
    kept, bounds, regrets = 0, [], []
    for seed in range(40):
        model = CosinePosterior(2, seed, frequency=2.0)
        f, X = model.function(), model.rng.random((15, 2))
        model.observe(X, f(X) + 0.05 * model.rng.standard_normal(15), 0.05)
        grid = model.rng.random((400, 2))
        believed = []
        for rows in (X, grid):
            mean, covariance = model.joint(rows)
            believed.append((mean, np.sqrt(np.diag(covariance))))
        factor = confidence_factor(2, 15)
        chosen = X[np.argmin(believed[0][0] + factor * believed[0][1])]
        regret = f(chosen[None])[0] - min(f(grid).min(), f(X).min())
        bound = regret_bound(*believed, factor)
        kept += regret <= bound
        bounds.append(bound)
        regrets.append(regret)
    assert kept >= 36
    assert np.median(bounds) < 10 * np.median(regrets) + 2.0


def test_the_noise_of_folds_is_more_than_that_of_independent_values():
    assert fold_noise(4.0, 5) == pytest.approx(math.sqrt(4 * (1 / 5 + 1 / 4)))
    assert fold_noise(4.0, 5) > math.sqrt(4 / 5)
    with pytest.raises(ValueError, match="two folds"):
        fold_noise(1.0, 1)


def test_a_trend_is_the_factor_of_one_evaluation_whatever_came_before():
    values = np.concatenate([np.full(30, 7.0), 0.8 ** np.arange(10.0)])
    values[33] = 1e6  # one that runs away
    values[35] = np.nan
    found = trend(values)
    assert found is not None
    assert found.factor == pytest.approx(0.8, rel=1e-6)
    assert found.low <= 0.8 <= found.high
    assert found.n == 9


@pytest.mark.parametrize("values", [[], [1.0, 0.5, 0.2], [0.0] * 20, [1.0, math.nan, 0.0, 2.0, 1]])
def test_few_values_have_no_trend(values):
    assert trend(np.array(values, float)) is None


@pytest.mark.parametrize(
    ("given", "verdict", "gain"),
    [
        ({"improvement": 0.01, "bound": 0.5}, "go on", 0.2),
        ({"improvement": 0.01, "bound": 0.5, "noise": 0.6}, "stop: below the noise", 0.2),
        ({"improvement": 0.01, "bound": 0.5, "noise": 0.1, "relevant": 0.3},
         "stop: not worth it", 0.2),
        ({"improvement": 0.01, "bound": 0.5, "noise": 0.1, "relevant": 0.1}, "go on", 0.2),
        ({"improvement": 0.01, "bound": 0.05, "relevant": 0.1}, "stop: not worth it", 0.05),
        ({"improvement": 0.01, "bound": 0.5, "relevant": 0.1, "more": 5},
         "stop: not worth it", 0.05),
        ({"improvement": 0.0, "bound": 0.5}, "go on", 0.0),
    ],
)  # fmt: skip
def test_the_rule(given, verdict, gain):
    found = advise(**given)
    assert found.verdict == verdict
    assert found.gain == pytest.approx(gain)


@pytest.mark.parametrize("wrong", [{"improvement": -1.0}, {"noise": -1.0}, {"more": 0}])
def test_what_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match="got improvement"):
        advise(**({"improvement": 0.1, "bound": 0.1} | wrong))
