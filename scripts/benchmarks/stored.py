"""Results that are stored beside the benchmarks, so that the page is made again without running.

``stored/`` holds compared runs of 64 evaluations, a row each (``StoredRun``), published runs of
others (``Published``), tables of measurements whose columns are those that are shown, and
``origins.csv``, which tells of every file, or of a part of it, when it was measured, at which
commit and by which command.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from benchmarks import csv_rows, problems
from benchmarks.problems import nanochat
from benchmarks.results import Cell
from benchmarks.score import Regrets
from benchmarks.simulation import Point

FOLDER = Path(__file__).parent / "stored"
MARKS = (8, 16, 24, 32, 40, 48, 56, 64)
"""Evaluations after which the regret of a stored run is known."""


@dataclass(frozen=True)
class StoredRun:
    """A run of 64 evaluations, q at a time: CPU seconds of its proposals, how many evaluations
    failed, and the normalised regrets of what it recommends and of the incumbents on the way."""

    problem: str
    kind: str
    optimiser: str
    q: int
    seed: int
    cpu: float
    failed: int
    recommended: float
    r8: float
    r16: float
    r24: float
    r32: float
    r40: float
    r48: float
    r56: float
    r64: float

    def regret(self, evaluations: int = MARKS[-1]) -> float:
        """After so many evaluations, one of ``MARKS``: at the end that of what is recommended, on
        the way the incumbent's."""
        end = evaluations == MARKS[-1]
        found: float = self.recommended if end else getattr(self, f"r{evaluations}")
        return found


@dataclass(frozen=True)
class Published:
    """A published run after so many evaluations: its best value, and how many had failed."""

    method: str
    seed: int
    evaluations: int
    best: float
    failed: int


@dataclass(frozen=True)
class Scale:
    """The values of the regrets 0 and 1 of a problem."""

    problem: str
    optimum: float
    median: float

    def value(self, regret: float) -> float:
        return self.optimum + regret * (self.median - self.optimum)


@dataclass(frozen=True)
class Origin:
    """When what was measured at which commit, by which command; ``what`` is a part of the file."""

    file: str
    what: str
    date: str
    commit: str
    command: str


@dataclass(frozen=True)
class Table:
    """A stored table: its columns and rows as they are shown."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    @property
    def verdicts(self) -> list[str]:
        """Of each row "yes" or "no", whether the aim is met, or "" where it has none."""
        if "met" not in self.columns:
            return [""] * len(self.rows)
        return [row[self.columns.index("met")] for row in self.rows]


def runs(name: str, folder: Path = FOLDER) -> list[StoredRun]:
    """The runs in ``NAME.csv``; none where there is no file."""
    return csv_rows.load(StoredRun, folder / f"{name}.csv")


def published(name: str, folder: Path = FOLDER) -> list[Published]:
    """The published runs in ``NAME.csv``; none where there is no file."""
    return csv_rows.load(Published, folder / f"{name}.csv")


def scales(folder: Path = FOLDER) -> dict[str, Scale]:
    """By problem."""
    return {scale.problem: scale for scale in csv_rows.load(Scale, folder / "scales.csv")}


def origins(folder: Path = FOLDER) -> list[Origin]:
    return csv_rows.load(Origin, folder / "origins.csv")


def table(name: str, folder: Path = FOLDER) -> Table | None:
    """The table in ``NAME.csv``; None where there is no file, or no row in it."""
    path = folder / f"{name}.csv"
    if not path.exists():
        return None
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    return Table(rows[0], rows[1:]) if len(rows) > 1 else None


def regrets(
    found: Sequence[StoredRun], optimiser: str, evaluations: int = MARKS[-1]
) -> dict[str, dict[int, float]]:
    """Of one optimiser after so many evaluations: by problem and seed."""
    by_problem: dict[str, dict[int, float]] = {}
    for run in found:
        if run.optimiser == optimiser:
            by_problem.setdefault(run.problem, {})[run.seed] = run.regret(evaluations)
    return by_problem


def on_shared_seeds(found: Mapping[str, Regrets]) -> dict[str, dict[str, dict[int, float]]]:
    """What of each optimiser is of a problem and a seed that all of them have run."""
    pairs = [{(p, s) for p, by_seed in r.items() for s in by_seed} for r in found.values()]
    shared = set.intersection(*pairs) if pairs else set()
    names = sorted({p for p, _ in shared})
    return {
        label: {p: {s: r for s, r in sorted(regrets[p].items()) if (p, s) in shared} for p in names}
        for label, regrets in found.items()
    }


def compact(
    found: Mapping[Cell, Sequence[Point]], names: Mapping[str, str], only: Collection[str] = ()
) -> list[StoredRun]:
    """The runs of 64 evaluations in step, to four digits; ``names`` gives labels others, and
    ``only`` of these labels are taken, where it names any."""
    stored = []
    for cell, points in found.items():
        label = names.get(cell.optimiser, cell.optimiser)
        ended = cell.mode.sync and cell.mode.budget == points[-1].evaluations == MARKS[-1]
        if ended and (not only or label in only):
            at = {p.evaluations: p.regret for p in points}
            end = points[-1]
            stored.append(
                StoredRun(
                    cell.problem, problems.kind(cell.problem), label, cell.mode.q, cell.seed,
                    _digits(end.cpu), end.failed, _digits(end.recommended),
                    *(_digits(at[mark]) for mark in MARKS),
                )
            )  # fmt: skip
    return stored


def keep(name: str, new: Sequence[StoredRun], folder: Path = FOLDER) -> int:
    """Put runs into ``NAME.csv`` in the place of those of the same identity; how many it has."""
    by_identity = {
        (run.q, run.optimiser, run.problem, run.seed): run for run in [*runs(name, folder), *new]
    }
    _write(folder / f"{name}.csv", StoredRun, [by_identity[key] for key in sorted(by_identity)])
    return len(by_identity)


def keep_nanochat(folder: Path = FOLDER) -> None:
    """Store the published runs of ``nanochat``, and its scale; Unavailable without its data."""
    by_run: dict[tuple[str, int], dict[int, float]] = {}
    for row in nanochat.rows():
        value = float(row["val_bpb"]) if row["success"] == "1" else math.inf
        by_run.setdefault((row["method"], int(row["seed"])), {})[int(row["trial"])] = value
    found = []
    for (method, seed), values in sorted(by_run.items()):
        for mark in MARKS:
            until = [value for number, value in values.items() if number < mark]
            failed = sum(map(math.isinf, until))
            found.append(Published(method, seed, mark, min(until), failed))
    _write(folder / "published.csv", Published, found)
    problem = nanochat.make("trials")
    assert problem.median is not None
    scale = Scale(problem.name, _digits(problem.optimum, 7), _digits(problem.median, 7))
    _write(folder / "scales.csv", Scale, [scale])


def _write(path: Path, kind: type[Any], rows: Sequence[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([f.name for f in fields(kind)])
        writer.writerows(map(astuple, rows))


def _digits(value: float, digits: int = 4) -> float:
    return float(f"{value:.{digits}g}")
