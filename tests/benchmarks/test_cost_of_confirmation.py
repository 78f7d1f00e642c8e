"""The benchmark of confirmation pairs its arms, and its problems are what they are said to be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.optimize import minimize

from benchmarks import confirmation, csv_rows, problems
from benchmarks.confirmation import Result
from benchmarks.noisy import REPEATS
from benchmarks.problems.classic import CLASSIC
from spot_dask.tuner import Tuner


@pytest.mark.parametrize("name", CLASSIC)
def test_the_stated_optimum_is_reached_and_never_beaten(name: str) -> None:
    classic = CLASSIC[name]
    low, high = np.array(classic.bounds).T
    rng = np.random.default_rng(0)
    starts = low + rng.random((400, len(low))) * (high - low)
    values = np.array([classic.function(x) for x in starts])
    best = min(
        minimize(classic.function, x, bounds=classic.bounds, method="L-BFGS-B").fun
        for x in [*starts[np.argsort(values)[:12]], np.zeros(len(low)), np.ones(len(low))]
    )
    scale = float(np.median(values)) - classic.optimum
    assert -1e-9 * scale <= best - classic.optimum < 1e-3 * scale


def test_noise_is_a_share_of_the_spread() -> None:
    problem = problems.find("classic/camel-n0.3")
    seen = [problem.observe(problem.space.default, problems.stream("n", i)) for i in range(1500)]
    assert np.std(seen) == pytest.approx(0.3 * problem.spread, rel=0.1)
    with pytest.raises(ValueError, match="no classic/easom"):
        problems.find("classic/easom")


def test_all_arms_see_the_same_and_differ_where_their_settings_say() -> None:
    problem = problems.find("classic/branin-n0.3")
    found = {label: confirmation.run(problem, label, 40, 0, 4) for label in confirmation.ARMS}
    assert found["unconfirmed"].searched == 40
    assert {r.searched for label, r in found.items() if label != "unconfirmed"} == {30}
    assert found["no replicates"].replicates == 0
    assert found["0.15 by gaps"].replicates >= found["0.08 by gaps"].replicates > 0
    assert all(r.regret >= r.evaluated >= 0 for r in found.values())
    assert all(r.correct == (r.regret == r.evaluated) for r in found.values())


@pytest.mark.parametrize("label", ["0.15", "0.15 by gaps"])
def test_a_search_that_goes_on_from_what_arms_share_is_the_whole_search(label: str) -> None:
    problem, arm = problems.find("classic/branin-n0.3"), confirmation.ARMS[label]
    kind = confirmation.GapTuner if arm.gaps else Tuner
    tuner = kind(
        problem.space, seed=1, budget=30, repeats=REPEATS, replication=arm.replication, confirm=0.0
    )
    shared = confirmation.opening(problem.name, 30, 1, 4)
    assert len(shared.evaluations) == 24
    whole = confirmation.searched(tuner, problem, 30, 1, 4)
    assert confirmation.searched(tuner, problem, 30, 1, 4, shared) == whole


def test_arms_are_compared_by_problem_and_seed(tmp_path: Path) -> None:
    def result(arm: str, seed: int, regret: float) -> Result:
        return Result("p", arm, 40, seed, regret, 0.1, int(regret == 0.1), 0, 30)

    results = [
        result("unconfirmed", 0, 0.2), result("unconfirmed", 1, 0.4),
        result("confirmed", 0, 0.1), result("confirmed", 1, 0.2),
    ]  # fmt: skip
    text = confirmation.summary(results)
    gap = "-0.150 [-inf, +inf]"  # over one problem
    assert f"| confirmed | 0.500 [0.500, 0.500] | {gap} | 1.000 [1.000, 1.000] |" in text
    assert "| confirmed | 1 x 2 | 30 | 0.0 | 0.1500 | 0.1000 | 50 +- 35 % |" in text
    out = tmp_path / "confirmation.csv"
    given = ["--problem", "mixed/grid", "--arm", "confirmed", "--seeds", "1", "--budget", "26",
             "--out", str(out)]  # fmt: skip
    CliRunner().invoke(confirmation.main, given, catch_exceptions=False)
    CliRunner().invoke(confirmation.main, given, catch_exceptions=False)
    (kept,) = csv_rows.load(confirmation.Result, out)
    assert kept == confirmation.run(problems.find("mixed/grid"), "confirmed", 26, 0, 4)
