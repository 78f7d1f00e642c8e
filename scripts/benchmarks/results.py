"""The results as CSV: one row per point of a run; a run is written in one piece when it ends."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from benchmarks.simulation import Mode, Point


@dataclass(frozen=True)
class Cell:
    """Which run: problem and optimiser by name."""

    problem: str
    optimiser: str
    mode: Mode
    seed: int


_KEY = ["problem", "optimiser", "q", "sync", "budget", "seed"]
_POINT = [f.name for f in fields(Point)]


@dataclass(frozen=True)
class Results:
    """All runs in a file; several processes may append to it."""

    path: Path

    def add(self, cell: Cell, points: Sequence[Point]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if not self.path.exists():
            writer.writerow(_KEY + _POINT)
        mode = cell.mode
        key = [cell.problem, cell.optimiser, mode.q, int(mode.sync), mode.budget, cell.seed]
        writer.writerows([*key, *(f"{v:.6g}" for v in astuple(p))] for p in points)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(text.getvalue())

    def runs(self) -> dict[Cell, list[Point]]:
        """The finished runs; a run that was cut off while it was written is none."""
        found: dict[Cell, list[Point]] = {}
        if not self.path.exists():
            return found
        with self.path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                parsed = _parsed(row)
                if parsed is not None:
                    found.setdefault(parsed[0], []).append(parsed[1])
        return {c: points for c, points in found.items() if math.isfinite(points[-1].recommended)}


def _parsed(row: dict[str, str]) -> tuple[Cell, Point] | None:
    """The cell and the point of a row; None for a torn row or a repeated header."""
    try:
        mode = Mode(int(row["q"]), row["sync"] == "1", int(row["budget"]))
        cell = Cell(row["problem"], row["optimiser"], mode, int(row["seed"]))
        values = (float(row[name]) for name in _POINT)
        integers = ("evaluations", "failed", "distinct")
        return cell, Point(
            **{n: int(v) if n in integers else v for n, v in zip(_POINT, values, strict=True)}
        )
    except (TypeError, ValueError):
        return None


def missing(cells: Iterable[Cell], done: dict[Cell, list[Point]]) -> list[Cell]:
    """The cells that are still to be run, in order."""
    return [cell for cell in cells if cell not in done]
