"""Welch's comparison against SciPy's, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from spot_dask.stats.unpaired import compare_unpaired


@pytest.mark.parametrize(("m", "n"), [(2, 2), (5, 5), (5, 30), (40, 3)])
def test_it_is_scipys_test(m: int, n: int) -> None:
    rng = np.random.default_rng(m + n)
    a, b = rng.normal(1.0, 0.3, m), rng.normal(1.2, 3.0, n)
    found, expected = compare_unpaired(a, b), stats.ttest_ind(b, a, equal_var=False)
    assert found.mean == pytest.approx(b.mean() - a.mean())
    assert found.p == pytest.approx(expected.pvalue)
    assert found.df == pytest.approx(expected.df)
    interval = expected.confidence_interval(0.95)
    assert (found.t.low, found.t.high) == pytest.approx((interval.low, interval.high))


def test_values_without_variance_are_known() -> None:
    same, other = compare_unpaired([1.0, 1.0], [1.0, 1.0]), compare_unpaired([1.0, 1.0], [2.0, 2.0])
    assert (same.mean, same.p, other.mean, other.p) == (0, 1, 1, 0)
    assert (other.t.low, other.t.high) == (1, 1)


def test_a_single_value_tells_nothing() -> None:
    with pytest.raises(ValueError, match="at least 2 each"):
        compare_unpaired([1.0], [1.0, 2.0])
