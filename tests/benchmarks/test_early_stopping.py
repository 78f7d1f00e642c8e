"""The benchmark of early stopping runs, pairs its runs and takes them up again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import early_stopping
from benchmarks.problems import course, find
from benchmarks.sets import DEVELOPMENT


def test_a_made_up_training_ends_where_its_problem_says() -> None:
    problem, rng = find("trained/bowl"), np.random.default_rng(0)
    config = problem.space.default
    trained = course("trained/bowl")(config, rng)
    assert trained.values[-1] == problem.truth([config])[0] == problem.observe(config, rng)
    assert (np.diff(trained.values) <= 0).all()
    with pytest.raises(ValueError, match="crash/m2 has no learning curves"):
        course("crash/m2")


def test_rules_are_judged_on_data_sets_that_nothing_is_developed_on() -> None:
    names = vars(early_stopping)["_VERIFICATION"]
    assert len(set(names)) == 12
    assert not set(names) & set(DEVELOPMENT)


def test_a_run_is_judged_at_equal_trials_at_equal_training_and_whenever_it_is_better() -> None:
    results = early_stopping.run("trained/bowl", "asha", seed=0, trials=16, q=4)
    (trials,) = [r for r in results if r.after == "trials"]
    quarter, half, epochs = (
        next(r for r in results if r.after == after) for after in ("epochs/4", "epochs/2", "epochs")
    )
    assert 200 <= quarter.epochs < 250 < 400 <= half.epochs < 450
    better = [r for r in results if r.after == "better"]
    assert trials.trials == 16
    assert trials.epochs < 16 * 50 <= epochs.epochs < 16 * 50 + 50
    assert trials.stopped > 0
    assert epochs.trials > 16
    assert len(better) > 1
    assert [r.epochs for r in better] == sorted({r.epochs for r in better})
    assert [r.regret for r in better] == sorted({r.regret for r in better}, reverse=True)
    assert better[-1].regret <= min(trials.regret, epochs.regret)
    baseline = early_stopping.run("trained/bowl", "none", seed=0, trials=16, q=4)
    assert [(r.after, r.trials, r.epochs) for r in baseline if r.after != "better"] == [
        ("epochs/4", 4, 200), ("epochs/2", 8, 400), ("trials", 16, 800), ("epochs", 16, 800)
    ]  # fmt: skip
    assert not any(r.stopped for r in baseline)


def test_training_to_the_same_quality_is_that_when_the_baseline_s_last_regret_was_reached() -> None:
    def row(rule: str, seed: int, after: str, epochs: int, regret: float) -> early_stopping.Result:
        return early_stopping.Result("p", rule, seed, after, epochs, 0, epochs, 1.0, regret)

    results = [
        row("none", 0, "better", 10, 0.9),
        row("none", 0, "better", 60, 0.3),
        row("none", 0, "epochs", 100, 0.3),  # as good as that since epoch 60
        row("asha", 0, "better", 20, 0.4),
        row("asha", 0, "better", 30, 0.2),
        row("asha", 0, "better", 80, 0.1),
        row("asha", 0, "epochs", 100, 0.1),
        row("none", 1, "better", 40, 0.2),
        row("none", 1, "epochs", 100, 0.2),
        row("asha", 1, "better", 50, 0.25),  # never as good: it counts with all its training
        row("asha", 1, "epochs", 100, 0.25),
    ]
    lines = early_stopping.summary(results, ["none", "asha"]).splitlines()
    none, asha = [line.split(" | ") for line in lines if line.startswith("| to the same quality")]
    assert (none[1], none[4], none[5]) == ("none", "100%", "1.000 [1.000, 1.000]")
    assert (asha[1], asha[4]) == ("asha", "50%")
    assert asha[5].startswith("1.300 ")  # (30 + 100) / (60 + 40)


def test_results_are_kept_and_shown_beside_the_baseline(tmp_path: Path) -> None:
    out = tmp_path / "results.csv"
    arguments = ["--problem", "trained/bowl", "--seeds", "1", "--trials", "12", "--q", "4"]
    arguments += ["--rule", "asha", "--out", str(out)]
    done = CliRunner().invoke(early_stopping.main, arguments, catch_exceptions=False)
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    parts = ("epochs/4", "epochs/2", "epochs")
    assert [(row[0], row[1]) for row in rows[2:]] == [
        (f"| {at}", rule)
        for at in (
            "equal trials",
            *(f"equal {part}" for part in parts),
            *(f"to the same quality, {part}" for part in parts),
        )
        for rule in ("none", "asha")
    ]
    assert rows[2][5] == "1.000 [1.000, 1.000]"
    assert float(rows[3][5].split()[0]) < 1.0
    before = out.read_bytes()
    assert CliRunner().invoke(early_stopping.main, arguments).stdout == done.stdout
    assert out.read_bytes() == before
