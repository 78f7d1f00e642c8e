"""Probabilities of being the best against integrals and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from exact_posterior import CosinePosterior
from numpy.testing import assert_allclose
from scipy import integrate, stats

from spot_dask.stats.best import best_chances, correct_selection, joint_draws

MEANS, SDS = np.array([0.0, 0.3, 0.5, 3.0]), np.array([0.4, 0.2, 0.6, 0.1])


def chance(k, delta=0.0):
    """P(f_k <= f_i + delta for all i) of independent normals, by quadrature."""

    def integrand(x):
        others = [stats.norm.sf(x - delta, MEANS[i], SDS[i]) for i in range(4) if i != k]
        return stats.norm.pdf(x, MEANS[k], SDS[k]) * np.prod(others)

    return integrate.quad(integrand, MEANS[k] - 8 * SDS[k], MEANS[k] + 8 * SDS[k], limit=200)[0]


@pytest.mark.parametrize("delta", [0.0, 0.25])
def test_probabilities_of_independent_configurations_are_those_of_quadrature(delta):
    draws = np.random.default_rng(0).normal(MEANS, SDS, (40000, 4))
    found = best_chances(draws, delta)
    assert_allclose(found.best, [chance(k) for k in range(4)], atol=0.01)
    assert_allclose(found.within, [chance(k, delta) for k in range(4)], atol=0.01)
    assert found.best.sum() == pytest.approx(1)


def test_correlation_counts():
    # Two of sd 1 with a correlation of .99 that differ by .2: P = Phi(.2 / sqrt(2 * .01)).
    def joint(rows):
        return np.array([0.0, 0.2]), np.array([[1.0, 0.99], [0.99, 1.0]])

    draws = joint_draws(joint, np.zeros((2, 1)), 40000, np.random.default_rng(0))
    expected = stats.norm.cdf(0.2 / np.sqrt(0.02))
    assert_allclose(best_chances(draws).best, [expected, 1 - expected], atol=0.01)


def test_draws_have_the_mean_and_covariance_of_the_joint_posterior():
    model = CosinePosterior(2)
    X = model.rng.random((6, 2))
    rows = np.vstack([X, X[:1]])
    draws = joint_draws(model.joint, rows, 20000, np.random.default_rng(0))
    mean, covariance = model.joint(rows)
    assert_allclose(draws.mean(axis=0), mean, atol=0.04)
    assert_allclose(np.cov(draws.T), covariance, atol=0.06)
    assert_allclose(draws[:, 0], draws[:, 6], atol=1e-6)


def test_those_that_tie_share():
    found = best_chances(np.array([[1.0, 1.0, 2.0], [0.0, 3.0, 4.0]]), 1.0)
    assert found.best.tolist() == [0.75, 0.25, 0.0]
    assert found.within.tolist() == [1.0, 0.5, 0.5]


@pytest.mark.parametrize(("shape", "delta"), [((0, 3), 0.0), ((3, 0), 0.0), ((2, 2), -1.0)])
def test_what_says_nothing_is_refused(shape, delta):
    with pytest.raises(ValueError, match="got draws"):
        best_chances(np.zeros(shape), delta)


def test_of_two_the_probability_of_correct_selection_is_exact_and_of_more_a_lower_bound():
    assert correct_selection(MEANS[:2], SDS[:2]) == pytest.approx(
        stats.norm.cdf(0.3 / np.hypot(0.4, 0.2))
    )
    assert chance(0) - 0.15 < correct_selection(MEANS, SDS) <= chance(0)


@pytest.mark.parametrize(
    ("means", "expected"), [([1.0, 2.0], 1.0), ([1.0, 1.0], 0.5), ([1.0], 1.0), ([1.0] * 5, 0.0)]
)
def test_means_known_exactly_are_compared_as_they_are(means, expected):
    assert correct_selection(np.array(means), np.zeros(len(means))) == expected
