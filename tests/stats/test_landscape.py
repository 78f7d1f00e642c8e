"""Ruggedness, basins and fitness-distance correlation where they are known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from spot_dask.stats.landscape import (
    basins,
    column_values,
    fitness_distance,
    gower_distance,
    ruggedness,
)


def identity(X):
    return X


def rng(seed=0):
    return np.random.default_rng(seed)


def test_turns_are_the_crossings_of_simulated_paths():
    length, x = 0.15, np.linspace(0, 1, 401)
    a = np.sqrt(5) * np.abs(x[:, None] - x) / length
    covariance = (1 + a + a**2 / 3) * np.exp(-a)
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0))
    paths = root @ rng().standard_normal((401, 2000))
    crossings = (np.diff(np.sign(paths), axis=0) != 0).sum(axis=0).mean()
    found = ruggedness(1.0, 3.0, np.array([length, 10.0]))
    assert found.noise_share == 0.25
    assert found.turns[0] == pytest.approx(crossings, rel=0.05)
    assert found.turns[1] < 0.05


@pytest.mark.parametrize(("noise", "process"), [(-1.0, 1.0), (0.0, 0.0)])
def test_variances_that_are_none_are_refused(noise, process):
    with pytest.raises(ValueError, match="expected variances"):
        ruggedness(noise, process, np.ones(1))


def two_wells(X):
    """A deep well at (.2, .3) and a shallower one at (.8, .7)."""
    deep = np.exp(-30 * ((X[:, 0] - 0.2) ** 2 + (X[:, 1] - 0.3) ** 2))
    return -deep - 0.7 * np.exp(-30 * ((X[:, 0] - 0.8) ** 2 + (X[:, 1] - 0.7) ** 2))


def test_two_wells_are_found_where_they_are():
    found = basins(two_wells, identity, 2, rng())
    assert_allclose(found.rows, [[0.2, 0.3], [0.8, 0.7]], atol=0.01)
    assert_allclose(found.values, [-1, -0.7], atol=0.01)
    assert found.shares.sum() == pytest.approx(1)
    assert found.unseen == 0


def test_a_well_that_is_not_deep_enough_is_none():
    assert len(basins(two_wells, identity, 2, rng(), depth=0.8).values) == 1


@pytest.mark.parametrize("d", [1, 3, 8])
def test_a_bowl_with_a_turned_valley_is_one_basin(d):
    turn = np.linalg.qr(rng().standard_normal((d, d)))[0]
    scales = 10.0 ** np.linspace(0, 2, d)

    def bowl(X):
        return (scales * ((X - 0.4) @ turn) ** 2).sum(axis=1)

    found = basins(bowl, identity, d, rng(), starts=16)
    assert len(found.values) == 1
    assert_allclose(found.rows[0], 0.4, atol=0.1)


def test_waves_have_the_basins_that_they_have():
    found = basins(lambda X: np.cos(6 * np.pi * X[:, 0]) + X[:, 1], identity, 2, rng(), starts=64)
    assert_allclose(np.sort(found.rows[:, 0]), [1 / 6, 1 / 2, 5 / 6], atol=0.01)
    assert_allclose(found.rows[:, 1], 0)


def test_a_flat_function_is_one_basin():
    found = basins(lambda X: np.zeros(len(X)), identity, 2, rng())
    assert found.shares.tolist() == [1.0]


def mixed(X):
    """Column 0 a factor of four levels, column 1 an integer of five values, column 2 a number."""
    rows = X.copy()
    rows[:, 0] = np.minimum(np.floor(4 * X[:, 0]), 3) / 3
    rows[:, 1] = np.rint(4 * X[:, 1]) / 4
    return rows


def test_of_a_mixed_space_levels_are_told_from_numbers():
    values = column_values(mixed(rng().random((1024, 3))), np.array([[0.0] * 3, [1.0] * 3]))
    assert_allclose(values[0], np.arange(4) / 3)
    assert_allclose(values[1], np.arange(5) / 4)
    assert len(values[2]) == 257


def test_a_level_between_two_good_ones_is_no_barrier_for_a_factor_and_is_one_for_a_number():
    levels = np.array([0.0, 5.0, 1.0, 5.0])

    def f(X):
        return levels[np.rint(3 * X[:, 0]).astype(int)] + X[:, 1] + X[:, 2]

    free = basins(f, mixed, 3, rng(), factors=[0])
    assert_allclose(free.rows, [[0, 0, 0]])
    ordered = basins(f, mixed, 3, rng())
    assert_allclose(ordered.rows, [[0, 0, 0], [2 / 3, 0, 0]])


def test_levels_with_places_of_their_own_are_basins_and_an_idle_factor_makes_none():
    def f(X):
        centre = np.where(X[:, 0] < 0.5, 0.2, 0.8)
        return 10 * np.abs(X[:, 2] - centre) + X[:, 1]

    found = basins(f, mixed, 3, rng(), factors=[0])
    assert len(found.values) == 2
    idle = basins(lambda X: X[:, 1] + (X[:, 2] - 0.5) ** 2, mixed, 3, rng(), factors=[0])
    assert len(idle.values) == 1


def conditional(X):
    rows = X.copy()
    rows[:, 0] = np.rint(X[:, 0])
    rows[rows[:, 0] == 0, 1] = 0.5
    return rows


def test_predictions_are_of_snapped_rows_only():
    def f(X):
        assert_allclose(conditional(X), X)
        return np.where(X[:, 0] == 1, (X[:, 1] - 0.3) ** 2, 0.1)

    found = basins(f, conditional, 2, rng(), factors=[0])
    assert_allclose(found.rows, [[1, 0.3]], atol=0.01)


@pytest.mark.parametrize(("d", "starts"), [(0, 8), (2, 1), (2, 12)])
def test_what_cannot_be_started_is_refused(d, starts):
    with pytest.raises(ValueError, match="power of two"):
        basins(two_wells, identity, d, rng(), starts=starts)


def test_distances_count_levels_that_differ():
    rows = np.array([[0.0, 0.5], [1.0, 0.5], [0.5, 1.0]])
    assert_allclose(gower_distance(rows, np.array([0.0, 0.5]), [0]), [0, 0.5, 0.75])
    assert_allclose(gower_distance(rows, np.array([0.0, 0.5])), [0, 0.5, 0.5])


def test_a_cone_leads_to_its_tip_and_noise_nowhere():
    X = rng().random((200, 3))
    X[0] = 0.5
    cone = fitness_distance(X, gower_distance(X, X[0]) * 3 + 1)
    assert cone is not None
    assert cone.pearson == pytest.approx(1)
    assert cone.n == 199
    noise = fitness_distance(X, rng(1).random(200))
    assert noise is not None
    assert abs(noise.spearman) < 0.25
    deceptive = fitness_distance(X, np.where(np.arange(200) == 0, -9, -gower_distance(X, X[0])))
    assert deceptive is not None
    assert deceptive.pearson == pytest.approx(-1)


def test_what_has_no_correlation_has_none():
    X = rng().random((10, 2))
    assert fitness_distance(X[:3], np.arange(3.0)) is None
    assert fitness_distance(X, np.zeros(10)) is None
    assert fitness_distance(np.zeros((10, 2)), np.arange(10.0)) is None


def test_factor_levels_without_a_difference_are_one_basin_though_one_between_them_is_bad():
    levels = np.array([0.0, 5.0, 0.0, 5.0])

    def f(X):
        return levels[np.rint(3 * X[:, 0]).astype(int)] + (X[:, 2] - 0.4) ** 2

    assert len(basins(f, mixed, 3, rng(), factors=[0]).values) == 1
    assert len(basins(f, mixed, 3, rng()).values) == 2


def test_a_descent_goes_to_a_level_that_no_start_had():
    places = np.array([0.45, 0.925, 0.975])

    def rare(X):
        return places[np.searchsorted([0.9, 0.95], X[:, 0])][:, None]

    def f(X):
        return np.array([1.0, 5.0, 0.0])[np.searchsorted(places, X[:, 0])]

    found = basins(f, rare, 1, rng(), factors=[0], starts=2)
    assert found.rows.tolist() == [[0.975]]
    assert basins(f, rare, 1, rng(), starts=2).rows.tolist() == [[0.45]]


def test_starts_that_are_alone_in_their_basins_tell_of_others():
    found = basins(lambda X: np.cos(20 * np.pi * X[:, 0]), identity, 1, rng(), starts=4)
    assert len(found.values) == 4
    assert found.unseen == 1.0
