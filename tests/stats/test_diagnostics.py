"""Leave-one-out diagnostics."""

from __future__ import annotations

import math

import numpy as np
import pytest
from exact_posterior import CosinePosterior
from numpy.testing import assert_allclose
from scipy import stats

from spot_dask.stats.diagnostics import LeaveOneOut, held_out, leave_one_out


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


def test_quantiles_are_those_of_a_probability_plot():
    y = np.random.default_rng(0).normal(size=17)
    theoretical, z, order = loo(y, 0.5, 2.0).quantiles()
    (expected, ordered), _ = stats.probplot((y - 0.5) / 2.0)
    assert_allclose(theoretical, expected)
    assert_allclose(z, ordered)
    assert_allclose(((y - 0.5) / 2.0)[order], z)
    assert [len(part) for part in loo([], 0.0).quantiles()] == [0, 0, 0]


def test_the_largest_is_the_one_farthest_off_whatever_its_sign():
    assert loo([0.0, -3.0, 2.0], 0.0).largest == 1


def test_a_part_is_judged_by_its_own_spread():
    whole = loo([0.0, 10.0, 20.0, 1.0, 3.0], [0.0, 10.0, 20.0, 3.0, 1.0])
    part = whole.at(np.array([3, 4]))
    assert whole.q2 > 0.9
    assert part.q2 == pytest.approx(1 - 8 / 2)
    assert part.z.tolist() == [-2.0, 2.0]


def predicted_from_the_rest(seed):
    """8 of 30 noisy values of a function of the model, as the other 22 predict them."""
    model = CosinePosterior(2, seed, count=2)
    X, f = model.rng.random((30, 2)), model.function()
    y = f(X) + 0.3 * model.rng.standard_normal(30)
    model.observe(X[8:], y[8:], 0.3)
    mean, covariance = model.joint(X[:8])
    return held_out(y[:8], mean, covariance + 0.09 * np.eye(8))


def test_values_of_the_model_itself_have_distances_and_z_as_they_should():
    found = [predicted_from_the_rest(seed) for seed in range(300)]
    assert stats.kstest([h.distance for h in found], stats.chi2(8).cdf).pvalue > 0.01
    assert stats.kstest([h.p for h in found], "uniform").pvalue > 0.01
    assert np.mean([h.share_within(2) for h in found]) == pytest.approx(0.954, abs=0.02)


def test_a_shift_that_all_share_counts_once():
    covariance = 0.01 * np.eye(5) + np.ones((5, 5))
    found = held_out(np.full(5, 2.0), np.zeros(5), covariance)
    assert found.distance == pytest.approx(4 * 5 / (5 + 0.01))
    assert found.p > 0.5
    assert_allclose(found.z, 2 / np.sqrt(1.01))
    assert held_out(np.full(5, 2.0), np.zeros(5), np.eye(5)).p == pytest.approx(
        stats.chi2.sf(20, 5)
    )


def test_a_prediction_that_is_certain_does_not_break():
    assert held_out(np.ones(2), np.ones(2), np.zeros((2, 2))).distance == 0.0
    with pytest.raises(ValueError, match="no value"):
        held_out(np.empty(0), np.empty(0), np.empty((0, 0)))
