"""JSON: an object for every evaluation, in lines or a list, or a table by columns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spot_dask.errors import StoreError
from spot_dask.warmstart import Earlier, reason
from spot_dask.warmstart.table import EXPORTED, Lines, text_of


class JsonLines:
    """A key for each parameter and one for the objective; ``null`` is no value.

    A ``.json`` file is one document, ``[{"lr": 0.1, "loss": 0.5}, ...]`` or what
    ``DataFrame.to_json`` writes in any layout; or it has an object in each line as well.
    """

    suffixes = (".jsonl", ".ndjson", ".json")

    def read(self, path: str, objectives: Sequence[str]) -> Earlier:
        text = text_of(path)
        is_document = Path(path).suffix.lower() == ".json" and (
            text.lstrip()[:1] == "[" or "\n{" not in text
        )
        numbers, found = (_document if is_document else _lines)(path, text)
        values = [{n: v for n, v in row.items() if v is not None} for row in found]
        if {name for row in values for name in row} >= EXPORTED:
            # The objects in an exported row hold what a table has in columns.
            for row in values:
                inner = {"config": row.pop("config", None), "metric": row.pop("metrics", None)}
                for prefix, held in inner.items():
                    pairs = held.items() if isinstance(held, dict) else ()
                    row |= {f"{prefix}.{key}": v for key, v in pairs if v is not None}
        names = list(dict.fromkeys(name for row in values for name in row))
        return Lines(path, text, names, numbers, values).earlier(objectives)


def _lines(path: str, text: str) -> tuple[Sequence[int], list[dict[str, Any]]]:
    """The objects in the lines of a file, and the numbers of these lines."""
    numbers, found = [], []
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        try:
            row = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise StoreError(f"{path}:{line}: not JSON ({reason(error)})") from None
        if not isinstance(row, dict):
            raise StoreError(
                f"{path}:{line}: not a JSON object; expected one with a key for each parameter"
            )
        numbers.append(line)
        found.append(row)
    return numbers, found


def _document(path: str, text: str) -> tuple[Sequence[int], list[dict[str, Any]]]:
    """The rows of a table that is one document, and their numbers from 1."""
    try:
        rows = _rows(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path}: not JSON ({reason(error)})") from None
    if rows is None or not all(isinstance(row, dict) for row in rows):
        raise StoreError(
            f"{path}: no table; expected a list of objects with a key for each parameter"
        )
    return range(1, len(rows) + 1), rows


def _rows(document: Any) -> list[Any] | None:
    """The rows of a table in one of pandas' layouts; None where it is none."""
    if isinstance(document, list):
        return document
    if not isinstance(document, Mapping):
        return None
    data, columns = document.get("data"), document.get("columns")
    if isinstance(data, list):
        if not isinstance(columns, list):
            schema = document.get("schema")  # orient="table", whose index is a column
            keys = schema.get("primaryKey", ()) if isinstance(schema, Mapping) else ()
            rows = [row for row in data if isinstance(row, dict)]
            return [{n: v for n, v in row.items() if n not in keys} for row in rows]
        try:
            return [dict(zip(columns, row, strict=True)) for row in data]  # orient="split"
        except (TypeError, ValueError):
            return None
    values = list(document.values())
    if not values or not all(isinstance(column, Mapping) for column in values):
        return None
    if next(iter(document)).isdigit():
        return values  # orient="index"
    places = dict.fromkeys(place for column in values for place in column)
    return [{name: column.get(place) for name, column in document.items()} for place in places]
