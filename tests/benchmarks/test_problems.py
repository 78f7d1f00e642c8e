"""Problems tell the truth about their optimum, and regret is what its definition says."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks import Unavailable, problems
from benchmarks.problems import Problem, stream, uniform

OWN = [n for s in ("crash", "mixed", "sensitivity") for n in problems.matching(f"{s}/*")]
OTHERS = [
    "bbob/f8-d5-i1", "bbob/f21-d5-i3", "bbob/f24-d3-i7", "bbob/f16-d10-i2-n0.05",
    "bbob_mixint/f8-d10-i1", "bbob_mixint/f21-d5-i7", "hpobench/vehicle",
    "hpolib/protein_structure", "nasbench201/cifar100", "lcbench/7593",
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
