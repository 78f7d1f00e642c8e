"""Batches of proposals: new, distinct, snapped, and as good as a search can make them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from sizes import size
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression

from spot_dask.infill import Request
from spot_dask.infill.candidates import APART, KnownRows, make_pool
from spot_dask.infill.fantasies import belief
from spot_dask.infill.log_ei import LogEI, log_expected_improvement
from spot_dask.infill.optimise import CROWD, FEW, Search, greedy, maximise
from spot_dask.space import Categorical, Integer, Real, Space
from spot_dask.surrogates import completed
from spot_dask.surrogates.kriging import Kriging
from spot_dask.surrogates.sklearn import SklearnSurrogate

MIXED = Space(
    lr=Real(1e-4, 1.0, default=1e-2, scale="log"),
    width=Integer(4, 64, default=16),
    opt=Categorical(["sgd", "adam", "rms"], default="sgd"),
    momentum=Real(0.0, 0.99, default=0.9).when(opt="sgd"),
    layers=Integer(1, 3, default=1),
    nesterov=Categorical([False, True], default=False).when(opt="sgd"),
)


def cube(d):
    return Space({f"x{j}": Real(0.0, 1.0, default=0.5) for j in range(d)})


def branin(X):
    a, b = 15 * X[:, 0] - 5, 15 * X[:, 1]
    curve = b - 5.1 / (4 * np.pi**2) * a**2 + 5 / np.pi * a - 6
    return curve**2 + 10 * (1 - 1 / (8 * np.pi)) * np.cos(a) + 10


def styblinski_tang(X):
    z = 10 * X - 5
    return 0.5 * (z**4 - 16 * z**2 + 5 * z).sum(axis=1)


def fitted(space, f, n, seed=0, surrogate=None):
    rng = np.random.default_rng(seed)
    X = space.snap(rng.random((n, space.d)))
    surrogate = surrogate or Kriging()
    return X, completed.fit(surrogate, space.features(X), f(X), space.groups, rng)


def request(space, X, q=1, pending=None, forbidden=()):
    pending = np.empty((0, space.d)) if pending is None else pending
    return Request(space, q, X, pending, frozenset(forbidden))


def believed(posterior, asked, samples=1):
    """The criterion of a batch's first point."""
    means, _ = posterior.predict(asked.space.features(asked.evaluated))
    rng = np.random.default_rng(0)
    return belief(log_expected_improvement, posterior, asked, means, samples, rng)


def loop(space, f, evaluations, q, seed, surrogate):
    rng = np.random.default_rng(seed)
    X = space.snap(rng.random((8, space.d)))
    while len(X) < evaluations:
        posterior = completed.fit(surrogate, space.features(X), f(X), space.groups, rng)
        X = np.vstack((X, LogEI().propose(posterior, request(space, X, q), rng)))
    return f(X)


def smooth(X):
    return (X - 0.3).sum(axis=1) ** 2 + np.sin(3 * X[:, 0])


def test_a_batch_is_distinct_new_and_snapped():
    space = cube(2)
    X, posterior = fitted(space, branin, 15)
    batch = LogEI().propose(posterior, request(space, X, 8), np.random.default_rng(0))
    assert batch.shape == (8, 2)
    assert_allclose(space.snap(batch), batch, rtol=0)
    rows = np.vstack((X, batch))
    gaps = np.abs(rows[:, None] - rows[None]).max(axis=2) + np.eye(len(rows))
    assert gaps[15:].min() >= APART


def test_a_batch_keeps_its_distance_where_the_model_is_certain():
    space = cube(1)
    X, posterior = fitted(space, lambda X: X[:, 0], 30, surrogate=Kriging(deterministic=True))
    batch = LogEI().propose(posterior, request(space, X, 8), np.random.default_rng(0))
    rows = np.vstack((X, batch))
    gaps = np.abs(rows[:, None] - rows[None]).max(axis=2) + np.eye(len(rows))
    assert len(batch) == 8
    assert gaps[30:].min() >= APART


def test_proposals_are_repeatable():
    X, posterior = fitted(MIXED, smooth, 12)
    one, same = (
        LogEI().propose(posterior, request(MIXED, X, 4), np.random.default_rng(5)) for _ in range(2)
    )
    assert_allclose(one, same, rtol=0)


@settings(max_examples=size(6, 15), deadline=None)
@given(seed=st.integers(0, 10_000), q=st.integers(1, 4), pending=st.integers(0, 6))
def test_nothing_known_pending_or_forbidden_is_proposed(seed, q, pending):
    rng = np.random.default_rng(seed)
    X, posterior = fitted(MIXED, smooth, 10, seed)
    running = MIXED.snap(rng.random((pending, MIXED.d)))
    free = LogEI().propose(posterior, request(MIXED, X, q, running), np.random.default_rng(seed))
    banned = MIXED.row_keys(free)
    asked = request(MIXED, X, q, running, banned)
    batch = LogEI().propose(posterior, asked, np.random.default_rng(seed))
    keys = MIXED.row_keys(batch)
    assert len(keys) == len(set(keys)) == q
    assert not set(keys) & {*MIXED.row_keys(X), *MIXED.row_keys(running), *banned}


def test_where_a_trial_is_pending_little_is_left_to_gain():
    space = cube(2)
    X, posterior = fitted(space, branin, 20)
    first = LogEI().propose(posterior, request(space, X), np.random.default_rng(0))
    second = LogEI().propose(posterior, request(space, X, 1, first), np.random.default_rng(0))
    assert np.abs(first - second).max() > 0.01


def test_a_batch_is_what_asking_one_by_one_gives():
    space = Space(
        a=Categorical(["x", "y", "z"], default="x"), b=Integer(0, 30, default=3)
    )  # finite: the pool is everything, so that chance has no part
    X, posterior = fitted(space, smooth, 8)
    batch = LogEI().propose(posterior, request(space, X, 4), np.random.default_rng(0))
    single = np.empty((0, 2))
    for _ in range(4):
        asked = request(space, X, 1, single)
        single = np.vstack((single, LogEI().propose(posterior, asked, np.random.default_rng(1))))
    assert_allclose(batch, single)


@pytest.mark.parametrize(("pending", "improved"), [(CROWD, 12), (CROWD + 1, FEW)])
def test_beside_very_many_pending_trials_only_the_first_points_are_improved(pending, improved):
    space = cube(2)
    X, posterior = fitted(space, branin, 20)
    looks = []  # at so many candidates each; the pool is looked at once before every point

    def score(mean, sd, best):
        looks.append(len(mean))
        return log_expected_improvement(mean, sd, best)

    open_ = space.snap(np.random.default_rng(1).random((pending, 2)))
    rows = greedy(score, posterior, request(space, X, 12, open_), np.random.default_rng(0))
    pools = [i for i, size in enumerate(looks) if size > 500]
    more = np.diff([*pools, len(looks)])
    assert len(rows) == 12
    assert np.count_nonzero(more > 1) == improved


def test_a_finite_space_is_exhausted_and_then_nothing_is_proposed():
    space = Space(
        a=Categorical(["x", "y", "z"], default="x"), b=Integer(0, 3, default=0).when(a="x")
    )
    X, posterior = fitted(space, smooth, 2)
    asked = request(space, X, 20)
    batch = LogEI().propose(posterior, asked, np.random.default_rng(0))
    keys = space.row_keys(np.vstack((X, batch)))
    assert len(set(keys)) == space.size == 6
    done = request(space, np.vstack((X, batch)), 3)
    assert LogEI().propose(posterior, done, np.random.default_rng(0)).shape == (0, 2)


def test_the_best_configuration_of_a_finite_space_is_picked():
    space = Space(a=Integer(0, 40, default=0), b=Categorical(list("abcde"), default="a"))
    X, posterior = fitted(space, smooth, 10)
    row = LogEI().propose(posterior, request(space, X), np.random.default_rng(0))
    criterion = believed(posterior, request(space, X))
    new = KnownRows.of(request(space, X)).new(space.grid())
    winner = new[criterion.values(space.features(new)).argmax()]
    assert_allclose(row[0], winner, rtol=0)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("space", [cube(4), MIXED], ids=["cube", "mixed"])
def test_the_optimiser_is_at_least_as_good_as_the_best_of_many_random_points(space, seed):
    X, posterior = fitted(space, smooth, 25, seed)
    criterion = believed(posterior, request(space, X))
    row = LogEI().propose(posterior, request(space, X), np.random.default_rng(seed))
    many = space.snap(np.random.default_rng(99).random((30_000, space.d)))
    many = KnownRows.of(request(space, X)).new(many)
    found = criterion.values(space.features(row))[0]
    assert found >= criterion.values(space.features(many)).max() - 1e-6


@pytest.mark.parametrize("space", [cube(3), MIXED], ids=["cube", "mixed"])
def test_improving_never_ends_below_the_pool(space):
    X, posterior = fitted(space, smooth, 15)
    known = KnownRows.of(request(space, X))
    pool, complete = make_pool(known, X[:3], 200, np.random.default_rng(1))
    assert not complete
    criterion = believed(posterior, request(space, X), samples=16)
    values = criterion.values(space.features(pool))
    row = maximise(criterion, known, pool, values, Search(), np.random.default_rng(1))
    assert criterion.values(space.features(row[None]))[0] > values.max()


def test_proposals_in_a_space_with_conditions_are_its_configurations():
    X, posterior = fitted(MIXED, smooth, 20)
    batch = LogEI().propose(posterior, request(MIXED, X, 6), np.random.default_rng(0))
    configs = MIXED.decode(batch)
    assert [MIXED.validate(c) for c in configs] == configs
    assert_allclose(MIXED.encode(configs), batch, rtol=0)


def test_a_large_space_is_listed_when_chance_finds_nothing_new():
    space = Space(a=Integer(1, 200, default=1), b=Integer(1, 200, default=1))
    grid = space.grid()
    known = KnownRows(space, grid[:5], frozenset(space.row_keys(grid[:-2])))
    pool, complete = make_pool(known, grid[:5], 64, np.random.default_rng(0))
    assert complete
    assert_allclose(pool, grid[-2:])


def test_two_continuous_points_too_close_are_not_both_new_but_levels_are():
    space = Space(x=Real(0.0, 1.0, default=0.5), c=Categorical(["a", "b"], default="a"))
    X = space.snap(np.array([[0.5, 0.0]]))
    steps = np.array([[0.5 * APART, 0.0], [2 * APART, 0.0], [0.5 * APART, 0.5]])
    close = space.snap(X + steps)
    assert_allclose(KnownRows.of(request(space, X)).new(close), close[1:])


def test_without_anything_known_there_is_nothing_to_improve_on():
    space = cube(2)
    _, posterior = fitted(space, branin, 5)
    with pytest.raises(ValueError, match="initial design first"):
        greedy(
            log_expected_improvement,
            posterior,
            request(space, np.empty((0, 2))),
            np.random.default_rng(0),
        )


def test_kriging_with_log_ei_solves_branin():
    assert loop(cube(2), branin, 30, 4, 0, Kriging()).min() < 0.5


def test_kriging_with_log_ei_beats_random_search_on_styblinski_tang():
    found = [loop(cube(4), styblinski_tang, 60, 4, s, Kriging()).min() for s in range(4)]
    chance = [styblinski_tang(np.random.default_rng(s).random((60, 4))).min() for s in range(20)]
    assert np.mean(found) < np.quantile(chance, 0.1)


def test_a_random_forest_serves_in_the_same_loop():
    forest = SklearnSurrogate(RandomForestRegressor(n_estimators=20))
    values = loop(cube(2), branin, 30, 4, 0, forest)
    assert values.min() < 5.0


@pytest.mark.parametrize("regressor", [LinearRegression(), RandomForestRegressor(10)])
def test_where_everything_is_equal_the_farthest_point_is_proposed(regressor):
    space = cube(2)
    X, posterior = fitted(
        space, lambda X: np.ones(len(X)), 6, surrogate=SklearnSurrogate(regressor)
    )
    row = LogEI().propose(posterior, request(space, X), np.random.default_rng(0))
    probes = np.random.default_rng(1).random((2000, 2))
    gap = np.linalg.norm(row - X, axis=1).min()
    gaps = np.linalg.norm(probes[:, None] - X[None], axis=2).min(axis=1)
    assert gap > 0.98 * gaps.max()
