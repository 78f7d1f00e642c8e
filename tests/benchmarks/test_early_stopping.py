"""The benchmark of early stopping runs, pairs its runs and takes them up again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import early_stopping
from benchmarks.problems import course, find


def test_a_made_up_training_ends_where_its_problem_says() -> None:
    problem, rng = find("trained/bowl"), np.random.default_rng(0)
    config = problem.space.default
    trained = course("trained/bowl")(config, rng)
    assert trained.values[-1] == problem.truth([config])[0] == problem.observe(config, rng)
    assert (np.diff(trained.values) <= 0).all()
    with pytest.raises(ValueError, match="crash/m2 has no learning curves"):
        course("crash/m2")


def test_a_run_is_judged_at_equal_trials_and_at_equal_training() -> None:
    trials, epochs = early_stopping.run("trained/bowl", "asha", seed=0, trials=16, q=4)
    assert trials.after == "trials"
    assert (trials.trials, epochs.after) == (16, "epochs")
    assert trials.epochs < 16 * 50 <= epochs.epochs < 16 * 50 + 50
    assert trials.stopped > 0
    assert epochs.trials > 16
    (both, again) = early_stopping.run("trained/bowl", "none", seed=0, trials=16, q=4)
    assert (both.trials, both.epochs, both.stopped) == (16, 800, 0)
    assert (again.trials, again.epochs) == (16, 800)


def test_results_are_kept_and_shown_beside_the_baseline(tmp_path: Path) -> None:
    out = tmp_path / "results.csv"
    arguments = ["--problem", "trained/bowl", "--seeds", "1", "--trials", "12", "--q", "4"]
    arguments += ["--rule", "asha", "--out", str(out)]
    done = CliRunner().invoke(early_stopping.main, arguments, catch_exceptions=False)
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| equal")]
    assert [(row[0], row[1]) for row in rows] == [
        (f"| equal {at}", rule) for at in ("trials", "training") for rule in ("none", "asha")
    ]
    assert rows[0][4] == "1.000 [1.000, 1.000]"
    assert float(rows[1][4].split()[0]) < 1.0
    before = out.read_bytes()
    assert CliRunner().invoke(early_stopping.main, arguments).stdout == done.stdout
    assert out.read_bytes() == before
