"""The incumbent curve."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from spot_dask.stats.progress import incumbent_curve

numbers = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30).map(np.array)


def test_failures_leave_the_incumbent_where_it_was():
    y = np.array([np.nan, 3.0, np.nan, 2.0, 5.0])
    np.testing.assert_array_equal(incumbent_curve(y), [np.nan, 3, 3, 2, 2])


@given(numbers)
def test_the_incumbent_never_gets_worse_and_ends_at_the_minimum(y):
    curve = incumbent_curve(y)
    assert np.all(np.diff(curve) <= 0)
    assert curve[-1] == y.min()
