"""The results as tables of Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from benchmarks import score
from benchmarks.results import Cell
from benchmarks.simulation import Point

Runs = Mapping[Cell, Sequence[Point]]

REFERENCE = "random"
"""The optimiser whose mean regret is the unit of regret."""


def summary(runs: Runs, baseline: str, by_problem: bool = True) -> str:
    """One section per mode: scores, regret against evaluations, regret by problem."""
    modes = sorted({cell.mode for cell in runs}, key=lambda m: (m.budget, m.q, not m.sync))
    sections = []
    for mode in modes:
        mine = {cell: points for cell, points in runs.items() if cell.mode == mode}
        parts = [f"## {mode}", _scores(mine, baseline), _course(mine)]
        if by_problem:
            parts += [_problems(mine), *_failures(mine)]
        sections.append("\n\n".join(parts))
    return "\n\n".join(sections)


def _scores(runs: Runs, baseline: str) -> str:
    regrets = {label: _values(runs, label, _regret) for label in _labels(runs)}
    chosen = {label: _values(runs, label, _recommended) for label in _labels(runs)}
    unit, ranks = _unit(runs), score.ranks(regrets)
    base = regrets.get(baseline, {})
    rows = []
    for label in _labels(runs):
        ends = [points[-1] for cell, points in runs.items() if cell.optimiser == label]
        n = sum(p.evaluations for p in ends)
        rows.append(
            [
                label,
                str(score.relative(regrets[label], unit)),
                f"{score.relative(chosen[label], unit).value:.3f}",
                f"{ranks[label]:.1f}",
                "" if label == baseline else str(score.wins(regrets[label], base)),
                "" if label == baseline else str(score.ratio(regrets[label], base, unit)),
                f"{sum(p.failed for p in ends) / n:.1%}",
                f"{1 - sum(p.distinct for p in ends) / n:.1%}",
                f"{8 * sum(p.cpu for p in ends) / n:.3f}",
                f"{len(regrets[label])} x {len(ends) / max(1, len(regrets[label])):.0f}",
            ]
        )
    rows.sort(key=lambda row: row[1])
    head = ["optimiser", "rel", "rel (recommended)", f"rank of {len(rows)}", f"wins v {baseline}",
            f"regret ratio to {baseline}", "failed", "repeated", "CPU s per 8",
            "problems x seeds"]  # fmt: skip
    return table(head, rows)


def _course(runs: Runs) -> str:
    """Relative regret at quarters of the budget, and median simulated seconds at the end."""
    unit, rows, budget = _unit(runs), [], next(iter(runs)).mode.budget
    marks = [max(1, round(budget * share)) for share in (0.25, 0.5, 0.75, 1.0)]
    for label in _labels(runs):
        values = [
            score.relative(_values(runs, label, lambda p, m=m: _at(p, m)), unit) for m in marks
        ]
        ends = [p[-1].seconds for c, p in runs.items() if c.optimiser == label]
        rows.append([label, *(f"{v.value:.3f}" for v in values), f"{np.median(ends):.4g}"])
    rows.sort(key=lambda row: row[-2])
    return table(["rel after", *map(str, marks), "simulated seconds"], rows)


def _problems(runs: Runs) -> str:
    """Mean regret (not relative to random) by problem."""
    labels = _labels(runs)
    regrets = {label: _values(runs, label, _regret) for label in labels}
    rows = [
        [p]
        + [
            f"{np.mean(list(regrets[label][p].values())):.4f}" if p in regrets[label] else ""
            for label in labels
        ]
        for p in sorted({cell.problem for cell in runs})
    ]
    return table(["mean regret", *labels], rows)


def _failures(runs: Runs) -> list[str]:
    """Mean number of failed evaluations of a run, where there were any; nothing if nowhere."""
    labels, rows = _labels(runs), []
    for p in sorted({cell.problem for cell, points in runs.items() if points[-1].failed}):
        counts = [_values(runs, label, _failed).get(p, {}) for label in labels]
        rows.append([p] + [f"{np.mean(list(c.values())):.1f}" if c else "" for c in counts])
    return [table(["failed per run", *labels], rows)] if rows else []


def _labels(runs: Runs) -> list[str]:
    return sorted({cell.optimiser for cell in runs})


def _values(
    runs: Runs, label: str, value: Callable[[Sequence[Point]], float]
) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {}
    for cell, points in runs.items():
        if cell.optimiser == label:
            found.setdefault(cell.problem, {})[cell.seed] = value(points)
    return found


def _unit(runs: Runs) -> dict[str, float]:
    """Mean regret of random search at the end, by problem."""
    random = _values(runs, REFERENCE, _regret)
    return {p: max(float(np.mean(list(r.values()))), 1e-9) for p, r in random.items()}


def _regret(points: Sequence[Point]) -> float:
    return points[-1].regret


def _failed(points: Sequence[Point]) -> float:
    return points[-1].failed


def _recommended(points: Sequence[Point]) -> float:
    return points[-1].recommended


def _at(points: Sequence[Point], evaluations: int) -> float:
    """The regret after so many evaluations: that of the last point until then, 1 before any."""
    return next((p.regret for p in reversed(points) if p.evaluations <= evaluations), 1.0)


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
