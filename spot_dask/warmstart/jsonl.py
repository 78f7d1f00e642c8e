"""Lines of JSON: an object for every evaluation."""

from __future__ import annotations

import json
from collections.abc import Sequence

from spot_dask.errors import StoreError
from spot_dask.warmstart import Earlier, reason
from spot_dask.warmstart.table import EXPORTED, Lines, text_of


class JsonLines:
    """A key for each parameter and one for the objective; ``null`` is no value."""

    suffixes = (".jsonl", ".ndjson")

    def read(self, path: str, objectives: Sequence[str]) -> Earlier:
        text, numbers, values = text_of(path), [], []
        for line, content in enumerate(text.split("\n"), start=1):
            if not content.strip():
                continue
            try:
                found = json.loads(content)
            except (ValueError, RecursionError) as error:
                raise StoreError(f"{path}:{line}: not JSON ({reason(error)})") from None
            if not isinstance(found, dict):
                raise StoreError(
                    f"{path}:{line}: not a JSON object; expected one with a key for each parameter"
                )
            numbers.append(line)
            values.append({name: value for name, value in found.items() if value is not None})
        if {name for row in values for name in row} >= EXPORTED:
            # The objects in an exported row hold what a table has in columns.
            for row in values:
                inner = {"config": row.pop("config", None), "metric": row.pop("metrics", None)}
                for prefix, held in inner.items():
                    pairs = held.items() if isinstance(held, dict) else ()
                    row |= {f"{prefix}.{key}": v for key, v in pairs if v is not None}
        names = list(dict.fromkeys(name for row in values for name in row))
        return Lines(path, text, names, numbers, values).earlier(objectives)
