"""The parameters of a search space: reals, integers and factors, each on its own unit interval.

One value has three forms::

    value     what the user sees: 0.01, 64, "sgd"
    code      float64: the canonical value of a real; the index 0 .. K - 1 of anything discrete
    position  float64 in [0, 1]: where the code sits in the unit interval

``code`` maps positions to codes and is where everything snaps; ``position`` is its right inverse:
``code(position(c)) == c`` bit for bit for every canonical code c. Both take and return arrays.

A default that is not given is the centre of the range on its scale; of an unordered factor it is
the first level.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, MISSING, dataclass, field, fields, replace
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, cast, final

import numpy as np
import numpy.typing as npt

from spot_dask.cards import Listed
from spot_dask.errors import did_you_mean, shown
from spot_dask.records import Value

FloatArray = npt.NDArray[np.float64]
JSON = dict[str, Any]
Conditions = tuple[tuple[str, tuple[Value, ...]], ...]

# 10 digits are far below any effect on a training and far above the rounding errors of encoding.
_DIGITS = 10
_DUST = 1e-9  # of a step
# Decimal numbers of up to 15 digits survive the way through a float64 and back.
_EXACT_DIGITS = 15
_LARGEST_REAL = 1e150
_LARGEST_INTEGER = 10**12
MOST_LEVELS = 100_000
_LISTED_LEVELS = 20
_LONGEST_LABEL = 60
_POWERS_OF_TEN = np.array([float(f"1e{i}") for i in range(301)])


class _Centre:
    def __repr__(self) -> str:
        return "CENTRE"


CENTRE: Any = _Centre()
"""Stands for a default that is not given."""

_OMITTED: JSON = {"step": (None, 1), "centred": (False,)}
"""Values of optional fields that are left out of the JSON form, so that older ones stay equal."""


def canonical_json(data: Any) -> str:
    """The one text of a JSON value: sorted keys, no spaces, no NaN."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)


def check_name(name: object) -> str:
    """The name; raises ValueError if a parameter cannot have it."""
    if isinstance(name, str) and all(part.isidentifier() for part in name.split(".")):
        return name
    raise ValueError(
        f"{shown(name)} is not a parameter name; give letters, digits and underscores, and dots"
        " between such words"
    )


def label(value: object) -> Value:
    """What stands for a level in stores, tables and reports: itself if it is a scalar.

    None and a tuple stand for themselves as text, a class and a function for their names. Raises
    ValueError for a value that has no such text.
    """
    value = _plain(value)
    if isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if value is None or isinstance(value, tuple):
        text = str(value)
    else:
        text = str(getattr(value, "__name__", ""))
    if text and "<" not in text and len(text) <= _LONGEST_LABEL:
        return text
    raise ValueError(
        f"level {_described(value)} has no name of its own;"
        " give it one: Categorical({NAME: VALUE, ...})"
    )


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Puts what is wrong, such as a parameter's name, before the message of a ValueError."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


class Parameter(Listed, ABC):
    """One axis of a search space.

    ``conditions`` holds the parents and those of their values that make the parameter active; all
    conditions must hold. A ``held`` parameter stays at its default although its bounds are wider.
    ``centred`` says that no default was given.
    """

    _unlisted = frozenset(
        ("canonical", "centred", "code", "codes", "conditions", "default_code", "held", "kind",
         "meaning", "meanings", "parse", "position", "value")
    )  # fmt: skip
    kind: ClassVar[str]
    default: Value
    centred: bool
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

    def _set_default(self) -> None:
        """Keep the default as a value of its own parameter: the centre if none is given."""
        if self.default is CENTRE or self.centred:
            object.__setattr__(self, "centred", True)
            object.__setattr__(self, "default", self.value(self._centre()))
        code = self.canonical(np.array([self.default_code]))[0]
        object.__setattr__(self, "default", self.value(code))

    def _centre(self) -> float:
        """The code in the middle of the range on its scale."""
        return float(self.code(np.array([0.5]))[0])

    @property
    def default_code(self) -> float:
        """The code of the default; raises ValueError if the default is impossible."""
        try:
            return self.parse(self.default)
        except ValueError as error:
            raise ValueError(f"default {error}") from None

    def when(self, /, **parents: object) -> Self:
        """A copy that is active only if every named parent has (one of) the given value(s).

        Raises ValueError for a parent without values and for a value that is no scalar.

        >>> from spot_dask import Categorical, Real
        >>> Real(0.0, 0.99).when(optimizer="sgd")
        Real(0.0, 0.99).when(optimizer='sgd')
        """
        conditions = dict(self.conditions)
        for name, given in parents.items():
            check_name(name)
            one = isinstance(given, str | type) or not isinstance(given, Iterable)
            values = [given] if one else list(cast(Iterable[object], given))
            # By JSON text, so that the order of the values does not matter and True is not 1.
            with naming(f"condition on {name}"):
                scalars = [label(v) for v in values]
            by_text = {canonical_json(v): v for v in scalars}
            if not by_text:
                raise ValueError(f"condition on {name} has no values; give at least one")
            conditions[name] = tuple(by_text[text] for text in sorted(by_text))
        return replace(self, conditions=tuple(sorted(conditions.items())))  # type: ignore[type-var]

    def hold(self, value: Value) -> Self:
        """A copy that is fixed at a value; its bounds are kept.

        >>> from spot_dask import Integer
        >>> Integer(16, 256, scale="power2").hold(64).fixed
        True
        """
        return replace(self, default=value, centred=False, held=True)  # type: ignore[type-var]

    def __repr__(self) -> str:
        """The parameter as it is written in Python."""
        words = []
        for item in fields(self):  # type: ignore[arg-type]
            value = getattr(self, item.name)
            if item.name in ("conditions", "held", "centred", "meanings") or value == item.default:
                continue
            if item.name == "default" and self.centred:
                continue
            text = self._written(item.name)
            words.append(f"{item.name}={text}" if item.kw_only else text)
        parents = ", ".join(
            f"{parent}={(values[0] if len(values) == 1 else list(values))!r}"
            for parent, values in self.conditions
        )
        when = f".when({parents})" if parents else ""
        hold = f".hold({self.default!r})" if self.held else ""
        return f"{type(self).__name__}({', '.join(words)}){when}{hold}"

    def _written(self, name: str) -> str:
        """The value of a field as it is written in Python."""
        return repr(getattr(self, name))

    def to_json(self) -> JSON:
        """The fields by name, with ``type``; ``fixed`` and ``when`` for held and conditions."""
        data = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        for name, omitted in _OMITTED.items():
            if name in data and data[name] in omitted:
                del data[name]
        data.pop("meanings", None)
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
        aside = ("conditions", "held", "meanings")
        own = [f for f in fields(cls) if f.name not in aside]  # type: ignore[arg-type]
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
        if isinstance(given.get("levels"), Mapping):  # what names stand for is never data
            raise ValueError(f"levels {shown(given['levels'])} is not a list; give a list of names")
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
    narrow that float64 leaves no room for such a lattice uses every float64 in it. With a ``step``
    only low, low + step, ... are possible; the code is then the number of steps.

    >>> from spot_dask import Real
    >>> Real(1e-4, 1.0, scale="log").default
    0.01
    >>> Real(0.0, 0.5, step=0.1, default=0.2).size
    6
    """

    kind = "real"
    low: float
    high: float
    _: KW_ONLY
    default: float = CENTRE
    step: float | None = None
    scale: Literal["linear", "log"] = "linear"
    centred: bool = False
    conditions: Conditions = ()
    held: bool = False

    def __post_init__(self) -> None:
        low, high = _real_bound("low", self.low), _real_bound("high", self.high)
        _set_bounds(self, low, high, ("linear", "log"), "> 0")
        if self.step is not None:
            object.__setattr__(self, "step", _real_bound("step", self.step))
            _check_step(self, self.step)
        self._set_default()

    @property
    def size(self) -> int | float:
        if self.low == self.high:
            return 1
        return math.inf if self.step is None else 1 + round((self.high - self.low) / self.step)

    def parse(self, value: object) -> float:
        value = _plain(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            wrong = f"{_described(value)} is not a number"
        elif not self.low <= value <= self.high:
            wrong = f"{shown(value)} is outside the bounds"
        elif self.step is None:
            return float(value)
        else:
            code = float(round((value - self.low) / self.step))
            if abs(self.value(code) - value) <= _DUST * self.step:
                return code
            wrong = f"{shown(value)} is no multiple of the step {self.step!r} above {self.low!r}"
            below = math.floor((value - self.low) / self.step)
            near = f"{self.value(below)!r} and {self.value(below + 1)!r}"
            raise ValueError(f"{wrong}; nearest are {near}")
        raise ValueError(f"{wrong}; give a number from {self.low!r} to {self.high!r}")

    def codes(self, values: Iterable[object]) -> FloatArray:
        given = list(values)
        nearly_always = all(type(value) is float for value in given) and self.step is None
        if nearly_always:  # judged at once
            codes = np.array(given, dtype=np.float64)
            if ((self.low <= codes) & (codes <= self.high)).all():
                return self.canonical(codes)
        return super().codes(given)

    def value(self, code: float) -> float:
        if self.step is None:
            return float(code)
        # In decimals, so that 3 steps of 0.1 are 0.3.
        return float(Decimal(repr(self.low)) + int(code) * Decimal(repr(self.step)))

    def code(self, u: FloatArray) -> FloatArray:
        if self.step is not None:
            return _cell(u, int(self.size))
        if self.scale == "log":
            return self.canonical(self.low + self.low * np.expm1(u * self._width))
        return self.canonical(self.low + u * self._width)

    def position(self, codes: FloatArray) -> FloatArray:
        if self.step is not None:
            return (codes + 0.5) / self.size
        return np.minimum(self._distance(codes) / self._width, 1.0)

    def canonical(self, codes: FloatArray) -> FloatArray:
        if self.step is not None:
            return codes
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

    With a ``step`` only low, low + step, ... are possible.

    Every value has a cell in the unit interval: cells of equal width (linear, power2), or from
    log(k - 1/2) to log(k + 1/2) on the log scale.

    >>> from spot_dask import Integer
    >>> Integer(16, 256, scale="power2").default
    64
    >>> Integer(1, 4, default=5)
    Traceback (most recent call last):
    ValueError: default 5 is outside the bounds; give an integer from 1 to 4
    """

    kind = "integer"
    low: int
    high: int
    _: KW_ONLY
    default: int = CENTRE
    step: int = 1
    scale: Literal["linear", "log", "power2"] = "linear"
    centred: bool = False
    conditions: Conditions = ()
    held: bool = False

    def __post_init__(self) -> None:
        low, high = _integer_bound("low", self.low), _integer_bound("high", self.high)
        _set_bounds(self, low, high, ("linear", "log", "power2"), ">= 1")
        if self.scale == "power2":
            _check_power_of_two(low, "low ")
            _check_power_of_two(high, "high ")
        object.__setattr__(self, "step", _integer_bound("step", self.step))
        if self.step != 1:
            _check_step(self, self.step)
        self._set_default()

    @property
    def size(self) -> int:
        if self.scale == "power2":
            return self.high.bit_length() - self.low.bit_length() + 1
        return (self.high - self.low) // self.step + 1

    def parse(self, value: object) -> float:
        value = _plain(value)
        what = "a power of two" if self.scale == "power2" else "an integer"
        hint = f"give {what} from {self.low} to {self.high}"
        if type(value) is not int:
            raise ValueError(f"{_described(value)} is not an integer; {hint}")
        if not self.low <= value <= self.high:
            raise ValueError(f"{shown(value)} is outside the bounds; {hint}")
        if self.scale != "power2":
            steps, rest = divmod(value - self.low, self.step)
            if rest:
                below = self.low + steps * self.step
                raise ValueError(
                    f"{value} is no multiple of the step {self.step} above {self.low}; nearest are"
                    f" {below} and {below + self.step}"
                )
            return float(steps)
        _check_power_of_two(value)
        return float(value.bit_length() - self.low.bit_length())

    def value(self, code: float) -> int:
        if self.scale == "power2":
            return self.low << int(code)
        return self.low + int(code) * self.step

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
    """A factor: one of a list of booleans, numbers or strings, or of anything else by its name.

    The levels of an ordered factor are ranks, those of an unordered one are all equally far apart.
    Levels are told apart with their types: ``True`` is not ``1``. Given ``{NAME: VALUE}``, or None,
    tuples, classes and functions, whose names are their own (``label``), stores and reports hold
    the names, and a training gets what they stand for; ``meanings`` holds it by name.

    >>> from spot_dask import Categorical
    >>> Categorical(["sgd", "adam"]).default
    'sgd'
    >>> Categorical({"none": None, "64x64": (64, 64)}).levels
    ('none', '64x64')
    """

    if TYPE_CHECKING:  # what can be given is more than what is kept

        def __init__(
            self,
            levels: Iterable[Any] | Mapping[str, Any],
            *,
            default: Any = CENTRE,
            ordered: bool = False,
            centred: bool = False,
            conditions: Conditions = (),
            held: bool = False,
            meanings: Mapping[Value, Any] | None = None,
        ) -> None: ...

    kind = "categorical"
    levels: Sequence[Value]
    _: KW_ONLY
    default: Any = CENTRE
    ordered: bool = False
    centred: bool = False
    conditions: Conditions = ()
    held: bool = False
    meanings: Mapping[Value, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_flag("fixed", self.held)
        _check_flag("ordered", self.ordered)
        if isinstance(self.levels, str) or not isinstance(self.levels, Iterable):
            raise ValueError(f"levels {shown(self.levels)} is not a list; give a list of levels")
        named = _named(self.levels)
        object.__setattr__(self, "levels", tuple(name for name, _ in named))
        meant = {**self.meanings, **{name: v for name, v in named if v is not name}}
        object.__setattr__(self, "meanings", {n: v for n, v in meant.items() if n in self.levels})
        if not self.levels:
            raise ValueError("levels is empty; give at least one level")
        if self.size > MOST_LEVELS:
            raise ValueError(f"levels has {self.size} levels, at most {MOST_LEVELS}; use Integer")
        if len(self._codes) < self.size:
            firsts = [int(self._codes[_identity(v)]) for v in self.levels]
            double = next(v for i, v in enumerate(self.levels) if firsts[i] != i)
            raise ValueError(f"levels has {shown(double)} more than once; give every level once")
        self._set_default()

    @property
    def size(self) -> int:
        return len(self.levels)

    def _centre(self) -> float:
        return super()._centre() if self.ordered else 0.0

    def meaning(self, level: Value) -> Any:
        """What a level stands for: itself where it has no other meaning."""
        return self.meanings.get(level, level)

    def _written(self, name: str) -> str:
        if name != "levels":
            return super()._written(name)
        if not self.meanings:
            return repr(list(self.levels))
        meant = ((v, self.meaning(v)) for v in self.levels)
        named = (f"{name!r}: {getattr(v, '__qualname__', repr(v))}" for name, v in meant)
        return f"{{{', '.join(named)}}}"

    def parse(self, value: object) -> float:
        value = _plain(value)
        code = self._codes.get(_identity(value)) if _is_scalar(value) else None
        if code is None:
            named = (name for name, v in self.meanings.items() if _same(v, value))
            code = next((self._codes[_identity(name)] for name in named), None)
            if code is not None:
                return code
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


def _named(levels: Iterable[Any] | Mapping[str, Any]) -> list[tuple[Value, Any]]:
    """Levels with their names; a level that is its own name is the same object twice."""
    if isinstance(levels, Mapping):
        named = [(_scalar("name of a level", name), v) for name, v in levels.items()]
        return [(name, name if _same(name, v) else v) for name, v in named]
    found = []
    for value in levels:
        name = label(value)
        found.append((name, name if _is_scalar(value) else value))
    return found


def _is_scalar(value: object) -> bool:
    return isinstance(value, bool | int | float | str | np.generic)


def _same(one: Any, other: Any) -> bool:
    """Whether two values are one level; what cannot be compared is the same as itself only."""
    if one is other:
        return True
    try:
        return type(one) is type(other) and bool(one == other)
    except Exception:  # of the value's own comparison, such as that of arrays
        return False


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


def _check_step(axis: Real | Integer, step: float) -> None:
    """Raises ValueError unless a number of steps leads from low to high."""
    if axis.scale != "linear":
        raise ValueError(
            f"step {step!r} does not fit the {axis.scale} scale; leave one of them out"
        )
    if step <= 0:
        raise ValueError(f"step {step!r} is not positive; give a step above 0")
    low, high, each = (Decimal(repr(v)) for v in (axis.low, axis.high, step))
    steps = (high - low) // each
    if abs(low + steps * each - high) > Decimal(_DUST) * each:
        nearest = (repr(type(axis.high)(low + n * each)) for n in (steps, steps + 1))
        raise ValueError(
            f"high {axis.high!r} is no multiple of the step {step!r} above low {axis.low!r};"
            f" nearest are {' and '.join(nearest)}"
        )


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
