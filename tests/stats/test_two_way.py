"""The additive two-way model against closed forms and numpy's least squares."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot_dask.stats import FloatArray
from spot_dask.stats.two_way import TwoWay, two_way


def fitted(table: FloatArray) -> TwoWay:
    """The model of a table (R x C) whose NaN are cells without a value."""
    rows, columns = np.nonzero(np.isfinite(table))
    return two_way(rows, columns, table[rows, columns], (table.shape[0], table.shape[1]))


def by_least_squares(table: FloatArray) -> tuple[FloatArray, FloatArray, float, int, FloatArray]:
    """Values, effects, sigma, df and the covariance of the values / sigma^2, by one big matrix."""
    rows, columns = np.nonzero(np.isfinite(table))
    R, C = table.shape
    X = np.zeros((len(rows), R + C))
    X[np.arange(len(rows)), rows] = X[np.arange(len(rows)), R + columns] = 1.0
    sum_to_zero = np.zeros((1, R + C))
    sum_to_zero[0, R:] = 1.0
    y = table[rows, columns]
    whole = np.vstack([X, sum_to_zero])
    found, *_ = np.linalg.lstsq(whole, np.append(y, 0.0), rcond=None)
    df = len(y) - int(np.linalg.matrix_rank(X))
    sigma = float(np.sqrt(np.square(y - X @ found).sum() / df)) if df else float("nan")
    covariance = np.linalg.pinv(X.T @ X)
    return found[:R], found[R:], sigma, df, covariance[:R, :R]


def test_a_full_table_has_its_means() -> None:
    rng = np.random.default_rng(0)
    table = rng.normal(size=(6, 4)) + rng.normal(size=(6, 1)) * 3 + rng.normal(size=4)
    model = fitted(table)
    assert model.values == pytest.approx(table.mean(axis=1))
    assert model.effects == pytest.approx(table.mean(axis=0) - table.mean())
    assert model.df == 5 * 3
    left = table - table.mean(axis=1, keepdims=True) - model.effects
    assert model.sigma == pytest.approx(np.sqrt(np.square(left).sum() / 15))
    assert model.difference_sd(1, 4) == pytest.approx(model.sigma * np.sqrt(2 / 4))


def test_one_cell_against_a_full_row_in_closed_form() -> None:
    """Rows 0 and 1 are full, row 2 has its first cell: c2 = y20 - f0, f0 by the two others."""
    table = np.random.default_rng(1).normal(size=(3, 5))
    table[2, 1:] = np.nan
    model = fitted(table)
    first = (table[:2, 0] - table[:2].mean(axis=1)).mean()
    assert model.effects[0] == pytest.approx(first)
    assert model.values[2] == pytest.approx(table[2, 0] - first)
    # Var(c2 - c0) / sigma^2 = 1 + 1/5 + (1 - 1/5) / 2 of y20, of the mean of row 0 and of f0.
    expected = model.sigma * np.sqrt(1 + 1 / 5 + (1 - 1 / 5) / 2)
    assert model.difference_sd(2, 0) == pytest.approx(expected)
    assert model.df == 4


@given(seed=st.integers(0, 10_000), R=st.integers(2, 7), C=st.integers(2, 5))
def test_any_connected_table_is_fitted_as_by_least_squares(seed: int, R: int, C: int) -> None:
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(R, C)) * 10 ** rng.uniform(-3, 3) + rng.normal(size=(R, 1))
    table[1:][rng.random((R - 1, C)) < 0.5] = np.nan  # the first row connects all
    empty = np.isnan(table).all(axis=1)
    table[empty, 0] = 1.0
    values, effects, sigma, df, covariance = by_least_squares(table)
    model = fitted(table)
    size = np.nanmax(np.abs(table))
    assert model.df == df
    assert model.values == pytest.approx(values, abs=1e-9 * size)
    assert model.effects == pytest.approx(effects, abs=1e-9 * size)
    assert model.sigma == pytest.approx(sigma, nan_ok=True, abs=1e-9 * size)
    if df:
        apart = covariance[0, 0] + covariance[-1, -1] - 2 * covariance[0, -1]
        assert model.difference_sd(0, R - 1) == pytest.approx(sigma * np.sqrt(apart), rel=1e-6)


def test_parts_that_nothing_connects_have_effects_of_their_own() -> None:
    table = np.array([[1.0, 3.0, np.nan, np.nan], [np.nan, np.nan, 5.0, 9.0]])
    model = fitted(table)
    assert model.effects == pytest.approx([-1, 1, -2, 2])
    assert model.values == pytest.approx([2, 7])
    assert (model.df, np.isnan(model.sigma)) == (0, True)


def test_an_empty_column_has_no_effect() -> None:
    model = fitted(np.array([[1.0, 3.0, np.nan], [2.0, 4.0, np.nan]]))
    assert model.effects == pytest.approx([-1, 1, 0])
    assert model.df == 1
