"""Boxes around rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from spot_dask.stats.region import box_around
from spot_dask.stats.sensitivity import sobol_posterior

LEVELS = {0: np.arange(4) / 3, 1: np.arange(6) / 5}
ROWS = np.array([[0.0, LEVELS[1][2], 0.1], [1.0, LEVELS[1][4], 0.5]])


def test_a_box_keeps_levels_of_factors_and_ranges_of_numbers():
    box = box_around(ROWS, LEVELS, {0})
    rows = box(np.random.default_rng(0).random((3000, 3)))
    for i, values in ((0, [0.0, 1.0]), (1, [0.4, 0.6, 0.8])):
        found, counts = np.unique(rows[:, i], return_counts=True)
        assert_allclose(found, values)
        assert counts.min() > 0.85 * counts.max()
    assert_allclose([rows[:, 2].min(), rows[:, 2].max()], [0.1, 0.5], atol=0.01)


def test_one_row_gets_neighbours_and_a_width():
    box = box_around(ROWS[:1], LEVELS, {0}, width=0.2)
    assert_allclose(box.levels[0], [0.0])
    assert_allclose(box.levels[1], [0.2, 0.4, 0.6])
    assert_allclose([box.low[2], box.high[2]], [0.0, 0.2])
    assert_allclose(box_around(np.array([[1.0, 1.0, 1.0]]), LEVELS).levels[1], [0.8, 1.0])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=4), st.floats(0, 1))
def test_a_box_holds_its_rows_has_its_width_and_stays_in_the_cube(column, width):
    rows = np.array(column)[:, None]
    box = box_around(rows, {}, width=width)
    assert 0 <= box.low[0] <= rows.min() + 1e-12
    assert rows.max() - 1e-12 <= box.high[0] <= 1
    assert box.high[0] - box.low[0] >= width - 1e-12


def test_importances_near_the_optimum_are_not_those_of_a_bad_edge():
    def f(X):
        return np.where(X[:, 0] > 0.9, 100.0, X[:, 0]) + 3 * X[:, 1]

    box = box_around(np.array([[0.1, 0.0], [0.4, 1.0]]), {})
    rng = np.random.default_rng(0)
    whole = sobol_posterior(lambda X: f(X)[None], lambda raw: raw, 2, rng)
    near = sobol_posterior(lambda X: f(X)[None], box, 2, rng)
    assert whole.first.value[0] > 0.9
    assert_allclose(near.first.value, [0.09 / 9.09, 9 / 9.09], atol=0.01)


def test_without_a_row_there_is_no_box():
    with pytest.raises(ValueError, match="no row"):
        box_around(np.empty((0, 3)), LEVELS)
