"""Tables as text: a line of names, then a line for every evaluation."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

from spot_dask.errors import StoreError
from spot_dask.texts import csv_text
from spot_dask.warmstart import Earlier
from spot_dask.warmstart.table import EXPORTED, FRAME, Lines, text_of

DELIMITERS = (",", ";", "\t", "|")

_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")


class Csv:
    """A column for each parameter and one for the objective; an empty field is no value.

    Columns are separated by commas, semicolons, tabs or bars, whichever gives the objective a name
    in the first line. Where it is not the comma, 0,01 is 0.01.
    """

    suffixes = (".csv", ".tsv")

    def read(self, path: str, objectives: Sequence[str]) -> Earlier:
        text = text_of(path)
        delimiter = _delimiter(text, objectives)
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        numbers, values = [], []
        try:
            names = [name.strip() for name in next(lines, [])]
            for fields in filter(None, lines):
                if len(fields) != len(names):
                    raise StoreError(
                        f"{path}:{lines.line_num}: {len(fields)} fields; expected {len(names)}, "
                        "as many as there are names in the first line"
                    )
                if delimiter != ",":
                    fields = [
                        v.replace(",", ".") if _DECIMAL_COMMA.fullmatch(v) else v for v in fields
                    ]
                numbers.append(lines.line_num)
                # An index of pandas' has no name.
                values.append({n: v for n, v in zip(names, fields, strict=True) if n and v != ""})
        except csv.Error as error:
            raise StoreError(f"{path}:{lines.line_num}: not a line of CSV ({error})") from None
        if set(names) >= EXPORTED:  # of ours: texts that were kept from being formulas
            values = [{n: csv_text(v) for n, v in row.items()} for row in values]
        return Lines(path, text, list(filter(None, names)), numbers, values, textual=True).earlier(
            objectives
        )


def _delimiter(text: str, objectives: Sequence[str]) -> str:
    """What separates the columns, judged by the first line."""
    first = text.partition("\n")[0]
    for delimiter in DELIMITERS:
        try:
            names = {name.strip() for name in next(csv.reader([first], delimiter=delimiter), [])}
        except csv.Error:
            continue
        if names & set(objectives) or names >= FRAME:
            return delimiter
    return max(DELIMITERS, key=first.count)
