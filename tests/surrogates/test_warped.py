"""Warped values: a monotone map there and back, and predictions in the user's units."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.stats import skew, yeojohnson, yeojohnson_llf
from sklearn.linear_model import LinearRegression

from spot_dask import surrogates
from spot_dask.stats.diagnostics import leave_one_out
from spot_dask.surrogates.kriging import Kriging
from spot_dask.surrogates.posterior import solve
from spot_dask.surrogates.sklearn import SklearnSurrogate
from spot_dask.surrogates.warped import Warp, Warped


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(4)


def skewed(rng, n=40):
    X = rng.random((n, 2))
    return X, np.exp(4 * X[:, 0] + np.sin(5 * X[:, 1])), np.arange(2)


@given(power=st.floats(0.0, 2.0), x=st.floats(-50.0, 50.0))
def test_the_warp_is_that_of_yeo_and_johnson_and_has_an_inverse(power, x):
    one = np.array([x])
    z = Warp(power).forward(one)
    assert_allclose(z, yeojohnson(one, power), rtol=1e-7, atol=1e-12)
    assert_allclose(Warp(power).backward(z)[0], one, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("power", [0.0, 0.3, 1.0, 1.6, 2.0])
def test_slope_and_bend_are_derivatives_of_the_inverse(power):
    z, h, warp = np.array([-2.0, -0.4, 0.3, 1.5]), 1e-5, Warp(power, 3.0, 2.0)
    _, slope, bend = warp.backward(z)
    above, below = warp.backward(z + h), warp.backward(z - h)
    assert_allclose(slope, (above[0] - below[0]) / (2 * h), rtol=1e-6)
    assert_allclose(bend, (above[1] - below[1]) / (2 * h), rtol=1e-6, atol=1e-9)


def test_the_estimate_has_the_highest_likelihood_and_takes_the_skewness_away(rng):
    y = np.exp(rng.standard_normal(200))
    warp = Warp.estimated(y, 1.0)
    x = (y - warp.centre) / warp.scale
    likelihoods = [yeojohnson_llf(power, x) for power in np.linspace(0, 2, 201)]
    assert yeojohnson_llf(warp.power, x) >= max(likelihoods) - 1e-3
    assert abs(skew(warp.forward(y))) < 0.4 * skew(y)


@pytest.mark.parametrize(
    "y", [np.ones(9), np.arange(9.0), np.array([1.0, 9.0]), np.append(np.ones(8), 5.0)]
)
def test_values_that_are_few_equal_or_symmetric_are_left_alone(y):
    assert Warp.estimated(y, 1.0) == Warp()


def test_a_warp_that_changes_nothing_gives_the_surrogate_s_own_predictions(rng):
    X = rng.random((20, 2))
    plain = Kriging().fit(X, X[:, 0], np.arange(2), rng)
    warped = Warped().fit(X, X[:, 0], np.arange(2), rng)
    Q = rng.random((6, 2))
    assert_allclose(warped.predict(Q), plain.predict(Q))
    assert_allclose(warped.gradient(Q), plain.gradient(Q), atol=1e-8)
    assert_allclose(warped.joint(Q)[1], plain.joint(Q)[1], atol=1e-9 * plain.variance)


def test_gradients_are_those_of_differences(rng):
    X, y, groups = skewed(rng)
    p = Warped().fit(X, y, groups, rng)
    assert p.warp.power < 0.9
    Q, h = rng.random((6, 2)), 1e-6
    gradients = p.gradient(Q)
    for j in range(2):
        step = h * np.eye(2)[j]
        above, below = p.predict(Q + step), p.predict(Q - step)
        for gradient, a, b in zip(gradients, above, below, strict=True):
            assert_allclose(gradient[:, j], (a - b) / (2 * h), atol=3e-6 * np.abs(gradient).max())


def test_predictions_are_in_the_units_of_the_values(rng):
    X, y, groups = skewed(rng)
    p = Warped(Kriging(deterministic=True)).fit(X, y, groups, rng)
    assert_allclose(p.predict(X)[0], y, rtol=1e-3)
    believer = p.condition(np.array([[0.2, 0.9]]), np.array([123.0]))
    assert_allclose(believer.predict(np.array([[0.2, 0.9]]))[0], 123.0, rtol=1e-3)
    other = Warped(Kriging(deterministic=True)).fit(X, 1e3 * y - 7, groups, rng)
    Q = rng.random((5, 2))
    mean, sd = p.predict(Q)
    assert_allclose(other.predict(Q), (1e3 * mean - 7, 1e3 * sd), rtol=1e-2)
    assert_allclose(np.sqrt(np.diag(p.joint(Q)[1])), sd, rtol=1e-5)


def test_a_value_left_out_is_predicted_by_the_model_of_the_others(rng):
    """With the same warp and hyperparameters, by conditioning on all but one."""
    X, y, groups = skewed(rng, 25)
    p = Warped(Kriging(deterministic=True)).fit(X, y, groups, rng)
    means, sds = p.leave_one_out()
    inner = p.inner
    for i in (0, 7, 24):
        rest = np.delete(np.arange(25), i)
        others = solve(inner.hyperparameters, inner.data.rows(rest), np.arange(24))
        z, sd = others.predict(X[i : i + 1])
        above, below = p.warp.backward(z + sd)[0] - means[i], means[i] - p.warp.backward(z - sd)[0]
        assert_allclose(p.warp.backward(z)[0], means[i], rtol=1e-4)
        assert_allclose(sds[i], (above + below) / 2, rtol=0.1)
    assert leave_one_out(p, y).q2 > 0.9


def test_what_cannot_leave_one_out_cannot_when_warped(rng):
    X, y, groups = skewed(rng, 12)
    p = Warped(SklearnSurrogate(LinearRegression())).fit(X, y, groups, rng)
    assert leave_one_out(p, y) is None


def test_half_of_the_draws_lie_below_the_prediction(rng):
    X, y, groups = skewed(rng, 15)
    p = Warped().fit(X, y, groups, rng)
    Q = rng.random((4, 2))
    below = (p.sample(Q, 4000, rng) < p.predict(Q)[0]).mean(axis=0)
    assert (np.abs(below - 0.5) < 5 * 0.5 / np.sqrt(4000)).all()


def test_an_outlier_does_no_harm(rng):
    X = rng.random((12, 2))
    p = Warped().fit(X, np.append(rng.random(11), 1e30), np.arange(2), rng)
    assert all(np.isfinite(a).all() for a in (*p.predict(X), *p.gradient(X)))


def test_it_is_found_by_its_name():
    assert surrogates.find("warped") == Warped()
