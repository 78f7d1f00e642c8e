"""Real parameters and the decimal lattice their values are rounded to."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Literal, final

import numpy as np
import numpy.typing as npt

from spot_dask.space.parameters import (
    Conditions,
    FloatArray,
    Parameter,
    check_flag,
    check_order,
    check_scale,
    described,
    plain,
)

# 10 digits are far below any effect on a training and far above the rounding errors of encoding.
_DIGITS = 10
# Decimal numbers of up to 15 digits survive the way through a float64 and back.
_EXACT_DIGITS = 15
_LARGEST_REAL = 1e150
_POWERS_OF_TEN = np.array([float(f"1e{i}") for i in range(301)])


@final
@dataclass(frozen=True, eq=False)
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
        check_flag("fixed", self.held)
        low, high = _real_bound("low", self.low), _real_bound("high", self.high)
        check_order(low, high)
        check_scale(self.scale, ("linear", "log"))
        if self.scale == "log" and low <= 0:
            raise ValueError(
                f"low {low!r} does not fit the log scale, which needs low > 0;"
                " raise low or use scale='linear'"
            )
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)
        default = self.canonical(np.array([self.default_code]))
        object.__setattr__(self, "default", float(default[0]))

    @property
    def size(self) -> int | float:
        return 1 if self.low == self.high else math.inf

    def parse(self, value: object) -> float:
        value = plain(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{described(value)} is not a number; {self._hint}")
        if not self.low <= value <= self.high:
            raise ValueError(f"{value!r} is outside the bounds; {self._hint}")
        return float(value)

    def value(self, code: float) -> float:
        return float(code)

    def code(self, u: FloatArray) -> FloatArray:
        if self.scale == "log":
            return self.canonical(self.low + self.low * np.expm1(u * self._width))
        return self.canonical(self.low + u * self._width)

    def position(self, codes: FloatArray) -> FloatArray:
        return np.minimum(self._distance(codes) / self._width, 1.0)

    def canonical(self, codes: FloatArray) -> FloatArray:
        if self._digits is None:
            return np.clip(codes, self.low, self.high) + 0.0
        codes = np.clip(codes, self.low, self.high)
        rounded = _round_decimal(codes, self._exponents(codes))
        at_low, at_high = 10.0 ** self._exponents(np.array([self.low, self.high]))
        # 3/4 of a quantum, not 1/2: a bound half way between two lattice points stays a bound.
        rounded = np.where(rounded - self.low < 0.75 * at_low, self.low, rounded)
        rounded = np.where(self.high - rounded < 0.75 * at_high, self.high, rounded)
        return rounded + 0.0  # no negative zero: equal values have equal bytes

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
        largest = self.low if self.scale == "log" else max(abs(self.low), abs(self.high))
        width = self.high - self.low
        if width == 0:
            return None
        digits = _DIGITS + 1 + _magnitude(largest) - _magnitude(width)
        if self.scale == "log":
            digits = max(digits, _DIGITS)
        return digits if digits <= _EXACT_DIGITS else None

    def _exponents(self, values: FloatArray) -> npt.NDArray[np.int64]:
        """Powers of ten of the lattice's quantum at each value."""
        assert self._digits is not None
        if self.scale == "log":
            magnitudes = np.floor(np.log10(values)).astype(np.int64)
        else:
            largest = max(abs(self.low), abs(self.high))
            magnitudes = np.full(values.shape, _magnitude(largest), dtype=np.int64)
        return magnitudes - self._digits + 1

    @property
    def _hint(self) -> str:
        return f"give a number from {self.low!r} to {self.high!r}"


def _round_decimal(values: FloatArray, exponents: npt.NDArray[np.int64]) -> FloatArray:
    """Values rounded to multiples of 10^exponent; one of the two powers is 1 and thus exact."""
    up = _POWERS_OF_TEN[np.maximum(exponents, 0)]
    down = _POWERS_OF_TEN[np.maximum(-exponents, 0)]
    return np.asarray(np.rint(values / up * down) / down * up)


def _magnitude(value: float) -> int:
    return math.floor(math.log10(value))


def _real_bound(name: str, bound: object) -> float:
    bound = plain(bound)
    if isinstance(bound, bool) or not isinstance(bound, int | float):
        raise ValueError(f"{name} {described(bound)} is not a number; give a finite number")
    if isinstance(bound, float) and not math.isfinite(bound):
        raise ValueError(f"{name} {bound!r} is not finite; give a finite number")
    if bound != 0 and not 1 / _LARGEST_REAL <= abs(bound) <= _LARGEST_REAL:
        raise ValueError(
            f"{name} {bound!r} is too large or too close to zero; give 0 or a magnitude from"
            f" {1 / _LARGEST_REAL:g} to {_LARGEST_REAL:g}"
        )
    return float(bound) + 0.0
