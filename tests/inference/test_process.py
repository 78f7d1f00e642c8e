"""The process of inference against brute force, and its statements against a known truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from spot_dask.inference import process
from spot_dask.inference.process import WEIGHT, Conditioned, Density, Observed, fit, matern, within
from spot_dask.surrogates import FloatArray
from spot_dask.surrogates.numerics import descend


def example(n: int = 12, seed: int = 0) -> Observed:
    """Three parameters, the last a factor of three levels; values of three seeds."""
    rng = np.random.default_rng(seed)
    levels = np.eye(3)[rng.integers(3, size=n)] / np.sqrt(2)
    F = np.hstack([rng.random((n, 2)), levels])
    z = np.sin(4 * F[:, 0]) + levels[:, 0] + 0.1 * rng.standard_normal(n)
    blocks = np.arange(n) % 3
    return Observed(F, (z - z.mean()) / z.std(), blocks, np.array([0, 1, 2, 2, 2]))


THETA = np.log([0.4, 1.1, 0.7, 0.05, 0.2])


def covariance(data: Observed, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
    """R and C, entry by entry."""
    n, scales = len(data.z), np.exp(theta[:-2])
    R = np.empty((n, n))
    for i in range(n):
        for j in range(n):
            apart = data.F[i] - data.F[j]
            each = [np.linalg.norm(apart[data.member == g]) / scales[g] for g in range(data.p)]
            R[i, j] = np.prod(matern(np.array(each)))
    C = R + np.exp(theta[-2]) * np.eye(n)
    return R, C + np.exp(theta[-1]) * (data.blocks[:, None] == data.blocks)


def test_the_density_is_that_of_contrasts() -> None:
    """Up to a constant, minus the log density of z - z_0, the process variance at its optimum."""
    data = example()
    n = len(data.z)
    contrasts = np.hstack([-np.ones((n - 1, 1)), np.eye(n - 1)])

    def brute(theta: FloatArray) -> float:
        _, C = covariance(data, theta)
        K = contrasts @ C @ contrasts.T
        r = contrasts @ data.z
        free = n - 1 + 2 * WEIGHT
        s2 = (r @ np.linalg.solve(K, r) + 2 * WEIGHT) / free
        centre, sd = Density(data).moments()
        normal = multivariate_normal.logpdf(r, np.zeros(n - 1), s2 * K)
        prior_of_s2 = -WEIGHT * np.log(s2) - WEIGHT / s2
        return float(-normal - prior_of_s2 + 0.5 * np.square((theta - centre) / sd).sum())

    density, other = Density(data), THETA + np.array([0.3, -0.2, 0.1, 1.0, -0.5])
    # With the weak prior on the process variance; what is left is the same constant for both.
    expected = brute(THETA) - brute(other)
    assert density(THETA)[0] - density(other)[0] == pytest.approx(expected, rel=1e-9)


def test_the_gradient_is_that_of_the_density() -> None:
    density = Density(example())
    numeric = [
        (density(THETA + 1e-5 * e)[0] - density(THETA - 1e-5 * e)[0]) / 2e-5 for e in np.eye(5)
    ]
    np.testing.assert_allclose(density(THETA)[1], numeric, rtol=1e-6, atol=1e-7)


def one_by_one(data: Observed, n: int = 40) -> FloatArray:
    """n rows, and all of them again with the next row's value of one parameter after the other."""
    base = example(n, seed=3).F
    rows = [base]
    for g in range(data.p):
        columns = data.member == g
        rows.append(base.copy())
        rows[-1][:, columns] = np.roll(base, 1, axis=0)[:, columns]
    return np.vstack([*rows, base[:1], np.full((1, 5), 0.3)])


def test_the_correlation_is_the_product_whatever_rows_repeat() -> None:
    at = Conditioned(example(), THETA)
    data, A = at.data, one_by_one(at.data)
    columns = [data.member == g for g in range(data.p)]
    expected = np.prod(
        [
            matern(np.linalg.norm(A[:, None, c] - data.F[None, :, c], axis=2) / at.scales[g])
            for g, c in enumerate(columns)
        ],
        axis=0,
    )
    np.testing.assert_allclose(at.correlation(A, data.F), expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(at.correlation(A[:3], data.F), expected[:3], rtol=1e-12, atol=1e-15)


def test_a_value_that_many_rows_have_is_compared_with_the_evaluations_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Effects and indices ask for rows that differ in one of many parameters: cost must not be p
    times that of what differs."""
    p, n, some = 20, 30, 32
    rng = np.random.default_rng(0)
    data = Observed(rng.random((n, p)), rng.normal(size=n), np.arange(n), np.arange(p))
    A = np.tile(rng.random((some, p)), (p + 1, 1))
    for g in range(p):
        A[some * (g + 1) : some * (g + 2), g] = rng.random(some)
    compared = 0

    def counting(first: FloatArray, second: FloatArray, *which: Any) -> FloatArray:
        nonlocal compared
        compared += len(first) * len(second)
        return within(first, second, *which)

    monkeypatch.setattr(process, "within", counting)
    found = Conditioned(data, np.zeros(p + 2)).correlation(A, data.F)
    assert found.shape == (len(A), n)
    assert compared <= 0.1 * len(A) * n * p


def test_left_out_values_are_predicted_as_by_a_process_without_them() -> None:
    data = example()
    mean, sd = Conditioned(data, THETA).leave_one_out()
    _, C = covariance(data, THETA)
    whole = Conditioned(data, THETA).s2
    for i in (0, 5):
        rest = np.arange(len(data.z)) != i
        inverse, ones = np.linalg.inv(C[np.ix_(rest, rest)]), np.ones(rest.sum())
        level = ones @ inverse @ data.z[rest] / inverse.sum()
        c = C[i, rest]
        u = 1 - c @ inverse @ ones
        variance = C[i, i] - c @ inverse @ c + u * u / inverse.sum()
        assert mean[i] == pytest.approx(level + c @ inverse @ (data.z[rest] - level), rel=1e-8)
        assert sd[i] == pytest.approx(np.sqrt(whole * variance), rel=1e-8)


def test_held_out_values_are_jointly_predicted() -> None:
    data, held = example(), np.array([1, 4, 7])
    mean, cov = Conditioned(data, THETA).hold_out(held)
    rest = np.setdiff1d(np.arange(len(data.z)), held)
    _, C = covariance(data, THETA)
    inverse = np.linalg.inv(C[np.ix_(rest, rest)])
    c = C[np.ix_(held, rest)]
    level = float(inverse.sum(axis=1) @ data.z[rest] / inverse.sum())
    u = 1 - c @ inverse.sum(axis=1)
    expected = C[np.ix_(held, held)] - c @ inverse @ c.T + np.outer(u, u) / inverse.sum()
    np.testing.assert_allclose(mean, level + c @ inverse @ (data.z[rest] - level), rtol=1e-8)
    np.testing.assert_allclose(cov, Conditioned(data, THETA).s2 * expected, rtol=1e-7)


def test_draws_of_the_function_have_the_posterior_s_moments() -> None:
    rng = np.random.default_rng(1)
    data = example(30)
    at = Conditioned(data, THETA)
    F = example(6, seed=9).F
    draws = at.paths(6000, rng)(F)
    mean, cov = at.joint(F)
    free = len(data.z) - 1 + 2 * WEIGHT
    sd = np.sqrt(np.diagonal(cov) * free / (free - 2))
    np.testing.assert_allclose(draws.mean(axis=0), mean, atol=0.06 * sd.max())
    np.testing.assert_allclose(draws.std(axis=0), sd, rtol=0.1)


@pytest.mark.parametrize(("noise", "seeds"), [(0.0, 1), (0.3, 1), (0.3, 4)])
def test_ninety_five_percent_of_the_intervals_hold_the_function(noise: float, seeds: int) -> None:
    """Also where the noise is nil, and where seeds have effects of their own."""
    inside, offsets = [], []
    for repeat in range(20):
        rng = np.random.default_rng([repeat, seeds])
        F = rng.random((30, 2))
        truth = lambda X: np.sin(5 * X[:, 0]) + 0.5 * X[:, 1]  # noqa: E731
        blocks = np.arange(30) % seeds
        effects = 0.3 * rng.standard_normal(seeds) if seeds > 1 else np.zeros(1)
        v = truth(F) + noise * rng.standard_normal(30) + effects[blocks]
        m, s = v.mean(), v.std()
        process = fit(Observed(F, (v - m) / s, blocks, np.array([0, 1])), rng)
        T = rng.random((50, 2))
        mean, sd = process.predict(T)
        inside.append(np.mean(np.abs((truth(T) - m) / s - mean) <= 1.96 * sd))
        offsets.append(np.mean(np.abs((truth(T) - m) / s - mean)))
    assert 0.88 <= np.mean(inside) <= 1.0
    assert np.mean(offsets) < 0.35


def test_a_value_far_away_is_not_pulled_in() -> None:
    """The mean follows it: the data of inference are never clipped."""
    rng = np.random.default_rng(0)
    F = np.linspace(0, 1, 20)[:, None]
    v = 0.1 * np.sin(6 * F[:, 0])
    v[-1] = 10.0
    process = fit(
        Observed(F, (v - v.mean()) / v.std(), np.zeros(20, dtype=int), np.array([0])), rng
    )
    assert process.mean(F[-1:])[0] * v.std() + v.mean() > 5.0


def test_the_mode_is_found_where_a_search_looked_at_several_minima() -> None:
    """There a smooth and noisy function explains the values too, but 11 nats worse."""
    rng = np.random.default_rng(2)
    minima = np.array([[0.25, 0.5, 0.0], [0.25, 0.5, 1.0], [0.25, 0.0, 0.0], [0.25, 1.0, 1.0]])
    F = rng.random((50, 3))
    F[10:] = minima[rng.integers(4, size=40)] + 0.03 * rng.standard_normal((40, 3))
    F = np.clip(F, 0.0, 1.0)
    u = np.pi * (2 * F - 1)
    v = np.sin(u[:, 0]) * (1 + 0.1 * u[:, 2] ** 4) + 7 * np.sin(u[:, 1]) ** 2
    z = (v - v.mean()) / v.std()
    density = Density(Observed(F, z, np.zeros(50, dtype=int), np.arange(3)))
    low, high = density.bounds()
    centre, sd = density.moments()
    starts = centre + sd * rng.standard_normal((6, len(centre)))
    found = [descend(density, np.clip(s, low, high), low, high, 80, 1e-7)[1] for s in starts]
    assert density.mode()[1] <= min(found) + 0.1
