"""spotPython's hyperdict format as parameters in natural units.

An entry holds ``type`` (int, float or factor), ``default``, ``transform``, ``lower``, ``upper``
and, for factors, ``levels``. Bounds and defaults are given before the transform: with
``transform_power_2_int``, lower 2 and upper 9 stand for 4 .. 512. Transforms are looked up by name
in the tables below and never evaluated.

- Powers of two of an int become the scale ``power2``, powers of a float the scale ``log``. Powers
  of ten of an int become the scale ``log``, which also has the integers in between.
- ``transform_multby2_int`` becomes an ordered factor of the even numbers.
- A factor's lower and upper are the first and last index of the levels in use. An upper index
  beyond the levels, as spotPython's own files have, is taken as the last one, with a warning.
- A factor of type ``bool`` with the levels 0 and 1 has the levels False and True.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from spot_dask.errors import did_you_mean
from spot_dask.records import Value
from spot_dask.space.parameters import Categorical, Integer, Parameter, Real

_log = logging.getLogger(__name__)

Entry = Mapping[str, Any]
_LARGEST_EXPONENT = 60


def parameters_from_hyperdict(data: Mapping[str, Any]) -> dict[str, Parameter]:
    """The parameters of one core model; raises ValueError naming the entry that is wrong."""
    parameters = {}
    for name, entry in data.items():
        try:
            parameters[name] = _parameter(name, entry)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return parameters


def _parameter(name: str, entry: object) -> Parameter:
    if not isinstance(entry, Mapping) or "type" not in entry:
        raise ValueError("the entry has no type; give the hyperdict of one core model")
    kind, transform = entry["type"], entry.get("transform", "None")
    if kind not in ("int", "float", "factor"):
        near = did_you_mean(kind, ("int", "float", "factor"))
        raise ValueError(f"type {kind!r} is not one of int, float, factor{near}")
    if kind == "factor":
        return _factor(name, entry, transform)
    for key in ("default", "lower", "upper"):
        if key not in entry:
            raise ValueError(f"the entry has no {key!r}; give it")
    table = _INTEGERS if kind == "int" else _REALS
    if transform is None:
        transform = "None"
    if transform not in table:
        raise ValueError(
            f"transform {transform!r} of type {kind} cannot be represented; there are"
            f" {', '.join(table)}{did_you_mean(transform, table)}"
        )
    return table[transform](entry)


def _factor(name: str, entry: Entry, transform: object) -> Categorical:
    levels = entry.get("levels")
    if not isinstance(levels, list | tuple) or not levels:
        raise ValueError(f"levels {levels!r} is not a list of levels; give at least one")
    if transform == "transform_none_to_None" and "none" in levels:
        raise ValueError(
            "transform 'transform_none_to_None' cannot be represented: a level is never None;"
            " set it to 'None' and translate the level 'none' in the model"
        )
    if transform not in (None, "None", "transform_none_to_None"):
        raise ValueError(f"transform {transform!r} of a factor cannot be represented; remove it")
    first, last = _used(name, entry, len(levels))
    if "default" not in entry:
        raise ValueError("the entry has no 'default'; give it")
    default = _level(entry["default"], levels)
    used = levels[first : last + 1]
    if entry.get("core_model_parameter_type") == "bool":
        used, default = [_boolean(v) for v in used], _boolean(default)
    return Categorical(used, default=default)


def _used(name: str, entry: Entry, size: int) -> tuple[int, int]:
    """First and last index of the levels in use."""
    first, last = entry.get("lower", 0), entry.get("upper", size - 1)
    if type(first) is not int or type(last) is not int or not 0 <= first <= last:
        raise ValueError(f"lower {first!r} and upper {last!r} are not indices 0 <= lower <= upper")
    if first >= size:
        raise ValueError(f"lower {first} is beyond the last level, index {size - 1}")
    if last >= size:
        _log.warning("%s: upper %d is beyond the last level; taken as %d", name, last, size - 1)
    elif first > 0 or last < size - 1:
        _log.warning("%s: only levels %d to %d of %d are in use", name, first, last, size)
    return first, min(last, size - 1)


def _level(default: Value, levels: list[Value] | tuple[Value, ...]) -> Value:
    """The default as a level; an integer that is no level is the index of one."""
    is_level = any(type(v) is type(default) and v == default for v in levels)
    if not is_level and type(default) is int and 0 <= default < len(levels):
        return levels[default]
    return default


def _boolean(level: Value) -> Value:
    if level in (0, 1):
        return bool(level)
    raise ValueError(f"level {level!r} of a factor of type bool is neither 0 nor 1; give those")


def _numbers(entry: Entry, convert: Callable[[Any], Any]) -> tuple[Any, Any, Any]:
    return convert(entry["lower"]), convert(entry["upper"]), convert(entry["default"])


def _integer(entry: Entry) -> Parameter:
    low, high, default = _numbers(entry, _same)
    return Integer(low, high, default=default)


def _integer_power_of_2(entry: Entry) -> Parameter:
    low, high, default = _numbers(entry, lambda x: 2 ** _exponent(x))
    return Integer(low, high, default=default, scale="power2")


def _integer_power_of_10(entry: Entry) -> Parameter:
    low, high, default = _numbers(entry, lambda x: 10 ** _exponent(x))
    return Integer(low, high, default=default, scale="log")


def _even(entry: Entry) -> Parameter:
    half = Integer(entry["lower"], entry["upper"], default=entry["default"])
    levels = [2 * k for k in range(half.low, half.high + 1)]
    return Categorical(levels, default=2 * half.default, ordered=True)


def _real(entry: Entry) -> Parameter:
    low, high, default = _numbers(entry, _same)
    return Real(low, high, default=default)


def _real_power_of_2(entry: Entry) -> Parameter:
    low, high, default = _numbers(entry, lambda x: 2.0 ** _real_exponent(x))
    return Real(low, high, default=default, scale="log")


def _real_power_of_10(entry: Entry) -> Parameter:
    low, high, default = _numbers(entry, lambda x: 10.0 ** _real_exponent(x))
    return Real(low, high, default=default, scale="log")


def _same(x: Any) -> Any:
    return x


def _exponent(x: Any) -> int:
    if type(x) is not int or not 0 <= x <= _LARGEST_EXPONENT:
        raise ValueError(f"exponent {x!r} is not an integer from 0 to {_LARGEST_EXPONENT}")
    return x


def _real_exponent(x: Any) -> float:
    if isinstance(x, bool) or not isinstance(x, int | float) or not abs(x) <= _LARGEST_EXPONENT:
        raise ValueError(
            f"exponent {x!r} is not a number from -{_LARGEST_EXPONENT} to {_LARGEST_EXPONENT}"
        )
    return float(x)


_INTEGERS: dict[str, Callable[[Entry], Parameter]] = {
    "None": _integer,
    "transform_power_2_int": _integer_power_of_2,
    "transform_power_2": _integer_power_of_2,
    "transform_power_10_int": _integer_power_of_10,
    "transform_power_10": _integer_power_of_10,
    "transform_multby2_int": _even,
}
_REALS: dict[str, Callable[[Entry], Parameter]] = {
    "None": _real,
    "transform_power_2": _real_power_of_2,
    "transform_power_10": _real_power_of_10,
}
