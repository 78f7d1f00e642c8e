"""A run as a table: one row per evaluation, in columns of numbers; curves as ragged arrays.

Notation: ``n`` rows; a curve has ``m`` points in all, ``sizes[i]`` of them in row i.

A missing value (an inactive parameter, the worker of an imported evaluation) is not a NaN that was
measured: it is a NaN with the payload that R gives its NA, so both survive in one float64 array.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from spot_dask.records import Value

Array = npt.NDArray[Any]
Kind = Literal["real", "integer", "time", "factor", "text"]

(MISSING_REAL,) = struct.unpack("<d", struct.pack("<Q", 0x7FF80000000007A2))
MISSING_INTEGER = -(2**63)

DTYPES: Mapping[Kind, Any] = {
    "real": np.dtype("<f8"),
    "integer": np.dtype("<i8"),
    "time": np.dtype("<i8"),
    "factor": np.dtype("<i4"),
    "text": np.dtype(object),
}
MISSING: Mapping[Kind, Any] = {
    "real": MISSING_REAL,
    "integer": MISSING_INTEGER,
    "time": MISSING_INTEGER,
    "factor": -1,
    "text": "",
}


@dataclass(frozen=True)
class Column:
    """One value per row (n).

    A time counts microseconds since the epoch (UTC). A factor holds indices into ``levels``.
    ``optional`` says whether values may be missing, whether or not some are.
    """

    name: str
    kind: Kind
    values: Array
    levels: tuple[Value, ...] = ()
    optional: bool = True
    units: str = ""
    long_name: str = ""

    @property
    def missing(self) -> npt.NDArray[np.bool_]:
        """Which values are missing (n)."""
        if self.kind == "real":
            found = self.values.view(np.int64) == np.float64(MISSING_REAL).view(np.int64)
        else:
            found = self.values == MISSING[self.kind]
        return np.asarray(found, dtype=np.bool_)


@dataclass(frozen=True)
class Curve:
    """The learning curves of one metric: ``sizes`` (n) and all points one after the other (m).

    The first point of a row is that of epoch 1.
    """

    name: str
    sizes: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """The evaluations of a run, in the order of its journal."""

    columns: tuple[Column, ...]
    curves: tuple[Curve, ...]

    def __len__(self) -> int:
        return len(self.columns[0].values)

    def __getitem__(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    def append(self, other: Table) -> Table:
        """The rows of both; a column that only one of them has is missing in the other's rows."""
        mine, theirs = ({c.name: c for c in t.columns} for t in (self, other))
        columns = [
            _joined(mine.get(name), theirs.get(name), len(self), len(other))
            for name in mine | theirs
        ]
        ours, others = ({c.name: c for c in t.curves} for t in (self, other))
        curves = [
            _spliced(name, [(ours.get(name), len(self)), (others.get(name), len(other))])
            for name in ours | others
        ]
        return Table(tuple(columns), tuple(curves))


def _joined(first: Column | None, second: Column | None, n: int, more: int) -> Column:
    known = first or second
    assert known is not None
    dtype, gap = DTYPES[known.kind], MISSING[known.kind]
    parts = [
        np.full(size, gap, dtype) if part is None else part.values
        for part, size in ((first, n), (second, more))
    ]
    if first is not None and second is not None and first.levels != second.levels:
        # Levels in the order of their first appearance: those of the first part come first.
        levels = tuple(dict.fromkeys(first.levels + second.levels))
        codes = {level: i for i, level in enumerate(levels)}
        place = np.array([*(codes[level] for level in second.levels), -1], dtype)
        return replace(known, values=np.concatenate([parts[0], place[parts[1]]]), levels=levels)
    return replace(known, values=np.concatenate(parts))


def _spliced(name: str, parts: Sequence[tuple[Curve | None, int]]) -> Curve:
    sizes = [np.zeros(n, np.int64) if part is None else part.sizes for part, n in parts]
    values = [part.values for part, _ in parts if part is not None]
    return Curve(name, np.concatenate(sizes), np.concatenate(values))
