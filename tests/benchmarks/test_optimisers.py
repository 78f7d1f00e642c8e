"""Every optimiser that is installed proposes valid configurations, with failures among results."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from benchmarks import Unavailable, problems
from benchmarks.optimisers import Attachable, OneHot, Optimiser, Spec, names
from benchmarks.problems import uniform

CHEAP = {"botorch": "botorch:restarts=2,raw=32", "spot": "spot:design.initial=6"}
SPACES = ["mixed/branches", "mixed/levels", "crash/oom", "crash/m2"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("where", SPACES)
def test_an_optimiser_proposes_valid_configurations(name: str, where: str) -> None:
    space = problems.find(where).space
    spec = Spec.parse(CHEAP.get(name, name))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            optimiser: Optimiser = spec.make(space, seed=0)
    except Unavailable as error:
        pytest.skip(str(error))
    told = 0
    for batch in range(3):
        configs = optimiser.ask(4)
        assert len(configs) == 4
        assert [space.validate(c) for c in configs] == [dict(c) for c in configs]
        values = [math.nan if (told + k) % 5 == 4 else float(k + batch) for k in range(4)]
        optimiser.tell([(told + k, y) for k, y in enumerate(values)])
        told += 4


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["optuna_gp", "optuna_tpe", "smac", "spot"])
def test_an_optimiser_goes_on_from_an_evaluation_it_did_not_ask_for(name: str) -> None:
    space = problems.find("mixed/branches").space
    try:
        optimiser = Spec.parse(CHEAP.get(name, name)).make(space, seed=0, budget=16)
    except Unavailable as error:
        pytest.skip(str(error))
    assert isinstance(optimiser, Attachable)
    optimiser.attach([(space.default, 0.5)])
    for first in (1, 4):
        configs = optimiser.ask(3)
        assert [space.validate(c) for c in configs] == [dict(c) for c in configs]
        optimiser.tell([(first + k, 1.0 + k) for k in range(3)])


@pytest.mark.parametrize("where", SPACES)
def test_one_hot_points_decode_to_their_configurations(where: str) -> None:
    space = problems.find(where).space
    configs = uniform(space, 50, np.random.default_rng(0))
    box = OneHot(space)
    assert box.points(configs).shape == (50, box.d)
    assert box.configs(box.points(configs)) == configs


def test_an_unknown_optimiser_is_named_with_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"no optimiser named 'spott'; there are: .*spot"):
        Spec.parse("spott:infill=log_ei")
