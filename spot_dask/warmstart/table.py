"""What tables of earlier evaluations have in common, whatever the format of their files."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spot_dask.errors import StoreError
from spot_dask.records import Value
from spot_dask.warmstart import Earlier, Row


def text_of(path: str) -> str:
    """The text of a file; raises StoreError if there is none."""
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise StoreError(f"{path}: not a text in UTF-8; save it so") from None
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror})") from None


@dataclass(frozen=True)
class Lines:
    """A table as its file has it: ``values[i]`` stands in line ``numbers[i]``.

    ``identity`` tells it from another table: a copy of it elsewhere is the same source.
    """

    path: str
    identity: str
    names: Sequence[str]
    numbers: Sequence[int]
    values: Sequence[Mapping[str, Value]]
    textual: bool = False

    def earlier(self, objectives: Sequence[str]) -> Earlier:
        """The evaluations in it; raises StoreError if there is no column of the objective."""
        if set(self.names) >= EXPORTED:
            return _exported(self, objectives)
        objective = _objective_in(self.names, objectives, self.path)
        rows = []
        for line, values in zip(self.numbers, self.values, strict=True):
            others = {name: value for name, value in values.items() if name != objective}
            rows.append(Row(self.identity, line, others, *number(values.get(objective))))
        return Earlier(rows, unit="line", textual=self.textual)


EXPORTED = frozenset({"run", "record", "trial", "status", "objective"})
"""Columns by which a table is known as one that ``spot-dask export`` has written."""


def _exported(table: Lines, objectives: Sequence[str]) -> Earlier:
    """The evaluations of a run, each with its identity there.

    Their objective is the first of ``objectives`` that is a metric there; else whatever the run's
    own was, which the table does not say.
    """
    known = (n for n in objectives if n == "objective" or f"metric.{n}" in table.names)
    objective = next(known, "objective")
    column = "objective" if objective == "objective" else f"metric.{objective}"
    ok = [row for row in table.values if row.get("status") == "ok"]
    same = all(row.get(column) == row.get("objective") for row in ok)
    rows = []
    for line, row in zip(table.numbers, table.values, strict=True):
        try:
            rows.append(_exported_row(row, column, same))
        except (KeyError, ValueError, TypeError) as error:
            raise StoreError(
                f"{table.path}:{line}: not as `spot-dask export` writes it ({error!r}); export the "
                "run again, or leave out the columns that are no parameters"
            ) from None
    return Earlier(rows, objective, textual=table.textual)


def _exported_row(row: Mapping[str, Value], column: str, same: bool) -> Row:
    """``same`` says that ``column`` is the run's objective: imported rows have no other metric."""
    imported = row["status"] == "imported"
    y = row["objective"] if imported and same else row.get(column)
    value, why = number(y) if row["status"] in ("ok", "imported") else (math.nan, "it had failed")
    values = {n.removeprefix("config."): v for n, v in row.items() if n.startswith("config.")}
    run, trial = ("source_run", "source_trial") if imported else ("run", "trial")
    return Row(str(row[run]), int(row[trial]), values, value, why)


def _objective_in(names: Sequence[str], objectives: Sequence[str], path: str) -> str:
    """The objective's column among those of a table, each of which must be there once."""
    double = next((n for i, n in enumerate(names) if n in names[:i]), None)
    if double is not None:
        raise StoreError(f"{path}: two columns are named {double!r}; expected each name once")
    for objective in objectives:
        if objective in names:
            return objective
    there, wanted = ", ".join(names) or "none", objectives[-1]
    raise StoreError(
        f"{path}: no column {wanted!r}, which is the objective; there are: {there}; "
        f"say which it is with --rename NAME={wanted}"
    )


def digest(text: str) -> str:
    """What tells a text from another one."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def number(value: object) -> tuple[float, str]:
    """An objective's value as a number, NaN where it is none, and then why."""
    try:
        y = math.nan if value is None or value == "" else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan, f"its objective {value!r} is no number"
    return y, "" if math.isfinite(y) else "it had failed"
