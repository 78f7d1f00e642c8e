"""Whole runs in which trainings fail; the bars are weak.

m2: bigger is better until it crashes, so the optimum lies exactly at the border.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from sizes import size

from spot_dask.records import Configuration, History, Origin
from spot_dask.space import Categorical, Integer, Real, Space
from spot_dask.tuner import Tuner

Objective = Callable[[Configuration], float]

SQUARE = Space(x=Real(0.0, 1.0, default=0.5), y=Real(0.0, 1.0, default=0.5))
NETWORK = Space(
    width=Integer(16, 2048, default=64, scale="power2"),
    batch=Integer(8, 512, default=32, scale="power2"),
    opt=Categorical(["sgd", "adam", "rms"], default="sgd"),
    lr=Real(1e-4, 1.0, default=1e-2, scale="log"),
    momentum=Real(0.0, 0.99, default=0.9).when(opt="sgd"),
)


def m2(config: Configuration) -> float:
    size = float(config["x"]) + float(config["y"])
    return math.nan if size > 1.2 else 2.0 - size


def out_of_memory(config: Configuration) -> float:
    """Best: width 1024 with a batch of 32 and sgd or rms, or of 16 and adam."""
    width, batch = float(config["width"]), float(config["batch"])
    if width * batch * (2 if config["opt"] == "adam" else 1) > 2**15:
        return math.nan
    best = {"sgd": -1.0, "adam": -3.0, "rms": -2.5}[str(config["opt"])]
    loss = 0.1 * (11 - math.log2(width)) + 0.1 * (math.log10(float(config["lr"])) - best) ** 2
    loss += 0.02 * (math.log2(batch) - 6) ** 2
    return loss + 0.2 * (float(config.get("momentum", 0.9)) - 0.9) ** 2


def branin(config: Configuration) -> float:
    a, b = 15 * float(config["x"]) - 5, 15 * float(config["y"])
    curve = b - 5.1 / (4 * math.pi**2) * a**2 + 5 / math.pi * a - 6
    return curve**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(a) + 10 - 0.397887


def run(tuner: Tuner, objective: Objective, budget: int, q: int) -> History:
    history = History()
    while history.asked < budget:
        trials = tuner.ask(history, min(q, budget - history.asked))
        history = history.ask(trials)
        for trial in trials:
            history = history.tell(trial.result(objective(trial.config)))
    return history


def best(history: History) -> float:
    assert history.incumbent is not None
    return history.incumbent.y


@pytest.mark.parametrize("q", [1, 4])
def test_the_border_of_a_crash_region_is_found_with_few_failures(q: int) -> None:
    for seed in range(size(1, 3)):
        history = run(Tuner(SQUARE, seed=seed, infill="log_ei"), m2, 50, q)
        assert len(history.failed) <= 12
        assert best(history) < 0.81


def test_out_of_memory_is_learnt_in_a_mixed_space() -> None:
    for seed in range(size(1, 2)):
        history = run(Tuner(NETWORK, seed=seed), out_of_memory, 50, 4)
        assert len(history.failed) <= 16
        assert best(history) < 0.3


def test_where_most_of_the_design_fails_more_of_it_lies_elsewhere() -> None:
    space = Space({f"x{j}": Real(0.0, 1.0, default=0.2) for j in range(12)})
    failed = []
    for seed in range(3):
        tuner = Tuner(space, seed=seed, infill="log_ei")
        fails = lambda c: math.nan if c["x0"] > 0.35 else float(sum(c.values()))  # noqa: E731
        history = run(tuner, fails, 24, 1)
        design = [e for e in history.evaluations if e.trial.origin is Origin.DESIGN]
        failed.append(np.mean([e.failed for e in design[7:]]))
        assert len(design) > 10
    # By chance .65 of what fills the space would fail.
    assert np.mean(failed) < 0.45


def test_failures_by_chance_do_no_harm() -> None:
    regrets = []
    for seed in range(size(2, 4)):
        rng = np.random.default_rng(seed)

        def unlucky(config: Configuration, rng: np.random.Generator = rng) -> float:
            return math.nan if rng.random() < 0.3 else branin(config)

        regrets.append(best(run(Tuner(SQUARE, seed=seed, infill="log_ei"), unlucky, 40, 1)))
    assert np.median(regrets) < 0.1
