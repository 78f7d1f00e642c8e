"""Main effects, sections and differences against functions for which they are known."""

from __future__ import annotations

import numpy as np
import pytest
from exact_posterior import CosinePosterior
from numpy.testing import assert_allclose
from scipy import stats

from spot_dask.stats.effects import (
    band,
    contrasts,
    effect_draws,
    pair_draws,
    raw_sample,
    section,
)


def identity(X):
    return X


def sample(d, n=256):
    return raw_sample(n, d, np.random.default_rng(3))


def test_the_main_effect_of_a_product_is_its_factor_times_the_mean_of_the_rest():
    def paths(X):
        return np.stack([X[:, 0] ** 2 * (1 + X[:, 1]), X[:, 1]])

    grid = np.linspace(0, 1, 7)
    product, other = effect_draws(paths, identity, sample(2), 0, grid)
    assert_allclose(product, 1.5 * grid**2, atol=0.01)
    assert_allclose(other, 0.5, atol=0.01)


def joint_effect(joint, snap, rows, i, grid):
    """Mean and sd (g each) of the average over rows, in closed form: the reference for draws."""
    means, variances = [], []
    for value in grid:
        at = rows.copy()
        at[:, i] = value
        mean, covariance = joint(snap(at))
        means.append(mean.mean())
        variances.append(covariance.mean())
    return np.array(means), np.sqrt(variances)


def test_functions_are_asked_at_snapped_rows_only():
    def paths(X):
        assert set(np.unique(X)) <= {0.0, 1.0}
        return X[None, :, 0]

    found = effect_draws(paths, np.rint, sample(2), 0, np.array([0.2, 0.9]))
    assert_allclose(found, [[0, 1]])


def test_a_section_passes_through_the_given_row():
    row = np.array([0.1, 0.2, 0.3, 0.4])
    grids = (np.linspace(0, 1, 4), np.linspace(0, 1, 3))

    def predict(X):
        assert np.all(X[:, [0, 2]] == row[[0, 2]])
        return 10 * X[:, 3] + X[:, 1]

    result = section(predict, identity, row, (3, 1), grids)
    assert_allclose(result, 10 * grids[0][:, None] + grids[1][None, :])


def observed(count):
    model = CosinePosterior(3, seed=1, count=count)
    X = model.rng.random((15, 3))
    return model.observe(X, np.sin(5 * X[:, 0]) + X[:, 1], 0.1)


def two_levels(X):
    rows = X.copy()
    rows[:, 2] = np.rint(X[:, 2])
    return rows


def test_draws_of_an_effect_have_the_mean_and_sd_of_the_joint_posterior():
    model, grid = observed(count=4000), np.linspace(0, 1, 5)
    mean, sd = joint_effect(model.joint, two_levels, sample(3, 32), 0, grid)
    found = band(effect_draws(model.paths, two_levels, sample(3, 32), 0, grid))
    assert_allclose(found.mean, mean, atol=4 * sd.max() / 60)
    assert_allclose(found.sd, sd, rtol=0.05)
    assert_allclose(found.low, mean - 1.96 * sd, atol=0.15 * sd.max())
    assert_allclose(found.high, mean + 1.96 * sd, atol=0.15 * sd.max())


def test_a_section_is_the_effect_of_one_row():
    model, grid, row = observed(count=7), np.linspace(0, 1, 5), np.array([[0.1, 0.6, 0.2]])
    draws = effect_draws(model.paths, two_levels, row, 1, grid)
    for k, value in enumerate(grid):
        assert_allclose(draws[:, k], model.paths(np.array([[0.1, value, 0.0]]))[:, 0])


@pytest.mark.parametrize("g", [1, 5, 40])
def test_of_independent_values_the_factor_is_that_of_sidak(g):
    draws = np.random.default_rng(0).normal(3.0, 2.0, (20000, g))
    expected = stats.norm.isf((1 - 0.95 ** (1 / g)) / 2)
    assert band(draws).factor == pytest.approx(expected, rel=0.02)


def test_of_all_pairs_of_independent_levels_the_factor_is_that_of_tukey():
    draws = np.random.default_rng(0).normal([0.0, 1.0, 2.0, 5.0], 2.0, (20000, 4))
    found = contrasts(draws)
    expected = stats.studentized_range.ppf(0.95, 4, np.inf) / np.sqrt(2)
    assert found.band.factor == pytest.approx(expected, rel=0.02)
    assert found.pairs.tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
    assert_allclose(found.band.mean, [-1, -2, -5, -1, -4, -3], atol=0.1)


def test_of_contrasts_to_one_level_the_factor_is_that_of_dunnett():
    # Differences to a common level are normal with correlations of 1/2.
    draws = np.random.default_rng(0).normal(0.0, 1.0, (20000, 4))
    found = contrasts(draws, reference=1)
    assert found.pairs.tolist() == [[0, 1], [2, 1], [3, 1]]
    normal = stats.multivariate_normal(np.zeros(3), 0.5 + 0.5 * np.eye(3))
    c = np.full(3, found.band.factor)
    assert normal.cdf(c, lower_limit=-c) == pytest.approx(0.95, abs=0.006)


def test_values_that_are_certain_have_intervals_of_no_width():
    found = band(np.full((50, 2), 1 / 3))
    assert_allclose([found.simultaneous_low, found.simultaneous_high], 1 / 3, rtol=1e-12)
    assert not contrasts(np.random.default_rng(0).random((50, 1))).pairs.size


def test_a_single_draw_gives_no_band():
    with pytest.raises(ValueError, match="at least 2"):
        band(np.zeros((1, 3)))


def test_the_average_over_a_pair_is_the_mean_over_all_others() -> None:
    sample = raw_sample(16, 4, np.random.default_rng(0))
    grids = np.linspace(0, 1, 3), np.linspace(0, 1, 5)

    def paths(rows):
        return np.stack([rows[:, 1] * rows[:, 3] + rows[:, 0], rows[:, 2] ** 2 - rows[:, 3]])

    found = pair_draws(paths, lambda rows: rows, sample, (3, 1), grids)
    assert found.shape == (2, 3, 5)
    expected = grids[0][:, None] * grids[1] + sample[:, 0].mean()
    assert_allclose(found[0], expected)
    assert_allclose(found[1], np.mean(sample[:, 2] ** 2) - np.tile(grids[0][:, None], 5))
