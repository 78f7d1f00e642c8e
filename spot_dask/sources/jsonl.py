"""Lines of JSON: an object for every evaluation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from spot_dask.errors import StoreError
from spot_dask.records import Value
from spot_dask.sources import Earlier, Row, number, text_of


class JsonLines:
    """A key for each parameter and one for the objective; ``null`` is no value."""

    suffixes = (".jsonl", ".ndjson")

    def read(self, path: str, objectives: Sequence[str]) -> Earlier:
        text, found = text_of(path), []
        for line, content in enumerate(text.splitlines(), start=1):
            if content.strip():
                found.append((line, _object(content, f"{path}:{line}")))
        names = dict.fromkeys(name for _, values in found for name in values)
        objective = objective_in(list(names), objectives, path)
        rows = []
        for line, values in found:
            y = number(values.pop(objective, None))
            rows.append(Row(f"jsonl:{digest(text)}", line, values, *y))
        return Earlier(rows, unit="line")


def objective_in(names: Sequence[str], objectives: Sequence[str], path: str) -> str:
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
    """What tells a table from another: a copy of it elsewhere is the same source."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _object(content: str, where: str) -> dict[str, Value]:
    try:
        found = json.loads(content)
    except ValueError as error:
        raise StoreError(f"{where}: not JSON ({error})") from None
    if not isinstance(found, dict):
        raise StoreError(f"{where}: not a JSON object; expected one with a key for each parameter")
    return {name: value for name, value in found.items() if value is not None}
