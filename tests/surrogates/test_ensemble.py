"""Draws of the richer Kriging model, against definitions written out and known posteriors."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose

from spot_dask.surrogates.ensemble import (
    ADDITIVE,
    Chain,
    Draws,
    Hyperprior,
    sample,
    slice_sample,
)
from spot_dask.surrogates.points import merge
from spot_dask.surrogates.posterior import CENTRE

GROUPS = np.array([0, 1, 2, 2, 3])  # the third parameter is a factor of two columns


def matern52(distance):
    a = np.sqrt(5.0) * distance
    return (1.0 + a + a * a / 3.0) * np.exp(-a)


def drawn(K=3, seed=0):
    rng = np.random.default_rng(seed)
    powers = np.exp(0.5 * rng.standard_normal((2, K, 5)))
    powers[:, :, 2:4] = 1.0
    lengths, nuggets = np.exp(rng.normal(-0.5, 0.5, (K, 4))), np.exp(rng.normal(-4, 1, K))
    return Draws(lengths, nuggets, rng.random(K), powers[0], powers[1], GROUPS)


def written_out(draws, k, x, z):
    """The correlation of two points, from the table in the module's docstring."""
    wx, wz = (1 - (1 - p ** draws.a[k]) ** draws.b[k] for p in (x, z))
    gaps = [np.linalg.norm((wx - wz)[g == GROUPS]) / draws.lengths[k, g] for g in range(4)]
    v = (1 / draws.lengths[k]) / (1 / draws.lengths[k]).sum()
    o = draws.shares[k]
    additive = sum(v[g] * matern52(gaps[g] / ADDITIVE) for g in range(4))
    return (1 - o) * matern52(np.linalg.norm(gaps)) + o * additive


def values(n=14, seed=1):
    """Standardised values at n points, three of which are evaluated twice."""
    rng = np.random.default_rng(seed)
    X = rng.random((n, 5))
    X[-3:] = X[:3]
    y = np.sin(4 * X[:, 0]) + X[:, 1] + 0.1 * rng.standard_normal(n)
    return X, (y - y.mean()) / y.std()


def test_correlations_are_those_written_out():
    draws, rng = drawn(), np.random.default_rng(3)
    X, Z = rng.random((4, 5)), rng.random((6, 5))
    found = draws.correlations(draws.scaled(X), draws.scaled(Z))
    expected = [[[written_out(draws, k, x, z) for z in Z] for x in X] for k in range(3)]
    assert_allclose(found, expected, rtol=1e-12)
    same = draws.correlations(draws.scaled(X), draws.scaled(X))
    assert_allclose(np.diagonal(same, axis1=1, axis2=2), 1.0, rtol=1e-12)


def test_slopes_are_derivatives_of_the_correlations():
    draws, rng = drawn(), np.random.default_rng(4)
    P, Q = (draws.scaled(rng.random((n, 5))) for n in (4, 6))
    R, S = draws.correlations_and_slopes(P, Q)
    assert_allclose(R, draws.correlations(P, Q), rtol=1e-12)
    for j in range(5):
        step = 1e-6 * (np.arange(5) == j)
        numeric = (draws.correlations(P + step, Q) - draws.correlations(P - step, Q)) / 2e-6
        assert_allclose(-S[j] * (P[:, :, None, j] - Q[:, None, :, j]), numeric, atol=1e-8)


def test_the_slope_of_the_warp_is_its_derivative():
    draws, X = drawn(), np.random.default_rng(5).random((6, 5))
    numeric = (draws.scaled(X + 1e-7) - draws.scaled(X - 1e-7)) / 2e-7
    assert_allclose(draws.slope(X), numeric, rtol=1e-5)


def test_points_beyond_a_narrowed_range_keep_their_distance():
    draws, X = drawn(), np.full((3, 5), 0.5)
    X[:, 0] = 1.0, 1.2, 1.5
    along = draws.scaled(X)[:, :, 0] * draws.lengths[:, :1]
    assert_allclose(np.diff(along, axis=1), [[0.2, 0.3]] * 3, atol=2e-3)


def test_the_likelihood_is_that_of_all_evaluations_one_by_one():
    X, y = values()
    chain = Chain(merge(X - CENTRE, y), GROUPS, Hyperprior())
    differences = []
    for seed in range(4):
        u = 0.7 * np.random.default_rng(seed).standard_normal(len(chain.start(np.zeros(5))))
        draws = chain.draws(u[None])
        Z = draws.scaled(X)
        C = draws.correlations(Z, Z)[0] + draws.nuggets[0] * np.eye(len(y))
        solved = np.linalg.solve(C, np.column_stack((y, np.ones(len(y)))))
        mean = solved[:, 0].sum() / solved[:, 1].sum()
        misfit = (y - mean) @ np.linalg.solve(C, y - mean)
        dense = -0.5 * (len(y) + 2) * np.log((misfit + 2) / (len(y) + 2))
        dense -= 0.5 * np.linalg.slogdet(C)[1]
        differences.append(chain.density()(u) - dense)
    assert_allclose(differences, differences[0], atol=1e-8)


def test_slice_sampling_draws_from_a_conjugate_posterior():
    rng, data, noise = np.random.default_rng(0), np.array([1.0, -0.5, 2.0]), 0.5

    def log_likelihood(u):
        return -0.5 * float(((data - u) ** 2).sum()) / noise**2

    u, found = np.zeros(3), []
    value = log_likelihood(u)
    for _ in range(8000):
        u, value = slice_sample(log_likelihood, u, value, 1, rng)
        found.append(u)
    shrink = 1 / (1 + noise**2)
    assert_allclose(np.mean(found, axis=0), shrink * data, atol=0.05)
    assert_allclose(np.var(found, axis=0), noise**2 * shrink, rtol=0.15)


def test_a_standard_normal_vector_is_the_prior():
    X, y = values()
    chain = Chain(merge(X - CENTRE, y), GROUPS, Hyperprior())
    U = np.random.default_rng(0).standard_normal((4000, len(chain.start(np.zeros(5)))))
    draws, (centre, sd) = chain.draws(U), chain.moments
    logs = np.log(draws.lengths)
    assert_allclose(logs.mean(axis=0), centre[:4], atol=0.05)
    assert_allclose(logs.std(axis=0), sd[:4], rtol=0.05)
    assert_allclose(np.log(draws.a[:, 0]).std(), chain.prior.warp, rtol=0.05)
    assert (draws.a[:, 2:4] == 1.0).all()  # the columns of a factor are not warped


def test_draws_follow_the_data():
    """A steep parameter has a shorter length than one without effect, in nearly every draw."""
    rng = np.random.default_rng(2)
    X = rng.random((40, 2))
    y = np.sin(12 * X[:, 0])
    data = merge(X - CENTRE, (y - y.mean()) / y.std())
    draws = sample(data, np.arange(2), np.zeros(3), Hyperprior(draws=20), rng)
    assert (draws.lengths[:, 0] < draws.lengths[:, 1]).mean() > 0.9


def test_draws_are_reproducible():
    X, y = values()
    data = merge(X - CENTRE, y)
    one, two = (
        sample(data, GROUPS, np.zeros(5), Hyperprior(), np.random.default_rng(1)) for _ in range(2)
    )
    assert_allclose(one.lengths, two.lengths, rtol=0)
