"""Transfer: sources help as far as they are borne out, and the posterior stays a posterior."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import linregress
from sklearn.ensemble import RandomForestRegressor

from spot_dask.surrogates import FloatArray
from spot_dask.surrogates.kriging import Kriging
from spot_dask.surrogates.sklearn import SklearnSurrogate
from spot_dask.surrogates.transfer import Transfer, TransferPosterior, slopes, source_model

D = 3
GROUPS = np.arange(D)
DENSE = np.random.default_rng(9).random((80, D))


def hills(X: FloatArray) -> FloatArray:
    y: FloatArray = np.sin(5 * X[:, 0]) + X[:, 1] ** 2 + 0.3 * np.cos(7 * X[:, 2])
    return y


def fit(X: FloatArray, y: FloatArray, *sources: FloatArray) -> TransferPosterior:
    """With sources whose values at ``DENSE`` are given."""
    models = [source_model(DENSE, values, GROUPS) for values in sources]
    fitted = Transfer(Kriging(), models).fit(X, y, GROUPS, np.random.default_rng(0))
    assert isinstance(fitted, TransferPosterior)
    return fitted


@pytest.fixture
def X(rng: np.random.Generator) -> FloatArray:
    return rng.random((15, D))


@pytest.fixture
def posterior(X: FloatArray) -> TransferPosterior:
    return fit(X, 2 + 3 * hills(X) + X[:, 0], hills(DENSE), DENSE[:, 0] ** 2)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(4)


def differences(function: Callable[[FloatArray], float], x: FloatArray) -> FloatArray:
    """The gradient by central differences."""
    h = 1e-5
    steps = h * np.eye(len(x))
    return np.array([(function(x + step) - function(x - step)) / (2 * h) for step in steps])


# --- slopes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("n", [4, 10, 40])
def test_the_slope_on_one_source_is_that_of_regression_shrunk_by_its_t_statistic(
    noise: float, n: int, rng: np.random.Generator
) -> None:
    for _ in range(20):
        f = rng.standard_normal(n)
        y = 0.7 * f + noise * rng.standard_normal(n) + 5
        line = linregress(f, y)
        t = line.slope / line.stderr
        expected = line.slope * (1 - 2 / t**2) if t > np.sqrt(2) else 0.0
        assert_allclose(slopes(f[:, None], y), [expected], rtol=1e-9)


def test_sources_that_explain_everything_keep_their_slopes(rng: np.random.Generator) -> None:
    F = rng.standard_normal((12, 3))
    assert_allclose(slopes(F, 4 + F @ [2.0, 0.0, 0.5]), [2.0, 0.0, 0.5], rtol=1e-5, atol=1e-9)


def test_slopes_do_not_depend_on_units_or_order(rng: np.random.Generator) -> None:
    F = rng.standard_normal((20, 3))
    y = F @ [1.0, 0.4, 0.0] + 0.5 * rng.standard_normal(20)
    b, units = slopes(F, y), np.array([10.0, 0.1, 3.0])
    assert (b > 0).any()
    assert_allclose(slopes(F, 7 * y - 100), 7 * b, rtol=1e-9)
    assert_allclose(slopes(F * units + 5, y), b / units, rtol=1e-9)
    assert_allclose(slopes(F[:, ::-1], y), b[::-1], rtol=1e-9)


def test_what_misleads_has_no_slope(rng: np.random.Generator) -> None:
    f = rng.standard_normal(30)
    assert_array_equal(slopes(np.column_stack((-f, np.zeros(30))), f), [0.0, 0.0])


@pytest.mark.parametrize("n", [1, 2])
def test_too_few_evaluations_bear_nothing_out(n: int, rng: np.random.Generator) -> None:
    f = rng.standard_normal((n, 1))
    assert_array_equal(slopes(f, f[:, 0]), [0.0])


def test_a_constant_objective_follows_no_source(rng: np.random.Generator) -> None:
    assert_array_equal(slopes(rng.standard_normal((9, 2)), np.full(9, 3.0)), [0.0, 0.0])


def test_chance_is_rarely_taken_for_a_relation(rng: np.random.Generator) -> None:
    found = [slopes(rng.standard_normal((10, 1)), rng.standard_normal(10))[0] for _ in range(1000)]
    # P(t > sqrt 2) = 0.097 for 8 degrees of freedom; five standard errors.
    assert np.mean(np.array(found) > 0) < 0.097 + 5 * np.sqrt(0.097 / 1000)
    assert np.mean(found) < 0.05


# --- the posterior ----------------------------------------------------------------------------


def test_without_a_relation_the_posterior_is_that_of_the_surrogate_alone(X: FloatArray) -> None:
    y = hills(X)
    models = [source_model(DENSE, -hills(DENSE), GROUPS)]
    informed = Transfer(Kriging(), models).fit(X, y, GROUPS, np.random.default_rng(0))
    alone = Kriging().fit(X, y, GROUPS, np.random.default_rng(0))
    for mine, theirs in zip(informed.predict(DENSE), alone.predict(DENSE), strict=True):
        assert_array_equal(mine, theirs)


def test_what_follows_its_source_is_known_where_only_the_source_was_evaluated(
    X: FloatArray,
) -> None:
    (source,) = [source_model(DENSE, hills(DENSE), GROUPS)]
    truth, _ = source.predict(X)
    informed = Transfer(Kriging(), [source]).fit(
        X[:8], 10 + 4 * truth[:8], GROUPS, np.random.default_rng(0)
    )
    mean, sd = informed.predict(X[8:])
    assert_allclose(mean, 10 + 4 * truth[8:], rtol=1e-5)
    assert sd.max() < 0.01 * truth.std()


def test_the_units_of_a_source_do_not_matter(X: FloatArray) -> None:
    y = hills(X) + X[:, 0]
    one, other = fit(X, y, hills(DENSE)), fit(X, y, 1000 + 0.01 * hills(DENSE))
    assert_allclose(one.predict(DENSE)[0], other.predict(DENSE)[0], rtol=1e-4, atol=1e-4)


def test_gradients_are_those_of_finite_differences(posterior: TransferPosterior) -> None:
    x = np.array([0.3, 0.7, 0.45])
    mean, sd = posterior.gradient(x[None])
    for k, gradient in enumerate((mean, sd)):
        expected = differences(lambda x, k=k: posterior.predict(x[None])[k][0], x)
        assert_allclose(gradient[0], expected, rtol=1e-6, atol=1e-6)


def test_located_points_agree_with_the_joint_distribution(
    posterior: TransferPosterior, rng: np.random.Generator
) -> None:
    A, B = rng.random((5, D)), rng.random((4, D))
    at, other = posterior.locate(A), posterior.locate(B)
    assert at is not None
    assert other is not None
    mean, covariance = posterior.joint(np.vstack((A, B)))
    both = at.join(other)
    assert_allclose(both.mean, mean, rtol=1e-9)
    assert_allclose(both.variance, np.diagonal(covariance), rtol=1e-7)
    assert_allclose(at.covariance(other), covariance[:5, 5:], rtol=1e-7, atol=1e-12)


def test_what_is_pulled_is_a_gradient(
    posterior: TransferPosterior, rng: np.random.Generator
) -> None:
    x, B = rng.random(D), rng.random((4, D))
    other = posterior.locate(B)
    assert other is not None
    w = rng.standard_normal(4)

    def function(x: FloatArray) -> float:
        at = posterior.locate(x[None])
        assert at is not None
        assert other is not None
        return float(2 * at.mean[0] + 3 * at.variance[0] + at.covariance(other)[0] @ w)

    at = posterior.locate(x[None])
    assert at is not None
    pulled = at.pull(np.array([2.0]), np.array([3.0]), other, w[None])
    assert_allclose(pulled[0], differences(function, x), rtol=1e-6, atol=1e-6)


def test_conditioned_values_are_interpolated(
    posterior: TransferPosterior, rng: np.random.Generator
) -> None:
    more = rng.random((3, D))
    mean, sd = posterior.condition(more, np.array([1.0, -2.0, 5.0])).predict(more)
    assert_allclose(mean, [1.0, -2.0, 5.0], atol=1e-4)
    assert_allclose(sd, 0.0, atol=1e-2 * np.sqrt(np.diagonal(posterior.joint(more)[1])).max())


def test_lengths_are_the_shorter_ones(X: FloatArray) -> None:
    def rough(X: FloatArray) -> FloatArray:
        return np.sin(12 * X[:, 0])

    posterior = fit(X, 3 * rough(X) + X[:, 1], rough(DENSE))
    assert posterior.columns is not None
    assert posterior.rest.columns is not None
    assert posterior.columns[0] == posterior.drift.columns[0] < posterior.rest.columns[0]
    assert posterior.columns[1] == posterior.rest.columns[1] < posterior.drift.columns[1]


def test_any_surrogate_can_be_informed(X: FloatArray) -> None:
    models = [source_model(DENSE, hills(DENSE), GROUPS)]
    informed = Transfer(SklearnSurrogate(RandomForestRegressor(10)), models).fit(
        X, np.exp(2 * hills(X)), GROUPS, np.random.default_rng(0)
    )
    assert isinstance(informed, TransferPosterior)
    assert informed.locate(X) is None
    mean, sd = informed.predict(X)
    assert np.isfinite(mean).all()
    assert (sd >= 0).all()
