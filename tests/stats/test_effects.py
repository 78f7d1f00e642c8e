"""Main effects, sections and differences against functions for which they are known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from spot_dask.stats.effects import difference, main_effect, raw_sample, section


def identity(X):
    return X


def sample(d, n=256):
    return raw_sample(n, d, np.random.default_rng(3))


def test_the_main_effect_of_a_product_is_its_factor_times_the_mean_of_the_rest():
    def joint(X):
        return X[:, 0] ** 2 * (1 + X[:, 1]), np.zeros((len(X), len(X)))

    grid = np.linspace(0, 1, 7)
    mean, sd = main_effect(joint, identity, sample(2), 0, grid)
    assert_allclose(mean, 1.5 * grid**2, atol=0.01)
    assert_allclose(sd, 0)


def test_the_band_is_the_sd_of_the_average():
    def fully_correlated(X):
        return np.zeros(len(X)), np.full((len(X), len(X)), 4.0)

    def independent(X):
        return np.zeros(len(X)), 4.0 * np.eye(len(X))

    grid = np.array([0.5])
    assert_allclose(main_effect(fully_correlated, identity, sample(2), 0, grid)[1], 2.0)
    assert_allclose(main_effect(independent, identity, sample(2), 0, grid)[1], 2.0 / 16)


def test_the_posterior_is_asked_at_snapped_rows_only():
    def snap(X):
        return np.rint(X)

    def joint(X):
        assert set(np.unique(X)) <= {0.0, 1.0}
        return X[:, 0], np.zeros((len(X), len(X)))

    assert_allclose(main_effect(joint, snap, sample(2), 0, np.array([0.2, 0.9]))[0], [0, 1])


def test_a_section_passes_through_the_given_row():
    row = np.array([0.1, 0.2, 0.3, 0.4])
    grids = (np.linspace(0, 1, 4), np.linspace(0, 1, 3))

    def predict(X):
        assert np.all(X[:, [0, 2]] == row[[0, 2]])
        return 10 * X[:, 3] + X[:, 1]

    result = section(predict, identity, row, (3, 1), grids)
    assert_allclose(result, 10 * grids[0][:, None] + grids[1][None, :])


ONE, TWO = np.array([0.2]), np.array([0.7])


def joint_with(correlation):
    def joint(X):
        assert X.tolist() == [[0.2], [0.7]]
        cov = correlation * 0.3 * 0.4
        return np.array([5.0, 3.0]), np.array([[0.09, cov], [cov, 0.16]])

    return joint


@pytest.mark.parametrize(("correlation", "sd"), [(0.0, 0.5), (1.0, 0.1), (-1.0, 0.7)])
def test_the_sd_of_a_difference_takes_the_correlation_into_account(correlation, sd):
    result = difference(joint_with(correlation), ONE, TWO)
    assert result.mean == 2.0
    assert result.sd == pytest.approx(sd)
    assert result.high - result.low == pytest.approx(2 * 1.96 * sd, rel=1e-4)


def test_a_configuration_does_not_differ_from_itself_even_after_rounding():
    def joint(X):
        return np.ones(2), np.array([[1.0, 1.0 + 1e-16], [1.0 + 1e-16, 1.0 - 1e-16]])

    assert difference(joint, ONE, ONE).sd == pytest.approx(0.0, abs=1e-7)
