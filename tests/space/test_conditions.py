"""Conditions: which parameters are active, and how many configurations that makes."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sizes import size
from space_strategies import example, few_values, rows, spaces, spaces_and_rows, text

from spot_dask.space import Categorical, Integer, Real, Space


@pytest.fixture
def space() -> Space:
    return example()


@settings(max_examples=size(60, 200), deadline=None)
@given(spaces_and_rows())
def test_inactive_parameters_never_appear_in_a_configuration(drawn: Any) -> None:
    space, X = drawn
    for config in space.decode(X):
        for name, parameter in space.parameters.items():
            met = all(
                parent in config and text(config[parent]) in [text(v) for v in values]
                for parent, values in parameter.conditions
            )
            # Values of a condition on a Real are rounded like the Real's own.
            if not any(isinstance(space.parameters[p], Real) for p, _ in parameter.conditions):
                assert (name in config) == met
            elif name in config:
                assert all(parent in config for parent, _ in parameter.conditions)


def test_activity_passes_from_parents_to_children() -> None:
    space = Space(
        a=Categorical(["x", "y"], default="x"),
        b=Integer(1, 3, default=2).when(a="y"),
        c=Real(0, 1, default=0.5).when(b=(1, 2)),
    )
    assert space.default == {"a": "x"}
    assert space.validate({"b": 1, "c": 0.1}) == {"a": "x"}
    assert space.validate({"a": "y"}) == {"a": "y", "b": 2, "c": 0.5}
    assert space.validate({"a": "y", "b": 3, "c": 0.1}) == {"a": "y", "b": 3}
    assert space.active(space.encode([{"a": "y", "b": 3}])).tolist() == [[True, True, False]]


def test_all_conditions_must_hold() -> None:
    child = Real(0, 1, default=0).when(a=1, b=True)
    flag = Categorical([False, True], default=True)
    space = Space(a=Integer(0, 2, default=1), b=flag, c=child)
    assert "c" in space.default
    assert "c" not in space.validate({"a": 2})
    assert "c" not in space.validate({"b": False})


def test_a_condition_on_a_real_holds_at_its_canonical_value() -> None:
    space = Space(a=Real(0, 1, default=1 / 3), b=Real(0, 1, default=0).when(a=1 / 3))
    assert space.default == {"a": 0.3333333333, "b": 0.0}
    assert space.validate({"a": 0.4}) == {"a": 0.4}


def test_a_child_of_a_fixed_parent_is_always_or_never_there(space: Space) -> None:
    always, never = space.fix(opt="sgd"), space.fix(opt="adam")
    assert "momentum" in always.free
    assert "momentum" not in never.free
    assert "momentum" not in never.default
    assert always.features(always.encode([{}])).shape[1] == len(always.free)
    assert never.names == space.names
    contradictory = Space(
        a=Integer(0, 1, default=0),
        b=Integer(0, 1, default=0).when(a=0),
        c=Real(0, 1, default=0).when(b=1, a=1),
    )
    assert contradictory.free == ("a", "b")
    assert contradictory.size == 3


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ({"optt": "sgd"}, "b: condition on 'optt', which is no parameter; did you mean 'opt'"),
        ({"later": 1}, "b: condition on 'later', which is not declared before it"),
        ({"b": 1}, "b: condition on 'b', which is not declared before it"),
        ({"opt": "sdg"}, "b: condition on opt: 'sdg' .str. is not a level; .*'sgd'"),
        ({"opt": ("sgd", True)}, "b: condition on opt: True .bool. is not a level"),
    ],
)
def test_a_wrong_condition_is_refused(when: dict[str, Any], message: str) -> None:
    opt = Categorical(["sgd", "adam"], default="adam")
    later = Integer(0, 1, default=1)
    with pytest.raises(ValueError, match=message):
        Space(opt=opt, b=Real(0, 1, default=0).when(**when), later=later)


def test_a_condition_that_always_holds_is_none() -> None:
    space = Space(a=Integer(0, 1, default=0), b=Real(0, 1, default=0).when(a=(0, 1)))
    assert space.features(space.encode([{}])).tolist() == [[0.25, 0.0]]
    assert space.columns.tolist() == [0, 1]


def test_fixed_parameters_are_in_configurations_but_not_in_rows() -> None:
    space = Space(
        a=Real(2, 2, default=2),
        b=Categorical(["only"], default="only"),
        c=Integer(1, 9, default=4),
        d=Integer(1, 9, default=4),
    ).fix(d=7)
    assert space.free == ("c",)
    assert space.decode([[0.0]]) == [{"a": 2.0, "b": "only", "c": 1, "d": 7}]
    assert space.size == 9
    with pytest.raises(ValueError, match="d: 4 given, but fixed at 7"):
        space.validate({"d": 4})
    everything = space.fix(c=3)
    assert everything.d == 0
    assert everything.size == 1
    assert everything.decode(everything.grid()) == [{"a": 2.0, "b": "only", "c": 3, "d": 7}]


@settings(deadline=None)
@given(spaces_and_rows())
def test_keys_are_equal_exactly_if_the_configurations_are(drawn: Any) -> None:
    space, X = drawn
    X = space.snap(np.vstack([X, X[:2], np.random.default_rng(1).random((8, space.d))]))
    texts, keys = [text(c) for c in space.decode(X)], space.row_keys(X)
    for (text_a, key_a), (text_b, key_b) in itertools.combinations(
        zip(texts, keys, strict=True), 2
    ):
        assert (text_a == text_b) == (key_a == key_b)


def test_inactive_columns_do_not_matter_to_keys_and_features(space: Space) -> None:
    X = np.repeat(space.encode([{"opt": "adam"}, {"opt": "sgd"}]), 2, axis=0)
    X[1::2, space.free.index("momentum")] = 0.123
    keys, features = space.row_keys(X), space.features(X)
    assert keys[0] == keys[1]
    assert keys[2] != keys[3]
    assert features[0].tobytes() == features[1].tobytes()
    assert (features[2] != features[3]).any()


@settings(max_examples=size(40, 150), deadline=None)
@given(spaces(of=few_values, most=5))
def test_size_and_grid_count_every_distinct_configuration_once(space: Space) -> None:
    choices = [np.arange(p.size) for p in space.parameters.values() if not p.fixed]
    free = [n for n, p in space.parameters.items() if not p.fixed]
    every = {
        text(
            space.validate(
                {n: space.parameters[n].value(c) for n, c in zip(free, codes, strict=True)}
            )
        )
        for codes in itertools.product(*choices)
    }
    assert space.size == len(every)
    grid = space.grid()
    assert grid.shape == (len(every), space.d)
    assert {text(c) for c in space.decode(grid)} == every
    assert grid.tobytes() == space.snap(grid).tobytes()


def test_a_space_with_a_free_real_is_infinite_and_has_no_grid(space: Space) -> None:
    assert space.size == math.inf
    with pytest.raises(ValueError, match="inf configurations, a grid at most 100000"):
        space.grid()
    assert Space(a=Real(0, 1, default=0)).fix(a=0.5).size == 1
    assert Space(**{f"k{i}": Integer(1, 10**12, default=1) for i in range(50)}).size == 10**600


@settings(max_examples=size(40, 150), deadline=None)
@given(st.data(), spaces(of=few_values, most=4))
def test_neighbours_are_all_configurations_that_differ_in_one_discrete_parameter(
    data: st.DataObject, space: Space
) -> None:
    config = space.decode(data.draw(rows(space, 1)))[0]
    expected = [
        text(space.validate({**config, name: parameter.value(code)}))
        for name, parameter in space.parameters.items()
        if name in config and not parameter.fixed
        for code in range(int(parameter.size))
        if text(parameter.value(code)) != text(config[name])
    ]
    found = space.neighbours(space.encode([config])[0])
    assert sorted(text(c) for c in space.decode(found)) == sorted(expected)
    assert found.tobytes() == space.snap(found).tobytes()


def test_integers_of_many_values_have_a_few_neighbours(space: Space) -> None:
    many = Space(k=Integer(1, 1000, default=500))
    values = [c["k"] for c in many.decode(many.neighbours(many.encode([{}])[0]))]
    assert {499, 501} <= set(values)
    assert 500 not in values
    assert len(values) == len(set(values)) <= 12
    assert min(values) < 100
    assert max(values) > 900
    assert len(many.neighbours(many.encode([{"k": 1}])[0])) == len(values) - 1
    assert Space(x=Real(0, 1, default=0)).neighbours(np.array([0.3])).shape == (0, 1)


def test_an_activated_child_takes_its_default(space: Space) -> None:
    found = space.decode(space.neighbours(space.encode([{"opt": "adam"}])[0]))
    activated = [c for c in found if c["opt"] == "sgd"]
    assert [(c["momentum"], c["nesterov"]) for c in activated] == [(0.9, True)]
