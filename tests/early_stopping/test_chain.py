"""The chain of regressions against dense Gaussian processes and against what is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.linalg import solve
from scipy.stats import multivariate_normal, norm

from spot_dask.early_stopping.chain import (
    LEAST,
    LENGTHS,
    MOST,
    NUGGETS,
    OUTLIER,
    Step,
    final_values,
)

nan = math.nan


def matern(A: np.ndarray, B: np.ndarray, length: float) -> np.ndarray:
    r = np.sqrt(5 * np.square(A[:, None] - B[None]).sum(axis=2)) / length
    return (1 + r + r * r / 3) * np.exp(-r)


def test_a_step_is_the_most_likely_gaussian_process_of_the_grid() -> None:
    rng = np.random.default_rng(1)
    X, v = rng.random((25, 3)), rng.normal(size=(25, 2))
    step = 0.3 * v[:, 0] - 0.2 * v[:, 1] + np.sin(4 * X[:, 0]) + 0.05 * rng.normal(size=25)
    found = Step.fit(X, v, step)

    order = np.argsort(v[:, 0])
    middle, spread = np.median(v, axis=0), v.std(axis=0)
    L, centre = (v[order] - middle) / spread, np.median(step)
    scale = np.sqrt(np.mean((step - centre) ** 2))
    z = np.clip((step[order] - centre) / scale, -OUTLIER, OUTLIER)
    best = None
    for length in LENGTHS:
        for nugget in NUGGETS:
            K = 1 + L @ L.T + matern(X[order], X[order], length) + nugget * np.eye(25)
            s2 = (z @ solve(K, z) + 2) / 27
            # Of all that grows with s2 only the determinant counts: s2 has been profiled out.
            score = -25 * np.log(s2) - np.linalg.slogdet(K)[1]
            if best is None or score > best[0]:
                best = score, length, nugget, s2, K
    assert best is not None
    _, length, nugget, s2, K = best
    assert (found.length, found.nugget) == (length, nugget)
    assert found.s2 == pytest.approx(s2)

    at, before = rng.random((4, 3)), rng.normal(size=(4, 2))
    Z = (before - middle) / spread
    k = 1 + Z @ L.T + matern(at, X[order], length)
    mean, sd, slope = found.predict(at, before)
    np.testing.assert_allclose(mean, centre + scale * k @ solve(K, z))
    prior = 2 + np.square(Z).sum(axis=1) + nugget
    variance = prior - np.einsum("ij,ji->i", k, solve(K, k.T))
    np.testing.assert_allclose(sd, scale * np.sqrt(s2 * variance * (1 + 4 / 25)))
    moved = found.predict(at, before + 1e-6)[0]
    np.testing.assert_allclose(slope, (moved - mean) / 1e-6, rtol=1e-4)


def test_the_scores_of_the_grid_are_those_of_a_normal_density() -> None:
    """Profiled over s2, the log density of z is what the grid is searched by, up to constants."""
    rng = np.random.default_rng(2)
    z, A = rng.normal(size=12), rng.normal(size=(12, 20))
    K = A @ A.T
    s2 = z @ solve(K, z) / 12
    density = multivariate_normal(np.zeros(12), s2 * K).logpdf(z)
    profiled = -0.5 * (12 * np.log(s2) + np.linalg.slogdet(K)[1] + 12 * (1 + np.log(2 * np.pi)))
    assert density == pytest.approx(profiled)


def curves(n: int, rng: np.random.Generator, noise: float = 0.1) -> np.ndarray:
    """n complete curves of three rungs: random walks down."""
    v = rng.normal(size=n)
    w = v - 1 + noise * rng.normal(size=n)
    return np.column_stack([v, w, w - 0.5 + noise * rng.normal(size=n)])


def test_finished_trainings_are_as_they_are_and_others_are_continued() -> None:
    rng = np.random.default_rng(3)
    V, X = curves(30, rng), rng.random((30, 2))
    asked = V[:5].copy()
    asked[1, 2] = asked[2, 1:] = asked[3, :] = nan
    mean, sd = final_values(X, V, X[:5], asked)
    np.testing.assert_array_equal(mean[[0, 4]], V[[0, 4], 2])
    np.testing.assert_array_equal(sd[[0, 4]], 0)
    assert abs(mean[1] - (V[1, 1] - 0.5)) < 0.25
    assert abs(mean[2] - (V[2, 0] - 1.5)) < 0.4
    assert 0 < sd[1] < sd[2]
    assert np.isnan([mean[3], sd[3]]).all()


@pytest.mark.parametrize("made", range(LEAST + 2))
def test_nothing_is_predicted_over_a_step_that_too_few_have_made(made: int) -> None:
    rng = np.random.default_rng(4)
    V, X = curves(10, rng), rng.random((10, 2))
    V[made:, 2] = nan
    mean, sd = final_values(X, V, X[9:], V[9:])
    assert np.isfinite(mean).all() == np.isfinite(sd).all() == (made >= LEAST)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 250.0])
def test_predictions_move_and_stretch_with_the_objective(scale: float) -> None:
    rng = np.random.default_rng(5)
    V, X = curves(20, rng), rng.random((20, 2))
    V[12:, 2] = V[16:, 1] = nan
    mean, sd = final_values(X, V, X, V)
    moved, stretched = final_values(X, scale * V + 7, X, scale * V + 7)
    np.testing.assert_allclose(moved, scale * mean + 7, rtol=1e-6)
    np.testing.assert_allclose(stretched, scale * sd, rtol=1e-6)


def test_what_stopping_selects_does_not_bend_the_predictions() -> None:
    """Who is worse than the median stops; the chain still predicts what they would have come to.

    The features tell nothing, and steps are as noisy as the differences between trainings.
    """
    rng, errors, naive = np.random.default_rng(6), [], []
    for _ in range(60):
        V = curves(50, rng, noise=0.7)
        truth, told = V[:, 2].copy(), V.copy()
        told[V[:, 0] > 0, 1:] = nan
        told[~(V[:, 1] < -1), 2] = nan
        went = np.isfinite(told[:, 2])
        stopped = ~np.isfinite(told[:, 1])
        mean, _ = final_values(np.empty((50, 0)), told, np.empty((50, 0)), told)
        errors.append(float((mean - truth)[stopped].mean()))
        line = np.polyfit(V[went, 0], truth[went], 1)
        naive.append(float((np.polyval(line, V[:, 0]) - truth)[stopped].mean()))
    error = np.mean(errors) / (np.std(errors) / math.sqrt(len(errors)))
    assert abs(np.mean(errors)) < 0.15 or abs(error) < 3
    assert np.mean(naive) < -0.35  # from finished ones alone the stopped look much better


def test_most_results_are_as_far_off_as_predicted() -> None:
    rng, z = np.random.default_rng(7), []
    for _ in range(80):
        X = rng.random((25, 2))
        V = curves(25, rng) + 0.5 * np.outer(X[:, 0], [0.0, 1.0, 2.0])
        told = V.copy()
        told[20:, 1:] = nan
        mean, sd = final_values(X, told, X[20:], told[20:])
        z += list((V[20:, 2] - mean) / sd)
    for level in (0.5, 0.9):
        inside = float(np.mean(np.abs(z) < norm.ppf((1 + level) / 2)))
        assert level - 0.08 < inside < level + 0.12


def test_of_many_the_best_are_learnt_from() -> None:
    rng = np.random.default_rng(8)
    v = np.sort(rng.normal(size=MOST + 40))
    step = np.where(np.arange(len(v)) < MOST, -1.0, 1.0)  # the worst behave otherwise
    found = Step.fit(np.empty((len(v), 0)), v[:, None], step + 1e-3 * rng.normal(size=len(v)))
    mean, _, _ = found.predict(np.empty((3, 0)), v[:3, None])
    np.testing.assert_allclose(mean, -1.0, atol=0.01)
