"""What importances are judged by, and that the judge sees what is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from benchmarks import importance
from benchmarks.problems import find, reference, stream, uniform
from spot_dask.report.sections.importance import Share


def test_the_truth_of_ishigami_is_that_of_the_books():
    problem = find("sensitivity/ishigami")
    first, total = importance.truth(problem, problem.space.snap, None)
    assert_allclose(first, [0.3139, 0.4424, 0.0], atol=0.01)
    assert_allclose(total, [0.5576, 0.4424, 0.2437], atol=0.01)


def test_an_interval_beside_the_truth_does_not_cover_it():
    shares = [Share(0.3, 0.2, 0.4), Share(0.3, 0.2, 0.4)]
    assert importance._covered(shares, np.array([0.39, 0.5])) == 0.5
    assert importance._error(np.array([3.0, 1.0]), np.array([0.25, 0.75])) == pytest.approx(0.5)


def test_explored_evaluations_are_added_to_a_search_and_not_searched_from():
    seen = list(importance.histories(find("sensitivity/ishigami"), 0, (9, 10), (0, 2)))
    assert [h.asked for h in seen] == [9, 11, 10, 12]
    assert [t.trial.origin.value for t in seen[1].evaluations][-2:] == ["explore"] * 2
    searched = [t.trial.config for t in seen[2].evaluations]
    assert [t.trial.config for t in seen[0].evaluations] == searched[:9]


def test_the_truth_of_a_training_is_that_of_its_random_configurations(tmp_path, monkeypatch):
    trained = []

    def train(config, seed):
        trained.append(seed)
        noise = 0.05 * np.random.default_rng(seed).standard_normal()
        return float(np.exp(0.3 * np.log10(config["lr"]) ** 2 - 1.0 + noise))

    monkeypatch.setattr(reference, "TRAIN", train)
    monkeypatch.setattr(reference, "FOLDER", tmp_path)
    monkeypatch.setattr(reference, "WHOLE", 80)
    monkeypatch.setattr(reference, "NEAR", 30)
    for _ in range(2):  # what was trained is kept
        reference.values.cache_clear()
        reference.reference.cache_clear()
        problem = find("reference/mlp_digits")
        first, total = importance.truth(problem, problem.space.snap, None)
    assert len(trained) == len(set(trained)) == 110
    assert list(problem.space.free)[int(np.argmax(total))] == "lr"
    assert total.max() > 0.95
    assert sorted(first)[-2] < 0.02
    configs = uniform(problem.space, 50, stream("held out"))
    truth = [np.exp(0.3 * np.log10(c["lr"]) ** 2 - 1.0) for c in configs]
    assert_allclose(problem.truth(configs), truth, rtol=0.15)
    reference.values.cache_clear()
    reference.reference.cache_clear()
