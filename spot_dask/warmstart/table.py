"""What tables of earlier evaluations have in common, whatever the format of their files."""

from __future__ import annotations

import codecs
import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from spot_dask.errors import StoreError, shown
from spot_dask.warmstart import Earlier, Row, check_file, listed, reason

FRAME = frozenset({"record", "trial", "status", "objective"})
"""Columns of ``Run.to_dataframe``, which does not name the run."""

EXPORTED = frozenset({"run", "record", "trial", "status", "objective"})
"""Columns of a table that ``spot-dask export`` has written."""


def text_of(path: str) -> str:
    """The text of a file; raises StoreError if there is none."""
    check_file(path)
    try:
        data = Path(path).read_bytes()
        marked = data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        return data.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError:
        raise StoreError(f"{path}: not a text in UTF-8, nor in UTF-16; save it so") from None
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({reason(error)})") from None


def number(value: object) -> tuple[float, str]:
    """The value of an objective as a float, NaN if it is none, and then the reason."""
    try:
        y = math.nan if value is None or value == "" else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return math.nan, f"its objective {shown(value)} is no number"
    return y, "" if math.isfinite(y) else "it had failed"


@dataclass(frozen=True)
class Lines:
    """The content of a file: ``values[i]`` stands in line ``numbers[i]``.

    A copy of ``text`` elsewhere is the same source. ``textual`` values are texts, as in CSV.
    """

    path: str
    text: str
    names: Sequence[str]
    numbers: Sequence[int]
    values: Sequence[Mapping[str, Any]]
    textual: bool = False

    def earlier(self, objectives: Sequence[str]) -> Earlier:
        """The evaluations in it; raises StoreError if there is no column of the objective."""
        if set(self.names) >= FRAME:
            return self._exported(objectives)
        double = next((name for name, n in Counter(self.names).items() if n > 1), None)
        if double is not None:
            raise StoreError(
                f"{self.path}: two columns are named {double!r}; expected each name once"
            )
        objective = next((name for name in objectives if name in self.names), None)
        if objective is None:
            wanted = objectives[-1]
            raise StoreError(
                f"{self.path}: no column {wanted!r}, which is the objective; there are: "
                f"{listed(self.names)}; say which it is with --rename NAME={wanted}"
            )
        run = self._digest
        rows = []
        for line, values in zip(self.numbers, self.values, strict=True):
            others = {name: value for name, value in values.items() if name != objective}
            rows.append(Row(run, line, others, *number(values.get(objective))))
        return Earlier(rows, objective, unit="line", textual=self.textual)

    @cached_property
    def _digest(self) -> str:
        """What stands for the run of a table that names none: its content."""
        digest = hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        return f"{'csv' if self.textual else 'jsonl'}:{digest}"

    def _exported(self, objectives: Sequence[str]) -> Earlier:
        """The evaluations of a run, each with its identity there.

        Their objective is the first of ``objectives`` that is a metric there; else whatever the
        run's own was, which the table does not say.
        """
        known = (n for n in objectives if n == "objective" or f"metric.{n}" in self.names)
        objective = next(known, "objective")
        column = "objective" if objective == "objective" else f"metric.{objective}"
        ok = [row for row in self.values if row.get("status") == "ok"]
        # Imported rows have an objective and no metrics: it serves if it is the same there.
        is_own = all(row.get(column) == row.get("objective") for row in ok)
        rows = []
        for line, row in zip(self.numbers, self.values, strict=True):
            try:
                is_imported = row["status"] == "imported"
                y = row["objective"] if is_imported and is_own else row.get(column)
                is_value = is_imported or row["status"] == "ok"
                value, why = number(y) if is_value else (math.nan, "it had failed")
                run, trial = ("source_run", "source_trial") if is_imported else ("run", "trial")
                identity = str(row[run] if run in self.names else self._digest), int(row[trial])
            except (KeyError, ValueError, TypeError, OverflowError) as error:
                raise StoreError(
                    f"{self.path}:{line}: not as `spot-dask export` writes it ({shown(error)});"
                    " export the run again, or leave out the columns that are no parameters"
                ) from None
            values = {n.removeprefix("config."): v for n, v in row.items() if n[:7] == "config."}
            metrics = {n.removeprefix("metric."): v for n, v in row.items() if n[:7] == "metric."}
            rows.append(Row(*identity, values, value, why, metrics))
        return Earlier(rows, objective, textual=self.textual)
