"""The parameters of a search space: reals, integers and factors, each on its own unit interval.

One value has three forms::

    value     what the user sees: 0.01, 64, "sgd"
    code      float64: the canonical value of a real; the index 0 .. K - 1 of anything discrete
    position  float64 in [0, 1]: where the code sits in the unit interval

``code`` maps positions to codes and is where everything snaps; ``position`` is its right inverse:
``code(position(c)) == c`` bit for bit for every canonical code c. Both take and return arrays.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, MISSING, dataclass, fields, replace
from functools import cached_property
from typing import Any, ClassVar, Literal, Self, final

import numpy as np
import numpy.typing as npt

from spot_dask.errors import did_you_mean, shown
from spot_dask.records import Value

FloatArray = npt.NDArray[np.float64]
JSON = dict[str, Any]
Conditions = tuple[tuple[str, tuple[Value, ...]], ...]

# 10 digits are far below any effect on a training and far above the rounding errors of encoding.
_DIGITS = 10
# Decimal numbers of up to 15 digits survive the way through a float64 and back.
_EXACT_DIGITS = 15
_LARGEST_REAL = 1e150
_LARGEST_INTEGER = 10**12
MOST_LEVELS = 100_000
_LISTED_LEVELS = 20
_POWERS_OF_TEN = np.array([float(f"1e{i}") for i in range(301)])


def canonical_json(data: Any) -> str:
    """The one text of a JSON value: sorted keys, no spaces, no NaN."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)


def check_name(name: object) -> str:
    """The name; raises ValueError if a parameter cannot have it."""
    if isinstance(name, str) and name.isidentifier():
        return name
    raise ValueError(f"{shown(name)} is not a parameter name; give letters, digits and underscores")


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Puts what is wrong, such as a parameter's name, before the message of a ValueError."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


class Parameter(ABC):
    """One axis of a search space.

    ``conditions`` holds the parents and those of their values that make the parameter active; all
    conditions must hold. A ``held`` parameter stays at its default although its bounds are wider.
    """

    kind: ClassVar[str]
    default: Value
    conditions: Conditions
    held: bool

    @property
    @abstractmethod
    def size(self) -> int | float:
        """Number of distinct values; ``math.inf`` for a real."""

    @abstractmethod
    def parse(self, value: object) -> float:
        """The code of a value, not yet rounded; raises ValueError if the value is impossible."""

    @abstractmethod
    def value(self, code: float) -> Value:
        """The value of a canonical code."""

    @abstractmethod
    def code(self, u: FloatArray) -> FloatArray:
        """The canonical codes nearest to positions u (n, in [0, 1])."""

    @abstractmethod
    def position(self, codes: FloatArray) -> FloatArray:
        """The positions (n, in [0, 1]) of canonical codes."""

    def canonical(self, codes: FloatArray) -> FloatArray:
        """Codes rounded to canonical ones; idempotent."""
        return codes

    def codes(self, values: Iterable[object]) -> FloatArray:
        """The canonical codes (n) of n values; raises ValueError for an impossible one."""
        return self.canonical(np.array([self.parse(v) for v in values], dtype=np.float64))

    @property
    def fixed(self) -> bool:
        """Whether only one value is possible."""
        return self.held or self.size == 1

    @property
    def default_code(self) -> float:
        """The code of the default; raises ValueError if the default is impossible."""
        try:
            return self.parse(self.default)
        except ValueError as error:
            raise ValueError(f"default {error}") from None

    def when(self, /, **parents: Value | Iterable[Value]) -> Self:
        """A copy that is active only if every named parent has (one of) the given value(s).

        Raises ValueError for a parent without values and for a value that is no scalar.
        """
        conditions = dict(self.conditions)
        for name, given in parents.items():
            check_name(name)
            values = [given] if isinstance(given, str) or not isinstance(given, Iterable) else given
            # By JSON text, so that the order of the values does not matter and True is not 1.
            scalars = [_scalar(f"condition on {name}:", v) for v in values]
            by_text = {canonical_json(v): v for v in scalars}
            if not by_text:
                raise ValueError(f"condition on {name} has no values; give at least one")
            conditions[name] = tuple(by_text[text] for text in sorted(by_text))
        return replace(self, conditions=tuple(sorted(conditions.items())))  # type: ignore[type-var]

    def hold(self, value: Value) -> Self:
        """A copy that is fixed at a value; its bounds are kept."""
        return replace(self, default=value, held=True)  # type: ignore[type-var]

    def __repr__(self) -> str:
        """The parameter as it is written in Python."""
        words = []
        for item in fields(self):  # type: ignore[arg-type]
            value = getattr(self, item.name)
            if item.name in ("conditions", "held") or value == item.default:
                continue
            text = repr(list(value) if isinstance(value, tuple) else value)
            words.append(f"{item.name}={text}" if item.kw_only else text)
        parents = ", ".join(
            f"{parent}={(values[0] if len(values) == 1 else list(values))!r}"
            for parent, values in self.conditions
        )
        when = f".when({parents})" if parents else ""
        hold = f".hold({self.default!r})" if self.held else ""
        return f"{type(self).__name__}({', '.join(words)}){when}{hold}"

    def to_json(self) -> JSON:
        """The fields by name, with ``type``; ``fixed`` and ``when`` for held and conditions."""
        data = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        when = {name: list(values) for name, values in data.pop("conditions")}
        held = data.pop("held")
        if "levels" in data:
            data["levels"] = list(data["levels"])
        return {"type": self.kind, **data, "fixed": held, "when": when}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The parameter of this kind that ``to_json`` wrote, its ``type`` left out.

        Raises ValueError for an unknown, missing or wrong field.
        """
        own = [f for f in fields(cls) if f.name not in ("conditions", "held")]  # type: ignore[arg-type]
        known = [*(f.name for f in own), "fixed", "when"]
        for name in data:
            if name not in known:
                near, there = did_you_mean(name, known), ", ".join(known)
                raise ValueError(f"{cls.kind} has no field {shown(name)}, there are {there}{near}")
        missing = [f.name for f in own if f.default is MISSING and f.name not in data]
        if missing:
            raise ValueError(f"{cls.kind} needs {' and '.join(missing)}; give it")
        given = dict(data)
        when = given.pop("when", {})
        if not isinstance(when, Mapping):
            raise ValueError(f"when {shown(when)} is not a table; give the values by parent")
        given["held"] = given.pop("fixed", False)
        return cls(**given).when(**when)

    def __eq__(self, other: object) -> bool:
        # Through JSON because Python holds True == 1 == 1.0, and levels are not interchangeable.
        if not isinstance(other, Parameter):
            return NotImplemented
        return canonical_json(self.to_json()) == canonical_json(other.to_json())

    def __hash__(self) -> int:
        return hash(canonical_json(self.to_json()))


@final
@dataclass(frozen=True, eq=False, repr=False)
class Real(Parameter):
    """A real number in [low, high].

    Values are rounded to a decimal lattice of at least 10 digits (of the range on the linear
    scale, of the value on the log scale); low and high are always possible as given. A range so
    narrow that float64 leaves no room for such a lattice uses every float64 in it.
    """

    kind = "real"
    low: float
    high: float
    _: KW_ONLY
    default: float
    scale: Literal["linear", "log"] = "linear"
    conditions: Conditions = ()
    held: bool = False

    def __post_init__(self) -> None:
        low, high = _real_bound("low", self.low), _real_bound("high", self.high)
        _set_bounds(self, low, high, ("linear", "log"), "> 0")
        default = self.canonical(np.array([self.default_code]))
        object.__setattr__(self, "default", float(default[0]))

    @property
    def size(self) -> int | float:
        return 1 if self.low == self.high else math.inf

    def parse(self, value: object) -> float:
        value = _plain(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            wrong = f"{_described(value)} is not a number"
        elif self.low <= value <= self.high:
            return float(value)
        else:
            wrong = f"{shown(value)} is outside the bounds"
        raise ValueError(f"{wrong}; give a number from {self.low!r} to {self.high!r}")

    def codes(self, values: Iterable[object]) -> FloatArray:
        given = list(values)
        if all(type(value) is float for value in given):  # as nearly always: judged at once
            codes = np.array(given, dtype=np.float64)
            if ((self.low <= codes) & (codes <= self.high)).all():
                return self.canonical(codes)
        return super().codes(given)

    def value(self, code: float) -> float:
        return float(code)

    def code(self, u: FloatArray) -> FloatArray:
        if self.scale == "log":
            return self.canonical(self.low + self.low * np.expm1(u * self._width))
        return self.canonical(self.low + u * self._width)

    def position(self, codes: FloatArray) -> FloatArray:
        return np.minimum(self._distance(codes) / self._width, 1.0)

    def canonical(self, codes: FloatArray) -> FloatArray:
        codes = np.clip(codes, self.low, self.high)
        if self._digits is None:
            return codes + 0.0
        exponents = self._exponents(codes)
        # One of the two powers is 1 and thus exact.
        up = _POWERS_OF_TEN[np.maximum(exponents, 0)]
        down = _POWERS_OF_TEN[np.maximum(-exponents, 0)]
        rounded = np.rint(codes / up * down) / down * up
        at_low, at_high = self._quanta
        # 3/4 of a quantum, not 1/2: a bound half way between two lattice points stays a bound.
        rounded = np.where(rounded - self.low < 0.75 * at_low, self.low, rounded)
        rounded = np.where(self.high - rounded < 0.75 * at_high, self.high, rounded)
        return np.asarray(rounded + 0.0)  # no negative zero: equal values have equal bytes

    def _distance(self, values: FloatArray) -> FloatArray:
        """Distance from low on the scale; exact to a few ulp of the range even far from zero."""
        distance = values - self.low
        return np.log1p(distance / self.low) if self.scale == "log" else distance

    @cached_property
    def _width(self) -> float:
        return float(self._distance(np.array([self.high]))[0])

    @cached_property
    def _digits(self) -> int | None:
        """Digits of the lattice counted from the largest value; None: every float64."""
        width = self.high - self.low
        if width == 0:
            return None
        largest = self.low if self.scale == "log" else max(abs(self.low), abs(self.high))
        digits = _DIGITS + 1 + _magnitude(largest) - _magnitude(width)
        if self.scale == "log":
            digits = max(digits, _DIGITS)
        return digits if digits <= _EXACT_DIGITS else None

    @cached_property
    def _quanta(self) -> FloatArray:
        """The lattice's quantum at low and at high (2)."""
        quanta = 10.0 ** self._exponents(np.array([self.low, self.high]))
        return np.broadcast_to(quanta, 2)

    def _exponents(self, values: FloatArray) -> npt.NDArray[np.int64]:
        """Powers of ten of the lattice's quantum at each value; one for all on a linear scale."""
        assert self._digits is not None
        if self.scale == "log":
            magnitudes = np.floor(np.log10(values)).astype(np.int64)
        else:
            largest = max(abs(self.low), abs(self.high))
            magnitudes = np.array(_magnitude(largest))
        return magnitudes - self._digits + 1


@final
@dataclass(frozen=True, eq=False, repr=False)
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
        low, high = _integer_bound("low", self.low), _integer_bound("high", self.high)
        _set_bounds(self, low, high, ("linear", "log", "power2"), ">= 1")
        if self.scale == "power2":
            _check_power_of_two(low, "low ")
            _check_power_of_two(high, "high ")
        object.__setattr__(self, "default", self.value(self.default_code))

    @property
    def size(self) -> int:
        if self.scale == "power2":
            return self.high.bit_length() - self.low.bit_length() + 1
        return self.high - self.low + 1

    def parse(self, value: object) -> float:
        value = _plain(value)
        what = "a power of two" if self.scale == "power2" else "an integer"
        hint = f"give {what} from {self.low} to {self.high}"
        if type(value) is not int:
            raise ValueError(f"{_described(value)} is not an integer; {hint}")
        if not self.low <= value <= self.high:
            raise ValueError(f"{shown(value)} is outside the bounds; {hint}")
        if self.scale != "power2":
            return float(value - self.low)
        _check_power_of_two(value)
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


@final
@dataclass(frozen=True, eq=False, repr=False)
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
        _check_flag("fixed", self.held)
        _check_flag("ordered", self.ordered)
        if isinstance(self.levels, str | Mapping) or not isinstance(self.levels, Iterable):
            raise ValueError(f"levels {shown(self.levels)} is not a list; give a list of levels")
        object.__setattr__(self, "levels", tuple(_scalar("level", v) for v in self.levels))
        if not self.levels:
            raise ValueError("levels is empty; give at least one level")
        if self.size > MOST_LEVELS:
            raise ValueError(f"levels has {self.size} levels, at most {MOST_LEVELS}; use Integer")
        if len(self._codes) < self.size:
            firsts = [int(self._codes[_identity(v)]) for v in self.levels]
            double = next(v for i, v in enumerate(self.levels) if firsts[i] != i)
            raise ValueError(f"levels has {shown(double)} more than once; give every level once")
        object.__setattr__(self, "default", self.levels[int(self.default_code)])

    @property
    def size(self) -> int:
        return len(self.levels)

    def parse(self, value: object) -> float:
        value = _plain(value)
        is_scalar = isinstance(value, bool | int | float | str)
        code = self._codes.get(_identity(value)) if is_scalar else None
        # An integer stands for the equal float, as for a Real; a float never for an integer.
        if code is None or (type(value) is float and type(self.levels[int(code)]) is int):
            listed = ", ".join(map(shown, self.levels[:_LISTED_LEVELS]))
            more = ", ..." if self.size > _LISTED_LEVELS else ""
            near = did_you_mean(value, self.levels)
            raise ValueError(
                f"{_described(value)} is not a level; give one of {listed}{more}{near}"
            )
        return code

    def value(self, code: float) -> Value:
        return self.levels[int(code)]

    def code(self, u: FloatArray) -> FloatArray:
        return _cell(u, self.size)

    def position(self, codes: FloatArray) -> FloatArray:
        return (codes + 0.5) / self.size

    @cached_property
    def _codes(self) -> dict[tuple[bool, Any], float]:
        """Codes by level, in reverse, so that of equal levels the first keeps its code."""
        return {_identity(v): float(i) for i, v in reversed(list(enumerate(self.levels)))}


def _cell(u: FloatArray, size: int) -> FloatArray:
    return np.minimum(np.floor(u * size), size - 1.0)


def _identity(value: Any) -> tuple[bool, Any]:
    return isinstance(value, bool), value


def _magnitude(value: float) -> int:
    return math.floor(math.log10(value))


def _plain(value: Any) -> Any:
    """A numpy scalar as the Python scalar it stands for; everything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def _described(value: object) -> str:
    return f"{shown(value)} ({type(value).__name__})"


def _scalar(what: str, value: object) -> Value:
    value = _plain(value)
    if isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise ValueError(f"{what} {_described(value)} is not a boolean, a finite number or a string")


def _check_flag(name: str, flag: object) -> None:
    if type(flag) is not bool:
        raise ValueError(f"{name} {shown(flag)} is not a boolean; give true or false")


def _set_bounds(
    axis: Real | Integer, low: float, high: float, scales: Sequence[str], of_log: str
) -> None:
    """Check the flag and the scale against the bounds of a number, and keep them."""
    _check_flag("fixed", axis.held)
    if low > high:
        raise ValueError(f"low {low!r} is above high {high!r}; give low <= high")
    if axis.scale not in scales:
        near = did_you_mean(axis.scale, scales)
        raise ValueError(f"scale {shown(axis.scale)} is not one of {', '.join(scales)}{near}")
    if axis.scale == "log" and low <= 0:
        raise ValueError(
            f"low {low!r} does not fit the log scale, which needs low {of_log};"
            " raise low or use scale='linear'"
        )
    object.__setattr__(axis, "low", low)
    object.__setattr__(axis, "high", high)


def _check_power_of_two(value: int, what: str = "") -> None:
    if value < 1:
        raise ValueError(f"{what}{value} is not a power of two; the smallest is 1")
    if value & (value - 1):
        below = 1 << (value.bit_length() - 1)
        raise ValueError(
            f"{what}{value} is not a power of two; the nearest are {below} and {2 * below}"
        )


def _real_bound(name: str, bound: object) -> float:
    bound = _plain(bound)
    if isinstance(bound, bool) or not isinstance(bound, int | float):
        raise ValueError(f"{name} {_described(bound)} is not a number; give a finite number")
    if isinstance(bound, float) and not math.isfinite(bound):
        raise ValueError(f"{name} {bound!r} is not finite; give a finite number")
    if bound != 0 and not 1 / _LARGEST_REAL <= abs(bound) <= _LARGEST_REAL:
        raise ValueError(
            f"{name} {shown(bound)} is too large or too close to zero; give 0 or a magnitude from"
            f" {1 / _LARGEST_REAL:g} to {_LARGEST_REAL:g}"
        )
    return float(bound) + 0.0


def _integer_bound(name: str, bound: object) -> int:
    bound = _plain(bound)
    if type(bound) is not int:
        raise ValueError(
            f"{name} {_described(bound)} is not an integer; give an integer or use Real"
        )
    if abs(bound) > _LARGEST_INTEGER:
        raise ValueError(f"{name} {shown(bound)} is beyond {_LARGEST_INTEGER:.0e}; use Real")
    return bound
