"""spotPython's hyperdict format as parameters in natural units.

An entry holds ``type`` (int, float or factor), ``default``, ``transform``, ``lower``, ``upper``
and, for factors, ``levels``. Bounds and defaults are given before the transform: with
``transform_power_2_int``, lower 2 and upper 9 stand for 4 .. 512. Transforms are looked up by name
in the table below and never evaluated.

- Powers of two of an int become the scale ``power2``, powers of a float the scale ``log``. Powers
  of ten of an int become the scale ``log``, which also has the integers in between.
- ``transform_multby2_int`` becomes an ordered factor of the even numbers.
- A factor's lower and upper are the first and last index of the levels in use. An upper index
  beyond the levels, as spotPython's own files have, is taken as the last one, with a warning.
- ``transform_none_to_None`` makes the level "none" stand for None.
- A default outside of its bounds, as spotPython's own files have, is the nearest bound, with a
  warning.
- A factor of type ``bool`` with the levels 0 and 1 has the levels False and True.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from spot_dask.errors import did_you_mean, shown
from spot_dask.records import Value
from spot_dask.space.parameters import (
    MOST_LEVELS,
    Categorical,
    Integer,
    Parameter,
    Real,
    check_name,
    naming,
)

_log = logging.getLogger(__name__)

Entry = Mapping[str, Any]
_LARGEST_EXPONENT = 60
_KINDS = ("int", "float", "factor")


def parameters_from_hyperdict(
    data: Mapping[str, Any], changes: Mapping[str, Mapping[str, Any]]
) -> dict[str, Parameter]:
    """The parameters of one core model, some keys of its entries changed before they are read.

    Raises ValueError naming the entry that is wrong.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"{shown(data)} is not a table of entries; give one core model's")
    for name, change in changes.items():
        if name not in data:
            raise ValueError(f"no entry {shown(name)} to be changed{did_you_mean(name, data)}")
        if not isinstance(change, Mapping) or not isinstance(data[name], Mapping):
            raise ValueError(f"{name}: {shown(change)} is no change; give such as {{'upper': 5}}")
    data = {
        name: {**entry, **changes[name]} if name in changes else entry
        for name, entry in data.items()
    }
    parameters = {}
    for name, entry in data.items():
        check_name(name)
        with naming(name):
            parameters[name] = _parameter(name, entry)
    return parameters


def _parameter(name: str, entry: object) -> Parameter:
    if not isinstance(entry, Mapping) or "type" not in entry:
        raise ValueError("the entry has no type; give the hyperdict of one core model")
    kind, transform = entry["type"], entry.get("transform")
    if kind not in _KINDS:
        near = did_you_mean(kind, _KINDS)
        raise ValueError(f"type {shown(kind)} is not one of {', '.join(_KINDS)}{near}")
    needed = ("default",) if kind == "factor" else ("default", "lower", "upper")
    for key in needed:
        if key not in entry:
            raise ValueError(f"the entry has no {key!r}; give it")
    transform = "None" if transform is None else transform
    if kind == "factor":
        return _factor(name, entry, transform)
    entry = {**entry, "default": _inside(name, entry)}
    if kind == "int" and transform == "transform_multby2_int":
        half = Integer(entry["lower"], entry["upper"], default=entry["default"])
        if half.size > MOST_LEVELS:
            raise ValueError(f"{half.size} even numbers, at most {MOST_LEVELS}; narrow the bounds")
        levels = [2 * k for k in range(half.low, half.high + 1)]
        return Categorical(levels, default=2 * half.default, ordered=True)
    table = {name: way for (of, name), way in _TRANSFORMS.items() if of == kind}
    if not isinstance(transform, str) or transform not in table:
        known = [*table, "transform_multby2_int"] if kind == "int" else list(table)
        raise ValueError(
            f"transform {shown(transform)} of type {kind} cannot be represented; there are"
            f" {', '.join(known)}{did_you_mean(transform, known)}"
        )
    scale, natural = table[transform]
    low, high, default = (natural(entry[key]) for key in ("lower", "upper", "default"))
    made: Callable[..., Parameter] = Integer if kind == "int" else Real
    return made(low, high, default=default, scale=scale)


def _factor(name: str, entry: Entry, transform: object) -> Categorical:
    levels, default = entry.get("levels"), entry["default"]
    if not isinstance(levels, list | tuple) or not levels:
        raise ValueError(f"levels {shown(levels)} is not a list of levels; give at least one")
    if transform not in ("None", "transform_none_to_None"):
        raise ValueError(
            f"transform {shown(transform)} of a factor cannot be represented; remove it"
        )
    first, last = _indices_in_use(name, entry, len(levels))
    if type(default) is int and 0 <= default < len(levels):
        is_level = any(type(v) is int and v == default for v in levels)
        default = default if is_level else levels[default]  # else it is the index of one
    used = levels[first : last + 1]
    if entry.get("core_model_parameter_type") == "bool":
        used, default = [_boolean(v) for v in used], _boolean(default)
    if transform == "transform_none_to_None":
        return Categorical({v: None if v == "none" else v for v in used}, default=default)
    return Categorical(used, default=default)


def _inside(name: str, entry: Entry) -> Any:
    """The default of a number, or the nearest bound, which a warning tells."""
    low, high, default = (entry[key] for key in ("lower", "upper", "default"))
    if not all(type(v) in (int, float) for v in (low, high, default)) or low <= default <= high:
        return default
    nearest = low if default < low else high
    _log.warning(
        "%s: default %r is outside of its bounds %r to %r; taken as %r",
        name, default, low, high, nearest,
    )  # fmt: skip
    return nearest


def _indices_in_use(name: str, entry: Entry, size: int) -> tuple[int, int]:
    """First and last index of the levels in use; a warning tells where they are not all."""
    first, last = entry.get("lower", 0), entry.get("upper", size - 1)
    if type(first) is not int or type(last) is not int or not 0 <= first <= last:
        raise ValueError(
            f"lower {shown(first)} and upper {shown(last)} are not indices 0 <= lower <= upper"
        )
    if first >= size:
        raise ValueError(f"lower {first} is beyond the last level, index {size - 1}")
    if last >= size:
        _log.warning("%s: upper %d is beyond the last level; taken as %d", name, last, size - 1)
    elif first > 0 or last < size - 1:
        _log.warning("%s: only levels %d to %d of %d are in use", name, first, last, size)
    return first, min(last, size - 1)


def _boolean(level: Value) -> Value:
    if level in (0, 1):
        return bool(level)
    raise ValueError(
        f"level {shown(level)} of a factor of type bool is neither 0 nor 1; give those"
    )


def _exponent(x: Any) -> int:
    if type(x) is not int or not 0 <= x <= _LARGEST_EXPONENT:
        raise ValueError(f"exponent {shown(x)} is not an integer from 0 to {_LARGEST_EXPONENT}")
    return x


def _real_exponent(x: Any) -> float:
    if isinstance(x, bool) or not isinstance(x, int | float) or not abs(x) <= _LARGEST_EXPONENT:
        raise ValueError(
            f"exponent {shown(x)} is not a number from -{_LARGEST_EXPONENT} to {_LARGEST_EXPONENT}"
        )
    return float(x)


# By type and transform: the scale, and what a number of the entry is in natural units.
_TRANSFORMS: dict[tuple[str, str], tuple[str, Callable[[Any], Any]]] = {
    ("int", "None"): ("linear", lambda x: x),
    ("int", "transform_power_2_int"): ("power2", lambda x: 2 ** _exponent(x)),
    ("int", "transform_power_2"): ("power2", lambda x: 2 ** _exponent(x)),
    ("int", "transform_power_10_int"): ("log", lambda x: 10 ** _exponent(x)),
    ("int", "transform_power_10"): ("log", lambda x: 10 ** _exponent(x)),
    ("float", "None"): ("linear", lambda x: x),
    ("float", "transform_power_2"): ("log", lambda x: 2.0 ** _real_exponent(x)),
    ("float", "transform_power_10"): ("log", lambda x: 10.0 ** _real_exponent(x)),
}
