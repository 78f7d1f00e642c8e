"""Sources of a warm start: evaluations made earlier, in whatever form they are kept.

A format is one file of this folder with one public class that has ``suffixes``, the endings of its
files' names, and ``read``; a directory or an address is a store of spot-dask. Sources are only
read: nothing is ever created, locked or changed beside them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from spot_dask import plugins
from spot_dask.errors import StoreError
from spot_dask.records import Value
from spot_dask.space import Space

Mode = Literal["data", "prior"]
STORE = "store"


@dataclass(frozen=True)
class WarmStart:
    """A source and what it is to the study.

    ``data``: evaluations of the same objective, which count as known. ``prior``: those of another
    one (other data, another budget), which inform proposals and count as nothing. ``rename`` maps
    the source's names (parameters, or the objective's column) to those of the study; a name mapped
    to ``""`` is left out.
    """

    path: str | Path
    mode: Mode = "data"
    rename: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """An earlier evaluation as its source has it: its run and number there, values by name.

    ``y`` is in the source's own direction; NaN where there is none, and ``why``.
    """

    run: str
    number: int
    values: Mapping[str, Value]
    y: float = math.nan
    why: str = ""


@dataclass(frozen=True)
class Earlier:
    """What a source holds; None stands for what it does not record.

    ``unit`` is what its rows are called; ``textual`` says that values are texts, to be read as the
    parameter they belong to asks.
    """

    rows: Sequence[Row]
    objective: str | None = None
    direction: str | None = None
    space: Space | None = None
    unit: str = "trial"
    textual: bool = False


class Source(Protocol):
    """A format of earlier evaluations."""

    suffixes: Sequence[str]

    def read(self, path: str, objectives: Sequence[str]) -> Earlier:
        """What is at ``path``; in a table, the first of these names is the objective's column.

        Raises StoreError, in one line, for whatever cannot be read.
        """
        ...


def read(path: str, objectives: Sequence[str]) -> Earlier:
    """The evaluations at a path, in the format that its name says; raises StoreError."""
    return _find(path).read(path, objectives)


def split(path: str) -> tuple[str, str | None]:
    """``file:name`` as the file and the name of the study in it, where there is no file ``path``"""
    file, colon, name = path.rpartition(":")
    if colon and not Path(path).exists() and Path(file).is_file():
        return file, name
    return path, None


def _find(path: str) -> Source:
    file = Path(split(path)[0])
    if "://" in path or file.is_dir():
        return _named(STORE)
    formats = {name: _named(name) for name in plugins.names(__name__, "read")}
    for found in formats.values():
        if file.suffix.lower() in found.suffixes:
            return found
    known = ", ".join(suffix for found in formats.values() for suffix in found.suffixes)
    raise StoreError(f"{path}: no warm start from it; expected a store's directory or {known}")


def _named(name: str) -> Source:
    found: Source = plugins.find(__name__, "read", name)
    return found


def text_of(path: str) -> str:
    """The text of a file; raises StoreError if there is none."""
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise StoreError(f"{path}: not a text in UTF-8; save it so") from None
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror})") from None


def number(value: object) -> tuple[float, str]:
    """An objective's value as a number, NaN where it is none, and then why."""
    try:
        y = math.nan if value is None or value == "" else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan, f"its objective {value!r} is no number"
    return y, "" if math.isfinite(y) else "it had failed"
