"""Log expected improvement against closed-form constants and high precision."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from spot_dask import infill, plugins
from spot_dask.infill.log_ei import LogEI, log_expected_improvement, log_h

US = np.concatenate(
    (
        -np.logspace(5, -3, 200),
        np.linspace(-60, 10, 500),
        np.nextafter([-50.0, -1.0], 0),
        [-50.0, -1.0, 0.0],
    )
)


def reference(u):
    """log h(u) and its derivative with 60 digits more than cancel."""
    with mpmath.workdps(60):
        u = mpmath.mpf(float(u))
        Phi = mpmath.erfc(-u / mpmath.sqrt(2)) / 2
        h = mpmath.npdf(u) + u * Phi
        return float(mpmath.log(h)), float(Phi / h)


def ei(mean, sd, best):
    value, _, _ = log_expected_improvement(np.array([mean]), np.array([sd]), best)
    return float(np.exp(value[0]))


def test_expected_improvement_has_its_known_values():
    assert ei(-0.5, 1.0, 0.0) == pytest.approx(0.6978, abs=5e-5)
    assert ei(0.5, 1.0, 0.0) == pytest.approx(0.1978, abs=5e-5)
    assert ei(0.0, 2.0, 0.0) == pytest.approx(2 / np.sqrt(2 * np.pi))


def test_expected_improvement_is_the_mean_improvement():
    f = stats.norm.rvs(0.3, 0.8, size=400_000, random_state=1)
    improvement = np.maximum(0.1 - f, 0)
    error = improvement.std() / np.sqrt(len(f))
    assert abs(improvement.mean() - ei(0.3, 0.8, 0.1)) < 5 * error


def test_log_h_agrees_with_high_precision_everywhere():
    value, slope = log_h(US)
    expected = np.array([reference(u) for u in US])
    assert_allclose(value, expected[:, 0], rtol=1e-12, atol=1e-12)
    assert_allclose(slope, expected[:, 1], rtol=5e-12)


def test_log_h_is_finite_and_increasing_however_far_out():
    u = -np.logspace(8, -2, 1000)
    value, slope = log_h(u)
    assert np.isfinite(value).all()
    assert (np.diff(value) > 0).all()
    assert (slope > 0).all()


@pytest.mark.parametrize("u", [-1e4, -60.0, -50.0, -3.0, -1.0, 0.5, 4.0])
def test_derivatives_of_log_ei_are_those_of_its_differences(u):
    mean, sd, best, h = -u * 0.7, 0.7, 0.0, 1e-6
    _, by_mean, by_sd = log_expected_improvement(np.array([mean]), np.array([sd]), best)

    def value(mean, sd):
        return log_expected_improvement(np.array([mean]), np.array([sd]), best)[0]

    scale = 1e-5 * np.abs([by_mean[0], by_sd[0]]).max()
    differences = (value(mean + h, sd) - value(mean - h, sd)) / (2 * h)
    assert_allclose(by_mean, differences, atol=scale)
    assert_allclose(by_sd, (value(mean, sd + h) - value(mean, sd - h)) / (2 * h), atol=scale)


def test_criteria_are_found_by_name():
    assert plugins.names("spot_dask.infill", "propose") == [
        "averaged_ei",
        "constant_liar",
        "log_ei",
        "log_ei_per_second",
        "log_nei",
        "thompson",
        "ucb",
    ]
    assert infill.find("log_ei") == LogEI()
    assert infill.find("spot_dask.infill.log_ei:LogEI") == LogEI()
    with pytest.raises(
        ValueError,
        match=r"no infill named 'qie'; there are: averaged_ei, constant_liar, log_ei, .*, ucb$",
    ):
        infill.find("qie")
