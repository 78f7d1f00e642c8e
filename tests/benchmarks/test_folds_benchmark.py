"""The benchmark of folds: equal trainings for every arm, and what it is judged by."""

from __future__ import annotations

import pytest

from benchmarks import folds
from benchmarks.folds import ARMS, FoldedRun
from spot_dask.records import Trial


def test_every_arm_has_as_many_trainings_and_is_judged_by_the_truth() -> None:
    rows = {arm: folds.run("classic/branin", arm, 25, 0, 5) for arm in ARMS}
    assert [rows[arm].configurations for arm in ("all", "one")] == [5, 25]
    assert 5 <= rows["stop"].configurations <= 25
    assert all(0.0 <= row.regret <= 1.0 for row in rows.values())
    problem, observe = folds.of("classic/branin")
    config = problem.space.default
    trials = [Trial(n, config, 1, fold=fold, partition=3) for n, fold in ((0, 0), (1, 0), (2, 1))]
    same, again, other = (observe(trial, 0) for trial in trials)
    assert abs(same - again) < abs(same - other)  # a fold is as hard for all


def test_regrets_are_compared_with_those_of_all_folds_always() -> None:
    said = folds.summary(
        [FoldedRun(p, arm, 8, s, 0.1 * (1 + i), 4)
         for p in ("a", "b") for i, arm in enumerate(ARMS) for s in range(2)]
    )  # fmt: skip
    assert "4 pairs of runs" in said
    assert "| stop | 2.000 [2.000, 2.000] | 0.000 [0.000, 0.000] | 0.2000 | 4.0 |" in said


def test_the_known_error_of_the_machine_is_above_its_optimum() -> None:
    problem, observe = folds.of("svc")
    good = {"C": 66.7, "gamma": 0.00051, "kernel": "rbf"}
    assert problem.truth([good])[0] == pytest.approx(0.0226, abs=1e-4)
    errors = [observe(Trial(0, good, 0, fold=f, partition=1), 0) for f in range(5)]
    assert 0.0 <= min(errors) < max(errors) < 0.15
