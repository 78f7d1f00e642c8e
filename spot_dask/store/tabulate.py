"""From the records of a run to its table: a pure function, also where it goes on from a table.

Columns: fixed ones (see ``_FIELDS`` and ``_common``), then ``config.<parameter>`` for every
parameter of the space, then ``metric.<name>`` in the order in which the metrics first appeared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from spot_dask.errors import StoreCorrupt
from spot_dask.records import (
    Configuration,
    Evaluation,
    Header,
    Import,
    Imported,
    Origin,
    Record,
    Status,
    Told,
)
from spot_dask.space import Categorical, Parameter, Real, Space
from spot_dask.store.columns import DTYPES, MISSING, Column, Curve, Kind, Table

IMPORTED = "imported"
"""Status and origin of an evaluation taken over from another run."""

STATUSES = (*Status, IMPORTED)
ORIGINS = (*Origin, IMPORTED)

_LAST_MICROSECOND = 2**62


@dataclass(frozen=True)
class _Row:
    """An evaluation, or one taken over, and the record that holds it."""

    record: Record
    evaluation: Evaluation | None
    source: Import | None

    @property
    def config(self) -> Configuration:
        return (self.evaluation.trial if self.evaluation else self._import).config

    @property
    def y(self) -> float:
        return (self.evaluation or self._import).y

    @property
    def _import(self) -> Import:
        assert self.source is not None
        return self.source


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


def tabulate(header: Header, records: Iterable[Record], before: Table | None = None) -> Table:
    """The evaluations in ``records``; ``before`` is the table of all records before them.

    As in a replay, the first of several evaluations of a trial counts, and so does the first of
    several imports of an evaluation. Raises StoreCorrupt where a configuration is not one of the
    run's space.
    """
    rows = list(_rows(records, before))
    if before is not None and not rows:
        return before
    columns = [
        *_common(rows, header),
        *(_column(field, rows) for field in _FIELDS),
        *_provenance(rows),
        *_parameters(rows, Space.from_json(header.space)),
        *_metrics(rows),
    ]
    table = Table(tuple(columns), tuple(_curves(rows)))
    return table if before is None else before.append(table)


def _rows(records: Iterable[Record], before: Table | None) -> Iterable[_Row]:
    trials, taken = _known(before)
    for record in records:
        match record.entry:
            case Told(evaluation) if evaluation.trial.number not in trials:
                trials.add(evaluation.trial.number)
                yield _Row(record, evaluation, None)
            case Imported(items=items, mode="data"):
                for item in items:
                    key = (item.source_run, item.source_trial)
                    if key not in taken:
                        taken.add(key)
                        yield _Row(record, None, item)


def _known(before: Table | None) -> tuple[set[int], set[tuple[object, int]]]:
    """The trials that have a row, and the imported evaluations by source."""
    if before is None:
        return set(), set()
    runs, numbers = before["source_run"], before["source_trial"].values
    imported = np.flatnonzero(~runs.missing)
    taken = {(runs.levels[runs.values[i]], int(numbers[i])) for i in imported}
    trials = before["trial"]
    return set(trials.values[~trials.missing].tolist()), taken


def _common(rows: Sequence[_Row], header: Header) -> list[Column]:
    sign = 1.0 if header.direction == "min" else -1.0
    status = [row.evaluation.outcome.status if row.evaluation else IMPORTED for row in rows]
    origin = [row.evaluation.trial.origin if row.evaluation else IMPORTED for row in rows]
    objective = f"{header.objective} ({header.direction}imised)"
    return [
        _plain("record", "integer", "number of the journal's record", [r.record.seq for r in rows]),
        _plain("recorded", "time", "when it was durable (UTC)", [r.record.time for r in rows]),
        _closed("status", "how the trial ended", status, tuple(map(str, STATUSES))),
        _closed("origin", "where the configuration came from", origin, tuple(map(str, ORIGINS))),
        _plain("objective", "real", objective, [sign * row.y for row in rows]),
    ]


def _provenance(rows: Sequence[_Row]) -> list[Column]:
    runs = [row.source.source_run if row.source else "" for row in rows]
    trials = [row.source.source_trial if row.source else MISSING["integer"] for row in rows]
    return [
        _open("source_run", "run an evaluation was taken from", runs),
        Column("source_trial", "integer", _array("integer", trials), long_name="its trial there"),
    ]


def _parameters(rows: Sequence[_Row], space: Space) -> Iterable[Column]:
    for row in rows:
        for name in row.config:
            if name not in space.parameters:
                raise StoreCorrupt(f"record {row.record.seq} sets {name!r}, which is no parameter")
    for name, parameter in space.parameters.items():
        kind: Kind = "integer"
        levels: tuple[Any, ...] = ()
        if isinstance(parameter, Categorical):
            kind, levels = "factor", tuple(parameter.levels)
        elif isinstance(parameter, Real):
            kind = "real"
        values = [_value(row, name, parameter, kind) for row in rows]
        optional = bool(parameter.conditions)
        long_name = f"hyperparameter {name}"
        column = f"config.{name}"
        yield Column(column, kind, _array(kind, values), levels, optional, long_name=long_name)


def _value(row: _Row, name: str, parameter: Parameter, kind: Kind) -> Any:
    if name not in row.config:
        return MISSING[kind]
    value = row.config[name]
    try:
        code = parameter.parse(value)
    except ValueError as error:
        raise StoreCorrupt(f"record {row.record.seq}: {name}: {error}") from error
    return int(code) if kind == "factor" else value


def _metrics(rows: Sequence[_Row]) -> Iterable[Column]:
    found = [row.evaluation.outcome.metrics if row.evaluation else {} for row in rows]
    for name in _names(found):
        values = [metrics.get(name, MISSING["real"]) for metrics in found]
        yield Column(f"metric.{name}", "real", _array("real", values), long_name=f"metric {name}")


def _curves(rows: Sequence[_Row]) -> Iterable[Curve]:
    found = [row.evaluation.outcome.curves if row.evaluation else {} for row in rows]
    for name in _names(found):
        curves = [c.get(name, ()) for c in found]
        sizes = np.array([len(curve) for curve in curves], np.int64)
        yield Curve(name, sizes, np.fromiter(chain.from_iterable(curves), "<f8", sizes.sum()))


def _names(found: Sequence[Mapping[str, object]]) -> list[str]:
    return list(dict.fromkeys(chain.from_iterable(found)))


def _column(field: _Field, rows: Sequence[_Row]) -> Column:
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
    if math.isfinite(seconds) and abs(seconds) * 1e6 < _LAST_MICROSECOND:
        return round(seconds * 1e6)
    return int(MISSING["time"])


def _utf8(text: str) -> str:
    """The text with lone surrogates (undecodable bytes in a traceback) as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()
