"""Differences between two configurations by the joint posterior."""

from __future__ import annotations

import numpy as np
import pytest

from spot_dask.stats.comparison import difference

ONE, TWO = np.array([0.2]), np.array([0.7])


def joint_with(correlation):
    def joint(X):
        assert X.tolist() == [[0.2], [0.7]]
        cov = correlation * 0.3 * 0.4
        return np.array([5.0, 3.0]), np.array([[0.09, cov], [cov, 0.16]])

    return joint


@pytest.mark.parametrize(("correlation", "sd"), [(0.0, 0.5), (1.0, 0.1), (-1.0, 0.7)])
def test_the_sd_of_a_difference_takes_the_correlation_into_account(correlation, sd):
    result = difference(joint_with(correlation), ONE, TWO)
    assert result.mean == 2.0
    assert result.sd == pytest.approx(sd)
    assert result.high - result.low == pytest.approx(2 * 1.96 * sd, rel=1e-4)


def test_a_configuration_does_not_differ_from_itself_even_after_rounding():
    def joint(X):
        return np.ones(2), np.array([[1.0, 1.0 + 1e-16], [1.0 + 1e-16, 1.0 - 1e-16]])

    assert difference(joint, ONE, ONE).sd == pytest.approx(0.0, abs=1e-7)
