"""Models of many evaluations: built on some of them, and as good as if on all."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.distance import cdist

from spot_dask.surrogates.kriging import Kriging, PointLimits
from spot_dask.surrogates.points import good_and_spread, good_near_and_spread
from spot_dask.surrogates.posterior import solve


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def data(rng, n, e=3, noise=0.1):
    X = rng.random((n, e))
    f = 10 * ((X - 0.4) ** 2).sum(axis=1) + np.sin(6 * X[:, 0])
    return X, f + noise * rng.standard_normal(n), np.arange(e)


@pytest.mark.parametrize("choose", [good_and_spread, good_near_and_spread])
def test_a_choice_is_distinct_in_order_and_holds_the_best(rng, choose):
    X, y, _ = data(rng, 200)
    for count in (1, 2, 7, 50, 199):
        chosen = choose(X, y, count)
        assert len(set(chosen)) == len(chosen) == count
        assert (np.diff(chosen) > 0).all()
        assert y.argmin() in chosen
    assert_allclose(choose(X, y, 200), np.arange(200), rtol=0)
    assert_allclose(choose(X, y, 999), np.arange(200), rtol=0)


@pytest.mark.parametrize("choose", [good_and_spread, good_near_and_spread])
def test_a_choice_does_not_depend_on_the_order_of_the_rows(rng, choose):
    X, y, _ = data(rng, 150)
    order = rng.permutation(150)
    assert set(choose(X, y, 40)) == set(order[choose(X[order], y[order], 40)])


def test_half_of_the_rows_to_learn_from_are_the_best_and_the_others_cover_the_space(rng):
    X, y, _ = data(rng, 600)
    chosen = good_and_spread(X, y, 100)
    assert set(np.argsort(y)[:50]) <= set(chosen)
    covered = cdist(X, X[chosen]).min(axis=1).max()
    assert covered < 0.6 * cdist(X, X[np.argsort(y)[:100]]).min(axis=1).max()


def test_all_rows_around_the_incumbent_are_held_whatever_their_value(rng):
    X, y, _ = data(rng, 600)
    chosen = good_near_and_spread(X, y, 150)
    near = np.argsort(((X - X[y.argmin()]) ** 2).sum(axis=1))[:9]
    assert set(near) <= set(chosen)
    assert set(np.argsort(y)[:50]) <= set(chosen)


def test_limits_that_leave_everything_in_change_nothing(rng):
    X, y, groups = data(rng, 60)
    Q = rng.random((9, 3))
    full = Kriging(starts=1).fit(X, y, groups, np.random.default_rng(0))
    loose = PointLimits(compare=1, screen=60, tune_all=1, tune=60, hold_all=1, hold=60)
    same = Kriging(starts=1, limits=loose).fit(X, y, groups, np.random.default_rng(0))
    assert_allclose(same.predict(Q), full.predict(Q), rtol=1e-12)
    assert_allclose(same.leave_one_out(), full.leave_one_out(), rtol=1e-12)


def test_what_is_held_is_conditioned_on_exactly_and_the_rest_not_at_all(rng):
    X, y, groups = data(rng, 80)
    p = Kriging(limits=PointLimits(hold_all=50, hold=40)).fit(X, y, groups, rng)
    assert len(p.Z) == len(p.held) == 40
    alone = solve(p.hyperparameters, p.data.rows(p.held), np.arange(40))
    Q = rng.random((9, 3))
    assert_allclose(alone.predict(Q), p.predict(Q), rtol=1e-9)
    assert_allclose(alone.log_likelihood, p.log_likelihood, rtol=1e-9)


def test_evaluations_that_are_not_held_are_left_out_already(rng):
    X, y, groups = data(rng, 80)
    p = Kriging(limits=PointLimits(hold_all=50, hold=40)).fit(X, y, groups, rng)
    means, sds = p.leave_one_out()
    assert means.shape == sds.shape == (80,)
    rest = np.setdiff1d(np.arange(80), p.held)
    mean, sd = p.predict(X[rest])
    assert_allclose(means[rest], mean, rtol=1e-12)
    assert_allclose(sds[rest] ** 2, sd**2 + p.nugget * p.variance, rtol=1e-9)
    inside = solve(p.hyperparameters, p.data.rows(p.held), np.arange(40)).leave_one_out()
    assert_allclose(np.array([means, sds])[:, p.held], inside, rtol=1e-9)


def test_starts_compared_on_a_few_points_find_the_same_optimum(rng):
    X, y, groups = data(rng, 260, e=5)
    few = Kriging().fit(X, y, groups, rng).hyperparameters
    exhaustive = Kriging(starts=4, limits=PointLimits(compare=1000)).fit(X, y, groups, rng)
    assert few.log_posterior > exhaustive.hyperparameters.log_posterior - 0.05


def test_five_thousand_evaluations_give_a_model_that_is_right_where_it_matters(rng):
    X, y, groups = data(rng, 5000)
    p = Kriging().fit(X, y, groups, rng)
    assert len(p.Z) == 1000
    Q = np.clip(0.4 + 0.1 * rng.standard_normal((200, 3)), 0, 1)
    truth = 10 * ((Q - 0.4) ** 2).sum(axis=1) + np.sin(6 * Q[:, 0])
    mean, sd = p.predict(Q)
    assert np.sqrt(np.mean((mean - truth) ** 2)) < 0.05
    assert np.mean(np.abs(mean - truth) < 3 * sd) > 0.9
    assert_allclose(np.sqrt(p.nugget * p.variance), 0.1, rtol=0.2)
