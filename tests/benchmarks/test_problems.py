"""Problems tell the truth about their optimum, and regret is what its definition says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from benchmarks import Unavailable, problems
from benchmarks.problems import Problem, stream, uniform

OWN = [n for s in ("crash", "mixed", "sensitivity") for n in problems.matching(f"{s}/*")]
OTHERS = [
    "bbob/f8-d5-i1", "bbob/f21-d5-i3", "bbob/f24-d3-i7", "bbob/f16-d10-i2-n0.05",
    "bbob_mixint/f8-d10-i1", "bbob_mixint/f21-d5-i7", "hpobench/vehicle",
    "hpolib/protein_structure", "nasbench201/cifar100", "lcbench/7593", "lcbench/34539-ce",
    "nanochat/trials",
]  # fmt: skip


def found(name: str) -> Problem:
    try:
        return problems.find(name)
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", OWN + OTHERS)
def test_ten_thousand_random_points_do_not_beat_the_optimum(name: str) -> None:
    problem = found(name)
    values = problem.truth(uniform(problem.space, 10_000, np.random.default_rng(0)))
    assert values.min() >= problem.optimum - 1e-9 * abs(problem.optimum)
    assert problem.spread > 0


@pytest.mark.parametrize("name", OWN + OTHERS)
def test_half_of_the_random_points_have_regret_one(name: str) -> None:
    problem = found(name)
    values = problem.truth(uniform(problem.space, 2000, np.random.default_rng(1)))
    values = values[np.isfinite(values)]
    assert np.mean([problem.regret(v) == 1.0 for v in values]) == pytest.approx(0.5, abs=0.06)


def test_regret_is_the_share_of_the_way_from_the_optimum_to_the_median() -> None:
    problem = problems.find("crash/m2")
    assert problem.regret(problem.optimum) == 0.0
    assert problem.regret(problem.optimum + 0.25 * problem.spread) == pytest.approx(0.25)
    assert problem.regret(problem.optimum + 7 * problem.spread) == 1.0
    assert problem.regret(math.inf) == problem.regret(math.nan) == 1.0


def test_noise_has_the_stated_standard_deviation() -> None:
    problem = problems.find("mixed/grid")
    config = problem.space.default
    seen = [problem.observe(config, stream("noise", i)) for i in range(2000)]
    assert np.std(seen) == pytest.approx(0.02 * problem.spread, rel=0.1)


def test_the_crash_region_fails_a_third_of_random_points() -> None:
    problem = problems.find("crash/m2")
    rng = np.random.default_rng(2)
    values = [problem.observe(c, rng) for c in uniform(problem.space, 4000, rng)]
    assert np.mean(np.isnan(values)) == pytest.approx(0.32, abs=0.03)


def test_an_unknown_problem_is_named_with_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"no suite named 'bob'; there are: bbob"):
        problems.find("bob/f1")
    with pytest.raises(ValueError, match="m2"):
        problems.find("crash/m3")


def test_what_is_kept_for_others_is_refused() -> None:
    for name in ("lcbench/167083", "lcbench/189908-ce", "bbob/f1-d2-i60", "bbob_mixint/f1-d5-i71"):
        with pytest.raises(ValueError, match=f"{name}: kept for the verdict of others"):
            problems.find(name)


def test_every_problem_has_a_kind_that_its_name_tells() -> None:
    kinds = {n: problems.kind(n) for s in problems.suites() for n in problems.matching(f"{s}/*")}
    assert set(kinds.values()) == set(problems.KINDS)
    expected = {
        "bbob/f8-d5-i1": "smooth", "bbob/f15-d5-i2": "rugged", "bbob/f8-d5-i1-n0.05": "noisy",
        "lcbench/7593-ce": "networks", "lcbench/7593-ce-n0.05": "noisy",
        "sklearn/svm_digits": "other learners",
        "sklearn/choice_digits": "mixed", "hpobench/car": "tables", "crash/m2": "failures",
        "transfer/related/lcbench/7593": "networks",
    }  # fmt: skip
    assert {n: problems.kind(n) for n in expected} == expected


def test_the_two_metrics_of_a_network_are_two_objectives() -> None:
    wrong, entropy = found("lcbench/7593"), found("lcbench/7593-ce")
    configs = uniform(wrong.space, 200, np.random.default_rng(0))
    order = spearmanr(wrong.truth(configs), entropy.truth(configs)).statistic
    assert 0.3 < order < 0.999


def test_a_noisy_network_is_the_same_one_with_errors_of_its_own() -> None:
    exact, noisy = found("lcbench/7593-ce"), found("lcbench/7593-ce-n0.05")
    (config,) = uniform(exact.space, 1, np.random.default_rng(0))
    assert noisy.space == exact.space
    assert noisy.truth([config]) == exact.truth([config])
    rng = np.random.default_rng(1)
    errors = [noisy.observe(config, rng) - noisy.truth([config])[0] for _ in range(400)]
    assert np.std(errors) == pytest.approx(0.05 * noisy.spread, rel=0.15)


def test_conditions_two_levels_deep_hold() -> None:
    space = problems.find("mixed/pipeline").space
    for config in uniform(space, 500, np.random.default_rng(0)):
        assert ("boosting" in config) == (config["model"] == "trees")
        assert ("rate" in config) == config.get("boosting", False)


def test_failures_of_language_models_are_those_of_the_configuration() -> None:
    problem = found("nanochat/trials")
    rng = np.random.default_rng(0)
    configs = uniform(problem.space, 2000, rng)
    failed = np.isinf(problem.truth(configs))
    assert np.mean(failed) == pytest.approx(0.56, abs=0.06)  # as in the published random runs
    seen = np.array([problem.observe(c, rng) for c in configs[:50]])
    assert np.array_equal(np.isnan(seen), failed[:50])
    # The published first trials came to .9906 to .9931.
    assert problem.truth([problem.space.default])[0] == pytest.approx(0.992, abs=0.002)


def test_published_runs_are_cut_off_at_the_same_number_of_trainings() -> None:
    found("nanochat/trials")
    few, many = (problems.published("nanochat/trials", n) for n in (16, 64))
    assert all(many[m][0] <= few[m][0] and many[m][1] >= few[m][1] for m in few)
    assert many["Random"][1] == pytest.approx(0.56 * 64, abs=4)
    assert {runs for _, _, runs in many.values()} == {3}
