"""Fantasies of open trials: their moments, their algebra, and the criterion averaged over them."""

from __future__ import annotations

import numpy as np
import pytest
from exact_improvement import expected_improvement
from numpy.testing import assert_allclose

from spot_dask.infill import Request
from spot_dask.infill.fantasies import Believer, belief, normals
from spot_dask.infill.log_ei import log_expected_improvement
from spot_dask.infill.log_nei import LogNEI
from spot_dask.space import Categorical, Integer, Real, Space
from spot_dask.surrogates.kriging import Kriging

MIXED = Space(
    lr=Real(1e-4, 1.0, default=1e-2, scale="log"),
    width=Integer(4, 64, default=16),
    opt=Categorical(["sgd", "adam", "rms"], default="sgd"),
    momentum=Real(0.0, 0.99, default=0.9).when(opt="sgd"),
)


def cube(d):
    return Space({f"x{j}": Real(0.0, 1.0, default=0.5) for j in range(d)})


def wavy(X):
    return (X - 0.3).sum(axis=1) ** 2 + np.sin(5 * X[:, 0])


def fitted(space, n, noise=0.0, seed=0, surrogate=None):
    rng = np.random.default_rng(seed)
    X = space.snap(rng.random((n, space.d)))
    y = wavy(X) + noise * rng.standard_normal(n)
    return X, (surrogate or Kriging()).fit(space.features(X), y, space.groups, rng)


def asked(space, X, q=1, pending=None):
    pending = np.empty((0, space.d)) if pending is None else pending
    return Request(space, q, X, pending, frozenset())


def fantasies(posterior, request, samples):
    means, _ = posterior.predict(request.space.features(request.evaluated))
    rng = np.random.default_rng(0)
    return belief(log_expected_improvement, posterior, request, means, samples, rng)


def probes(space, m, seed=7):
    return space.features(space.snap(np.random.default_rng(seed).random((m, space.d))))


def promising(criterion, space, ranks):
    """Of many probes those with these ranks."""
    many = probes(space, 500)
    return many[np.argsort(-criterion.values(many))[list(ranks)]]


@pytest.mark.parametrize("space", [cube(1), cube(5), MIXED], ids=["line", "cube", "mixed"])
@pytest.mark.parametrize("correlation", ["matern52", "gauss"])
def test_located_points_have_the_moments_of_the_posterior(space, correlation):
    _, posterior = fitted(space, 20, 0.1, surrogate=Kriging(correlation=correlation))
    A, B = probes(space, 6), probes(space, 4, 8)
    mean, covariance = posterior.joint(np.vstack((A, B)))
    a, b = posterior.locate(A), posterior.locate(B)
    both = a.join(b)
    assert_allclose(both.mean, mean, rtol=1e-12)
    assert_allclose(both.variance, np.diagonal(covariance), rtol=1e-8)
    assert_allclose(a.covariance(b), covariance[:6, 6:], atol=1e-9 * posterior.variance)


@pytest.mark.parametrize("space", [cube(4), MIXED], ids=["cube", "mixed"])
@pytest.mark.parametrize("correlation", ["matern52", "gauss"])
@pytest.mark.parametrize("samples", [1, 16])
def test_the_gradient_of_the_criterion_is_that_of_its_differences(space, correlation, samples):
    X, posterior = fitted(space, 20, 0.1, surrogate=Kriging(correlation=correlation))
    pending = space.snap(np.random.default_rng(5).random((3, space.d)))
    criterion = fantasies(posterior, asked(space, X, 2, pending), samples)
    at = probes(space, 8)
    values, gradient = criterion.gradient(at)
    assert_allclose(values, criterion.values(at), rtol=1e-12)
    h = 1e-4
    for j in range(at.shape[1]):
        step = h * np.eye(at.shape[1])[j]

        def rise(k, step=step):
            return criterion.values(at + k * step) - criterion.values(at - k * step)

        # Sixth order: the error is below 1e-6 although values are of order 100.
        differences = (45 * rise(1) - 9 * rise(2) + rise(3)) / (60 * h)
        assert_allclose(gradient[:, j], differences, atol=1e-6 * np.abs(gradient).max())


def test_fantasies_have_the_moments_of_the_posterior():
    space = cube(2)
    X, posterior = fitted(space, 12, 0.3)
    pending = space.snap(np.random.default_rng(5).random((4, 2)))
    samples = 1024
    criterion = fantasies(posterior, asked(space, X, 1, pending), samples)
    at = criterion.points
    L = np.linalg.inv(criterion.root)
    drawn = at.mean + criterion.z[:, : criterion.p] @ L.T
    mean, covariance = at.mean, at.covariance(at)
    sd = np.sqrt(np.diagonal(covariance))
    assert_allclose(L @ L.T, covariance, atol=1e-8 * sd.max() ** 2)
    assert (np.abs(drawn.mean(axis=0) - mean) < 5 * sd / np.sqrt(samples)).all()
    spread = np.sqrt((np.outer(sd, sd) ** 2 + covariance**2) / samples)
    assert (np.abs(np.cov(drawn.T) - covariance) < 5 * spread).all()
    assert_allclose(criterion.t, drawn.min(axis=1))


def test_normals_are_standardised_and_uncorrelated_beyond_the_sobol_columns():
    z = normals(64, 150, np.random.default_rng(0))
    assert z.shape == (64, 150)
    assert_allclose(z.mean(axis=0), 0, atol=1e-12)
    assert_allclose(z.std(axis=0), 1)
    off = np.corrcoef(z.T)[np.triu_indices(150, 1)]
    assert np.abs(off).mean() < 1.5 / np.sqrt(64)
    assert_allclose(normals(1, 3, np.random.default_rng(0)), 0)


@pytest.mark.parametrize("space", [cube(3), MIXED], ids=["cube", "mixed"])
@pytest.mark.parametrize("samples", [1, 32])
def test_watched_candidates_stay_what_computing_them_anew_gives(space, samples):
    X, posterior = fitted(space, 25, 0.2)
    criterion = fantasies(posterior, asked(space, X, 6), samples)
    pool = probes(space, 200)
    criterion.watch(pool)
    for x in probes(space, 6, 9):
        criterion.believe(x[None])
        means, variance, _ = criterion._moments(posterior.locate(pool))
        scale = posterior.variance
        assert_allclose(criterion.means, means, atol=1e-8 * np.sqrt(scale))
        assert_allclose(criterion.variance, variance, atol=1e-8 * scale)
        watched, anew = criterion.watched(np.ones(200, dtype=bool)), criterion.values(pool)
        assert watched.argmax() == anew.argmax()
        exact = anew > anew.max() - 1
        assert_allclose(watched[exact], anew[exact], atol=1e-7)
        assert (watched <= anew + 1e-7).all()


def test_only_the_asked_candidates_are_ranked():
    space = cube(2)
    X, posterior = fitted(space, 10)
    criterion = fantasies(posterior, asked(space, X), 8)
    criterion.watch(probes(space, 5))
    which = np.array([True, False, True, False, False])
    assert_allclose(np.isfinite(criterion.watched(which)), which)


@pytest.mark.parametrize("space", [cube(2), MIXED], ids=["cube", "mixed"])
def test_one_fantasy_is_the_kriging_believer(space):
    X, posterior = fitted(space, 15, 0.2)
    pending = space.snap(np.random.default_rng(5).random((3, space.d)))
    request = asked(space, X, 1, pending)
    one = fantasies(posterior, request, 1)
    features = space.features(X)
    lowest = float(posterior.predict(features)[0].min())
    believer = Believer(log_expected_improvement, posterior, lowest, np.ones(space.d))
    believer.believe(space.features(pending))
    at = probes(space, 20)
    assert one.t[0] == pytest.approx(believer.best)
    assert_allclose(one.values(at), believer.values(at), rtol=1e-6, atol=1e-6)
    assert_allclose(one.gradient(at)[1], believer.gradient(at)[1], rtol=1e-4, atol=1e-4)


def test_without_noise_and_with_one_point_it_is_expected_improvement():
    space = cube(2)
    X, posterior = fitted(space, 15, surrogate=Kriging(deterministic=True))
    criterion = fantasies(posterior, asked(space, X), 512)
    at = promising(criterion, space, range(40))
    expected, _, _ = log_expected_improvement(*posterior.predict(at), wavy(X).min())
    assert_allclose(criterion.values(at), expected, atol=0.01)


def joint_improvement(posterior, known, batch, draws=1_000_000):
    """E[max(min f(known) - min f(batch), 0)] by brute force, and its standard error."""
    mean, covariance = posterior.joint(np.vstack((known, batch)))
    root = np.linalg.cholesky(covariance + 1e-10 * np.trace(covariance) * np.eye(len(mean)))
    f = mean + np.random.default_rng(3).standard_normal((draws, len(mean))) @ root.T
    gain = np.maximum(f[:, : len(known)].min(axis=1) - f[:, len(known) :].min(axis=1), 0)
    return gain.mean(), gain.std() / np.sqrt(draws)


def test_noisy_expected_improvement_is_that_of_a_million_draws():
    space = cube(2)
    X, posterior = fitted(space, 8, 0.5)
    criterion = fantasies(posterior, asked(space, X), 4096)
    for x in promising(criterion, space, (0, 20, 60)):
        expected, error = joint_improvement(posterior, space.features(X), x[None])
        found = float(np.exp(criterion.values(x[None])[0]))
        assert found == pytest.approx(expected, rel=0.01, abs=5 * error)


def test_a_batch_of_two_gains_what_the_closed_form_says():
    # Noise-free, the improvement of two points is that of the first and what the second adds.
    space = cube(2)
    X, posterior = fitted(space, 8, surrogate=Kriging(deterministic=True))
    best = float(posterior.predict(space.features(X))[0].min())
    single = fantasies(posterior, asked(space, X), 1)
    for ranks in ((0, 1), (0, 30), (60, 10)):
        pair = promising(single, space, ranks)
        mean, covariance = posterior.joint(pair)
        exact = expected_improvement(mean, covariance, best)
        brute, error = joint_improvement(posterior, space.features(X), pair)
        assert exact == pytest.approx(brute, rel=0.01, abs=5 * error)
        criterion = fantasies(posterior, asked(space, X, 2), 4096)
        first = float(np.exp(criterion.values(pair[:1])[0]))
        criterion.believe(pair[:1])
        second = float(np.exp(criterion.values(pair[1:])[0]))
        assert first + second == pytest.approx(exact, rel=0.01)


def test_the_number_of_fantasies_is_a_power_of_two():
    assert LogNEI(samples=1).samples == 1
    for wrong in (0, -2, 48):
        with pytest.raises(ValueError, match="power of two"):
            LogNEI(samples=wrong)


@pytest.mark.parametrize("samples", [1, 64])
def test_a_crowd_of_open_points_leaves_the_criterion_a_number(samples):
    space = cube(5)
    rng = np.random.default_rng(3)
    X = rng.random((100, 5))
    posterior = Kriging().fit(space.features(X), np.square(X - 0.3).sum(axis=1), space.groups, rng)
    crowd = 0.3 + 2e-3 * rng.random((200, 5))
    criterion = fantasies(posterior, asked(space, X, pending=crowd), samples)
    values, gradient = criterion.gradient(space.features(rng.random((50, 5))))
    assert np.isfinite(values).all()
    assert np.isfinite(gradient).all()
