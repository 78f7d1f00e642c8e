"""The regression table against NIST's certified values, scipy, and designs that cannot tell."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from spot_dask.stats.regression import Predictor, regression

# Longley (1967), as certified by NIST's Statistical Reference Datasets: y and six predictors.
PRINTED = """
    60323 83.0 234289 2356 1590 107608 1947   61122 88.5 259426 2325 1456 108632 1948
    60171 88.2 258054 3682 1616 109773 1949   61187 89.5 284599 3351 1650 110929 1950
    63221 96.2 328975 2099 3099 112075 1951   63639 98.1 346999 1932 3594 113270 1952
    64989 99.0 365385 1870 3547 115094 1953   63761 100.0 363112 3578 3350 116219 1954
    66019 101.2 397469 2904 3048 117388 1955  67857 104.6 419180 2822 2857 118734 1956
    68169 108.4 442769 2936 2798 120445 1957  66513 110.8 444546 4681 2637 121950 1958
    68655 112.6 482704 3813 2552 123366 1959  69564 114.2 502601 3931 2514 125368 1960
    69331 115.7 518173 4806 2572 127852 1961  70551 116.9 554894 4007 2827 130081 1962
"""
LONGLEY = np.array(PRINTED.split(), dtype=float).reshape(16, 7)
CERTIFIED = np.array(
    [
        [15.0618722713733, 84.9149257747669],
        [-0.0358191792925910, 0.0334910077722432],
        [-2.02022980381683, 0.488399681651699],
        [-1.03322686717359, 0.214274163161675],
        [-0.0511041056535807, 0.226073200069370],
        [1829.15146461355, 455.478499142212],
    ]
)


def test_nists_certified_regression() -> None:
    y, X = LONGLEY[:, 0], LONGLEY[:, 1:]
    found = regression([Predictor(f"x{i}", X[:, i]) for i in range(6)], y)
    table = np.array([[c.value, c.se] for c in found.coefficients[1:]])
    np.testing.assert_allclose(table, CERTIFIED, rtol=1e-9)
    assert found.sd == pytest.approx(304.854073561965, rel=1e-10)
    assert found.r2 == pytest.approx(0.995479004577296, rel=1e-12)
    assert found.df == 9
    at_zero = found.coefficients[0].value - X.mean(axis=0) @ table[:, 0]
    assert at_zero == pytest.approx(-3482258.63459582, rel=1e-9)
    assert found.coefficients[0].se == pytest.approx(304.854073561965 / 4)  # at the means


def test_one_number_is_scipys_line() -> None:
    rng = np.random.default_rng(1)
    x = rng.random(12)
    y = 2 + 3 * x + rng.normal(size=12)
    slope = regression([Predictor("x", x)], y).coefficients[1]
    line = stats.linregress(x, y)
    assert (slope.value, slope.se, slope.p) == pytest.approx((line.slope, line.stderr, line.pvalue))
    assert slope.t == pytest.approx(line.slope / line.stderr)


def test_levels_are_differences_from_the_first_and_numbers_bend() -> None:
    kind = np.array([0, 0, 1, 1, 2, 2, 2.0])
    y = np.array([1.0, 2.0, 4.0, 5.0, 9.0, 9.5, 10.0])
    found = regression([Predictor("opt", kind, ("sgd", "adam", "lion"))], y)
    assert [c.label for c in found.coefficients] == ["constant", "opt = adam", "opt = lion"]
    assert [c.value for c in found.coefficients] == pytest.approx([1.5, 3.0, 8.0])
    assert found.coefficients[0].se == pytest.approx(found.sd / np.sqrt(2))
    x = np.linspace(0, 1, 9)
    bent = regression([Predictor("lr", x, quadratic=True)], 1 + 4 * (x - 0.5) ** 2)
    assert [c.label for c in bent.coefficients] == ["constant", "lr", "lr²"]
    assert [c.value for c in bent.coefficients] == pytest.approx([1.0, 0.0, 4.0], abs=1e-9)
    assert bent.r2 == pytest.approx(1.0)


def test_what_the_data_cannot_tell_apart_is_not_told() -> None:
    x = np.array([0.1, 0.5, 0.7, 0.9, 0.3])
    twice, alone = Predictor("b", 2 * x), Predictor("c", np.array([0.0, 1.0, 0.0, 1.0, 1.0]))
    found = regression([Predictor("a", x), twice, alone], np.array([1.0, 3.0, 2.0, 5.0, 4.0]))
    assert [c.estimable for c in found.coefficients] == [True, False, False, True]
    reference = regression([Predictor("a", x), alone], np.array([1.0, 3.0, 2.0, 5.0, 4.0]))
    assert found.coefficients[3].value == pytest.approx(reference.coefficients[2].value)
    assert found.coefficients[3].se == pytest.approx(reference.coefficients[2].se)
    assert (found.df, found.r2) == (reference.df, pytest.approx(reference.r2))
    never = Predictor("opt", np.array([0, 0, 1, 1, 0.0]), ("sgd", "adam", "lion"))
    found = regression([never], np.arange(5.0))
    assert [c.estimable for c in found.coefficients] == [True, True, False]


def test_constant_predictors_values_and_too_few() -> None:
    found = regression([Predictor("a", np.full(4, 0.3))], np.array([1.0, 2.0, 3.0, 5.0]))
    assert [c.estimable for c in found.coefficients] == [True, False]
    equal = regression([Predictor("a", np.arange(4.0))], np.full(4, 7.0))
    assert np.isnan(equal.r2)
    assert equal.coefficients[1].value == pytest.approx(0.0)
    two = regression([Predictor("a", np.array([0.0, 1.0]))], np.array([1.0, 3.0]))
    assert two.df == 0
    assert two.coefficients[1].value == pytest.approx(2.0)
    assert np.isnan([two.sd, two.coefficients[1].se, two.coefficients[1].p]).all()
    assert regression([], np.array([1.0, 3.0])).coefficients[0].value == 2.0
