"""Lines of JSON: an object for every evaluation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from spot_dask.errors import StoreError
from spot_dask.records import Value
from spot_dask.warmstart import Earlier
from spot_dask.warmstart.table import EXPORTED, Lines, digest, text_of


class JsonLines:
    """A key for each parameter and one for the objective; ``null`` is no value."""

    suffixes = (".jsonl", ".ndjson")

    def read(self, path: str, objectives: Sequence[str]) -> Earlier:
        text, found = text_of(path), []
        for line, content in enumerate(text.splitlines(), start=1):
            if content.strip():
                found.append((line, _object(content, f"{path}:{line}")))
        numbers, values = [line for line, _ in found], [values for _, values in found]
        if {name for row in values for name in row} >= EXPORTED:
            values = [_flat(row) for row in values]
        names = list(dict.fromkeys(name for row in values for name in row))
        return Lines(path, f"jsonl:{digest(text)}", names, numbers, values).earlier(objectives)


def _flat(values: dict[str, Any]) -> dict[str, Value]:
    """An exported row without the objects in it: what they hold is named as columns are."""
    flat = {name: value for name, value in values.items() if not isinstance(value, dict)}
    for name, prefix in (("config", "config."), ("metrics", "metric.")):
        inner = values.get(name)
        if isinstance(inner, dict):
            flat |= {f"{prefix}{key}": value for key, value in inner.items() if value is not None}
    return flat


def _object(content: str, where: str) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError as error:
        raise StoreError(f"{where}: not JSON ({error})") from None
    if not isinstance(found, dict):
        raise StoreError(f"{where}: not a JSON object; expected one with a key for each parameter")
    return {name: value for name, value in found.items() if value is not None}
