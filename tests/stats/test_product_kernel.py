"""Closed-form Sobol indices of a product kernel against integrals known exactly and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from product_kernel import exact_sobol, moments

from spot_dask.stats.sensitivity import sobol_posterior

NODES, WEIGHTS = np.polynomial.legendre.leggauss(64)
NODES, WEIGHTS = (NODES + 1) / 2, WEIGHTS / 2


def indices(alpha, factors, grids=None):
    """Exact indices of sum_j alpha_j prod_i factors[i][j](x_i) for functions of one variable."""
    found = []
    for i, functions in enumerate(factors):
        nodes, weights = (NODES, WEIGHTS) if grids is None else grids[i]
        found.append(moments(np.stack([f(nodes) for f in functions], axis=1), weights))
    return exact_sobol(np.asarray(alpha), *zip(*found, strict=True))


def one(x):
    return np.ones_like(x)


def test_ishigami_is_a_sum_of_products_and_gets_its_exact_indices():
    a, b = 7.0, 0.1

    def at(f):
        return lambda x: f(np.pi * (2 * x - 1))

    sine, square, fourth = at(np.sin), at(lambda x: np.sin(x) ** 2), at(lambda x: x**4)
    result = indices([1, a, b], [[sine, one, sine], [one, square, one], [one, one, fourth]])
    V1, V2 = (1 + b * np.pi**4 / 5) ** 2 / 2, a**2 / 8
    V13 = b**2 * np.pi**8 * 8 / 225
    V = V1 + V2 + V13
    assert result.variance == pytest.approx(V, rel=1e-12)
    assert_allclose(result.first, np.array([V1, V2, 0]) / V, atol=1e-12)
    assert_allclose(result.total, np.array([V1 + V13, V2, V13]) / V, atol=1e-12)
    expected = np.zeros((3, 3))
    expected[0, 2] = expected[2, 0] = V13 / V
    assert_allclose(result.pairs, expected, atol=1e-12)


def test_sobols_g_function_is_one_product_and_gets_its_exact_indices():
    c = np.array([0.0, 1.0, 4.5, 9.0, 99.0])
    # The kink lies at 1/2: nodes on both sides of it.
    grid = (np.append(NODES / 2, (1 + NODES) / 2), np.append(WEIGHTS, WEIGHTS) / 2)
    factors = [[lambda x, k=k: (np.abs(4 * x - 2) + k) / (1 + k)] for k in c]
    result = indices([1.0], factors, [grid] * 5)
    v = 1 / (3 * (1 + c) ** 2)
    V = np.prod(1 + v) - 1
    assert_allclose(result.variance, V, rtol=1e-12)
    assert_allclose(result.first, v / V, rtol=1e-10)
    assert_allclose(result.total, v * np.prod(1 + v) / (1 + v) / V, rtol=1e-10)
    expected = np.outer(v, v) / V
    np.fill_diagonal(expected, 0)
    assert_allclose(result.pairs, expected, rtol=1e-10, atol=1e-15)


def matern52(x, c, length):
    a = np.sqrt(5) * np.abs(x[:, None] - c[None, :]) / length
    return (1 + a + a**2 / 3) * np.exp(-a)


class Kriging:
    """A Kriging mean with two numbers and a factor of three levels, at random data."""

    def __init__(self, n=40):
        rng = np.random.default_rng(4)
        self.X = rng.random((n, 3))
        self.X[:, 2] = rng.integers(3, size=n) / 2
        y = np.sin(6 * self.X[:, 0]) * (1 + self.X[:, 1]) + (self.X[:, 2] == 1)
        self.alpha = np.linalg.solve(self.kernel(self.X) + 1e-6 * np.eye(n), y)

    def factors(self, X):
        numbers = [matern52(X[:, i], self.X[:, i], 0.4 + 0.3 * i) for i in range(2)]
        return [*numbers, np.where(X[:, 2][:, None] == self.X[:, 2][None, :], 1.0, 0.3)]

    def kernel(self, X):
        return np.prod(self.factors(X), axis=0)

    def predict(self, X):
        return self.kernel(X) @ self.alpha

    def exact(self):
        grid = np.column_stack([NODES, NODES, np.full(64, 0.0)])
        levels = np.tile([[0.0], [0.5], [1.0]], (1, 3))
        first, second, _ = self.factors(grid)
        third = self.factors(levels)[2]
        weights = [WEIGHTS, WEIGHTS, np.full(3, 1 / 3)]
        found = [moments(k, w) for k, w in zip((first, second, third), weights, strict=True)]
        return exact_sobol(self.alpha, *zip(*found, strict=True))


def snap_factor(X):
    rows = X.copy()
    rows[:, 2] = np.minimum(np.floor(3 * X[:, 2]), 2) / 2
    return rows


def test_a_mixed_kriging_model_agrees_with_brute_force_sampling():
    model = Kriging()
    exact = model.exact()
    rng = np.random.default_rng(0)
    sampled = sobol_posterior(lambda X: model.predict(X)[None], snap_factor, 3, rng, n=8192)
    assert exact.variance == pytest.approx(sampled.variance.value, rel=0.01)
    assert_allclose(exact.first, sampled.first.value, atol=0.01)
    assert_allclose(exact.total, sampled.total.value, atol=0.01)


def test_of_three_parameters_all_shares_add_to_one():
    # T_1 = S_1 + S_12 + S_13 + S_123, and the shares of all sets add to 1.
    exact = Kriging().exact()
    together = exact.pairs.sum() / 2
    triple = 1 - exact.first.sum() - together
    assert triple > 1e-6
    assert_allclose(exact.total, exact.first + exact.pairs.sum(axis=1) + triple, atol=1e-9)


def test_a_constant_gives_zeros():
    result = indices([0.0, 3.0], [[np.sin, one], [one, one]])
    assert result.variance == 0.0
    assert not result.first.any()
    assert not result.total.any()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="one a parameter"):
        exact_sobol(np.ones(1), [np.ones(1)], [])
