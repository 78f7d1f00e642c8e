"""The near-optimal box as a new space, to paste into a study."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spot_dask import Budget, Categorical, FunctionTask, Integer, Real, Space, StoreError, Study
from spot_dask.inference.narrowed import NarrowedSpace, narrowed

SPACE = Space(
    lr=Real(1e-4, 1.0, default=1e-2, scale="log"),
    width=Integer(8, 256, default=16, scale="power2"),
    depth=Integer(1, 40, default=3),
    opt=Categorical(["sgd", "adam", "rms"], default="sgd"),
    momentum=Real(0.0, 1.0, default=0.5).when(opt="sgd"),
    norm=Categorical([False, True], default=False),
    held=Real(0.0, 1.0, default=0.5).hold(0.25),
)


def of(*configs: dict[str, Any], width: float = 0.05) -> NarrowedSpace:
    return narrowed(SPACE, configs, SPACE.validate(configs[0]), width)


A = {"lr": 0.0123456, "width": 32, "depth": 4, "opt": "sgd", "momentum": 0.91, "norm": True}
B = {"lr": 0.1, "width": 64, "depth": 9, "opt": "adam", "norm": True}


def test_ranges_levels_and_defaults_are_those_of_good_configurations() -> None:
    found = of(A, B).space
    assert found.parameters["lr"] == Real(0.0123, 0.1, default=0.0123456, scale="log")
    assert found.parameters["width"] == Integer(32, 64, default=32, scale="power2")
    assert found.parameters["depth"] == Integer(4, 9, default=4)
    assert found.parameters["opt"] == Categorical(["sgd", "adam"], default="sgd")
    assert found.parameters["norm"] == SPACE.parameters["norm"].hold(True)
    assert found.parameters["held"] == SPACE.parameters["held"]


def test_a_conditional_parameter_has_the_range_where_it_is_active() -> None:
    momentum = of(A, A | {"momentum": 0.95}, B).space.parameters["momentum"]
    assert isinstance(momentum, Real)
    assert 0.9 <= momentum.low <= 0.91
    assert 0.95 <= momentum.high <= 0.96
    assert momentum.conditions == (("opt", ("sgd",)),)


def test_a_factor_keeps_what_another_parameter_needs_or_is_fixed() -> None:
    fixed = of(B, B | {"depth": 5})
    assert fixed.space.parameters["opt"] == SPACE.parameters["opt"].hold("adam")
    assert "momentum" not in fixed.space.free
    several = of(B, B | {"opt": "rms"})
    assert several.left == ("opt",)
    assert several.space.parameters["opt"] == Categorical(["sgd", "adam", "rms"], default="adam")


def test_every_good_configuration_is_in_the_new_space() -> None:
    rng = np.random.default_rng(3)
    for _ in range(30):
        count, share = rng.integers(1, 6), rng.uniform(0.05, 1.0)
        raw = rng.uniform(0, share, (count, SPACE.d))
        configs = SPACE.decode(raw)
        try:
            found = narrowed(SPACE, configs, configs[0], 0.01)
        except ValueError:
            continue
        for config in configs:
            found.space.validate(config)
        assert found.space.default == found.space.validate(configs[0])


@pytest.mark.parametrize("configs", [(A, B), (B,), (A, A | {"momentum": 0.2})])
def test_both_texts_make_the_space(configs: tuple[dict[str, Any], ...]) -> None:
    found = of(*configs)
    scope: dict[str, Any] = {"Space": Space, "Real": Real, "Integer": Integer}
    exec(found.python(), scope | {"Categorical": Categorical}, scope)
    assert scope["space"] == found.space
    table = tomllib.loads(found.toml())["space"]
    changed = SPACE.modify(**{n: v for n, v in table.items() if isinstance(v, dict)})
    changed = changed.fix(**{n: v for n, v in table.items() if not isinstance(v, dict)})
    assert changed == found.space


def test_names_that_are_words_of_python_are_written_as_a_mapping() -> None:
    space = Space({"lambda": Real(0, 1, default=0.5)})
    found = narrowed(space, [{"lambda": 0.2}], {"lambda": 0.2})
    scope: dict[str, Any] = {}
    exec(found.python(), {"Space": Space, "Real": Real}, scope)
    assert scope["space"] == found.space


def test_nothing_is_left_out_where_good_ones_are_everywhere() -> None:
    space = Space(x=Real(0, 1, default=0.5), k=Categorical(["a", "b"], default="a"))
    configs = [{"x": 0.0, "k": "a"}, {"x": 1.0, "k": "b"}]
    with pytest.raises(ValueError, match="spread over the whole space"):
        narrowed(space, configs, configs[0])


def bowl(cfg: Any) -> float:
    return float((np.log10(cfg.lr) + 2) ** 2 + (0.5 if cfg.opt == "sgd" else 0.0) + 1.0)


def test_a_run_narrows_its_space_around_the_optimum(tmp_path: Path) -> None:
    space = Space(
        lr=Real(1e-4, 1.0, default=0.5, scale="log"),
        opt=Categorical(["sgd", "adam"], default="sgd"),
    )
    study = Study(space, FunctionTask(bowl), repeats=0, confirm=0, durability="process")
    few = study.run(Budget(evaluations=4), local=0, store=tmp_path / "few.zarr")
    with pytest.raises(StoreError, match="no smaller space follows") as caught:
        few.narrowed()
    assert "\n" not in str(caught.value)
    run = study.run(Budget(evaluations=24), local=0, store=tmp_path / "run.zarr")
    found = run.narrowed().space
    lr = found.parameters["lr"]
    assert isinstance(lr, Real)
    assert 1e-3 < lr.low < 1e-2 < lr.high < 0.1
    assert found.parameters["opt"].held
    assert run.best is not None
    assert found.default == dict(run.best.config)
