"""What a surrogate is told of results that are only known to be above a bound."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import truncnorm

from spot_dask import surrogates
from spot_dask.tuner.model import above, condition_above

values = st.floats(-1e3, 1e3)


@given(mean=values, sd=st.floats(0.0, 1e3), bound=values)
def test_what_is_believed_is_above_the_bound_and_never_better_than_before(
    mean: float, sd: float, bound: float
) -> None:
    (y,) = above(np.array([mean]), np.array([sd]), bound)
    assert np.isfinite(y)
    assert y >= max(mean, bound)


@pytest.mark.parametrize("bound", [-3.0, 0.0, 1.0, 2.0, 4.0, 8.0, 41.0])
def test_it_is_the_mean_of_a_truncated_normal(bound: float) -> None:
    expected = truncnorm((bound - 1) / 2, np.inf, loc=1, scale=2).mean()
    assert above(np.array([1.0]), np.array([2.0]), bound)[0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("offset", [0.0, -10.0])
@pytest.mark.parametrize("name", ["kriging", "kriging(deterministic=True)"])
def test_a_surrogate_expects_nothing_good_any_more_where_trainings_were_stopped(
    name: str, offset: float
) -> None:
    rng = np.random.default_rng(3)
    X, stopped = rng.random((20, 2)), rng.random((6, 2))
    y = np.square(X - 0.3).sum(axis=1) + offset
    posterior = surrogates.find(name).fit(X, y, np.arange(2), rng)
    bound = float(np.median(y))
    told = condition_above(posterior, stopped, bound)
    before, after = posterior.predict(stopped)[0], told.predict(stopped)[0]
    slack = 0.01 * np.ptp(y)
    assert (after >= np.maximum(before, bound) - slack).all()
    assert (after > before).any()
    assert condition_above(posterior, stopped[:0], 0.0) is posterior
