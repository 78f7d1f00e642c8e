"""Tables of comma-separated values: a line of names, then a line for every evaluation."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from spot_dask.errors import StoreError
from spot_dask.texts import csv_text
from spot_dask.warmstart import Earlier
from spot_dask.warmstart.table import EXPORTED, Lines, text_of


class Csv:
    """A column for each parameter and one for the objective; an empty field is no value."""

    suffixes = (".csv",)

    def read(self, path: str, objectives: Sequence[str]) -> Earlier:
        text = text_of(path)
        lines = csv.reader(io.StringIO(text, newline=""), strict=True)
        numbers, values = [], []
        try:
            names = next(lines, [])
            for fields in filter(None, lines):
                if len(fields) != len(names):
                    raise StoreError(
                        f"{path}:{lines.line_num}: {len(fields)} fields; expected {len(names)}, "
                        "as many as there are names in the first line"
                    )
                numbers.append(lines.line_num)
                values.append({n: v for n, v in zip(names, fields, strict=True) if v != ""})
        except csv.Error as error:
            raise StoreError(f"{path}:{lines.line_num}: not a line of CSV ({error})") from None
        if set(names) >= EXPORTED:  # of ours: texts that were kept from being formulas
            values = [{n: csv_text(v) for n, v in row.items()} for row in values]
        return Lines(path, text, names, numbers, values, textual=True).earlier(objectives)
