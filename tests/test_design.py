"""Initial designs: what comes first, how well the space is filled, and that nothing comes twice."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist, pdist

from spot_dask.settings import Design
from spot_dask.space import Categorical, Integer, Real, Space
from spot_dask.tuner.design import initial_design, space_filling


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture
def space() -> Space:
    return Space(
        lr=Real(1e-4, 1.0, default=1e-2, scale="log"),
        width=Integer(16, 128, default=64, scale="power2"),
        opt=Categorical(["sgd", "adam", "rmsprop"], default="adam"),
        momentum=Real(0, 0.99, default=0.9).when(opt="sgd"),
        flag=Categorical([False, True], default=True),
    )


def texts(configs: Any) -> list[str]:
    return [json.dumps(c) for c in configs]


KINDS = pytest.mark.parametrize("kind", ["lhs", "sobol"])


@KINDS
def test_the_default_comes_first_then_the_users_configurations(space: Space, kind: Any) -> None:
    start = [{"opt": "sgd"}, {"lr": 0.5}, {"opt": "sgd", "momentum": 0.9}, space.default]
    configs = initial_design(space, Design(kind), start, rng())
    assert configs[0] == space.default
    assert configs[1:3] == [space.validate(start[0]), space.validate(start[1])]
    assert len(configs) == 8
    assert len(set(texts(configs))) == 8


@KINDS
@pytest.mark.parametrize("n", [1, 2, 3, 7, 13, 64])
def test_exactly_as_many_configurations_as_asked_for(space: Space, kind: Any, n: int) -> None:
    configs = initial_design(space, Design(kind, initial=n), [], rng())
    assert len(set(texts(configs))) == len(configs) == n
    assert [space.validate(c) for c in configs] == configs


def test_a_design_never_drops_a_start_configuration(space: Space) -> None:
    start = [{"width": w} for w in (16, 32, 128)]
    configs = initial_design(space, Design(initial=2), start, rng())
    assert [c["width"] for c in configs] == [64, 16, 32, 128]


def test_the_size_grows_with_the_number_of_free_parameters(space: Space) -> None:
    assert Design().size(space) == 8
    assert Design().size(Space({f"x{i}": Real(0, 1, default=0.5) for i in range(25)})) == 13
    assert Design(initial=3).size(space) == 3


@KINDS
def test_a_design_repeats_with_its_seed(space: Space, kind: Any) -> None:
    one, same, other = (
        texts(initial_design(space, Design(kind), [], rng(seed))) for seed in (1, 1, 2)
    )
    assert one == same
    assert one != other


@KINDS
def test_a_finite_space_ends_when_it_is_exhausted(kind: Any) -> None:
    space = Space(
        a=Integer(1, 3, default=2),
        b=Categorical(["x", "y"], default="y"),
        c=Categorical([False, True], default=False).when(b="x"),
    )
    configs = initial_design(space, Design(kind, initial=50), [{"a": 3}], rng())
    assert len(configs) == space.size == 9
    assert len(set(texts(configs))) == 9
    assert configs[1]["a"] == 3
    fixed = space.fix(a=1, b="y")
    assert initial_design(fixed, Design(kind), [], rng()) == [{"a": 1, "b": "y"}]


@pytest.mark.parametrize("n", [4, 9, 10, 20])
def test_a_latin_hypercube_meets_every_stratum_and_balances_every_factor(n: int) -> None:
    space = Space(
        x=Real(0, 1, default=0.5),
        y=Real(1e-3, 1, default=0.1, scale="log"),
        k=Integer(1, 3, default=2),
        f=Categorical(list("abcd"), default="a"),
        g=Categorical([False, True], default=False),
    )
    for seed in range(5):
        configs = initial_design(space, Design(initial=n + 1), [], rng(seed))[1:]
        X = space.encode(configs)
        for j in (0, 1):
            assert sorted(np.floor(X[:, j] * n).astype(int)) == list(range(n))
        for name, levels in (("k", (1, 2, 3)), ("f", "abcd"), ("g", (False, True))):
            values = [c[name] for c in configs]
            counts = [values.count(level) for level in levels]
            assert max(counts) - min(counts) <= 1


def test_an_optimised_latin_hypercube_is_farther_apart_than_a_random_one(space: Space) -> None:
    reals = Space({f"x{i}": Real(0, 1, default=0.5) for i in range(3)})
    random, optimised = [], []
    for seed in range(20):
        ranks = rng(seed).permuted(np.tile(np.arange(15)[:, None], (1, 3)), axis=0)
        random.append(pdist((ranks + rng(seed).random((15, 3))) / 15).min())
        X = reals.encode(initial_design(reals, Design(initial=16), [], rng(seed)))
        optimised.append(min(pdist(X[1:]).min(), cdist(X[:1], X[1:]).min()))
    assert np.mean(optimised) > 1.5 * np.mean(random)


def test_the_sobol_sequence_is_more_even_than_random_points() -> None:
    space = Space(x=Real(0, 1, default=0.5), y=Real(0, 1, default=0.5))
    X = space.encode(initial_design(space, Design("sobol", initial=65), [], rng())[1:])
    cells = np.floor(X * 8).astype(int)
    # 64 points of a (0, 6, 2)-net: one in each of the 8 x 8 squares.
    assert len({tuple(cell) for cell in cells}) == 64


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 12), st.integers(0, 12))
def test_space_filling_rows_are_new_distinct_and_snapped(seed: int, n: int, k: int) -> None:
    space = Space(
        a=Integer(1, 4, default=1),
        b=Categorical(["x", "y", "z"], default="x"),
        c=Integer(1, 3, default=2).when(b="y"),
    )
    known = space.snap(rng(seed).random((k, space.d)))
    new = space_filling(space, n, known, rng(seed))
    keys, taken = space.row_keys(new), set(space.row_keys(known))
    assert new.tobytes() == space.snap(new).tobytes()
    assert len(set(keys)) == len(keys) == min(n, space.size - len(taken))
    assert not taken & set(keys)


def test_space_filling_finds_the_last_configurations_of_a_large_finite_space() -> None:
    space = Space(a=Integer(1, 100, default=1), b=Integer(1, 100, default=1))
    grid = space.grid()
    new = space_filling(space, 5, grid[3:], rng())
    assert sorted(space.row_keys(new)) == sorted(space.row_keys(grid[:3]))


def test_space_filling_keeps_far_from_what_is_known() -> None:
    space = Space(x=Real(0, 1, default=0.5), y=Real(0, 1, default=0.5))
    known = space.snap(rng().random((50, 2)) * [0.5, 1.0])
    new = space_filling(space, 5, known, rng())
    drawn = cdist(rng(1).random((1000, 2)), known).min(axis=1)
    assert cdist(new[:1], known).min() > np.quantile(drawn, 0.95)
    assert pdist(new).min() > 0.15
    assert len(space_filling(space, 3, np.empty((0, 2)), rng())) == 3
    assert len(space_filling(space, 2000, known, rng())) == 2000


def test_space_filling_counts_a_distance_by_the_chances_of_success() -> None:
    space = Space(x=Real(0, 1, default=0.5), y=Real(0, 1, default=0.5))
    known = space.snap(rng().random((20, 2)) * [0.5, 1.0])
    new = space_filling(space, 5, known, rng(), lambda X: (X[:, 0] < 0.5).astype(float))
    assert (space_filling(space, 1, known, rng())[:, 0] > 0.5).all()
    assert (new[:, 0] < 0.5).all()
    assert pdist(new).min() > 0.1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "lhd"}, "design.kind is 'lhd'; expected 'lhs' or 'sobol'; did you mean 'lhs'"),
        ({"initial": 0}, "design.initial is 0; expected a whole number, at least 1"),
        ({"initial": 2.5}, "design.initial is 2.5"),
        ({"replicates": None}, "design.replicates is None"),
        ({"replicates": True}, "design.replicates is True"),
    ],
)
def test_a_wrong_design_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Design(**settings)


def test_a_wrong_start_configuration_is_refused_naming_it(space: Space) -> None:
    with pytest.raises(ValueError, match=r"start configuration 1: opt: 'sdg' .* 'sgd'"):
        initial_design(space, Design(), [{}, {"opt": "sdg"}], rng())
