"""The near-optimal box of a search as a new, smaller space.

Of every parameter the range of the near-optimal configurations in which it is active is kept, and
of a factor their levels. What is left out is what they exclude, no more: a region that the search
hardly knows may be good as well.
"""

from __future__ import annotations

import json
import keyword
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spot_dask.inference.present import columns
from spot_dask.records import Configuration, Value
from spot_dask.space import Categorical, Integer, Parameter, Real, Space
from spot_dask.stats.region import box_around
from spot_dask.surrogates import FloatArray
from spot_dask.texts import toml_text

DIGITS = 3


@dataclass(frozen=True)
class NarrowedSpace:
    """The space with what was changed in it, by parameter: fields, or the value it is fixed at.

    The defaults are those of the recommended configuration. ``left`` are parameters that could not
    be narrowed although the configurations would allow it: another one needs what would go.
    """

    space: Space
    changes: Mapping[str, Mapping[str, Any] | Value]
    left: tuple[str, ...]

    def python(self) -> str:
        """The space as Python code."""
        names = self.space.names
        where = self.space.conditions_text
        if any(keyword.iskeyword(name) or not name.isidentifier() for name in names):
            lines = [f"    {name!r}: {self.space.parameters[name]!r}," for name in names]
            return "\n".join(["space = Space({", *lines, f"}}){where}"]) + "\n"
        lines = [f"    {name}={self.space.parameters[name]!r}," for name in names]
        return "\n".join(["space = Space(", *lines, f"){where}"]) + "\n"

    def toml(self) -> str:
        """The changes as a part of a study's TOML file."""
        fixed = {n: v for n, v in self.changes.items() if not isinstance(v, Mapping)}
        lines = [
            "[space]",
            *(f"{_key(name)} = {_toml(value)}" for name, value in fixed.items()),
            "",
        ]
        for name, change in self.changes.items():
            if isinstance(change, Mapping):
                own = [f"{key} = {_toml(value)}" for key, value in change.items()]
                lines += [f"[space.{_key(name)}]", *own, ""]
        return "\n".join(lines if fixed else lines[2:])


def narrowed(
    space: Space, near: Sequence[Configuration], config: Configuration, width: float = 0.1
) -> NarrowedSpace:
    """The box of near-optimal configurations as a space around the recommended one.

    A range is at least ``width`` of the old one (on its scale) wide. ValueError where nothing is
    excluded.
    """
    rows = space.encode(near)
    active, (levels, factors) = space.active(rows), columns(space)
    changed, changes, left = space, dict[str, Mapping[str, Any] | Value](), []
    smaller = False
    for j, name in enumerate(space.free):
        parameter, own = space.parameters[name], rows[active[:, j], j, None]
        if not len(own):
            continue
        inside = {0: levels[j]} if j in levels else {}
        box = box_around(own, inside, frozenset({0} if j in factors else ()), width)
        ends = box.levels.get(0, np.array([box.low[0], box.high[0]]))
        change = _change(parameter, ends, config.get(name))
        try:
            if isinstance(change, Mapping):
                changed = changed.modify(**{name: change})
            else:
                changed = changed.fix(**{name: change})
        except ValueError:  # a condition on it could hold no more
            assert isinstance(change, Mapping)  # what is fixed keeps its levels
            change = {"default": change["default"]}
            changed = changed.modify(**{name: change})
            left.append(name)
        smaller |= not isinstance(change, Mapping) or change.keys() != {"default"}
        changes[name] = change
    if not smaller:
        raise ValueError(
            "the near-optimal configurations are spread over the whole space, so no part of it can "
            "be left out yet"
        )
    return NarrowedSpace(changed, changes, tuple(left))


def _change(
    parameter: Parameter, positions: FloatArray, tuned: Value | None
) -> Mapping[str, Any] | Value:
    """What becomes of a parameter between positions, or at these of them if it is a factor.

    A table of fields, or the one value that is left. ``tuned`` is its value in the recommended
    configuration, None where it is not active there.
    """
    best = parameter.default if tuned is None else tuned
    if isinstance(parameter, Categorical):
        return _levels(parameter, positions, best)
    assert isinstance(parameter, Real | Integer)
    assert isinstance(best, int | float)
    low, high = (parameter.value(code) for code in parameter.code(positions[[0, -1]]))
    if isinstance(parameter, Real) and parameter.step is None:
        low = max(_rounded(low, math.floor), parameter.low)
        high = min(_rounded(high, math.ceil), parameter.high)
    if low == high:
        return low
    default = {"default": min(max(best, low), high)}
    if (low, high) == (parameter.low, parameter.high):
        return default
    return {"low": low, "high": high, **default}


def _levels(factor: Categorical, positions: FloatArray, best: Value) -> Mapping[str, Any] | Value:
    """The levels of a factor at these positions."""
    codes = set(factor.code(positions).tolist())
    kept = [level for i, level in enumerate(factor.levels) if i in codes]
    if len(kept) == 1:
        return kept[0]
    default = {"default": best if factor.parse(best) in codes else kept[0]}
    return default if len(kept) == factor.size else {"levels": kept, **default}


def _key(name: str) -> str:
    """A parameter's name as a key of TOML, in which a dot would open another table."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else toml_text(name)


def _rounded(value: float, towards: Callable[[float], int]) -> float:
    """A value to a few significant digits, ``towards`` being ``floor`` or ``ceil``."""
    if value == 0:
        return 0.0
    step = DIGITS - 1 - math.floor(math.log10(abs(value)))
    return float(f"{towards(value * 10.0**step)}e{-step}")


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return toml_text(value) if isinstance(value, str) else json.dumps(value)
