"""Incumbent curve and the random-search reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot_dask.stats.progress import expected_best, incumbent_curve

numbers = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30).map(np.array)


def test_failures_leave_the_incumbent_where_it_was():
    y = np.array([np.nan, 3.0, np.nan, 2.0, 5.0])
    np.testing.assert_array_equal(incumbent_curve(y), [np.nan, 3, 3, 2, 2])


@given(numbers)
def test_the_incumbent_never_gets_worse_and_ends_at_the_minimum(y):
    curve = incumbent_curve(y)
    assert np.all(np.diff(curve) <= 0)
    assert curve[-1] == y.min()


def test_the_expected_best_agrees_with_simulation():
    rng = np.random.default_rng(11)
    values = rng.lognormal(size=16)
    draws = rng.choice(values, size=(200_000, 8))
    simulated = np.minimum.accumulate(draws, axis=1).mean(axis=0)
    np.testing.assert_allclose(expected_best(values, 8), simulated, rtol=0.01)


@given(numbers)
def test_one_random_evaluation_is_expected_to_be_average_and_more_never_hurt(values):
    curve = expected_best(values, 12)
    scale = 1 + np.abs(values).max()
    assert curve[0] == pytest.approx(values.mean(), abs=1e-9 * scale)
    assert np.all(np.diff(curve) <= 1e-9 * scale)
    assert curve[-1] >= values.min() - 1e-9 * scale


def test_nothing_seen_is_refused():
    with pytest.raises(ValueError, match="at least one value"):
        expected_best(np.array([]), 3)
