"""Merging evaluations of the same point changes the cost and nothing else."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.spatial.distance import cdist
from scipy.stats import multivariate_normal

from spot_dask.surrogates.correlation import correlate
from spot_dask.surrogates.kriging import Kriging
from spot_dask.surrogates.likelihood import NegativeLogPosterior, prior_of
from spot_dask.surrogates.points import Merged, merge


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def replicated(rng, m=12, n=30, e=2):
    """n noisy evaluations at m points, in mixed order; one of the points has a single one."""
    points = rng.random((m, e))
    place = np.concatenate((np.arange(m), rng.integers(1, m, size=n - m)))
    X = points[rng.permutation(place)]
    return X, 5 + np.sin(5 * X).sum(axis=1) + 0.3 * rng.standard_normal(n)


def unmerged(X, values):
    return Merged(X, values, np.ones(len(values)), values, np.arange(len(values)))


def dense(p, X, y, Q):
    """Universal Kriging with every evaluation as a row of its own."""

    def R(A, B):
        z = p.hyperparameters.columns
        return correlate("matern52", cdist(A / z, B / z, "sqeuclidean"))[0]

    C = np.linalg.inv(R(X, X) + p.nugget * np.eye(len(y)))
    one, c = np.ones(len(y)), R(Q, X)
    mean = one @ C @ y / (one @ C @ one)
    u = 1 - c @ C @ one
    covariance = R(Q, Q) - c @ C @ c.T + np.outer(u, u) / (one @ C @ one)
    return mean + c @ C @ (y - mean), p.variance * covariance


@settings(max_examples=50, deadline=None)
@given(place=st.lists(st.integers(0, 6), min_size=1, max_size=20))
def test_merging_loses_no_evaluation_and_keeps_the_order(place):
    points = np.random.default_rng(0).random((7, 2))
    X, values = points[place], np.arange(len(place), dtype=float)
    merged = merge(X, values)
    assert_allclose(merged.X[merged.place], X, rtol=0)
    assert_allclose(merged.values, values, rtol=0)
    assert len(np.unique(merged.X, axis=0)) == len(merged.X) == len(set(place))
    assert_allclose(merged.counts, np.bincount(merged.place), rtol=0)
    for k in range(len(merged.y)):
        assert_allclose(merged.y[k], values[merged.place == k].mean())
    assert list(dict.fromkeys(merged.place)) == list(range(len(merged.y)))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), nugget=st.floats(-7.0, 2.0))
def test_the_likelihood_and_its_gradient_are_those_of_all_evaluations(seed, nugget):
    rng = np.random.default_rng(seed)
    X, y = replicated(rng)
    theta = np.append(rng.normal(-0.7, 0.5, 2), nugget)
    one, other = (
        NegativeLogPosterior(data, np.arange(2), replace(prior_of(2), length=-0.7))(theta)
        for data in (merge(X - 0.5, y), unmerged(X - 0.5, y))
    )
    assert_allclose(one[0], other[0], rtol=1e-9)
    assert_allclose(one[1], other[1], rtol=1e-6, atol=1e-7 * np.abs(other[1]).max())


def test_the_estimate_is_that_of_all_evaluations(rng):
    X, y = replicated(rng, 20, 60)
    p = Kriging().fit(X, y, np.arange(2), rng)
    assert len(p.Z) == 20
    values = (y - y.mean()) / y.std()
    density = NegativeLogPosterior(unmerged(X - 0.5, values), np.arange(2), prior_of(2))
    value, gradient = density(p.theta)
    assert_allclose(p.hyperparameters.log_posterior, -value, rtol=1e-9)
    assert_allclose(gradient, 0, atol=0.05)
    C = correlate("matern52", cdist(X / p.length_scales, X / p.length_scales, "sqeuclidean"))[0]
    left = y - p.mean
    misfit = left @ np.linalg.solve(C + p.nugget * np.eye(60), left) / y.var()
    assert_allclose(p.variance, y.var() * (misfit + 2) / (60 + 2), rtol=1e-9)


def test_predictions_and_likelihood_are_those_of_all_evaluations(rng):
    X, y = replicated(rng)
    p = Kriging().fit(X, y, np.arange(2), rng)
    Q = rng.random((8, 2))
    mean, covariance = dense(p, X, y, Q)
    assert_allclose(p.joint(Q)[0], mean, rtol=1e-9)
    assert_allclose(p.joint(Q)[1], covariance, atol=1e-9 * p.variance)
    C = correlate("matern52", cdist(X / p.length_scales, X / p.length_scales, "sqeuclidean"))[0]
    normal = multivariate_normal(np.full(30, p.mean), p.variance * (C + p.nugget * np.eye(30)))
    assert_allclose(p.log_likelihood, normal.logpdf(y), rtol=1e-9)


def test_one_of_several_evaluations_of_a_point_is_left_out_alone(rng):
    X, y = replicated(rng)
    p = Kriging().fit(X, y, np.arange(2), rng)
    means, sds = p.leave_one_out()
    for i in range(len(y)):
        rest = np.delete(np.arange(len(y)), i)
        mean, covariance = dense(p, X[rest], y[rest], X[i : i + 1])
        assert_allclose(means[i], mean[0], rtol=1e-8)
        assert_allclose(sds[i] ** 2, covariance[0, 0] + p.nugget * p.variance, rtol=1e-8)


def test_a_point_evaluated_often_is_known_well(rng):
    X = np.vstack((np.full((50, 1), 0.3), [[0.7]]))
    y = np.append(1 + 0.5 * rng.standard_normal(50), 2.0)
    p = Kriging().fit(
        np.vstack((X, rng.random((20, 1)))), np.append(y, rng.random(20)), np.arange(1), rng
    )
    _, sd = p.predict(np.array([[0.3], [0.7]]))
    assert sd[0] < 0.5 * sd[1]


def test_a_deterministic_objective_that_contradicts_itself_is_averaged_with_one_warning(
    rng, caplog
):
    X = np.vstack((rng.random((6, 2)), np.full((2, 2), 0.5)))
    y = np.append(rng.random(6), [1.0, 3.0])
    with caplog.at_level(logging.WARNING):
        p = Kriging(deterministic=True).fit(X, y, np.arange(2), rng)
    assert [r.message.split(":")[0] for r in caplog.records] == [
        "a deterministic objective gave different values at the same point"
    ]
    mean, sd = p.predict(np.full((1, 2), 0.5))
    assert_allclose(mean, 2.0, atol=1e-4)
    assert sd[0] < 1e-3
