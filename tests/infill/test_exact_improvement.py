"""Exact expected improvement of batches against brute force and one integral."""

from __future__ import annotations

import numpy as np
import pytest
from exact_improvement import expected_improvement
from scipy import stats

from spot_dask.infill.log_ei import log_expected_improvement


def problem(q, seed):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((q, q))
    return rng.standard_normal(q), A @ A.T + 0.1 * np.eye(q), float(rng.standard_normal())


def test_of_one_point_it_is_the_usual_one():
    value, _, _ = log_expected_improvement(np.array([0.5]), np.array([1.3]), 0.2)
    found = expected_improvement(np.array([0.5]), np.array([[1.69]]), 0.2)
    assert found == pytest.approx(float(np.exp(value[0])), rel=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_of_two_points_it_is_one_integral(seed):
    mean, K, best = problem(2, seed)
    slope = K[0, 1] / K[0, 0]
    rest = np.sqrt(K[1, 1] - slope * K[0, 1])
    grid = np.linspace(-10, 10, 20_001)
    a = mean[0] + np.sqrt(K[0, 0]) * grid
    lower = np.minimum(best, a)
    u = (lower - mean[1] - slope * (a - mean[0])) / rest
    gain = best - lower + rest * (stats.norm.pdf(u) + u * stats.norm.cdf(u))
    expected = np.trapezoid(gain * stats.norm.pdf(grid), grid)
    assert expected_improvement(mean, K, best) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("q", [2, 3, 4])
def test_it_is_the_mean_improvement_of_a_million_draws(q):
    mean, K, best = problem(q, 10 + q)
    draws = np.random.default_rng(0).multivariate_normal(mean, K, 1_000_000)
    gain = np.maximum(best - draws.min(axis=1), 0)
    error = gain.std() / 1000
    assert expected_improvement(mean, K, best) == pytest.approx(
        gain.mean(), rel=0.01, abs=5 * error
    )


def test_a_point_that_is_there_twice_adds_nothing():
    one = expected_improvement(np.array([0.1]), np.array([[1.0]]), 0.0)
    twice = expected_improvement(np.full(2, 0.1), np.ones((2, 2)), 0.0)
    assert twice == pytest.approx(one, rel=1e-3)
