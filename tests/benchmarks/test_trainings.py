"""Problems that really train: by seed, and with a truth that is kept."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import problems
from benchmarks.problems import uniform
from benchmarks.trainings import TRUTH_SEEDS, Kept, Known, training
from spot_dask import Real, Space
from spot_dask.records import Configuration

NAMES = problems.matching("sklearn/*") + problems.matching("cnn/*")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_a_training_is_repeated_by_its_seed_and_varies_with_it(name: str) -> None:
    problem = problems.find(name)
    (config,) = uniform(problem.space, 1, np.random.default_rng(5))
    config = {**config, **CHEAP[name]}
    first, again, other = (problem.observe(config, np.random.default_rng(s)) for s in (0, 0, 1))
    assert np.isfinite(first)
    assert first == again != other


CHEAP: dict[str, Configuration] = {
    "sklearn/svm_digits": {"C": 1.0, "gamma": 0.02},
    "sklearn/forest_diabetes": {"trees": 3},
    "sklearn/mlp_wine": {"width": 8, "layers": 1, "lr": 0.03, "batch": 128},
    "sklearn/boosting_breast_cancer": {"trees": 4},
    "sklearn/boosting_diabetes": {"trees": 4},
    "sklearn/choice_digits": {},
    "cnn/digits": {"channels": 4, "batch": 128, "lr": 0.01},
}


def toy() -> tuple[problems.Problem, list[int]]:
    seeds: list[int] = []

    def train(config: Configuration, seed: int) -> float:
        seeds.append(seed)
        return float(config["x"]) + seed % 7

    return training(
        "toy/x", Space(x=Real(0.0, 1.0, default=0.5)), train, Known(1.0, 3.0), "1"
    ), seeds


def test_the_truth_is_the_mean_over_fixed_seeds_and_trained_once() -> None:
    problem, seeds = toy()
    values = problem.truth([{"x": 0.25}, {"x": 0.25}])
    assert values == pytest.approx([0.25 + (TRUTH_SEEDS - 1) / 2] * 2)
    assert seeds == list(range(TRUTH_SEEDS))
    again, more = toy()
    assert again.truth([{"x": 0.25}])[0] == values[0]
    assert more == []
    assert again.spread == 2.0


def test_an_observation_has_a_seed_that_is_none_of_the_truths() -> None:
    problem, seeds = toy()
    for i in range(20):
        problem.observe({"x": 0.5}, np.random.default_rng(i))
    assert min(seeds) >= TRUTH_SEEDS
    assert len(set(seeds)) == 20


def test_a_kept_value_that_was_cut_off_is_computed_again(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    assert Kept(path).value({"x": 1}, lambda c: 2.5) == 2.5
    path.write_text(path.read_text() + json.dumps(['{"x": 2}', 7.0])[:-3])
    assert Kept(path).value({"x": 1}, lambda c: 0.0) == 2.5
    assert Kept(path).value({"x": 2}, lambda c: 8.0) == 8.0


def test_the_last_epoch_of_a_network_s_curve_is_what_its_problem_shows() -> None:
    problem = problems.find("cnn/digits-e27")
    (config,) = uniform(problem.space, 1, np.random.default_rng(5))
    config = {**config, "channels": 2, "hidden": 8, "batch": 128, "lr": 0.01}
    course = problems.course("cnn/digits-e27")
    curve = course(config, np.random.default_rng(3)).values
    assert len(curve) == 27
    assert curve[-1] == problem.observe(config, np.random.default_rng(3))
    assert curve[-1] < curve[0]
    with pytest.raises(ValueError, match="cnn/digits has no learning curves"):
        problems.course("cnn/digits")
