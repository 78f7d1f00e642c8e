"""Criteria under outcome constraints: the product, its gradient, batches, every built-in one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.special import log_ndtr
from scipy.stats import multivariate_normal, norm

from spot_dask import infill
from spot_dask.infill import Request, rows_of
from spot_dask.infill.constrained import Constrained, MetricLimit
from spot_dask.infill.fantasies import belief
from spot_dask.infill.feasible import Risk
from spot_dask.infill.log_ei import log_expected_improvement
from spot_dask.infill.optimise import greedy, leading, nothing_to_gain, weighed
from spot_dask.space import Categorical, Real, Space
from spot_dask.surrogates.feasibility import fit_feasibility
from spot_dask.surrogates.kriging import Kriging

SQUARE = Space(x=Real(0.0, 1.0, default=0.5), y=Real(0.0, 1.0, default=0.5))
NOTHING = np.empty((0, 2))
CRITERIA = ["log_ei", "averaged_ei", "log_nei", "ucb", "thompson", "constant_liar"]


def kriging(X, y):
    return Kriging().fit(X, y, SQUARE.groups, np.random.default_rng(0))


def cost(X):
    """The best is where x + y is largest, which constraints forbid."""
    return 2.0 - X.sum(axis=1) + 0.1 * np.sin(9 * X[:, 0])


def metrics(X):
    return X.sum(axis=1), X[:, 0] - 0.5 * X[:, 1]


def known(X, bound=1.0, second=-0.2):
    """Two constraints, x + y <= bound and x - y / 2 >= second, as learnt at rows X."""
    a, b = metrics(X)
    limits = (MetricLimit(kriging(X, a), 1.0, bound), MetricLimit(kriging(X, b), -1.0, second))
    return Constrained(limits, (a <= bound) & (b >= second))


def situation(n=16, seed=0, bound=1.0, pending=NOTHING, q=1):
    X = np.random.default_rng(seed).random((n, 2))
    limits = known(X, bound)
    asked = Request(SQUARE, q, X, pending, frozenset(), constrained=limits)
    return X, kriging(X, cost(X)), asked


def believed(posterior, asked, samples=1):
    """The criterion of the first point of a batch."""
    means, _ = posterior.predict(asked.incumbents)
    score = nothing_to_gain if asked.constrained.alone else log_expected_improvement
    rng = np.random.default_rng(0)
    return weighed(belief(score, posterior, asked, means, samples, rng), asked)


def log_chance(limits, X):
    """The sum of log Phi by the definition."""
    total = np.zeros(len(X))
    for limit in limits:
        mean, sd = limit.posterior.predict(X)
        total += norm.logcdf(limit.side * (limit.bound - mean) / sd)
    return total


def test_the_criterion_is_log_ei_plus_the_log_probabilities_of_all_constraints():
    _, posterior, asked = situation()
    assert 0 < asked.constrained.feasible.sum() < 16
    Q = np.random.default_rng(1).random((50, 2))
    mean, sd = posterior.predict(Q)
    best = posterior.predict(asked.evaluated[asked.constrained.feasible])[0].min()
    assert best > posterior.predict(asked.evaluated)[0].min()  # the best of all is forbidden
    for k in range(3):  # EI by its integral, not by its formula
        integral = quad(
            lambda f, k=k: (best - f) * norm.pdf(f, mean[k], sd[k]), mean[k] - 12 * sd[k], best
        )
        ei = log_expected_improvement(mean, sd, best)[0][k]
        if integral[0] > 1e-8:
            assert_allclose(np.log(integral[0]), ei, rtol=1e-4)
    expected = log_expected_improvement(mean, sd, best)[0] + log_chance(asked.constrained.limits, Q)
    criterion = believed(posterior, asked)
    assert_allclose(criterion.values(Q), expected, rtol=1e-9)
    criterion.watch(Q)
    which = np.arange(50) % 2 == 0
    assert_allclose(criterion.watched(which)[which], expected[which], rtol=1e-9)
    assert (criterion.watched(which)[~which] == -np.inf).all()


@pytest.mark.parametrize("bound", [1.0, -3.0])
@pytest.mark.parametrize("samples", [1, 16])
def test_its_gradient_is_that_of_differences(bound, samples):
    pending = np.array([[0.3, 0.3], [0.8, 0.7]])
    _, posterior, asked = situation(bound=bound, pending=pending, q=2)
    criterion = believed(posterior, asked, 1 if asked.constrained.alone else samples)
    Q, h = np.random.default_rng(2).random((20, 2)), 1e-6
    criterion.believe(np.array([[0.5, 0.1]]))
    values, gradient = criterion.gradient(Q)
    assert_allclose(values, criterion.values(Q), rtol=1e-9)
    for j, e in enumerate(np.eye(2) * h):
        slope = (criterion.values(Q + e) - criterion.values(Q - e)) / (2 * h)
        assert_allclose(gradient[:, j], slope, rtol=2e-4, atol=1e-3 * np.abs(slope).max())


def test_open_points_narrow_the_metrics_as_conditioning_on_their_means_does():
    pending = np.array([[0.2, 0.35], [0.9, 0.8]])
    _, posterior, asked = situation(pending=pending, q=2)
    criterion, x = believed(posterior, asked), np.array([[0.45, 0.2]])
    criterion.believe(x)
    Q = np.random.default_rng(3).random((30, 2))
    open_ = np.vstack((pending, x))
    limits = [
        replace(a, posterior=a.posterior.condition(open_, a.posterior.predict(open_)[0]))
        for a in asked.constrained.limits
    ]
    told = posterior.condition(open_, posterior.predict(open_)[0])
    mean, sd = told.predict(Q)
    # The pending point beyond the bound is no incumbent, whatever is expected of it.
    eligible = np.vstack((asked.evaluated[asked.constrained.feasible], pending[:1], x))
    best = posterior.predict(eligible)[0].min()
    assert posterior.predict(pending[1:])[0][0] < best
    expected = log_expected_improvement(mean, sd, best)[0] + log_chance(limits, Q)
    assert_allclose(criterion.values(Q), expected, rtol=1e-3)  # conditioning has some jitter
    after = asked.constrained.after(open_)
    assert_allclose(after.log_chance(Q), log_chance(limits, Q), rtol=1e-6)
    assert after.feasible.tolist() == [*asked.constrained.feasible, True, False, True]


def test_while_nothing_fulfils_them_the_probability_alone_counts_and_open_points_fail():
    _, posterior, asked = situation(n=10, bound=0.3, q=4)
    asked = replace(asked, constrained=replace(asked.constrained, feasible=np.zeros(10, bool)))
    criterion = believed(posterior, asked)
    Q = np.random.default_rng(4).random((40, 2))
    assert_allclose(criterion.values(Q), log_chance(asked.constrained.limits, Q), rtol=1e-9)
    x = np.array([[0.15, 0.2]])
    before = criterion.values(x)[0]
    criterion.believe(x)
    assert criterion.values(x + 0.01)[0] < before - 1.0
    assert_allclose(criterion.values(Q), asked.constrained.after(x).log_chance(Q), rtol=1e-3)
    assert not asked.constrained.after(x).likely(x)[0]


def test_a_metric_that_breaks_its_bound_is_believed_at_its_conditional_mean():
    limit = MetricLimit(kriging(np.random.default_rng(0).random((5, 2)), np.arange(5.0)), 1.0, 1.3)
    mean, sd = np.array([0.4, 2.0, 1.3]), np.array([0.7, 0.5, 1e-12])
    draws = mean[:2, None] + sd[:2, None] * np.random.default_rng(5).standard_normal((2, 400_000))
    for side, bound in ((1.0, 1.3), (-1.0, 0.9)):
        told = replace(limit, side=side, bound=bound)
        broken = side * (draws - bound) > 0
        seen = [d[b].mean() for d, b in zip(draws, broken, strict=True)]
        assert_allclose(told.beyond(mean, sd)[:2], seen, rtol=4e-3)


def test_a_batch_that_looks_for_feasibility_covers_more_than_the_likeliest_point_again():
    """P(any of the batch) by the joint normal law: more than by q points around the likeliest."""
    X = np.random.default_rng(7).random((12, 2))
    metric = np.sin(7 * X[:, 0]) * np.cos(6 * X[:, 1])
    limit = MetricLimit(kriging(X, metric), 1.0, -1.0)
    limits = Constrained((limit,), np.zeros(12, dtype=bool))
    asked = Request(SQUARE, 3, X, NOTHING, frozenset(), constrained=limits)
    posterior = kriging(X, cost(X))
    batch = greedy(log_expected_improvement, posterior, asked, np.random.default_rng(0))

    def any_of(rows):
        mean, covariance = limit.posterior.joint(rows)
        none = multivariate_normal(-mean, covariance + 1e-12 * np.eye(len(rows)), abseps=1e-8)
        return 1.0 - none.cdf(np.full(len(rows), 1.0))

    first = batch[:1]
    crowd = first + np.array([[0.0, 0.0], [0.003, 0.0], [0.0, 0.003]])
    alone = float(np.exp(limit.log_chance(first)[0]))
    assert 0.02 < alone < 0.6
    assert any_of(batch) > 1.5 * any_of(crowd)
    assert any_of(crowd) < 1.2 * alone


@pytest.mark.parametrize("name", CRITERIA)
def test_every_criterion_keeps_to_the_constraints(name):
    """Without them all crowd where x + y is largest; with them most keep to x + y <= 1."""
    _, posterior, asked = situation(n=20, q=6, pending=np.array([[0.5, 0.45]]))
    criterion = infill.find(name)
    free = replace(asked, constrained=None)
    wild = rows_of(criterion.propose(posterior, free, np.random.default_rng(0)))
    held = rows_of(criterion.propose(posterior, asked, np.random.default_rng(0)))
    assert len(held) == 6
    assert len(set(SQUARE.row_keys(held))) == 6
    a, b = metrics(held)
    assert ((a <= 1.02) & (b >= -0.22)).sum() >= 4
    assert (metrics(wild)[0] > 1.02).sum() >= 3


@pytest.mark.parametrize("name", CRITERIA)
def test_every_criterion_looks_for_feasibility_while_there_is_none(name):
    X, posterior, asked = situation(n=8, seed=3, bound=0.25, q=4)
    assert asked.constrained.alone
    held = rows_of(infill.find(name).propose(posterior, asked, np.random.default_rng(0)))
    assert len(held) == 4
    assert metrics(held)[0].min() <= 0.25
    assert np.median(metrics(held)[0]) < np.median(metrics(X)[0])


@pytest.mark.parametrize("name", CRITERIA)
def test_every_criterion_bears_failures_and_a_conditional_space_beside_constraints(name):
    space = Space(
        x=Real(0.0, 1.0, default=0.5),
        opt=Categorical(["sgd", "adam"], default="sgd"),
        momentum=Real(0.0, 1.0, default=0.5).when(opt="sgd"),
    )
    rng = np.random.default_rng(0)
    X = space.snap(rng.random((20, 3)))
    F = space.features(X)
    metric = X[:, 0]
    model = Kriging().fit(F, metric, space.groups, rng)
    limits = Constrained((MetricLimit(model, 1.0, 0.5),), metric <= 0.5)
    risk = Risk(fit_feasibility(F, X[:, 0] > 0.1, space.groups), 1.0)
    posterior = Kriging().fit(F, -X[:, 0], space.groups, rng)
    keys = frozenset(space.row_keys(X))
    asked = Request(space, 4, X, X[:0], keys, risk, constrained=limits)
    rows = rows_of(infill.find(name).propose(posterior, asked, np.random.default_rng(1)))
    assert len(rows) == 4
    assert (rows[:, 0] <= 0.55).sum() >= 3
    assert not keys & set(space.row_keys(rows))


def test_a_constant_metric_is_certain_on_both_sides():
    X = np.random.default_rng(0).random((6, 2))
    model = kriging(X, np.full(6, 3.0))
    for bound, sign in ((4.0, 1), (2.0, -1)):
        chance = MetricLimit(model, 1.0, bound).log_chance(X)
        assert np.isfinite(chance).all()
        assert ((chance > np.log(0.5)) == (sign > 0)).all()
    values, by_mean, by_sd = MetricLimit(model, 1.0, 3.0)(np.full(2, 3.0), np.zeros(2), X[:2, 0])
    assert_allclose(values, log_ndtr(0.0))
    assert np.isfinite([by_mean, by_sd]).all()


def test_candidates_lie_around_what_may_fulfil_the_constraints():
    X, posterior, asked = situation()
    means, _ = posterior.predict(X)
    rows = leading(X, means, asked)
    assert asked.constrained.feasible[[np.flatnonzero((r == X).all(axis=1))[0] for r in rows]].all()
    alone = replace(asked.constrained, feasible=np.zeros(16, bool))
    far = tuple(replace(limit, bound=limit.bound - 9.0 * limit.side) for limit in alone.limits)
    asked = replace(asked, constrained=replace(alone, limits=far))
    chance = asked.constrained.log_chance(X)
    assert_allclose(leading(X, means, asked)[0], X[chance.argmax()])
