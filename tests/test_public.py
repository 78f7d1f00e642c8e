"""What users see of the package: names, ``dir()``, types, and examples in docstrings that are true.

Every public name has an example.
"""

from __future__ import annotations

import doctest
import inspect
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

import spot_dask
from spot_dask import Budget, Categorical, Config, History, Real, Run, Space, Study
from spot_dask.space.config import TAKEN

PUBLIC = {name: getattr(spot_dask, name) for name in dir(spot_dask)}
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def examples(name: str, given: dict[str, Any]) -> list[doctest.DocTest]:
    """The examples of a public name and of what is public in it, which know what is given."""
    thing = PUBLIC[name]
    module = sys.modules[thing.__module__]
    found = doctest.DocTestFinder(exclude_empty=True).find(thing, name, module, globs=given)
    return [test for test in found if test.examples]


def noisy(cfg, trial):
    """A loss with noise, which is lowest with adam and lr near 0.1."""
    noise = 0.02 * ((trial.seed % 1000) / 1000 - 0.5)
    loss = (cfg.lr - 0.1) ** 2 + (0.5 if cfg.optimizer == "sgd" else 0.0) + noise
    trial.report(1, loss=loss)
    return loss


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with ``run.zarr``, which examples open."""
    before, folder = Path.cwd(), tmp_path_factory.mktemp("examples")
    os.chdir(folder)
    space = Space(
        lr=Real(1e-4, 1.0, scale="log"), optimizer=Categorical(["sgd", "adam"], default="sgd")
    )
    study = Study(space, noisy, name="digits", search="random", budget=Budget(evaluations=25))
    study.run(local=0, progress="none", store="run.zarr")
    yield folder
    os.chdir(before)


@pytest.mark.parametrize("name", PUBLIC)
def test_the_examples_of_a_public_name_are_true(name: str, place: Path) -> None:
    told: list[str] = []
    given = {"run": Run.open("run.zarr")} if name == "Run" else {}
    for test in examples(name, given):
        runner = doctest.DocTestRunner(optionflags=OPTIONS)
        with warnings.catch_warnings():
            runner.run(test, out=told.append)
    assert not told, "".join(told)


def test_every_public_name_has_an_example() -> None:
    assert [name for name in PUBLIC if not examples(name, {})] == []


def test_dir_of_the_package_shows_its_public_names() -> None:
    assert set(spot_dask.__all__) <= set(PUBLIC)
    assert {"Best", "Listener", "StoppedEarly"} <= set(PUBLIC)
    assert not [name for name in PUBLIC if name.startswith("_")]


def test_dir_of_an_object_shows_what_users_need_of_it(place: Path) -> None:
    run = Run.open("run.zarr")
    study = Study(run.space, noisy)
    shown: list[Any] = [run, run.space, run.space["lr"], run.history, run.best, study, study.tuner]
    shown += [
        run.history.evaluations[0],
        run.history.evaluations[0].trial,
        study.budget,
        study.task,
    ]
    for thing in shown:
        assert dir(thing), thing
        for name in dir(thing):
            assert not name.startswith("_")
            member = inspect.getattr_static(type(thing), name, None)
            if callable(member) or isinstance(member, property | cached_property):
                assert inspect.getdoc(member), f"{type(thing).__name__}.{name} says nothing"
    assert ("report" in dir(run), "journal" in dir(run)) == (True, False)
    assert ("default" in dir(run.space), "compared" in dir(run.space)) == (True, False)


def test_what_is_not_listed_is_there() -> None:
    """A name in ``_unlisted`` that nothing has any more would hide nothing."""
    kinds = [kind for kind in PUBLIC.values() if hasattr(kind, "_unlisted")]
    assert len(kinds) > 20
    for kind in kinds:
        owners = [
            k for k in (*kind.__mro__, *kinds) if getattr(k, "_unlisted", ()) is kind._unlisted
        ]
        files = {
            Path(sys.modules[k.__module__].__file__ or "") for k in (*owners, *kind.__mro__[:-1])
        }
        text = "".join(file.read_text() for file in files if file.exists())
        for name in kind._unlisted:
            assert re.search(rf"def {name}\(|^    {name}\b|self\.{name}\b", text, re.M), name


def test_values_behave_as_what_they_hold(place: Path) -> None:
    run = Run.open("run.zarr")
    space, best, history = run.space, run.best, run.history
    assert best is not None
    assert (list(space), len(space), "lr" in space, "nope" in space) == (
        ["lr", "optimizer"], 2, True, False,
    )  # fmt: skip
    assert space["lr"] is space.parameters["lr"]
    with pytest.raises(KeyError, match="did you mean 'lr'"):
        space["lrr"]
    assert {**space} == dict(space) == dict(space.items()) == dict(space.parameters)
    assert (list(space.keys()), list(space.values())) == (list(space), [space[n] for n in space])
    assert (list(best), len(best), "lr" in best) == (list(best.config), len(best.config), True)
    assert best["lr"] == best.config["lr"]
    assert {**best} == dict(best.config)
    with pytest.raises(KeyError, match=r"no active parameter 'lrr', there are lr.*mean 'lr'"):
        best["lrr"]
    assert (history[0], history[-1]) == (history.evaluations[0], history.evaluations[-1])
    assert history[:2] == history.evaluations[:2]
    assert len(history) == len(list(history)) == len(history.evaluations) == 25
    assert (bool(History()), len(History())) == (True, 0)
    assert dir(Config({"optim.lr": 1, "width": 2})) == sorted({*TAKEN, "optim", "width"})


def test_a_typed_study_passes_a_strict_type_checker() -> None:
    """Of the wrong uses in it each is found, or its ``type: ignore`` would be one too many."""
    here = Path(__file__).parent
    command = [sys.executable, "-m", "mypy", "--strict", str(here / "typed_study.py")]
    done = subprocess.run(command, cwd=here.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
