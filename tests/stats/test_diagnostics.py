"""Leave-one-out diagnostics."""

from __future__ import annotations

import math

import numpy as np
import pytest

from spot_dask.stats.diagnostics import LeaveOneOut, leave_one_out


def loo(y, mean, sd=1.0):
    y = np.asarray(y, dtype=float)
    return LeaveOneOut(y, np.broadcast_to(np.asarray(mean, float), y.shape), np.full(len(y), sd))


def test_q2_is_one_for_perfect_zero_for_the_mean_and_negative_for_worse():
    y = np.array([1.0, 2.0, 4.0])
    assert loo(y, y).q2 == 1.0
    assert loo(y, y.mean()).q2 == pytest.approx(0.0)
    assert loo(y, y[::-1]).q2 < 0


@pytest.mark.parametrize("y", [[], [3.0], [0.1, 0.1, 0.1], [0.0, 0.0]])
def test_q2_is_nan_where_there_is_nothing_to_explain(y):
    assert math.isnan(loo(y, 0.0).q2)


def test_the_share_within_two_sd_counts_the_standardised_residuals():
    assert loo([0.0, 1.0, 2.0, 3.0], 0.0).share_within(2) == 0.75
    assert loo([0.0, 1.0, 2.0, 3.0], 0.0, sd=10.0).share_within(2) == 1.0


def test_a_certain_prediction_is_either_right_or_infinitely_wrong():
    z = loo([0.0, 1.0], [0.0, 0.0], sd=0.0).z
    assert list(z) == [0.0, math.inf]


class Fitted:
    def leave_one_out(self):
        return np.array([1.0, 2.0, 3.0]), np.array([0.1, 0.2, 0.3])


def test_predictions_are_compared_with_the_values_themselves():
    result = leave_one_out(Fitted(), np.array([1.5, 2.0, 2.5]))
    assert result is not None
    assert list(result.residuals) == [0.5, 0.0, -0.5]


def test_a_posterior_without_leave_one_out_gives_none():
    assert leave_one_out(object(), np.zeros(1)) is None
