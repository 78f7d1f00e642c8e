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
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, replace
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from spot_dask.errors import did_you_mean
from spot_dask.records import Value

FloatArray = npt.NDArray[np.float64]
JSON = dict[str, Any]
Conditions = tuple[tuple[str, tuple[Value, ...]], ...]


def canonical_json(data: Any) -> str:
    """The one text of a JSON value: sorted keys, no spaces, no NaN."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)


def plain(value: Any) -> Any:
    """A numpy scalar as the Python scalar it stands for; everything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


class Parameter(ABC):
    """One axis of a search space.

    ``conditions`` names the parents and the values of theirs under which the parameter is active;
    all must hold. A ``held`` parameter stays at its default although its bounds are wider.
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
        """The code of a value, not yet rounded; raises ValueError if it is not a possible one."""

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

    @property
    def fixed(self) -> bool:
        """True if only one value is possible."""
        return self.held or self.size == 1

    @property
    def default_code(self) -> float:
        """The code of the default; raises ValueError if the default is not possible."""
        try:
            return self.parse(self.default)
        except ValueError as error:
            raise ValueError(f"default {error}") from None

    def when(self, /, **parents: Value | Iterable[Value]) -> Self:
        """A copy that is active only when every named parent has (one of) the given value(s)."""
        conditions = dict(self.conditions) | {n: _condition(n, v) for n, v in parents.items()}
        return replace(self, conditions=tuple(sorted(conditions.items())))  # type: ignore[type-var]

    def hold(self, value: Value) -> Self:
        """A copy that is fixed at a value; its bounds are kept."""
        return replace(self, default=value, held=True)  # type: ignore[type-var]

    def to_json(self) -> JSON:
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
                near = did_you_mean(name, known)
                there = ", ".join(known)
                raise ValueError(f"{cls.kind} has no field {name!r}, there are {there}{near}")
        missing = [f.name for f in own if f.default is MISSING and f.name not in data]
        if missing:
            raise ValueError(f"{cls.kind} needs {' and '.join(missing)}; give it")
        given = dict(data)
        when = given.pop("when", {})
        if not isinstance(when, Mapping):
            raise ValueError(f"when {when!r} is not a table; give the values by parent")
        given["held"] = given.pop("fixed", False)
        return cls(**given).when(**when)

    def __eq__(self, other: object) -> bool:
        # Through JSON because Python holds True == 1 == 1.0, and levels are not interchangeable.
        if not isinstance(other, Parameter):
            return NotImplemented
        return canonical_json(self.to_json()) == canonical_json(other.to_json())

    def __hash__(self) -> int:
        return hash(canonical_json(self.to_json()))


def _condition(name: str, values: Value | Iterable[Value]) -> tuple[Value, ...]:
    many = [values] if isinstance(values, str) or not isinstance(values, Iterable) else values
    # By JSON text, so that the order of the values does not matter and True is not 1.
    by_text = {canonical_json(v): v for v in (scalar(f"condition on {name}:", v) for v in many)}
    if not by_text:
        raise ValueError(f"condition on {name} has no values; give at least one")
    return tuple(by_text[text] for text in sorted(by_text))


def check_flag(name: str, flag: object) -> None:
    if type(flag) is not bool:
        raise ValueError(f"{name} {flag!r} is not a boolean; give true or false")


def scalar(what: str, value: object) -> Value:
    value = plain(value)
    if isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise ValueError(f"{what} {described(value)} is not a boolean, a finite number or a string")


def described(value: object) -> str:
    return f"{value!r} ({type(value).__name__})"


def check_order(low: float, high: float) -> None:
    if low > high:
        raise ValueError(f"low {low!r} is above high {high!r}; give low <= high")


def check_scale(scale: str, scales: tuple[str, ...]) -> None:
    if scale not in scales:
        near = did_you_mean(scale, scales)
        raise ValueError(f"scale {scale!r} is not one of {', '.join(scales)}{near}")
