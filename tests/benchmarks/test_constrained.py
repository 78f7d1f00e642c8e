"""The benchmarks of constraints and of expected improvement per second: what they measure by."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks import constrained, per_second
from benchmarks.constrained import ARMS, PROBLEMS, Outcomes
from benchmarks.per_second import Timed
from benchmarks.problems import Problem
from spot_dask import Real, Space


def test_the_known_optima_are_found_and_no_better_ones() -> None:
    branin = PROBLEMS["branin"]
    best = branin.truth({"x": math.pi, "y": 2.275})
    assert best["loss"] == pytest.approx(0.397887, abs=1e-6)
    assert branin.feasible(best)
    assert not branin.feasible(branin.truth({"x": -math.pi, "y": 12.275}))
    optimum, median = constrained.scale("gardner2")
    assert optimum == pytest.approx(0.2532, abs=2e-4)  # Gardner et al. 2014, figure 3
    assert median > optimum


def test_every_arm_is_judged_by_what_is_feasible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constrained, "AFTER", (8, 12))
    monkeypatch.setattr(constrained, "scale", lambda name: (0.2532, 0.84))
    rows = [row for arm in ARMS for row in constrained.run("gardner2", arm, 0, 4)]
    assert [(r.arm, r.after) for r in rows] == [(arm, n) for arm in ARMS for n in (8, 12)]
    assert all(0.0 <= r.regret <= 1.0 for r in rows)
    assert all(r.regret == 1.0 for r in rows if r.feasible == 0)
    table = constrained.summary(
        [Outcomes(p, arm, s, 8, 0.1 * (1 + i), 3)
         for p in ("a", "b") for i, arm in enumerate(ARMS) for s in range(2)]
    )  # fmt: skip
    assert "| all | 8 | 0.500 [0.500, 0.500] | 0.333 [0.333, 0.333] | 0.100 | 0.200 |" in table


def test_only_what_has_ended_in_time_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    space = Space(x=Real(0.0, 1.0, default=0.9))
    problem = Problem(
        "toy",
        space,
        lambda configs: np.array([float(c["x"]) for c in configs]),
        lambda config, rng: float(config["x"]),
        0.0,
        lambda config, rng: 10.0 if config["x"] < 0.5 else 1.0,
        median=0.5,
    )
    monkeypatch.setattr(per_second, "average", lambda name: 4.0)
    for arm in per_second.ARMS:
        half, whole = per_second.run(problem, arm, 8.0, 0, 2)
        assert (half.share, whole.share) == (0.5, 1.0)
        assert 0 < half.n <= whole.n <= 32
        assert whole.regret <= half.regret
    rows = [Timed("toy", a, 8.0, s, share, 0.2 if a == "log_ei" else 0.1, 5)
            for a in per_second.ARMS for s in range(3) for share in per_second.SHARES]  # fmt: skip
    assert "| 1 | 0.500 [0.500, 0.500] | 1.000 [1.000, 1.000] |" in per_second.summary(rows)
