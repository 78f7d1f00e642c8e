"""Spaces as JSON, changed spaces, and configurations taken over from another space."""

from __future__ import annotations

import json
import math
import pickle
import random
from copy import copy
from typing import Any

import pytest
from hypothesis import given, settings
from space_strategies import example, spaces, spaces_and_rows, text

from spot_dask.space import Categorical, Integer, Real, Space


@pytest.fixture
def space() -> Space:
    return example()


@settings(deadline=None)
@given(spaces())
def test_a_space_survives_json_and_pickle(space: Space) -> None:
    again = Space.from_json(json.loads(json.dumps(space.to_json())))
    assert again == space
    assert again.hash == space.hash
    assert again.difference(space) == []
    assert text(again.default) == text(space.default)
    assert pickle.loads(pickle.dumps(space)) == space


def test_the_order_of_parameters_is_part_of_a_space() -> None:
    a, b = Real(0, 1, default=0), Integer(0, 1, default=0)
    here, there = Space(a=a, b=b), Space(b=b, a=a)
    assert here != there
    assert here.difference(there) == ["order: a, b here; b, a there"]
    # The order of a condition's values is not.
    opt = Categorical(["x", "y", "z"], default="x")
    assert Space(o=opt, a=a.when(o=["x", "y"])) == Space(o=opt, a=a.when(o=["y", "x"]))


def test_differences_are_named_one_a_line(space: Space) -> None:
    other = space.modify(lr={"high": 0.1}, opt={"levels": ["adam", "sgd", "rmsprop"]})
    assert space.difference(other) == [
        "lr: high 1.0 here, 0.1 there",
        "opt: levels ['sgd', 'adam', 'rmsprop'] here, ['adam', 'sgd', 'rmsprop'] there",
    ]
    assert Space(a=Real(0, 1, default=0)).difference(
        Space(a=Integer(0, 1, default=0), b=Integer(0, 1, default=0))
    ) == ["b: only there", "a: type 'real' here, 'integer' there"]
    assert Space(a=Integer(0, 1, default=1)).difference(Space(a=Integer(0, 1, default=1))) == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"format": "other"}, "format 'other' is not a space"),
        ([], "is not a space"),
        ({"format": "spot-dask/space/1"}, "no parameters"),
        ({"type": "rael", "low": 0}, "a: type 'rael' .* did you mean 'real'"),
        ({"type": "real", "low": 0}, "a: real needs high"),
        ({"type": "real", "low": 0, "high": 1, "default": 0, "hi": 1}, "a: real has no field 'hi'"),
        ({"type": "integer", "low": 0, "high": 1, "default": 0, "when": 3}, "a: when 3"),
    ],
)
def test_json_that_is_no_space_is_refused(data: Any, message: str) -> None:
    if "type" in data:
        data = {"format": "spot-dask/space/1", "parameters": [{"name": "a", **data}]}
    with pytest.raises(ValueError, match=message):
        Space.from_json(data)


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


WRONG = [
    None, True, -1, 3, 0.5, 5e-324, 1e300, math.nan, math.inf, -(10**13), 10**400, "", "a", "a\nb",
    "\ud800", "x" * 10**6, "__import__('os').getcwd()", [], {}, [1, 2], ["a", "a"], {"a": 1},
    {"lr": 0.01}, [*range(10**5 + 1)], nested(5), nested(900), {"opt": nested(900)},
]  # fmt: skip
HYPERDICT = {
    "units": {"type": "int", "default": 5, "transform": "None", "lower": 2, "upper": 9},
    "rate": {"type": "float", "default": 0.0, "transform": "None", "lower": -3, "upper": 1},
    "even": {"type": "int", "default": 2, "transform": "transform_multby2_int", "lower": 1,
             "upper": 3},
    "opt": {"type": "factor", "levels": ["a", "b"], "default": "a", "transform": "None",
            "core_model_parameter_type": "str", "lower": 0, "upper": 1},
}  # fmt: skip


def damaged(whole: Any, rng: random.Random) -> Any:
    """JSON with one value somewhere in it replaced by a wrong one, or left out."""
    if not isinstance(whole, dict | list) or not whole or rng.random() < 0.15:
        return rng.choice(WRONG)
    key = rng.choice(list(whole) if isinstance(whole, dict) else range(len(whole)))
    changed = copy(whole)
    if rng.random() < 0.1:
        del changed[key]
    else:
        changed[key] = damaged(whole[key], rng)
    return changed


@pytest.mark.parametrize(
    ("read", "whole"),
    [(Space.from_json, example().to_json()), (Space.from_hyperdict, HYPERDICT)],
)
def test_damaged_json_is_a_space_or_refused_in_one_short_line(read: Any, whole: Any) -> None:
    said = []
    for seed in range(1000):
        try:
            space = read(damaged(whole, random.Random(seed)))
        except ValueError as error:
            said.append(str(error))
        else:
            assert Space.from_json(space.to_json()) == space
    assert len(said) > 500
    assert all(message.isprintable() for message in said)
    assert max(map(len, said)) < 600


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"type": "categorical", "levels": [*range(10**5 + 1)], "default": 0}, "at most 100000"),
        ({"type": "categorical", "levels": {"a": 1}, "default": "a"}, "is not a list"),
        ({"type": ["real"]}, "is not one of"),
        ({"type": "real", "low": 0, "high": 1, "default": 0, "when": {"a\n": 1}}, "parameter name"),
    ],
)
def test_a_hostile_parameter_is_refused(given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Space.from_json({"format": "spot-dask/space/1", "parameters": [{"name": "a", **given}]})


def test_a_hyperdict_never_makes_more_levels_than_a_factor_may_have() -> None:
    entry = HYPERDICT["even"] | {"upper": 10**12}
    with pytest.raises(ValueError, match="at most 100000"):
        Space.from_hyperdict({"even": entry})


def test_modify_changes_only_what_is_given(space: Space) -> None:
    changed = space.modify(
        lr={"high": 0.1}, momentum={"default": 0.5}, batch=Integer(1, 4, default=2)
    )
    assert changed.parameters["lr"] == Real(1e-4, 0.1, default=1e-2, scale="log")
    assert changed.parameters["momentum"] == Real(0, 0.99, default=0.5).when(opt="sgd")
    assert changed.parameters["batch"] == Integer(1, 4, default=2)
    assert changed.names == space.names
    assert space.parameters["lr"].high == 1.0
    assert space.modify() == space
    assert space.fix(width=32).modify(width={"fixed": False, "default": 64}) == space
    moved = space.modify(momentum={"when": {"opt": ["adam"]}})
    assert "momentum" in moved.default


def test_modify_drops_condition_values_that_are_gone(space: Space) -> None:
    changed = space.modify(opt={"levels": ["sgd", "adam"]})
    assert changed.parameters["nesterov"].conditions == (("opt", ("sgd",)),)
    with pytest.raises(ValueError, match=r"momentum: its condition on opt .'sgd'. can no longer"):
        space.modify(opt={"levels": ["adam", "rmsprop"]})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lrr": {"high": 1}}, "no parameter 'lrr', .* did you mean 'lr'"),
        ({"lr": {"hihg": 1}}, "lr: real has no field 'hihg', .* did you mean 'high'"),
        ({"lr": {"levels": [1]}}, "lr: real has no field 'levels'"),
        ({"lr": {"high": 1e-3}}, "lr: needs a new default too: the old one, 0.01 is outside"),
        ({"lr": {"high": 1e-3, "default": 1}}, "lr: default 1 is outside"),
        ({"opt": {"levels": ["sgd"]}}, "opt: needs a new default too: the old one, 'adam'"),
        ({"lr": {"low": 2}}, "lr: low 2.0 is above high 1.0"),
        ({"momentum": {"when": {"opt": "sdg"}}}, "momentum: condition on opt: 'sdg'"),
        ({"lr": {"fixed": "yes"}}, "lr: fixed 'yes' is not a boolean"),
        ({"lr": 3}, "lr: 3 is not a parameter"),
    ],
)
def test_a_wrong_change_is_refused(space: Space, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        space.modify(**changes)
    assert "\n" not in str(caught.value)


def test_fix_refuses_what_is_not_possible(space: Space) -> None:
    with pytest.raises(ValueError, match="width: default 65 is not a power of two"):
        space.fix(width=65)
    with pytest.raises(ValueError, match="did you mean 'width'"):
        space.fix(widht=64)


@settings(deadline=None)
@given(spaces_and_rows())
def test_a_space_adopts_its_own_configurations_unchanged(drawn: Any) -> None:
    space, X = drawn
    for config in space.decode(X):
        assert text(space.adopt(config, space)) == text(config)


def test_configurations_of_another_space_are_adopted_where_that_is_sound(space: Space) -> None:
    new = Space(
        {n: p for n, p in space.parameters.items() if n != "dropout"},
        decay=Real(0, 1, default=0.25),
    )
    adopted = new.adopt({"lr": 0.5, "dropout": 0.1, "opt": "sgd"}, space)
    assert adopted == {**new.default, "lr": 0.5, "opt": "sgd", "momentum": 0.9, "nesterov": True}
    with pytest.raises(ValueError, match=r"dropout: does not exist here but was 0.3, not its def"):
        new.adopt({"dropout": 0.3}, space)


@pytest.mark.parametrize(
    ("changes", "config", "message"),
    [
        ({"lr": {"high": 0.1}}, {"lr": 0.5}, "lr: 0.5 is outside"),
        ({"opt": {"levels": ["sgd", "adam"]}}, {"opt": "rmsprop"}, "opt: 'rmsprop'"),
        ({"width": Real(1, 256, default=4)}, {}, "width: is real here but was integer there"),
        ({"lr": {"fixed": True}}, {"lr": 0.5}, "lr: 0.5 given, but fixed at 0.01"),
        (
            {"momentum": {"when": {"opt": "adam"}}},
            {"opt": "sgd", "momentum": 0.5},
            "momentum: is not active here but was 0.5",
        ),
    ],
)
def test_a_configuration_that_does_not_fit_is_not_adopted(
    space: Space, changes: dict[str, Any], config: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        space.modify(**changes).adopt(config, space)
