"""What every criterion promises, whatever it is given."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from sklearn.ensemble import RandomForestRegressor

from spot_dask import infill, plugins
from spot_dask.infill import Request
from spot_dask.infill.candidates import APART
from spot_dask.infill.constant_liar import ConstantLiar
from spot_dask.infill.log_nei import LogNEI
from spot_dask.infill.optimise import Search
from spot_dask.infill.ucb import UCB
from spot_dask.space import Categorical, Integer, Real, Space
from spot_dask.surrogates import completed
from spot_dask.surrogates.kriging import Kriging
from spot_dask.surrogates.sklearn import SklearnSurrogate

NAMES = plugins.names("spot_dask.infill", "propose")
LEVELS = Space(
    c=Categorical([f"l{i}" for i in range(20)], default="l0"),
    lr=Real(1e-4, 1.0, default=1e-2, scale="log").when(c=["l3", "l4"]),
    width=Integer(1, 500, default=16),
    layers=Integer(1, 3, default=1),
)


def cube(d):
    return Space({f"x{j}": Real(0.0, 1.0, default=0.5) for j in range(d)})


def bowl(X):
    return ((X - 0.3) ** 2).sum(axis=1) + 0.1 * np.sin(9 * X[:, 0])


def propose(criterion, space, X, y, q, pending=None, seed=0, surrogate=None):
    pending = np.empty((0, space.d)) if pending is None else pending
    rng = np.random.default_rng(0)
    posterior = completed.fit(surrogate or Kriging(), space.features(X), y, space.groups, rng)
    forbidden = frozenset(space.row_keys(np.vstack((X, pending))))
    asked = Request(space, q, X, pending, forbidden)
    found = infill.find(criterion).propose(posterior, asked, np.random.default_rng(seed))
    return infill.rows_of(found)


def check_new(space, known, batch, q):
    assert batch.shape == (q, space.d)
    assert_allclose(space.snap(batch), batch, rtol=0)
    keys = space.row_keys(np.vstack((known, batch)))
    assert len(set(keys[len(known) :])) == q
    assert not set(keys[len(known) :]) & set(keys[: len(known)])


def drawn(space, n, seed=0):
    return space.snap(np.random.default_rng(seed).random((n, space.d)))


DEGENERATE = {
    "one evaluation": (cube(2), lambda: drawn(cube(2), 1)),
    "one parameter": (cube(1), lambda: drawn(cube(1), 6)),
    "fifty parameters": (cube(50), lambda: drawn(cube(50), 12)),
    "levels": (LEVELS, lambda: drawn(LEVELS, 12)),
    "near-duplicates": (
        cube(3),
        lambda: np.clip(np.repeat(drawn(cube(3), 3), 5, axis=0) + 1e-9 * np.eye(15, 3), 0, 1),
    ),
    "replicates": (cube(3), lambda: np.repeat(drawn(cube(3), 4), 4, axis=0)),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", DEGENERATE)
def test_whatever_is_known_a_batch_is_new(name, case):
    space, rows = DEGENERATE[case]
    X = rows()
    check_new(space, X, propose(name, space, X, bowl(X), 3, drawn(space, 1, 5)), 3)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("level", [0.0, 3.0, 1e12, -1e-12])
def test_where_all_values_are_equal_a_batch_is_new(name, level):
    space = cube(2)
    X = drawn(space, 6)
    check_new(space, X, propose(name, space, X, np.full(6, level), 4), 4)


@pytest.mark.parametrize("name", NAMES)
def test_a_criterion_serves_surrogates_without_a_joint_distribution(name):
    forest = SklearnSurrogate(RandomForestRegressor(10))
    X = drawn(LEVELS, 12)
    check_new(LEVELS, X, propose(name, LEVELS, X, bowl(X), 3, surrogate=forest), 3)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_question_has_the_same_answer(name):
    X = drawn(LEVELS, 15)
    one, same = (propose(name, LEVELS, X, bowl(X), 3) for _ in range(2))
    assert_allclose(one, same, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_a_finite_space_is_exhausted(name):
    space = Space(a=Categorical(["x", "y", "z"], default="x"), b=Integer(0, 3, default=0))
    X = space.grid()[[0, 5]]
    batch = propose(name, space, X, bowl(X), 20)
    check_new(space, X, batch, 10)
    known = np.vstack((X, batch))
    assert propose(name, space, known, bowl(known), 3).shape == (0, 2)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), q=st.integers(1, 4), pending=st.integers(0, 6))
def test_what_is_pending_is_never_proposed_again(seed, q, pending):
    X, running = drawn(LEVELS, 10, seed), drawn(LEVELS, pending, seed + 1)
    batch = propose("log_nei", LEVELS, X, bowl(X), q, running, seed)
    check_new(LEVELS, np.vstack((X, running)), batch, q)


@settings(max_examples=10, deadline=None)
@given(scale=st.floats(1e-6, 1e6), shift=st.floats(-1e3, 1e3))
def test_the_units_of_the_objective_do_not_matter(scale, shift):
    space = cube(3)
    X = drawn(space, 20)
    y = bowl(X)
    one = propose("log_nei", space, X, y, 3)
    other = propose("log_nei", space, X, scale * (y + shift), 3)
    assert_allclose(one, other, atol=0.02)


def test_the_order_of_the_evaluations_does_not_matter():
    space = cube(3)
    X = drawn(space, 20)
    order = np.random.default_rng(3).permutation(20)
    one = propose("log_nei", space, X, bowl(X), 3)
    other = propose("log_nei", space, X[order], bowl(X[order]), 3)
    assert_allclose(one, other, atol=0.02)


def test_a_batch_keeps_its_distance_where_the_model_is_certain():
    space = cube(1)
    X = drawn(space, 30)
    batch = propose("log_nei", space, X, X[:, 0], 8, surrogate=Kriging(deterministic=True))
    rows = np.vstack((X, batch))
    gaps = np.abs(rows[:, None] - rows[None]).max(axis=2) + np.eye(len(rows))
    assert gaps[30:].min() >= APART


def test_a_large_batch_is_picked_from_the_pool():
    space = cube(5)
    X = drawn(space, 30)
    search = Search(candidates=256, starts=2, evaluations=5)
    check_new(space, X, propose(LogNEI(16, search), space, X, bowl(X), 200), 200)


def test_wide_integers_are_climbed_and_snapped():
    space = Space(a=Integer(0, 1000, default=0), b=Integer(0, 1000, default=0))
    X = drawn(space, 25)
    y = ((X - 0.4321) ** 2).sum(axis=1)
    row = propose("log_nei", space, X, y, 1, surrogate=Kriging(deterministic=True))
    assert_allclose(row[0], 0.4321, atol=0.02)


def test_a_low_lie_keeps_a_batch_together_and_a_high_one_spreads_it():
    space = cube(2)
    X = drawn(space, 12, seed=1)
    y = ((X - 0.3) ** 2).sum(axis=1)

    def spread(lie):
        batch = propose(ConstantLiar(lie), space, X, y, 4)
        return float(np.linalg.norm(batch[:, None] - batch, axis=2).mean())

    assert spread("min") < 0.8 * spread("max")
    with pytest.raises(ValueError, match="expected one of min, mean, max"):
        ConstantLiar("luckiest")


def test_the_first_point_of_a_liar_is_that_of_a_believer():
    space = cube(2)
    X = drawn(space, 12)
    batches = [propose(name, space, X, bowl(X), 1) for name in ("constant_liar", "log_ei")]
    assert_allclose(*batches, atol=0.01)


def test_exploring_goes_where_least_is_known_among_what_may_be_best():
    space = cube(1)
    X = space.snap(np.array([[0.0], [0.1], [0.2], [0.3], [0.4], [1.0]]))
    y = np.zeros(6)
    batch = propose(UCB(explore=0.5), space, X, y, 2, surrogate=Kriging(deterministic=True))
    assert (batch > 0.45).all()
    for wrong in ({"beta": -1.0}, {"explore": 1.0}):
        with pytest.raises(ValueError, match="expected"):
            UCB(**wrong)


def test_log_nei_beats_random_search_on_styblinski_tang_in_ten_dimensions():
    space, budget = cube(10), 80

    def f(X):
        z = 10 * X - 5
        return 0.5 * (z**4 - 16 * z**2 + 5 * z).sum(axis=1)

    X = drawn(space, 16)
    while len(X) < budget:
        X = np.vstack((X, propose("log_nei", space, X, f(X), 8)))
    chance = [f(drawn(space, budget, seed)).min() for seed in range(20)]
    assert f(X).min() < min(chance)


@pytest.mark.parametrize(
    ("propose", "message"),
    [
        (None, "has no method propose"),
        (lambda posterior, request: None, r"does not take \(posterior, request, rng\)"),
        (lambda posterior, request, rng: 1 / 0, "propose raises ZeroDivisionError"),
        (lambda posterior, request, rng: None, r"returns shape \(\); expected \(2, 2\)"),
        (lambda posterior, request, rng: np.zeros((3, 2)), r"returns shape \(3, 2\)"),
        (lambda posterior, request, rng: np.full((2, 2), np.nan), "outside the unit cube"),
        (lambda posterior, request, rng: np.full((2, 2), 7.0), "outside the unit cube"),
    ],
)
def test_what_is_wrong_with_a_criterion_is_named(propose, message):
    with pytest.raises(ValueError, match=message):
        infill.check(SimpleNamespace(propose=propose))


def test_a_criterion_that_serves_passes():
    infill.check("log_nei")
    infill.check(SimpleNamespace(propose=lambda posterior, request, rng: request.space.grid()[:2]))
