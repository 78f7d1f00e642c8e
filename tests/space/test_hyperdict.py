"""Spaces from spotPython's hyperdict format."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from spot_dask.space import Categorical, Integer, Real, Space


def number(kind: str, lower: Any, upper: Any, default: Any, transform: Any = "None") -> dict:
    return {
        "type": kind,
        "lower": lower,
        "upper": upper,
        "default": default,
        "transform": transform,
    }


def factor(levels: list, default: Any, kind: str = "str", **more: Any) -> dict:
    entry = {"type": "factor", "levels": levels, "default": default, "transform": "None"}
    bounds = {"lower": 0, "upper": len(levels) - 1}
    return entry | bounds | {"core_model_parameter_type": kind} | more


def converted(entry: Any) -> Any:
    return Space.from_hyperdict({"p": entry}).parameters["p"]


def test_a_core_models_entries_become_a_space_in_natural_units() -> None:
    space = Space.from_hyperdict(
        {
            "units": number("int", 2, 9, 5, "transform_power_2_int"),
            "mult": number("float", 0.1, 10.0, 1.0),
            "folds": number("int", 1, 1, 1),
            "optimizer": factor(["Adam", "SGD"], "SGD", class_name="torch.optim"),
            "norm": factor([0, 1], 0, "bool"),
        }
    )
    assert space.names == ("units", "mult", "folds", "optimizer", "norm")
    assert space.free == ("units", "mult", "optimizer", "norm")
    assert space.default == {
        "units": 32,
        "mult": 1.0,
        "folds": 1,
        "optimizer": "SGD",
        "norm": False,
    }


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (number("int", 2, 10, 5), Integer(2, 10, default=5)),
        (number("int", 2, 10, 5, None), Integer(2, 10, default=5)),
        (
            number("int", 0, 4, 1, "transform_power_2_int"),
            Integer(1, 16, default=2, scale="power2"),
        ),
        (number("int", 0, 4, 1, "transform_power_2"), Integer(1, 16, default=2, scale="power2")),
        (
            number("int", 2, 4, 3, "transform_power_10_int"),
            Integer(100, 10_000, default=1000, scale="log"),
        ),
        (
            number("int", 1, 3, 2, "transform_multby2_int"),
            Categorical([2, 4, 6], default=4, ordered=True),
        ),
        (number("float", 100, 400, 200), Real(100, 400, default=200)),
        (
            number("float", -5, 0, -1, "transform_power_10"),
            Real(1e-5, 1, default=0.1, scale="log"),
        ),
        (
            number("float", -10.0, 0, 0.0, "transform_power_2"),
            Real(2**-10, 1, default=1, scale="log"),
        ),
        (factor(["a", "b", "c"], "b"), Categorical(["a", "b", "c"], default="b")),
        (factor(["a", "b", "c"], 2), Categorical(["a", "b", "c"], default="c")),
        (factor([2, 1, 0], 2), Categorical([2, 1, 0], default=2)),
        (factor([0, 1], 1, "bool"), Categorical([False, True], default=True)),
        (factor([0, 1], True, "bool"), Categorical([False, True], default=True)),
        (factor([0, 1], 1, "int"), Categorical([0, 1], default=1)),
        (
            factor(["sqrt", "log2"], "log2", transform="transform_none_to_None"),
            Categorical(["sqrt", "log2"], default="log2"),
        ),
        (
            {"type": "factor", "levels": ["a", "b"], "default": "a"},
            Categorical(["a", "b"], default="a"),
        ),
    ],
)
def test_every_listed_transform_is_represented(entry: dict, expected: Any) -> None:
    assert converted(entry) == expected


def test_an_upper_index_beyond_the_levels_is_taken_as_the_last_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        parameter = converted(factor(["a", "b"], "b", upper=2))
    assert parameter == Categorical(["a", "b"], default="b")
    assert caplog.messages == ["p: upper 2 is beyond the last level; taken as 1"]


def test_indices_within_the_levels_select_from_them(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        parameter = converted(factor(["a", "b", "c"], "b", lower=1))
        same_twice = converted(factor([0, 0], 0, "bool", upper=0))
    assert parameter == Categorical(["b", "c"], default="b")
    assert same_twice == Categorical([False], default=False)
    assert caplog.messages[0] == "p: only levels 1 to 2 of 3 are in use"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (number("int", 1, 3, 2, "transform_power"), "p: transform 'transform_power' of type int"),
        (number("int", 1, 3, 2, "__import__('os').getcwd()"), "cannot be represented; there are"),
        (
            number("float", 1, 3, 2, "transform_power_2_int"),
            "'transform_power_2_int' of type float",
        ),
        (number("int", 1, 3, 2, "transform_power_2_it"), "did you mean 'transform_power_2_int'"),
        (number("int", -1, 3, 2, "transform_power_2_int"), "p: exponent -1 is not an integer"),
        (number("int", 1, 3000, 2, "transform_power_2_int"), "p: exponent 3000"),
        (number("float", -400, 1, 0, "transform_power_10"), "p: exponent -400 is not a number"),
        (number("int", 3, 1, 2), "p: low 3 is above high 1"),
        (number("int", 1, 3, 2.0), "p: default 2.0 .float. is not an integer"),
        (number("flaot", 1, 3, 2), "p: type 'flaot' .* did you mean 'float'"),
        ({"type": "int", "lower": 1, "upper": 3}, "p: the entry has no 'default'"),
        ({"type": "factor", "levels": ["a"]}, "p: the entry has no 'default'"),
        ({"Net": {}}, "p: the entry has no type; give the hyperdict of one core model"),
        (3, "p: the entry has no type"),
        (factor([], "a"), "p: levels .. is not a list of levels"),
        (factor(["a", "b"], "c"), "p: default 'c' .str. is not a level"),
        (factor(["a", "b"], 2), "p: default 2 .int. is not a level"),
        (factor(["a", "b"], "a", lower=2), "p: lower 2 and upper 1 are not indices"),
        (factor(["a", "b"], "a", lower=2, upper=3), "p: lower 2 is beyond the last level"),
        (factor(["a", "b"], "a", transform="transform_power_2_int"), "p: transform .* of a factor"),
        (factor(["a", "b"], "a", "bool"), "p: level 'a' of a factor of type bool"),
    ],
)
def test_what_cannot_be_represented_is_refused_naming_the_entry(entry: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        converted(entry)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("p: ")


def test_a_level_none_stands_for_none_where_the_transform_says_so() -> None:
    entry = factor(["a", "none"], "none", transform="transform_none_to_None")
    space = Space.from_hyperdict({"p": entry})
    assert space.default == {"p": "none"}
    assert space.meant({"p": "none"}) == {"p": None}
    assert space.meant({"p": "a"}) == {"p": "a"}


@pytest.mark.parametrize(
    ("entry", "default"),
    [
        (number("int", 8, 10, 3, "transform_power_2_int"), 256),
        (number("float", 0.0, 0.1, 0.5), 0.1),
        (number("int", 1, 4, 9, "transform_multby2_int"), 8),
    ],
)
def test_a_default_outside_of_its_bounds_is_the_nearest_bound(
    entry: Any, default: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert converted(entry).default == default
    assert "p: default" in caplog.text
    assert "is outside of its bounds" in caplog.text


def test_an_entry_is_changed_before_it_is_refused() -> None:
    data = {"units": number("int", 2, 99, 5, "transform_power_2_int"), "p": factor(["a"], "a")}
    with pytest.raises(ValueError, match="units: exponent 99"):
        Space.from_hyperdict(data)
    space = Space.from_hyperdict(data, units={"upper": 6, "default": 3})
    assert space.parameters["units"] == Integer(4, 64, default=8, scale="power2")
    with pytest.raises(ValueError, match="no entry 'unit' to be changed; did you mean 'units'"):
        Space.from_hyperdict(data, unit={"upper": 6})
    with pytest.raises(ValueError, match="units: 6 is no change"):
        Space.from_hyperdict(data, units=6)  # type: ignore[arg-type]
