"""Runs on a simulated clock, kept as CSV and taken up again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import problems
from benchmarks.optimisers import Spec
from benchmarks.quality import main
from benchmarks.results import Cell, Results
from benchmarks.simulation import Mode, Point, run
from benchmarks.summary import summary
from spot_dask.records import Configuration


class Listed:
    """Proposes the corners of a list in order and remembers what it was told."""

    def __init__(self, configs: Sequence[Configuration]) -> None:
        self.left = list(configs)
        self.calls: list[str] = []

    def ask(self, n: int) -> list[Configuration]:
        asked, self.left = self.left[:n], self.left[n:]
        self.calls.append(f"ask {n}")
        return asked

    def tell(self, results: Sequence[tuple[int, float]]) -> None:
        self.calls.append(f"tell {' '.join(str(number) for number, _ in results)}")


def m2(*sums: float) -> list[Configuration]:
    return [{"x": s / 2, "y": s / 2} for s in sums]


def test_a_synchronous_run_waits_for_the_whole_batch() -> None:
    optimiser = Listed(m2(0.1, 0.2, 0.3, 0.4))
    run(optimiser, problems.find("crash/m2"), Mode(q=2, sync=True, budget=4), seed=0)
    assert optimiser.calls == ["ask 2", "tell 0 1", "ask 2", "tell 2 3"]


def test_an_asynchronous_run_refills_every_free_worker() -> None:
    optimiser = Listed(m2(0.1, 0.2, 0.3, 0.4))
    run(optimiser, problems.find("crash/m2"), Mode(q=2, sync=False, budget=4), seed=0)
    assert [c.partition(" ")[0] for c in optimiser.calls] == [
        "ask", "tell", "ask", "tell", "ask", "tell", "tell"
    ]  # fmt: skip
    assert optimiser.calls[0] == "ask 2"


def test_a_run_reports_the_incumbent_failures_and_repeats() -> None:
    problem = problems.find("crash/m2")
    points = run(Listed(m2(1.0, 1.4, 0.5, 1.0)), problem, Mode(1, True, 4), seed=0)
    assert [p.failed for p in points] == [0, 1, 1, 1]
    assert points[-1].regret == pytest.approx(0.2 / problem.spread)
    assert points[-1].recommended == points[-1].regret
    assert points[-1].distinct == 3


def test_a_problem_may_give_everyone_the_same_first_evaluation() -> None:
    class Learning(Listed):
        def attach(self, results: Sequence[tuple[Configuration, float]]) -> None:
            self.calls.append(f"attach {results}")

    first = m2(0.3)[0]
    problem = replace(problems.find("crash/m2"), first=first)
    for kind in (Listed, Learning):
        optimiser = kind(m2(0.1, 0.2, 0.4))
        points = run(optimiser, problem, Mode(q=2, sync=True, budget=4), seed=0)
        attached = [f"attach [({first}, 1.7)]"] * (kind is Learning)
        assert optimiser.calls == [*attached, "ask 1", "tell 1", "ask 2", "tell 2 3"]
        assert [p.evaluations for p in points] == [2, 4]
        assert points[0].regret == pytest.approx(problem.regret(1.7))


def test_an_exhausted_optimiser_ends_the_run() -> None:
    points = run(Listed(m2(0.1, 0.2)), problems.find("crash/m2"), Mode(2, True, 8), seed=0)
    assert [p.evaluations for p in points] == [2]


def test_the_same_configuration_shows_the_same_to_every_optimiser() -> None:
    problem = problems.find("mixed/grid")
    configs = [problem.space.default] * 4
    one, other = (run(Listed(configs), problem, Mode(2, False, 4), seed=3) for _ in range(2))
    assert [(p.seconds, p.regret) for p in one] == [(p.seconds, p.regret) for p in other]


def test_results_are_read_back_and_a_torn_run_is_none(tmp_path: Path) -> None:
    results = Results(tmp_path / "deep" / "rows.csv")
    points = run(Listed(m2(0.1, 0.2)), problems.find("crash/m2"), Mode(1, True, 2), seed=0)
    cells = [Cell("crash/m2", "listed", Mode(1, True, 2), seed) for seed in (0, 1)]
    for cell in cells:
        results.add(cell, points)
    assert list(results.runs()) == cells
    text = results.path.read_text()
    results.path.write_text(text[: text.rindex(",")])
    assert list(results.runs()) == cells[:1]


def test_finished_runs_are_not_run_again(tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    args = ["--problem", "crash/m2", "--optimiser", "sobol", "--budget", "8", "--out", str(out)]
    first = CliRunner().invoke(main, [*args, "--seeds", "1", "--baseline", "random"])
    assert first.exit_code == 0, first.output
    before = out.read_text()
    second = CliRunner().invoke(main, [*args, "--seeds", "2", "--baseline", "random"])
    assert out.read_text().startswith(before)
    assert len(Results(out).runs()) == 22  # 20 of random, 2 of Sobol
    assert "| sobol |" in second.output


def test_an_option_reaches_inside_a_field_of_the_tuner() -> None:
    spec = Spec.parse("few=spot:design.initial=5,infill.search.starts=7,surrogate=kriging")
    optimiser = spec.make(problems.find("crash/m2").space, seed=1)
    tuner = vars(optimiser)["tuner"]
    assert (spec.label, tuner.design.initial, tuner.infill.search.starts) == ("few", 5, 7)


def test_the_search_is_compared_as_a_run_makes_it() -> None:
    """With early replicates, by which it knows that an objective is exact."""
    problem = problems.find("classic/branin")
    spot = Spec.parse("spot").make(problem.space, seed=1)
    end = run(spot, problem, Mode(8, True, 32), seed=1)[-1]
    assert (end.distinct, vars(spot)["tuner"].repeats) == (30, 2)
    assert end.recommended == end.best  # nothing is better than the best value observed


def test_what_is_recommended_is_judged_and_not_what_looked_best() -> None:
    runs = {}
    for label, recommended in {"random": 0.8, "one": 0.4}.items():
        points = [Point(n, 1.0, 1.0, 0.8, 0.1, 0, n, recommended) for n in (32, 64)]
        runs[Cell("bbob/f1-d2-i1-n0.05", label, Mode(8, True, 64), 0)] = points
    text = summary(runs, "random")
    assert "| one | 0.500 [0.500, 0.500] | 1.000 |" in text  # of what looked best: 1
    assert (
        "| one | 1.000 [1.000, 1.000] | 1.000 [1.000, 1.000] | 1.000 [1.000, 1.000] | 0.5" in text
    )


def test_a_race_runs_seed_by_seed_and_says_what_it_dropped(tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    args = ["--race", "--budget", "24", "--seeds", "6", "--baseline", "spot", "--out", str(out)]
    args += ["--problem", "crash/m2", "--problem", "mixed/grid", "--problem", "classic/branin"]
    result = CliRunner().invoke(main, [*args, "--optimiser", "spot", "--optimiser", "sobol"])
    assert result.exit_code == 0, result.output
    assert "sobol dropped" in result.output
    assert "left: spot" in result.output
    seeds = {c.seed for c in Results(out).runs() if c.optimiser == "sobol"}
    assert len(seeds) < 6


def test_curves_of_ratios_are_told_by_kind_with_collapses() -> None:
    """Half of the regret from a half of the budget on, and one run in four that collapses."""
    runs = {}
    for problem in ("bbob/f1-d2-i1", "hpobench/car"):
        for seed in range(4):
            for label, course in {
                "random": (0.8, 0.8, 0.8, 0.8),
                "one": (0.8, 0.1, 0.1, 0.7 if seed == 0 else 0.1),
            }.items():
                points = [
                    Point(16 * (i + 1), 1.0, 2.0 * (i + 1), r, r, 0, 16, r)
                    for i, r in enumerate(course)
                ]
                runs[Cell(problem, label, Mode(8, True, 64), seed)] = points
    text = summary(runs, "random")
    for kind in ("all kinds", "smooth", "tables"):
        assert f"| {kind}: ratio to random after | 16 | 32 | 48 | 64 |" in text
    n = "1.000 [1.000, 1.000]", "0.125 [0.125, 0.125]"
    assert f"| one | {n[0]} | {n[1]} | {n[1]} | 0.312 [" in text
    assert "| 1.0 | 2 of 8 | 1.000 | 2 x 4 |" in text
    assert text.count("| 1.0 | 1 of 4 | 1.000 | 1 x 4 |") == 2
