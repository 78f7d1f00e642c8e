"""Integers and factors: parameters whose every value has a cell of the unit interval."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Literal, final

import numpy as np

from spot_dask.errors import did_you_mean
from spot_dask.records import Value
from spot_dask.space.parameters import (
    Conditions,
    FloatArray,
    Parameter,
    check_flag,
    check_order,
    check_scale,
    described,
    plain,
    scalar,
)

_LARGEST_INTEGER = 10**12


@final
@dataclass(frozen=True, eq=False)
class Integer(Parameter):
    """An integer in [low, high]; on the scale ``power2`` only the powers of two in it.

    Every value has a cell in the unit interval: cells of equal width (linear, power2), or from
    log(k - 1/2) to log(k + 1/2) on the log scale.
    """

    kind = "integer"
    low: int
    high: int
    _: KW_ONLY
    default: int
    scale: Literal["linear", "log", "power2"] = "linear"
    conditions: Conditions = ()
    held: bool = False

    def __post_init__(self) -> None:
        check_flag("fixed", self.held)
        low, high = _integer_bound("low", self.low), _integer_bound("high", self.high)
        check_order(low, high)
        check_scale(self.scale, ("linear", "log", "power2"))
        if self.scale == "log" and low < 1:
            raise ValueError(
                f"low {low} does not fit the log scale, which needs low >= 1;"
                " raise low or use scale='linear'"
            )
        if self.scale == "power2":
            for name, bound in (("low", low), ("high", high)):
                if not _is_power_of_two(bound):
                    raise ValueError(f"{name} {_not_a_power(bound)}")
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)
        object.__setattr__(self, "default", self.value(self.default_code))

    @property
    def size(self) -> int:
        if self.scale == "power2":
            return self.high.bit_length() - self.low.bit_length() + 1
        return self.high - self.low + 1

    def parse(self, value: object) -> float:
        value = plain(value)
        if type(value) is not int:
            raise ValueError(f"{described(value)} is not an integer; {self._hint}")
        if not self.low <= value <= self.high:
            raise ValueError(f"{value} is outside the bounds; {self._hint}")
        if self.scale != "power2":
            return float(value - self.low)
        if not _is_power_of_two(value):
            raise ValueError(_not_a_power(value))
        return float(value.bit_length() - self.low.bit_length())

    def value(self, code: float) -> int:
        return self.low << int(code) if self.scale == "power2" else self.low + int(code)

    def code(self, u: FloatArray) -> FloatArray:
        if self.scale != "log":
            return _cell(u, self.size)
        first, last = self._log_edges
        codes = np.rint(np.exp(first + u * (last - first))) - self.low
        return np.asarray(np.clip(codes, 0.0, self.size - 1))

    def position(self, codes: FloatArray) -> FloatArray:
        if self.scale != "log":
            return (codes + 0.5) / self.size
        first, last = self._log_edges
        return np.asarray((np.log(codes + self.low) - first) / (last - first))

    @property
    def _log_edges(self) -> tuple[float, float]:
        return math.log(self.low - 0.5), math.log(self.high + 0.5)

    @property
    def _hint(self) -> str:
        what = "a power of two" if self.scale == "power2" else "an integer"
        return f"give {what} from {self.low} to {self.high}"


@final
@dataclass(frozen=True, eq=False)
class Categorical(Parameter):
    """A factor: one of a list of booleans, numbers or strings.

    The levels of an ordered factor are ranks, those of an unordered one are all equally far apart.
    Levels are told apart with their types: ``True`` is not ``1``.
    """

    kind = "categorical"
    levels: Sequence[Value]
    _: KW_ONLY
    default: Value
    ordered: bool = False
    conditions: Conditions = ()
    held: bool = False

    def __post_init__(self) -> None:
        check_flag("fixed", self.held)
        check_flag("ordered", self.ordered)
        if isinstance(self.levels, str) or not isinstance(self.levels, Iterable):
            raise ValueError(f"levels {self.levels!r} is not a list; give a list of levels")
        object.__setattr__(self, "levels", tuple(scalar("level", v) for v in self.levels))
        if not self.levels:
            raise ValueError("levels is empty; give at least one level")
        if len(self._codes) < len(self.levels):
            firsts = [int(self._codes[_identity(v)]) for v in self.levels]
            double = next(v for i, v in enumerate(self.levels) if firsts[i] != i)
            raise ValueError(f"levels has {double!r} more than once; give every level once")
        object.__setattr__(self, "default", self.levels[int(self.default_code)])

    @property
    def size(self) -> int:
        return len(self.levels)

    def parse(self, value: object) -> float:
        value = plain(value)
        if not isinstance(value, bool | int | float | str):
            raise ValueError(f"{described(value)} is not a level; {self._hint}")
        code = self._codes.get(_identity(value))
        # An integer stands for the equal float, as for a Real; a float never for an integer.
        if code is None or (type(value) is float and type(self.levels[int(code)]) is int):
            near = did_you_mean(value, self.levels)
            raise ValueError(f"{described(value)} is not a level; {self._hint}{near}")
        return code

    def value(self, code: float) -> Value:
        return self.levels[int(code)]

    def code(self, u: FloatArray) -> FloatArray:
        return _cell(u, self.size)

    def position(self, codes: FloatArray) -> FloatArray:
        return (codes + 0.5) / self.size

    @cached_property
    def _codes(self) -> dict[tuple[bool, Value], float]:
        """Codes by level, in reverse, so that of equal levels the first keeps its code."""
        return {_identity(v): float(i) for i, v in reversed(list(enumerate(self.levels)))}

    @property
    def _hint(self) -> str:
        return f"give one of {', '.join(map(repr, self.levels))}"


def _cell(u: FloatArray, size: int) -> FloatArray:
    return np.minimum(np.floor(u * size), size - 1.0)


def _identity(value: Value) -> tuple[bool, Value]:
    return isinstance(value, bool), value


def _integer_bound(name: str, bound: object) -> int:
    bound = plain(bound)
    if type(bound) is not int:
        raise ValueError(
            f"{name} {described(bound)} is not an integer; give an integer or use Real"
        )
    if abs(bound) > _LARGEST_INTEGER:
        raise ValueError(f"{name} {bound} is beyond {_LARGEST_INTEGER:.0e}; use Real")
    return bound


def _is_power_of_two(value: int) -> bool:
    return value > 0 and value & (value - 1) == 0


def _not_a_power(value: int) -> str:
    if value < 1:
        return f"{value} is not a power of two; the smallest is 1"
    below = 1 << (value.bit_length() - 1)
    return f"{value} is not a power of two; the nearest are {below} and {2 * below}"
