"""Runs on a simulated clock, kept as CSV and taken up again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import problems
from benchmarks.optimisers import Spec
from benchmarks.quality import main
from benchmarks.results import Cell, Results
from benchmarks.simulation import Mode, run
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
