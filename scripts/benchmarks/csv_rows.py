"""Dataclasses of texts and numbers as rows of a CSV file that several processes may append to."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any, TypeVar

Row = TypeVar("Row")

MADE = {"str": str, "int": int, "float": float}


def load(kind: type[Row], path: Path) -> list[Row]:
    """The rows in a file; none where there is no file."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [_parsed(kind, row) for row in csv.DictReader(file)]


def _parsed(kind: Any, row: Mapping[str, str]) -> Any:
    made = {f.name: MADE[str(f.type)] for f in fields(kind)}
    return kind(**{name: made[name](value) for name, value in row.items()})


def append(path: Path, rows: Iterable[Any]) -> None:
    """Append rows of one kind to a file, which begins with the names of their fields."""
    listed = list(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    begun = path.exists()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if not begun:
            writer.writerow([f.name for f in fields(listed[0])])
        writer.writerows(map(astuple, listed))
