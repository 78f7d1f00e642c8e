"""The results as tables of Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from benchmarks import Unavailable, problems, score
from benchmarks.results import Cell
from benchmarks.simulation import Point

Runs = Mapping[Cell, Sequence[Point]]

REFERENCE = "random"
"""The optimiser whose mean regret is the unit of regret."""


def summary(runs: Runs, baseline: str, by_problem: bool = True) -> str:
    """One section per mode: scores, regret curves over all and by kind, regret by problem."""
    modes = sorted({cell.mode for cell in runs}, key=lambda m: (m.budget, m.q, not m.sync))
    sections = []
    for mode in modes:
        mine = {cell: points for cell, points in runs.items() if cell.mode == mode}
        parts = [f"## {mode}", _scores(mine, baseline), _course(mine), *_kinds(mine, baseline)]
        if by_problem:
            parts += [_problems(mine), *_failures(mine), *_measured(mine)]
        sections.append("\n\n".join(parts))
    return "\n\n".join(sections)


def _scores(runs: Runs, baseline: str) -> str:
    regrets = {label: regrets_of(runs, label) for label in _labels(runs)}
    seen = {label: _values(runs, label, _seen) for label in _labels(runs)}
    unit, ranks = unit_of(runs), score.ranks(regrets)
    base = regrets.get(baseline, {})
    rows = []
    for label in _labels(runs):
        ends = [points[-1] for cell, points in runs.items() if cell.optimiser == label]
        n = sum(p.evaluations for p in ends)
        rows.append(
            [
                label,
                str(score.relative(regrets[label], unit)),
                f"{score.relative(seen[label], unit).value:.3f}",
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
    head = ["optimiser", "rel", "rel (lowest seen)", f"rank of {len(rows)}", f"wins v {baseline}",
            f"regret ratio to {baseline}", "failed", "repeated", "CPU s per 8",
            "problems x seeds"]  # fmt: skip
    return table(head, rows)


def _course(runs: Runs) -> str:
    """Relative regret at quarters of the budget, and median simulated seconds at the end."""
    unit, rows, marks = unit_of(runs), [], _marks(runs)
    for label in _labels(runs):
        values = [score.relative(_values(runs, label, _after(m)), unit) for m in marks]
        ends = [p[-1].seconds for c, p in runs.items() if c.optimiser == label]
        rows.append([label, *(f"{v.value:.3f}" for v in values), f"{np.median(ends):.4g}"])
    rows.sort(key=lambda row: row[-2])
    return table(["rel after", *map(str, marks), "simulated seconds"], rows)


def _kinds(runs: Runs, baseline: str) -> list[str]:
    """Over all and for each kind of problem: curves of ratios, ranks, collapses and CPU."""
    kinds = {cell.problem: problems.kind(cell.problem) for cell in runs}
    found = [("all kinds", runs)]
    for kind in problems.KINDS:
        mine = {cell: points for cell, points in runs.items() if kinds[cell.problem] == kind}
        found += [(kind, mine)] if mine and len(mine) < len(runs) else []
    return [_kind(kind, mine, baseline) for kind, mine in found]


def _kind(kind: str, runs: Runs, baseline: str) -> str:
    unit, marks, rows = unit_of(runs), _marks(runs), []
    ranks = score.ranks({label: regrets_of(runs, label) for label in _labels(runs)})
    for label in _labels(runs):
        regrets = regrets_of(runs, label)
        ends = [points[-1] for cell, points in runs.items() if cell.optimiser == label]
        ratios = [
            score.ratio(_values(runs, label, _after(m)), _values(runs, baseline, _after(m)), unit)
            for m in marks
        ]
        collapsed, of = score.collapses(regrets, unit)
        cpu = 8 * sum(p.cpu for p in ends) / sum(p.evaluations for p in ends)
        told = [""] * len(marks) if label == baseline else list(map(str, ratios))
        rows.append(
            [label, *told, f"{ranks[label]:.1f}", f"{collapsed} of {of}", f"{cpu:.3f}",
             f"{len(regrets)} x {len(ends) / len(regrets):.0f}"]
        )  # fmt: skip
    rows.sort(key=lambda row: float(row[-4]))
    head = [f"{kind}: ratio to {baseline} after", *map(str, marks), "rank", "collapses",
            "CPU s per 8", "problems x seeds"]  # fmt: skip
    return table(head, rows)


def _marks(runs: Runs) -> list[int]:
    """Quarters of the budget."""
    budget = next(iter(runs)).mode.budget
    return sorted({max(1, round(budget * share)) for share in (0.25, 0.5, 0.75, 1.0)})


def _problems(runs: Runs) -> str:
    """Mean regret (not relative to random) by problem."""
    labels = _labels(runs)
    regrets = {label: regrets_of(runs, label) for label in labels}
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


def _measured(runs: Runs) -> list[str]:
    """Values and failures of the problems whose values are told, beside published runs."""
    tables = []
    for name in sorted({cell.problem for cell in runs if problems.measure(cell.problem)}):
        try:
            problem = problems.find(name)
        except Unavailable:
            continue
        mine = {cell: points for cell, points in runs.items() if cell.problem == name}
        rows = [_measurement(mine, label, problem) for label in _labels(mine)]
        for method, (best, failed, count) in problems.published(
            name, next(iter(runs)).mode.budget
        ).items():
            rows.append([f"published: {method}", f"{best:.4f}", f"{failed:.1f}", str(count)])
        rows.sort(key=lambda row: row[1])
        tables.append(table([name, f"best {problems.measure(name)}", "failed", "runs"], rows))
    return tables


def _measurement(runs: Runs, label: str, problem: problems.Problem) -> list[str]:
    ends = [points[-1] for cell, points in runs.items() if cell.optimiser == label]
    best = np.mean([problem.value(p.regret) for p in ends])
    return [label, f"{best:.4f}", f"{np.mean([p.failed for p in ends]):.1f}", str(len(ends))]


def _labels(runs: Runs) -> list[str]:
    return sorted({cell.optimiser for cell in runs})


def regrets_of(runs: Runs, label: str) -> dict[str, dict[int, float]]:
    """Of one optimiser, of what it recommends at the end of its runs: by problem and seed."""
    return _values(runs, label, _regret)


def _values(
    runs: Runs, label: str, value: Callable[[Sequence[Point]], float]
) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {}
    for cell, points in runs.items():
        if cell.optimiser == label:
            found.setdefault(cell.problem, {})[cell.seed] = value(points)
    return found


def unit_of(runs: Runs) -> dict[str, float]:
    """Mean regret of random search at the end, by problem."""
    random = _values(runs, REFERENCE, _regret)
    return {p: max(float(np.mean(list(r.values()))), 1e-9) for p, r in random.items()}


def _regret(points: Sequence[Point]) -> float:
    return points[-1].recommended


def _failed(points: Sequence[Point]) -> float:
    return points[-1].failed


def _seen(points: Sequence[Point]) -> float:
    return points[-1].regret


def _after(evaluations: int) -> Callable[[Sequence[Point]], float]:
    """The incumbent's regret after so many evaluations, 1 before any; of what is recommended at
    the end."""

    def value(points: Sequence[Point]) -> float:
        if points[-1].evaluations <= evaluations:
            return _regret(points)
        return next((p.regret for p in reversed(points) if p.evaluations <= evaluations), 1.0)

    return value


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
