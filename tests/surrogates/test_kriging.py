"""Kriging against theorems, a naive dense implementation and scikit-learn."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import approx_fprime
from scipy.stats import multivariate_normal
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern

from spot_dask import surrogates
from spot_dask.surrogates import kriging
from spot_dask.surrogates.correlation import correlation_matrix
from spot_dask.surrogates.kriging import Kriging
from spot_dask.surrogates.likelihood import NegativeLogPosterior, prior_of
from spot_dask.surrogates.numerics import LARGE, blas_threads
from spot_dask.surrogates.points import merge
from spot_dask.surrogates.posterior import JITTER, KrigingPosterior, inverse_root


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def bowl(X):
    return ((X - 0.4) ** 2).sum(axis=1) + np.sin(4 * X[:, 0])


def data(rng, n=25, e=3, noise=0.05):
    X = rng.random((n, e))
    return X, 100 + 20 * bowl(X) + 20 * noise * rng.standard_normal(n), np.arange(e)


def matern(A, B, lengths):
    """The textbook formula, one pair at a time."""
    R = np.empty((len(A), len(B)))
    for i, a in enumerate(A):
        for j, b in enumerate(B):
            r = np.sqrt((((a - b) / lengths) ** 2).sum())
            R[i, j] = (1 + np.sqrt(5) * r + 5 * r**2 / 3) * np.exp(-np.sqrt(5) * r)
    return R


def naive(p: KrigingPosterior, X, y, Q, free=0):
    """Mean and covariance by universal Kriging's dense formulae; the last ``free`` y are exact."""
    lengths = p.hyperparameters.columns
    noise = np.r_[np.full(len(y) - free, p.nugget), np.full(free, JITTER)]
    C = np.linalg.inv(matern(X, X, lengths) + np.diag(noise))
    one, c = np.ones(len(y)), matern(Q, X, lengths)
    mean = one @ C @ y / (one @ C @ one)
    u = 1 - c @ C @ one
    cov = matern(Q, Q, lengths) - c @ C @ c.T + np.outer(u, u) / (one @ C @ one)
    return mean + c @ C @ (y - mean), p.variance * cov


@pytest.mark.parametrize("correlation", ["matern52", "gauss"])
def test_the_gradient_of_the_likelihood_is_that_of_its_differences(rng, correlation):
    X, y, _ = data(rng, 30, 4)
    X, y = np.vstack((X, X[:5], X[:2])), np.append(y, y[:7] + 3 * rng.standard_normal(7))
    merged = merge(X - 0.5, (y - y.mean()) / y.std())
    density = NegativeLogPosterior(
        merged, np.array([0, 1, 1, 2]), replace(prior_of(3), length=-0.7), correlation
    )
    for _ in range(5):
        theta = np.append(rng.normal(-0.5, 0.5, 3), rng.normal(-4, 1))
        _, gradient = density(theta)
        h = 1e-5
        differences = [
            (density(theta + h * step)[0] - density(theta - h * step)[0]) / (2 * h)
            for step in np.eye(4)
        ]
        assert_allclose(gradient, differences, rtol=1e-6, atol=1e-6 * np.abs(gradient).max())


@pytest.mark.parametrize("correlation", ["matern52", "gauss"])
def test_gradients_of_the_prediction_are_those_of_its_differences(rng, correlation):
    X, y, groups = data(rng)
    posterior = Kriging(correlation=correlation).fit(X, y, groups, rng)
    posterior = posterior.condition(rng.random((2, 3)), np.array([101.0, 105.0]))
    Q, h = rng.random((6, 3)), 1e-6
    gradients = posterior.gradient(Q)
    for j in range(3):
        step = h * np.eye(3)[j]
        above, below = posterior.predict(Q + step), posterior.predict(Q - step)
        for gradient, a, b in zip(gradients, above, below, strict=True):
            assert_allclose(gradient[:, j], (a - b) / (2 * h), atol=3e-6 * np.abs(gradient).max())


def test_a_deterministic_objective_is_interpolated_without_uncertainty(rng):
    X, y, groups = data(rng, noise=0.0)
    posterior = Kriging(deterministic=True).fit(X, y, groups, rng)
    mean, sd = posterior.predict(X)
    assert_allclose(mean, y, atol=1e-4 * y.std())
    assert sd.max() < 1.1e-4 * np.sqrt(posterior.variance)
    _, cov = posterior.joint(np.vstack((X, rng.random((3, 3)))))
    assert np.abs(cov[:25]).max() < 1e-4 * posterior.variance


def test_predictions_are_those_of_the_dense_formulae(rng):
    X, y, groups = data(rng)
    posterior = Kriging().fit(X, y, groups, rng)
    Q = rng.random((7, 3))
    mean, cov = naive(posterior, X, y, Q)
    assert_allclose(posterior.joint(Q)[0], mean, rtol=1e-9)
    assert_allclose(posterior.joint(Q)[1], cov, atol=1e-8 * posterior.variance)
    assert_allclose(posterior.predict(Q)[0], mean, rtol=1e-9)
    assert_allclose(posterior.predict(Q)[1] ** 2, np.diag(cov), atol=1e-8 * posterior.variance)


def test_predictions_are_those_of_scikit_learn_at_the_same_hyperparameters(rng):
    X, y, groups = data(rng)
    p = Kriging().fit(X, y, groups, rng)
    kernel = ConstantKernel(p.variance) * Matern(p.length_scales, nu=2.5)
    peer = GaussianProcessRegressor(kernel, alpha=p.nugget * p.variance, optimizer=None)
    Q = rng.random((7, 3))
    mean, cov = peer.fit(X, y - p.mean).predict(Q, return_cov=True)
    assert_allclose(p.predict(Q)[0], p.mean + mean, rtol=1e-8)
    # scikit-learn knows its mean; ours is estimated, which adds this term.
    C = peer.kernel_(X) + p.nugget * p.variance * np.eye(len(X))
    u = 1 - peer.kernel_(Q, X) @ np.linalg.solve(C, np.ones(len(X)))
    doubt = np.outer(u, u) / np.linalg.solve(C, np.ones(len(X))).sum()
    assert_allclose(p.joint(Q)[1], cov + doubt, atol=1e-8 * p.variance)
    assert_allclose(p.log_likelihood, peer.log_marginal_likelihood_value_, rtol=1e-9)


def density_of(X, y, p):
    merged = merge(X - 0.5, (y - y.mean()) / y.std())
    return NegativeLogPosterior(merged, np.arange(p), prior_of(p))


def test_tuning_never_lowers_the_posterior_density_and_more_starts_never_hurt():
    for seed in range(5):
        rng = np.random.default_rng(seed)
        X, y, groups = data(rng, 12, 4, noise=0.3)
        found = [
            Kriging(starts=s)
            .fit(X, y, groups, np.random.default_rng(0))
            .hyperparameters.log_posterior
            for s in (1, 2, 5)
        ]
        start = np.append(np.full(4, np.log(0.5)), np.log(1e-2))
        assert -density_of(X, y, 4)(start)[0] < found[0] <= found[1] <= found[2]


def test_the_estimate_is_a_stationary_point(rng):
    X, y, groups = data(rng, 40, 2)
    p = Kriging().fit(X, y, groups, rng)
    theta = np.log(np.append(p.length_scales, p.nugget))
    assert_allclose(density_of(X, y, 2)(theta)[1], 0, atol=0.05)
    numeric = approx_fprime(theta, lambda t: density_of(X, y, 2)(t)[0], 1e-6)
    assert_allclose(numeric, 0, atol=0.05)


def test_variances_are_the_diagonal_of_the_covariance(rng):
    X, y, groups = data(rng)
    posterior = Kriging().fit(X, y, groups, rng)
    Q = rng.random((9, 3))
    mean, cov = posterior.joint(Q)
    assert_allclose(np.sqrt(np.diag(cov)), posterior.predict(Q)[1], rtol=1e-6)
    assert np.linalg.eigvalsh(cov).min() > -1e-8 * posterior.variance
    assert_allclose(mean, posterior.predict(Q)[0], rtol=1e-12)


def test_conditioning_is_refactorising_with_the_same_hyperparameters(rng):
    X, y, groups = data(rng)
    posterior = Kriging().fit(X, y, groups, rng)
    added, values = rng.random((4, 3)), 100 + 30 * rng.random(4)
    conditioned = posterior.condition(added, values)
    Q = np.vstack((rng.random((5, 3)), added))
    mean, cov = naive(posterior, np.vstack((X, added)), np.append(y, values), Q, free=4)
    assert_allclose(conditioned.joint(Q)[0], mean, rtol=1e-8)
    assert_allclose(conditioned.joint(Q)[1], cov, atol=1e-8 * posterior.variance)
    assert_allclose(conditioned.predict(added)[0], values, rtol=1e-5)
    assert_allclose(posterior.predict(X)[0], naive(posterior, X, y, X)[0], rtol=1e-9)


def test_believing_a_mean_changes_no_mean_and_raises_no_variance(rng):
    X, y, groups = data(rng)
    posterior = Kriging().fit(X, y, groups, rng)
    point, Q = rng.random((1, 3)), rng.random((50, 3))
    believer = posterior.condition(point, posterior.predict(point)[0])
    assert_allclose(believer.predict(Q)[0], posterior.predict(Q)[0], rtol=1e-8)
    assert (believer.predict(Q)[1] <= posterior.predict(Q)[1] * (1 + 1e-9)).all()


def test_a_point_may_be_conditioned_on_again_and_again(rng):
    X, y, groups = data(rng, noise=0.0)
    posterior = Kriging(deterministic=True).fit(X, y, groups, rng)
    for _ in range(5):
        posterior = posterior.condition(X[:2], y[:2])
    mean, sd = posterior.predict(X)
    assert_allclose(mean, y, atol=1e-3 * y.std())
    assert np.isfinite(sd).all()


def test_the_order_of_the_rows_does_not_matter(rng):
    X, y, groups = data(rng)
    order, Q = rng.permutation(len(y)), rng.random((8, 3))
    one = Kriging().fit(X, y, groups, np.random.default_rng(0))
    other = Kriging().fit(X[order], y[order], groups, np.random.default_rng(0))
    assert_allclose(one.predict(Q), other.predict(Q), rtol=1e-5)


@pytest.mark.parametrize(("scale", "shift"), [(1e-6, 0.0), (3.0, -50.0), (1e9, 1e9)])
def test_units_of_y_change_predictions_accordingly(rng, scale, shift):
    X, y, groups = data(rng)
    Q = rng.random((8, 3))
    mean, sd = Kriging().fit(X, y, groups, rng).predict(Q)
    other = Kriging().fit(X, shift + scale * y, groups, rng)
    assert_allclose(other.predict(Q)[0], shift + scale * mean, rtol=1e-5)
    assert_allclose(other.predict(Q)[1], scale * sd, rtol=1e-3)


def test_the_order_of_the_parameters_does_not_matter(rng):
    X, y, groups = data(rng)
    order, Q = np.array([2, 0, 1]), rng.random((8, 3))
    one = Kriging().fit(X, y, groups, np.random.default_rng(0))
    other = Kriging().fit(X[:, order], y, groups, np.random.default_rng(0))
    assert_allclose(other.length_scales, one.length_scales[order], rtol=1e-3)
    assert_allclose(other.predict(Q[:, order]), one.predict(Q), rtol=1e-4)


def test_a_slower_axis_gets_a_longer_length_scale(rng):
    X = rng.random((60, 2))
    y = np.sin(10 * X[:, 0]) + np.sin(X[:, 1])
    p = Kriging().fit(X, y, np.arange(2), rng)
    assert p.length_scales[1] > 2 * p.length_scales[0]


def test_the_noise_of_the_data_is_found(rng):
    X = rng.random((150, 2))
    y = bowl(X) + 0.1 * rng.standard_normal(150)
    p = Kriging().fit(X, y, np.arange(2), rng)
    assert_allclose(np.sqrt(p.nugget * p.variance), 0.1, rtol=0.3)


def test_leaving_one_out_in_closed_form_equals_doing_it(rng):
    X, y, groups = data(rng, 12)
    p = Kriging().fit(X, y, groups, rng)
    means, sds = p.leave_one_out()
    for i in range(len(y)):
        rest = np.delete(np.arange(len(y)), i)
        mean, cov = naive(p, X[rest], y[rest], X[i : i + 1])
        assert_allclose(means[i], mean[0], rtol=1e-9)
        assert_allclose(sds[i] ** 2, cov[0, 0] + p.nugget * p.variance, rtol=1e-8)


def test_estimates_are_public_results(rng):
    X, y, groups = data(rng)
    p = Kriging().fit(X, y, groups, rng)
    assert_allclose(np.exp(p.theta), np.append(p.length_scales, p.nugget))
    C = matern(X, X, p.hyperparameters.columns) + p.nugget * np.eye(len(y))
    expected = multivariate_normal(np.full(len(y), p.mean), p.variance * C).logpdf(y)
    assert_allclose(p.log_likelihood, expected, rtol=1e-9)


def test_leaving_out_the_only_evaluation_is_refused(rng):
    posterior = Kriging().fit(np.full((1, 2), 0.5), np.ones(1), np.arange(2), rng)
    with pytest.raises(ValueError, match="expected at least 2"):
        posterior.leave_one_out()


def test_levels_of_a_factor_are_all_equally_far_apart(rng):
    levels = np.eye(4) / np.sqrt(2)
    X = np.hstack((levels[rng.integers(4, size=40)], rng.random((40, 1))))
    y = X @ np.array([0.0, 1.0, 4.0, 2.0, 1.0])
    p = Kriging().fit(X, y, np.array([0, 0, 0, 0, 1]), rng)
    assert p.length_scales.shape == (2,)
    rows = np.hstack((levels, np.full((4, 1), 0.3)))
    R, _ = correlation_matrix("matern52", (rows - 0.5) / p.hyperparameters.columns)
    apart = R[~np.eye(4, dtype=bool)]
    assert_allclose(apart, matern(np.zeros((1, 1)), np.ones((1, 1)), p.length_scales[:1])[0, 0])
    assert p.predict(rows)[0].argmax() == 2


def degenerate(rng):
    X = rng.random((10, 3))
    return {
        "constant": (X, np.full(10, 3.25)),
        "zero": (X, np.zeros(10)),
        "one row": (X[:1], np.array([2.0])),
        "two equal rows": (np.vstack((X, X)), rng.random(20)),
        "one place": (np.full((6, 3), 0.5), rng.random(6)),
        "one column": (X[:, :1], X[:, 0]),
        "fifty columns": (rng.random((12, 50)), rng.random(12)),
        "no columns": (np.empty((4, 0)), rng.random(4)),
        "near duplicates": (np.vstack((X, X + 1e-10 * rng.random(X.shape))), rng.random(20)),
        "an outlier": (X, np.append(rng.random(9), 1e30)),
        "huge": (X, np.append(rng.random(9), -1e150)),
    }


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("case", list(degenerate(np.random.default_rng(0))))
def test_degenerate_data_give_finite_predictions(rng, case, deterministic):
    X, y = degenerate(rng)[case]
    e = X.shape[1]
    posterior = Kriging(deterministic=deterministic).fit(X, y, np.arange(e), rng)
    Q = rng.random((5, e))
    posterior = posterior.condition(Q[:1], y[:1])
    mean, sd = posterior.predict(np.vstack((Q, X)))
    assert np.isfinite(mean).all()
    assert np.isfinite(sd).all()
    assert (sd > 0).all()
    assert all(np.isfinite(g).all() for g in posterior.gradient(np.vstack((Q, X))))
    if case == "constant":
        assert_allclose(mean, 3.25)


def test_a_singular_covariance_gets_a_larger_nugget_and_one_warning(caplog):
    R = np.ones((3, 3)) - 1e-6 * np.eye(3)  # an eigenvalue of -1e-6
    with caplog.at_level(logging.WARNING):
        root, nugget = inverse_root(R, 1e-8, np.ones(3))
    assert nugget == pytest.approx(1e-5)
    assert [r.message for r in caplog.records] == [
        "singular covariance: the nugget is 1.0e-05 instead of 1.0e-08"
    ]
    assert_allclose(root @ (R + nugget * np.eye(3)) @ root.T, np.eye(3), atol=1e-6)


def test_where_no_length_scales_can_be_estimated_the_prior_s_are_used(rng, caplog, monkeypatch):
    monkeypatch.setattr(kriging, "DETERMINISTIC_NUGGET", 1e-30)
    near = rng.random((4, 2))
    X = np.vstack((near, near + 1e-9))
    with caplog.at_level(logging.WARNING):
        p = Kriging(deterministic=True).fit(X, rng.random(8), np.arange(2), rng)
    assert_allclose(p.length_scales, 0.5)
    assert len(caplog.records) == 2
    assert "those of the prior are used" in caplog.text
    assert "singular covariance" in caplog.text
    assert np.isfinite(p.predict(X)).all()


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (np.ones((2, 2)), np.ones(3), "do not match"),
        (np.ones((0, 2)), np.ones(0), "n >= 1"),
        (np.ones((2, 2)), np.array([1.0, np.nan]), "not finite"),
        (np.full((2, 2), 1e7), np.ones(2), "expected the unit cube"),
    ],
)
def test_unusable_data_are_refused(rng, X, y, message):
    with pytest.raises(ValueError, match=message):
        Kriging().fit(X, y, np.arange(2), rng)


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="there are: matern52, gauss"):
        Kriging(correlation="cubic")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected 1 to 1000"):
        Kriging(starts=0)


def test_fitting_is_repeatable(rng):
    X, y, groups = data(rng)
    fits = [Kriging(starts=4).fit(X, y, groups, np.random.default_rng(3)) for _ in range(2)]
    assert (fits[0].length_scales == fits[1].length_scales).all()
    assert isinstance(surrogates.find("kriging"), Kriging)


def test_blas_is_limited_for_small_matrices_only():
    from threadpoolctl import threadpool_info

    def threads():
        return {i["num_threads"] for i in threadpool_info() if i["user_api"] == "blas"}

    before = threads()
    with blas_threads(LARGE - 1):
        assert threads() == {1}
    with blas_threads(LARGE):
        assert threads() == before
    assert threads() == before
