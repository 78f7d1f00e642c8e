"""Sobol indices against closed forms."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest
from exact_posterior import CosinePosterior
from hypothesis import given, settings
from hypothesis import strategies as st

from spot_dask.stats.sensitivity import sobol_posterior


def identity(X):
    return X


def rng(seed=0):
    return np.random.default_rng(seed)


def indices(f, snap, d, n=2048, seed=0):
    """Of one function that is known."""
    return sobol_posterior(lambda X: f(X)[None], snap, d, rng(seed), n)


def ishigami(X, a=7.0, b=0.1):
    x = np.pi * (2 * X - 1)
    return np.sin(x[:, 0]) + a * np.sin(x[:, 1]) ** 2 + b * x[:, 2] ** 4 * np.sin(x[:, 0])


def test_ishigami_agrees_with_its_closed_form():
    a, b = 7.0, 0.1
    V1 = (1 + b * np.pi**4 / 5) ** 2 / 2
    V2 = a**2 / 8
    V13 = b**2 * np.pi**8 * 8 / 225
    V = V1 + V2 + V13
    result = indices(ishigami, identity, 3, n=4096)
    assert result.variance.value == pytest.approx(V, rel=0.01)
    np.testing.assert_allclose(result.first.value, [V1 / V, V2 / V, 0], atol=0.015)
    np.testing.assert_allclose(result.total.value, [(V1 + V13) / V, V2 / V, V13 / V], atol=0.015)


def three_levels(X):
    """The last column is a factor with three equally likely levels, at 0, 1/2 and 1."""
    rows = X.copy()
    rows[:, 2] = np.minimum(np.floor(3 * X[:, 2]), 2) / 2
    return rows


LEVELS = np.array([0.3, -0.5, 0.8])


def additive(X):
    return 2 * X[:, 0] - X[:, 1] + LEVELS[np.rint(2 * X[:, 2]).astype(int)]


def test_of_an_additive_function_with_a_factor_first_and_total_are_the_shares_of_variance():
    shares = np.array([4 / 12, 1 / 12, LEVELS.var()])
    shares /= shares.sum()
    result = indices(additive, three_levels, 3)
    np.testing.assert_allclose(result.first.value, shares, atol=0.015)
    np.testing.assert_allclose(result.total.value, shares, atol=0.015)


def conditional(X):
    """Column 1 counts only where the switch, column 0, is on."""
    rows = X.copy()
    rows[:, 0] = np.rint(X[:, 0])
    rows[rows[:, 0] == 0, 1] = 0.5
    return rows


def test_a_conditional_parameter_has_an_effect_only_where_it_is_active():
    # f = x1 where active, 1/2 elsewhere: E f | x1 has variance 1/48, V f = 1/24, no effect of x0.
    result = indices(lambda X: X[:, 1], conditional, 2, n=4096)
    assert result.variance.value == pytest.approx(1 / 24, rel=0.02)
    np.testing.assert_allclose(result.first.value, [0, 1 / 2], atol=0.02)
    np.testing.assert_allclose(result.total.value, [1 / 2, 1], atol=0.02)


@pytest.mark.parametrize("value", [0.0, 3.7, -1e9])
def test_a_constant_function_gives_zeros(value):
    result = indices(lambda X: np.full(len(X), value), identity, 2)
    assert result.variance.value == 0.0
    assert not result.first.value.any()
    assert not result.total.value.any()


@settings(max_examples=20, deadline=None)
@given(
    scale=st.floats(1e-6, 1e6),
    shift=st.floats(-1e6, 1e6),
    weights=st.tuples(*[st.floats(0.1, 1)] * 3),
)
def test_indices_do_not_depend_on_units(scale, shift, weights):
    def f(X):
        return X @ np.array(weights) + X[:, 0] * X[:, 1]

    plain = indices(f, identity, 3, n=256)
    scaled = indices(lambda X: shift + scale * f(X), identity, 3, n=256)
    tolerance = 1e-9 + 1e-9 * abs(shift) / scale
    if tolerance < 0.1:
        np.testing.assert_allclose(plain.first.value, scaled.first.value, atol=tolerance)
        np.testing.assert_allclose(plain.total.value, scaled.total.value, atol=tolerance)


def test_the_same_generator_gives_the_same_indices():
    one, two = (indices(ishigami, identity, 3, 256, seed=7) for _ in range(2))
    np.testing.assert_array_equal(one.total.value, two.total.value)


def ishigami_indices(a, b):
    V1, V2 = (1 + b * np.pi**4 / 5) ** 2 / 2, a**2 / 8
    V13 = b**2 * np.pi**8 * 8 / 225
    V = V1 + V2 + V13
    return np.array([V1 / V, V2 / V, 0, (V1 + V13) / V, V2 / V, V13 / V, V13 / V])


def test_of_drawn_functions_the_posterior_of_the_indices_is_that_of_their_closed_forms():
    draws = [(a, b) for a in np.linspace(4, 10, 9) for b in np.linspace(0.05, 0.15, 9)]
    exact = np.array([ishigami_indices(a, b) for a, b in draws])
    result = sobol_posterior(
        lambda X: np.stack([ishigami(X, a, b) for a, b in draws]), identity, 3, rng()
    )
    for value, expected in (
        (result.first.value, np.median(exact, axis=0)[:3]),
        (result.first.low, np.quantile(exact, 0.025, axis=0)[:3]),
        (result.total.value, np.median(exact, axis=0)[3:6]),
        (result.total.high, np.quantile(exact, 0.975, axis=0)[3:6]),
        (result.pairs.value[0, 2], np.median(exact[:, 6])),
        (result.pairs.value[[0, 1], [1, 2]], 0.0),
    ):
        np.testing.assert_allclose(value, expected, atol=0.02)
    assert (result.draws, result.n) == (81, 1024)
    assert np.all(result.first_error < 0.03)
    np.testing.assert_array_equal(result.pairs.value, result.pairs.value.T)


def test_pairs_of_a_conditional_space_are_found_by_draws():
    # f = x1 where active, 1/2 elsewhere: S_1 = T_0 = 1/2, T_1 = 1, so S_01 = 1/2.
    result = sobol_posterior(lambda X: np.stack([X[:, 1], 3 - X[:, 1]]), conditional, 2, rng())
    np.testing.assert_allclose(result.first.value, [0, 1 / 2], atol=0.02)
    np.testing.assert_allclose(result.total.value, [1 / 2, 1], atol=0.02)
    np.testing.assert_allclose(result.pairs.value, [[0, 1 / 2], [1 / 2, 0]], atol=0.02)
    np.testing.assert_allclose(result.variance.value, 1 / 24, rtol=0.02)


def test_a_region_is_a_map_of_raw_rows():
    # x0 varies over a tenth of its range only: (0.1 * 10)^2 against 1.
    result = sobol_posterior(
        lambda X: (10 * X[:, 0] + X[:, 1])[None],
        lambda raw: identity(np.column_stack([0.4 + 0.1 * raw[:, 0], raw[:, 1]])),
        2,
        rng(),
    )
    np.testing.assert_allclose(result.first.value, [0.5, 0.5], atol=0.01)


def test_draws_that_are_constant_give_zeros():
    result = sobol_posterior(lambda X: np.full((3, len(X)), 1e5) + 1 / 3, identity, 2, rng())
    assert not result.first.value.any()
    assert not result.total.high.any()
    assert not result.pairs.value.any()


def test_posterior_intervals_hold_the_indices_of_the_function_that_the_data_are_of():
    hits, trials = [], 60
    for seed in range(trials):
        model = CosinePosterior(2, seed, count=64)
        f = model.function()
        X = model.rng.random((12, 2))
        model.observe(X, f(X) + 0.2 * model.rng.standard_normal(12), 0.2)
        truth = sobol_posterior(lambda Z, f=f: f(Z)[None], identity, 2, rng(1), n=2048)
        found = sobol_posterior(model.paths, identity, 2, rng(), n=512)
        for part, exact in ((found.first, truth.first), (found.total, truth.total)):
            hits.extend((part.low <= exact.value) & (exact.value <= part.high))
    # 240 of which those of one function go together: 60 to 240 independent ones.
    assert 0.88 <= np.mean(hits) < 1.0


def test_the_sampling_error_is_that_of_other_base_points():
    def found(seed):
        return sobol_posterior(lambda X: ishigami(X)[None], identity, 3, rng(seed), n=256)

    several = [found(seed) for seed in range(20)]
    spread = np.std([result.total.value for result in several], axis=0)
    stated = np.mean([result.total_error for result in several], axis=0)
    assert np.all(spread < 1.6 * stated)
    assert np.all(stated < 4 * spread)


def test_twenty_parameters_and_a_thousand_evaluations_take_seconds_and_little_memory():
    generator = rng()
    centres, weights = generator.random((1000, 20)), generator.standard_normal((128, 1000))
    tracemalloc.start()
    start = time.process_time()
    sobol_posterior(lambda X: weights @ np.cos(X @ centres.T).T, identity, 20, rng(), n=256)
    seconds, peak = time.process_time() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < 4.0
    assert peak < 300e6


@pytest.mark.parametrize(("d", "n"), [(0, 256), (2, 100), (2, 8)])
def test_draws_that_cannot_be_sampled_are_refused(d, n):
    with pytest.raises(ValueError, match="power of two"):
        sobol_posterior(lambda X: X.T, identity, d, rng(), n=n)
