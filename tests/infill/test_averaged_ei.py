"""The expected improvement averaged over draws, against dense algebra."""

from __future__ import annotations

from copy import copy

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import norm

from spot_dask.infill import Proposal, Request
from spot_dask.infill.averaged_ei import JITTER, Alternating, Averaged, AveragedEI
from spot_dask.infill.log_ei import LogEI
from spot_dask.space import Categorical, Real, Space
from spot_dask.surrogates.ensemble import Hyperprior, sample
from spot_dask.surrogates.kriging import Kriging
from spot_dask.surrogates.posterior import CENTRE
from spot_dask.surrogates.transfer import Transfer, source_model

GROUPS = np.array([0, 1, 2, 2, 3])
SPACE = Space(
    a=Real(0.0, 1.0, default=0.5),
    b=Real(0.0, 1.0, default=0.5),
    c=Categorical(["x", "y", "z"], default="x"),
)


def f(X):
    return np.sin(5 * X).sum(axis=1)


def made(n=15, *, heard=False, drift=False):
    rng = np.random.default_rng(0)
    X = rng.random((n, 5))
    y = f(X)
    surrogate = Kriging()
    if drift:
        source = source_model(X, 0.3 * y + 0.1 * X[:, 0], GROUPS)
        surrogate = Transfer(surrogate, [source])
    posterior = surrogate.fit(X, y, GROUPS, rng)
    if heard:
        posterior = posterior.condition(rng.random((2, 5)), np.array([3.0, 4.0]))
    kriging = posterior.rest if drift else posterior
    draws = sample(kriging.data, GROUPS, kriging.theta, Hyperprior(draws=3), rng)
    return Averaged(kriging, draws, posterior.drift if drift else None, rng), kriging


def dense(belief, kriging, open_rows, X):
    """log of the mean EI by solving with the whole covariance of each draw."""
    draws, data, h = belief.draws, kriging.data, kriging.hyperparameters
    rows = np.vstack((data.X + CENTRE, open_rows))
    n, m, total = len(data.y), len(rows), np.zeros(len(X))
    for k in range(draws.K):
        Z, P = draws.scaled(rows), draws.scaled(X)
        C = draws.correlations(Z, Z)[k]
        C[np.arange(n), np.arange(n)] += JITTER + draws.nuggets[k] / data.counts
        C[np.arange(n, m), np.arange(n, m)] += JITTER
        first, one = np.linalg.inv(C[:n, :n]), np.ones(n)
        level = (one @ first @ data.y) / (one @ first @ one)
        believed = level + C[n:, :n] @ first @ (data.y - level)
        y = np.append(data.y, believed)
        inverse, ones = np.linalg.inv(C), np.ones(m)
        c = draws.correlations(P, Z)[k]
        mean = level + c @ inverse @ (y - level)
        unsaid = 1 - c @ inverse @ ones
        share = 1 - np.einsum("ij,jk,ik->i", c, inverse, c) + unsaid**2 / (ones @ inverse @ ones)
        sd = np.sqrt(belief.s2[k] * share)
        own = level + draws.correlations(Z, Z)[k][:n, :n] @ first @ (data.y - level)
        best = min(own.min(), believed.min(initial=np.inf))
        u = (best - mean) / sd
        total += sd * (norm.pdf(u) + u * norm.cdf(u))
    assert h.scale > 0
    return np.log(total / draws.K)


def test_values_are_those_of_dense_algebra():
    belief, kriging = made()
    rng = np.random.default_rng(7)
    open_rows, X = rng.random((3, 5)), rng.random((6, 5))
    belief.watch(X)
    assert_allclose(belief.values(X), dense(belief, kriging, open_rows[:0], X), rtol=1e-6)
    belief.believe(open_rows)
    expected = dense(belief, kriging, open_rows, X)
    assert_allclose(belief.values(X), expected, rtol=1e-6)
    assert_allclose(belief.watched(np.ones(6, dtype=bool)), expected, rtol=1e-6)
    some = belief.watched(np.arange(6) < 2)
    assert_allclose(some[:2], expected[:2], rtol=1e-6)
    assert np.isneginf(some[2:]).all()


@pytest.mark.parametrize("kind", [{}, {"heard": True}, {"drift": True}], ids=str)
def test_gradients_are_those_of_the_values(kind):
    belief, _ = made(**kind)
    rng = np.random.default_rng(8)
    belief.believe(rng.random((2, 5)))
    X = 0.05 + 0.9 * rng.random((4, 5))
    values, slopes = belief.gradient(X)
    assert_allclose(values, belief.values(X), rtol=1e-10)
    for j in range(5):
        step = 1e-5 * (np.arange(5) == j)
        numeric = (belief.values(X + step) - belief.values(X - step)) / 2e-5
        assert_allclose(slopes[:, j], numeric, rtol=1e-5, atol=1e-6 * np.abs(slopes).max())


def test_what_was_heard_of_stopped_trainings_is_kept():
    """A training that was stopped early is believed to have a value; every draw passes it."""
    belief, kriging = made(heard=True)
    X = kriging.Z[-2:] * kriging.columns + CENTRE
    mean = kriging.hyperparameters.offset + kriging.hyperparameters.scale * belief.mean(X)
    assert_allclose(mean, [3.0, 4.0], atol=1e-4)


def test_a_copy_keeps_what_was_expected_before_the_batch():
    belief, _ = made()
    X = np.random.default_rng(9).random((5, 5))
    mean, sd = belief.predict(X)
    again, _ = made()
    again.believe(X)
    after_mean, after_sd = again.predict(X)
    assert_allclose(after_mean, mean, rtol=1e-6)  # believed at their own means
    assert (after_sd < sd).all()


def test_expected_values_cover_what_comes():
    """Of a smooth function, 95 % intervals for points drawn by chance hold for most."""
    rng, inside = np.random.default_rng(3), []
    for _ in range(6):
        X = rng.random((16, 3))
        y = np.sin(4 * X).sum(axis=1) + 0.1 * rng.standard_normal(16)
        kriging = Kriging().fit(X, y, np.arange(3), rng)
        draws = sample(kriging.data, np.arange(3), kriging.theta, Hyperprior(), rng)
        new = rng.random((60, 3))
        mean, sd = Averaged(kriging, draws, None, rng).predict(new)
        truth = np.sin(4 * new).sum(axis=1) + 0.1 * rng.standard_normal(60)
        inside.append(np.abs(truth - mean) < 1.96 * sd)
    assert 0.88 < np.mean(inside) < 1.0


def proposal(criterion, n=12, q=6, scale=1.0, shift=0.0):
    rng = np.random.default_rng(1)
    X = SPACE.snap(rng.random((n, 3)))
    y = scale * f(X) + shift
    posterior = Kriging().fit(SPACE.features(X), y, SPACE.groups, rng)
    asked = Request(SPACE, q, X, X[:0], frozenset(SPACE.row_keys(X)))
    return criterion.propose(posterior, asked, np.random.default_rng(5))


def test_units_of_the_objective_do_not_matter():
    one, other = proposal(AveragedEI()), proposal(AveragedEI(), scale=1e6, shift=-3e7)
    assert_allclose(one.rows, other.rows, atol=1e-6)
    assert_allclose(1e6 * one.mean - 3e7, other.mean, rtol=1e-5)


def test_each_row_comes_with_what_is_expected_there():
    found = proposal(AveragedEI())
    assert isinstance(found, Proposal)
    assert found.rows.shape == (6, 3)
    assert found.mean.shape == found.sd.shape == (6,)
    assert (found.sd > 0).all()


def test_beyond_its_limit_log_ei_serves():
    plain = proposal(LogEI())
    assert_allclose(proposal(AveragedEI(until=11)), plain, rtol=0)
    assert not np.allclose(proposal(AveragedEI(until=12)).rows, plain)


def test_trials_that_are_asked_one_by_one_alternate_too():
    assert isinstance(proposal(AveragedEI(), n=12, q=1), Proposal)
    assert_allclose(proposal(AveragedEI(), n=13, q=1), proposal(LogEI(), n=13, q=1), rtol=0)
    assert isinstance(proposal(AveragedEI(alternate=False), n=13, q=1), Proposal)


def test_in_a_batch_each_believes_what_the_other_has_picked():
    rng = np.random.default_rng(0)
    one, _ = made()
    other, pool = copy(one), rng.random((50, 5))
    both = Alternating((one, other), 0)
    both.watch(pool)
    before = both.watched(np.ones(50, dtype=bool))
    assert both.next is one
    both.believe(pool[:1])
    assert both.next is other
    assert len(one.rows[0]) == len(other.rows[0])  # the picked point is a row of both
    after = both.watched(np.ones(50, dtype=bool))
    assert_allclose(after, other.values(pool), atol=1e-8)
    assert not np.allclose(before, after)
