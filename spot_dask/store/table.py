"""A run as a table: one row per evaluation, in columns of numbers; curves as ragged arrays.

Notation: ``n`` rows; a curve has ``m`` points in all, ``sizes[i]`` of them in row i.

A missing value (an inactive parameter, the worker of an imported evaluation) is not a NaN that was
measured: it is a NaN with the payload that R gives its NA, so both survive in one float64 array.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from spot_dask.constraints import STANDINGS, parsed, standing
from spot_dask.errors import StoreCorrupt, shown
from spot_dask.fold import Arrival, Fold
from spot_dask.records import (
    Configuration,
    Evaluation,
    Header,
    Import,
    Objective,
    Origin,
    Status,
    Value,
)
from spot_dask.space import Categorical, Parameter, Real, Space

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
class CurveColumn:
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
    curves: tuple[CurveColumn, ...]

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
        curves = []
        for name in ours | others:
            parts = ((ours.get(name), len(self)), (others.get(name), len(other)))
            sizes = [np.zeros(n, np.int64) if part is None else part.sizes for part, n in parts]
            values = [part.values for part, _ in parts if part is not None]
            curves.append(CurveColumn(name, np.concatenate(sizes), np.concatenate(values)))
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


IMPORTED = "imported"
"""Status and origin of an evaluation taken over from another run."""

STATUSES = (*Status, IMPORTED)
ORIGINS = (*Origin, IMPORTED)

_YEARS = (-62_135_596_800, 253_402_300_800)
"""Seconds since the epoch, from year 1 to the end of year 9999: what readers have dates for."""


@dataclass(frozen=True)
class _Field:
    """A column of an evaluation's own facts, missing in the rows of imported ones."""

    name: str
    kind: Kind
    long_name: str
    of: Callable[[Evaluation], Any]
    units: str = ""


def _error(name: str) -> Callable[[Evaluation], str]:
    def text(e: Evaluation) -> str:
        return "" if e.outcome.error is None else str(getattr(e.outcome.error, name))

    return text


_FIELDS = (
    _Field("trial", "integer", "number of the trial", lambda e: e.trial.number),
    _Field("replicate", "integer", "replicate of the configuration", lambda e: e.trial.replicate),
    _Field("seed", "integer", "seed of the training", lambda e: e.trial.seed),
    _Field("attempt", "integer", "attempts lost before this one", lambda e: e.attempt),
    _Field("seconds", "real", "duration of the training", lambda e: e.outcome.seconds, "s"),
    _Field("started", "time", "begin of the training (UTC)", lambda e: e.outcome.started),
    _Field("finished", "time", "end of the training (UTC)", lambda e: e.outcome.finished),
    _Field("worker", "factor", "Dask worker", lambda e: e.outcome.worker),
    _Field("device", "factor", "device of the training", lambda e: e.outcome.device),
    _Field("error_type", "factor", "type of the error", _error("type")),
    _Field("error_message", "text", "message of the error", _error("message")),
    _Field("error_traceback", "text", "end of the error's traceback", _error("traceback")),
)


def tabulate(header: Header, rows: Sequence[Arrival], before: Table | None = None) -> Table:
    """The table of a fold's rows; ``before`` is the table of all rows before them.

    Raises StoreCorrupt if the header holds no space, or a row no configuration of it.
    """
    if before is not None and not rows:
        return before
    try:
        space = Space.from_json(header.space)
    except ValueError as error:
        raise StoreCorrupt(f"the space in the run's header: {error}") from None
    try:
        columns = [
            *_common(rows, header),
            *(_column(field, rows) for field in _FIELDS),
            *_provenance(rows),
            *_parameters(rows, space),
            *_metrics(rows),
        ]
    except OverflowError as error:
        raise StoreCorrupt(f"a number is too large for a table ({error})") from error
    table = Table(tuple(columns), tuple(_curves(rows)))
    return table if before is None else before.append(table)


def unfit(header: Header, fold: Fold) -> Iterator[str]:
    """What a run's header and records say that cannot be, though every byte is intact.

    One line each: a space that is none, another direction than min and max, trials that are not
    numbered from 0, a configuration that is none of the space. A header that claims no space of
    ours (a table without ``format``, as early journals have) is not judged by one.
    """
    if isinstance(header.space, dict) and header.space and "format" not in header.space:
        return
    try:
        space = Space.from_json(header.space)
    except ValueError as error:
        yield f"the space in the run's header: {error}"
        return
    if header.direction not in ("min", "max"):
        yield f"the direction in the run's header is {shown(header.direction)}, not min or max"
    history = fold.history
    asked = [*(e.trial for e in history.evaluations), *history.pending]
    if {trial.number for trial in asked} != set(range(len(asked))):
        yield f"its {len(asked)} trials are not numbered from 0 without a gap"
    taken = [*history.imports, *chain.from_iterable(history.priors)]
    named = [(f"trial {t.number}", t.config) for t in asked]
    named += [(f"trial {i.source_trial} of {shown(i.source_run)}", i.config) for i in taken]
    if _fits(space, [config for _, config in named]):
        return
    for what, config in named:
        try:
            if not _fits(space, [config]):
                space.validate(config)
                yield f"{what} sets {shown(sorted(config))}, which are not its parameters"
        except ValueError as error:
            yield f"{what} is no configuration of the run's space: {error}"


def _fits(space: Space, configs: Sequence[Configuration]) -> bool:
    """Whether each has a value of the space for every parameter that is active, and no other."""
    if not configs:
        return True
    try:
        active = space.active(space.encode(configs))
    except ValueError:
        return False
    values = [len(config.keys() & set(space.free)) for config in configs]
    return bool((active.sum(axis=1) == values).all())


def following(before: Table) -> Fold:
    """A fold of the records after those of a table, whose ``rows`` are not in it."""
    runs, numbers = before["source_run"], before["source_trial"].values
    imported = np.flatnonzero(~runs.missing)
    taken = ((str(runs.levels[runs.values[i]]), int(numbers[i])) for i in imported)
    trials = before["trial"]
    return Fold.after(trials.values[~trials.missing].tolist(), taken)


def _config(row: Arrival) -> Configuration:
    return row.evaluation.trial.config if row.evaluation else _imported(row).config


def _y(row: Arrival) -> float:
    return (row.evaluation or _imported(row)).y


def _imported(row: Arrival) -> Import:
    assert row.imported is not None
    return row.imported


def _common(rows: Sequence[Arrival], header: Header) -> list[Column]:
    sign = 1.0 if header.direction == "min" else -1.0
    status = [row.evaluation.outcome.status if row.evaluation else IMPORTED for row in rows]
    origin = [row.evaluation.trial.origin if row.evaluation else IMPORTED for row in rows]
    objective = f"{header.objective} ({header.direction}imised)"
    return [
        _plain("record", "integer", "number of the journal's record", [r.seq for r in rows]),
        _plain("recorded", "time", "when it was durable (UTC)", [r.time for r in rows]),
        _closed("status", "how the trial ended", status, tuple(map(str, STATUSES))),
        _closed("origin", "where the configuration came from", origin, tuple(map(str, ORIGINS))),
        _plain("objective", "real", objective, [sign * _y(row) for row in rows]),
        *_constraints(rows, header),
    ]


def _constraints(rows: Sequence[Arrival], header: Header) -> Iterable[Column]:
    """How rows stand to outcome constraints, where the run has any."""
    try:
        limits = parsed(header.settings.get("constraints", {}))
    except (ValueError, AttributeError) as error:
        raise StoreCorrupt(f"the settings in the run's header: {error}") from None
    if limits:
        what, objective = "outcome constraints", Objective(header.objective, header.direction)
        told = [standing(limits, row.evaluation or _imported(row), objective) for row in rows]
        yield _closed("constraints", what, told, STANDINGS)


def _provenance(rows: Sequence[Arrival]) -> list[Column]:
    runs = [row.imported.source_run if row.imported else "" for row in rows]
    trials = [row.imported.source_trial if row.imported else MISSING["integer"] for row in rows]
    return [
        _open("source_run", "run an evaluation was taken from", runs),
        Column("source_trial", "integer", _array("integer", trials), long_name="its trial there"),
    ]


def _parameters(rows: Sequence[Arrival], space: Space) -> Iterable[Column]:
    for row in rows:
        for name in _config(row):
            if name not in space.parameters:
                raise StoreCorrupt(f"record {row.seq} sets {name!r}, which is no parameter")
    for name, parameter in space.parameters.items():
        kind: Kind = "integer"
        levels: tuple[Any, ...] = ()
        if isinstance(parameter, Categorical):
            kind, levels = "factor", tuple(parameter.levels)
        elif isinstance(parameter, Real):
            kind = "real"
        given = {i: config[name] for i, row in enumerate(rows) if name in (config := _config(row))}
        try:
            codes = parameter.codes(given.values())
        except ValueError:
            raise StoreCorrupt(_impossible(name, parameter, rows)) from None
        if kind == "factor":
            given = dict(zip(given, codes.astype(int).tolist(), strict=True))
        values = [given.get(i, MISSING[kind]) for i in range(len(rows))]
        optional = bool(parameter.conditions)
        long_name = f"hyperparameter {name}"
        column = f"config.{name}"
        yield Column(column, kind, _array(kind, values), levels, optional, long_name=long_name)


def _impossible(name: str, parameter: Parameter, rows: Sequence[Arrival]) -> str:
    """The first record whose value a parameter cannot have, and why."""
    for row in rows:
        try:
            parameter.codes([value for key, value in _config(row).items() if key == name])
        except ValueError as error:
            return f"record {row.seq}: {name}: {error}"
    raise AssertionError(f"every value of {name} is possible")


def _metrics(rows: Sequence[Arrival]) -> Iterable[Column]:
    found = [row.evaluation.outcome.metrics if row.evaluation else {} for row in rows]
    for name in _names(found):
        values = [metrics.get(name, MISSING["real"]) for metrics in found]
        yield Column(f"metric.{name}", "real", _array("real", values), long_name=f"metric {name}")


def _curves(rows: Sequence[Arrival]) -> Iterable[CurveColumn]:
    found = [row.evaluation.outcome.curves if row.evaluation else {} for row in rows]
    for name in _names(found):
        curves = [c.get(name, ()) for c in found]
        sizes = np.array([len(curve) for curve in curves], np.int64)
        yield CurveColumn(name, sizes, np.fromiter(chain.from_iterable(curves), "<f8", sizes.sum()))


def _names(found: Sequence[Mapping[str, object]]) -> list[str]:
    return list(dict.fromkeys(chain.from_iterable(found)))


def _column(field: _Field, rows: Sequence[Arrival]) -> Column:
    if field.kind == "factor":
        texts = [field.of(row.evaluation) if row.evaluation else "" for row in rows]
        return _open(field.name, field.long_name, texts)
    gap = math.nan if field.kind == "time" else MISSING[field.kind]
    values: list[Any] = [field.of(row.evaluation) if row.evaluation else gap for row in rows]
    try:
        array = _array(field.kind, values)
    except OverflowError:
        largest = max(values, key=abs)
        raise StoreCorrupt(f"a {field.long_name} is {largest}, too large for a table") from None
    return Column(field.name, field.kind, array, (), True, field.units, field.long_name)


def _plain(name: str, kind: Kind, long_name: str, values: Sequence[Any]) -> Column:
    return Column(name, kind, _array(kind, values), (), False, long_name=long_name)


def _closed(name: str, long_name: str, values: Sequence[str], levels: tuple[str, ...]) -> Column:
    """A factor whose levels are known beforehand."""
    codes = {level: i for i, level in enumerate(levels)}
    array = _array("factor", [codes[str(value)] for value in values])
    return Column(name, "factor", array, levels, False, long_name=long_name)


def _open(name: str, long_name: str, values: Sequence[str]) -> Column:
    """A factor whose levels are those that appear, in this order; an empty text is missing."""
    texts = [_utf8(value) for value in values]
    levels = tuple(text for text in dict.fromkeys(texts) if text)
    codes = {"": -1} | {level: i for i, level in enumerate(levels)}
    array = _array("factor", [codes[text] for text in texts])
    return Column(name, "factor", array, levels, long_name=long_name)


def _array(kind: Kind, values: Sequence[Any]) -> Any:
    if kind == "time":
        values = [_microseconds(value) for value in values]
    elif kind == "text":
        values = [_utf8(value) for value in values]
    return np.array(values, DTYPES[kind])


def _microseconds(seconds: float) -> int:
    if _YEARS[0] <= seconds < _YEARS[1]:
        return round(seconds * 1e6)
    return int(MISSING["time"])


def _utf8(text: str) -> str:
    """The text with lone surrogates (undecodable bytes in a traceback) as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()
