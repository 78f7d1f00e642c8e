"""Settings: dotted keys with TOML values, wherever they come from.

``[design] initial = 12`` in a file, ``--set design.initial=12`` and a flag on the command line all
become the same setting, and the later one wins. Keys::

    name, seed, surrogate, infill, replication,
    early_stopping, batch, sync, durability         the study's own (table [study] in a file)
    gpus, timeout                                   what a training may use: 2, 0.25; "90m"
    isolation, checkpoints                          warm, process, thread; a directory
    budget.evaluations, budget.wall                 wall with its unit: "90m", "6h", "1h30m"
    design.kind, design.initial, design.replicates
    space.NAME = value                              fixes the parameter
    space.NAME.FIELD = value                        changes low, high, scale, levels, default, ...
    cluster.scheduler, cluster.local, store.path    where to run and where to keep the results

This module imports nothing heavy: a malformed file is told at once.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from spot_dask.errors import StudyError

DEFAULT_EVALUATIONS = 50
"""The budget of a study that names none."""

EARLIER = {"replication": 0.0, "durability": "fsync", "early_stopping": None}
"""What a run did without knowing it, whose store is older than the setting."""

Key = tuple[str, ...]


@dataclass(frozen=True)
class Setting:
    """One key, in parts, with its value and where it was given (for messages)."""

    key: Key
    value: Any
    where: str

    @property
    def name(self) -> str:
        return ".".join(self.key)

    def __str__(self) -> str:
        """The setting as ``--set`` takes it."""
        key = self.key[1:] if self.key[0] == "study" else self.key
        return f"{'.'.join(key)}={json.dumps(self.value, ensure_ascii=False)}"

    def error(self, problem: object) -> StudyError:
        return StudyError(f"{self.where}: {self.name}: {one_line(problem)}")


def one_line(problem: object) -> str:
    """The first line of a message, or the kind of an exception that has none."""
    lines = str(problem).strip().splitlines()
    return lines[0] if lines else type(problem).__name__


# --- values -----------------------------------------------------------------------------------

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[dhms])+")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


def duration(value: object) -> float:
    """Seconds of ``"90m"``, ``"6h"``, ``"1h30m"``, ``"45s"`` or ``"2d"``; raises ValueError."""
    text = str(value).replace(" ", "")
    if _NUMBER.fullmatch(text):
        raise ValueError(f"{text} has no unit; write {text}s, {text}m, {text}h or {text}d")
    if not isinstance(value, str) or not _DURATION.fullmatch(text):
        raise ValueError(f"{value!r} is not a duration; write it like 90m, 6h, 1h30m, 45s or 2d")
    seconds = sum(float(n) * _UNITS[u] for n, u in re.findall(r"([\d.]+)([dhms])", text))
    if seconds <= 0:
        raise ValueError(f"{value!r} is no time at all; a wall time must be positive")
    return seconds


def parse_override(text: str, where: str = "--set") -> Setting:
    """``KEY=VALUE`` as a setting; VALUE is a TOML value, a bare word is a string."""
    key, equals, value = text.partition("=")
    parts = tuple(part.strip() for part in key.split("."))
    if not equals or not all(parts):
        raise StudyError(f"{where} {text}: expected KEY=VALUE, such as space.lr.high=0.1")
    setting = Setting(("study", *parts) if len(parts) == 1 else parts, None, where)
    try:
        return replace(setting, value=_toml_value(value.strip()))
    except ValueError as error:
        raise setting.error(error) from error


def _toml_value(text: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        if text[:1] in ("'", '"', "[", "{"):
            raise ValueError(f"{text} is not a TOML value; check quotes and brackets") from None
        return float(text) if _NUMBER.fullmatch(text) else text
    return parsed["value"] if parsed.keys() == {"value"} else text


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"expected a text, got {value!r}")
    return value


def _rule(value: Any) -> str | None:
    return None if value == "none" else _text(value)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"expected a whole number, got {value!r}")
    return value


def _positive(value: Any) -> int:
    if _whole(value) < 1:
        raise ValueError(f"expected a whole number of at least 1, got {value}")
    return int(value)


def _not_negative(value: Any) -> int:
    if _whole(value) < 0:
        raise ValueError(f"expected a whole number of at least 0, got {value}")
    return int(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"expected a number, got {value!r}")
    return float(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, got {value!r}")
    return value


def plain(value: Any) -> Any:
    """The value if JSON can hold it (a table or a date is none); raises ValueError."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if not isinstance(value, bool | int | float | str):
        raise ValueError(f"expected a number, a text, true/false or a list, got {value}")
    return value


KEYS: Mapping[Key, Callable[[Any], Any]] = {
    ("study", "name"): _text,
    ("study", "seed"): _not_negative,
    ("study", "surrogate"): _text,
    ("study", "infill"): _text,
    ("study", "replication"): _number,
    ("study", "early_stopping"): _rule,
    ("study", "batch"): _positive,
    ("study", "sync"): _flag,
    ("study", "gpus"): _number,
    ("study", "timeout"): duration,
    ("study", "isolation"): _text,
    ("study", "checkpoints"): _text,
    ("study", "durability"): _text,
    ("budget", "evaluations"): _positive,
    ("budget", "wall"): duration,
    ("design", "kind"): _text,
    ("design", "initial"): _positive,
    ("design", "replicates"): _positive,
    ("cluster", "scheduler"): _text,
    ("cluster", "local"): _not_negative,
    ("store", "path"): _text,
}
"""Every key outside the space, with what makes its value one of the right type."""


# --- the budget -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Budget:
    """When a run ends: after so many evaluations or so much wall time (seconds), whichever first.

    Both count over all sessions of the run, failed evaluations included.
    """

    evaluations: int | None = None
    wall: float | None = None

    def __post_init__(self) -> None:
        if self.evaluations is not None:
            check_count("budget: evaluations", self.evaluations)
        if self.wall is not None and not (is_number(self.wall) and self.wall > 0):
            raise ValueError(f"budget: wall is {self.wall!r}; expected seconds, more than 0")

    @property
    def limit(self) -> int | None:
        """The number of evaluations a run ends after; None if only its time ends it."""
        if self.evaluations is None and self.wall is None:
            return DEFAULT_EVALUATIONS
        return self.evaluations


def check_count(name: str, value: object, least: int = 1) -> None:
    """Raises ValueError unless the value is a whole number of at least ``least``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} is {value!r}; expected a whole number, at least {least}")


def is_number(value: object) -> bool:
    """Whether the value is an int or a float, and no bool."""
    return isinstance(value, int | float) and not isinstance(value, bool)
