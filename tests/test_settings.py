"""Settings: durations, values as TOML, and which study is meant."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot_dask import Design, FunctionTask, Real, Space, Study
from spot_dask.errors import StudyError
from spot_dask.settings import (
    KEYS,
    Budget,
    GivenValue,
    Settings,
    duration,
    parse_override,
)
from spot_dask.study_file import locate


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90m", 5400), ("6h", 21600), ("1h30m", 5400), ("45s", 45), ("2d", 172800), ("0.5h", 1800)],
)
def test_a_duration_is_the_sum_of_its_parts(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("value", ["90", 90, 1.5, "1e3"])
def test_a_number_without_a_unit_is_refused_and_the_units_are_named(value: object) -> None:
    with pytest.raises(ValueError, match=r"has no unit; write .*m, .*h or"):
        duration(value)


@pytest.mark.parametrize("value", ["", "m", "90 minutes", "1h30", "-5m", "h1", None, ["5m"]])
def test_what_is_no_duration_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        duration(value)


def test_no_time_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="must be positive"):
        duration("0m")


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("seed=3", ("study", "seed"), 3),
        ("space.lr.high=0.1", ("space", "lr", "high"), 0.1),
        ("space.lr.high=.1", ("space", "lr", "high"), 0.1),
        ("space.lr.low=1e-5", ("space", "lr", "low"), 1e-5),
        ("space.opt=sgd", ("space", "opt"), "sgd"),
        ('space.opt="sgd"', ("space", "opt"), "sgd"),
        ('space.opt.levels=["sgd", "adam"]', ("space", "opt", "levels"), ["sgd", "adam"]),
        ("sync=true", ("study", "sync"), True),
        ("budget.wall=90m", ("budget", "wall"), "90m"),
        ("cluster.scheduler=tcp://a:1", ("cluster", "scheduler"), "tcp://a:1"),
        ("name=a=b", ("study", "name"), "a=b"),
    ],
)
def test_an_override_is_a_key_and_a_toml_value(
    text: str, key: tuple[str, ...], value: object
) -> None:
    setting = parse_override(text)
    assert (setting.key, setting.value) == (key, value)
    assert type(setting.value) is type(value)


@pytest.mark.parametrize("text", ["seed", "=3", "space..lr=3", ".=3", ""])
def test_an_override_without_key_or_value_is_refused(text: str) -> None:
    with pytest.raises(StudyError, match="expected KEY=VALUE"):
        parse_override(text)


def test_a_broken_quote_is_refused() -> None:
    with pytest.raises(StudyError, match="check quotes"):
        parse_override('space.opt="sgd')


values = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x7f")),
    st.lists(st.text("ab c\"'\\=\n"), max_size=3),
)


@given(value=values)
def test_a_setting_survives_being_written_down_and_read_again(value: object) -> None:
    setting = GivenValue(("space", "x"), value, "--set")
    again = parse_override(str(setting))
    assert again == setting
    assert type(again.value) is type(value)


def test_a_study_is_a_python_file_with_or_without_a_name(tmp_path: Path) -> None:
    file = tmp_path / "odd:name.py"
    file.touch()
    assert locate(str(file)).file == file
    assert locate(str(file)).name is None
    assert locate(f"{file}:other").file == file
    assert locate(f"{file}:other").name == "other"


def test_a_toml_file_names_its_study_and_its_settings_relative_to_itself(tmp_path: Path) -> None:
    (tmp_path / "study.py").touch()
    (tmp_path / "spot.toml").write_text(
        '[study]\nfile = "study.py:mine"\nseed = 4\n[space.lr]\nhigh = 0.5\n'
        '[space]\nwidth = 64\n[store]\npath = "runs/a.zarr"\n'
    )
    source = locate(str(tmp_path / "spot.toml"))
    assert source.file == tmp_path / "study.py"
    assert source.name == "mine"
    assert {setting.name: setting.value for setting in source.settings} == {
        "study.seed": 4,
        "space.lr.high": 0.5,
        "space.width": 64,
        "store.path": str(tmp_path / "runs/a.zarr"),
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[study\n", "not valid TOML"),
        ("[budget]\nevaluations = 3\n", "which study"),
        ('[study]\nfile = "gone.py"\n', "no such Python file"),
    ],
)
def test_a_toml_file_that_names_no_study_is_refused(
    tmp_path: Path, text: str, problem: str
) -> None:
    (tmp_path / "spot.toml").write_text(text)
    with pytest.raises(StudyError, match=problem):
        locate(str(tmp_path / "spot.toml"))


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"file\.py"):
        locate(str(tmp_path / "study.yaml"))


# --- the table --------------------------------------------------------------------------------

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("name", "value"),
    [("seed", -1), ("replication", 0.7), ("batch", 0), ("sync", 1), ("isolation", "proces"),
     ("gpus", 1.5), ("durability", "often"), ("budget.evaluations", 0), ("design.kind", "grid")],
)  # fmt: skip
def test_a_bad_value_is_told_in_the_same_line_from_python_and_for_a_key(
    name: str, value: Any
) -> None:
    table, _, attribute = name.rpartition(".")
    space, task = Space(x=Real(0, 1, default=0.5)), FunctionTask(lambda cfg: 0.0)
    make = type(getattr(Settings(), table)) if table else partial(Study, space, task)
    with pytest.raises(ValueError, match=f"^{name} is .*; expected ") as from_python:
        make(**{attribute: value})
    with pytest.raises(ValueError, match=name) as from_key:
        KEYS[table or "study", attribute].read(value)
    assert str(from_key.value) == str(from_python.value)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: Budget(evaluation=9), "Budget takes no argument 'evaluation'; did you mean 'eval"),
        (lambda: Design(size=9), "Design takes no argument 'size'; there are: kind, initial, repl"),
        (
            lambda: Study(Space(x=Real(0, 1)), lambda cfg: 0.0, constrains={}),
            "Study takes no argument 'constrains'; did you mean 'constraints'?",
        ),
    ],
)
def test_an_argument_that_there_is_none_of_is_told_with_the_nearest(
    make: Callable[[], object], problem: str
) -> None:
    with pytest.raises(TypeError) as raised:
        make()
    assert problem in str(raised.value)


def test_no_constraints_may_be_none() -> None:
    assert Study(Space(x=Real(0, 1)), lambda cfg: 0.0, constraints=None).constraints == {}


def test_recorded_settings_make_the_same_settings_again() -> None:
    settings = Settings(seed=7, batch=2, budget=Budget(wall=9.0), start=({"x": 1},), timeout=5.0)
    document = json.loads(json.dumps(settings.settings))
    again = Settings(**Settings.restored(document))
    assert again.settings == document
    assert (again.seed, again.batch, again.budget) == (7, 2, Budget(wall=9.0))
    assert again.timeout is None  # taken from the study, not from the store


def test_a_setting_that_a_store_is_too_old_for_is_what_the_run_did_without_it() -> None:
    assert Settings(**Settings.restored({})).repeats == 0
    assert Settings().repeats > 0


@pytest.mark.parametrize(
    "document", [{"seed": "x"}, {"budget": 3}, {"design": {"kind": 1}}, {"start": [3]}]
)
def test_settings_of_a_store_are_checked(document: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Settings(**Settings.restored(document))


DECLARATION = """
    patience: int = setting(whole(1), 3, before=1, flag="--patience", help="How long to hope.")
"""

STUDY = """\
from spot_dask import FunctionTask, Real, Space, Study
study = Study(Space(x=Real(0.0, 1.0, default=0.5)), FunctionTask(lambda cfg: cfg.x))
"""

SESSION = """\
import sys
from functools import partial
from pathlib import Path
from click.testing import CliRunner
from spot_dask import Run, settings
from spot_dask.cli import main
from spot_dask.study_file import load

def spot(*words, code=0, **env):
    done = CliRunner().invoke(main, [*words], env=env)
    assert done.exit_code == code, done.output
    return done.output

def recorded(*words, **env):
    spot("run", "study.py", "--local", "0", "--store", str(next(stores)), "--evaluations", "1",
         "--no-report", *words, **env)
    return Run.open(sorted(Path().glob("*.zarr"))[-1]).settings["patience"]

stores = iter(f"{i}.zarr" for i in range(9))
assert "How long to hope." in spot("run", "--help")
assert recorded() == 3
assert recorded("--patience", "5") == 5
assert recorded("--set", "patience=6") == 6
assert recorded(SPOT_DASK_PATIENCE="7") == 7
Path("spot.toml").write_text('[study]\\nfile = "study.py"\\npatience = 8\\n')
assert load("spot.toml").study.patience == 8
spot("resume", "1.zarr", "--local", "0", "--evaluations", "2", "--no-report")
run = Run.open("1.zarr")
assert run.settings["patience"] == 5
assert load("study.py").study.under(run.settings).patience == 5
assert settings.Settings(**settings.Settings.restored({})).patience == 1
assert "patience is 0; expected a whole number, at least 1" in spot(
    "run", "study.py", "--patience", "0", code=2)
assert "did you mean 'study.patience'" in spot("run", "study.py", "--set", "patence=1", code=2)
assert "| `patience` |" in settings.reference()
"""


def test_a_new_setting_is_one_declaration(tmp_path: Path) -> None:
    """A copy of the package with one field more has its flag, keys, record and documentation."""
    shutil.copytree(ROOT / "spot_dask", tmp_path / "spot_dask")
    table = tmp_path / "spot_dask" / "settings.py"
    text = table.read_text()
    assert text.count("\n    seed: int = setting(") == 1
    table.write_text(
        text.replace("\n    seed: int = setting(", f"{DECLARATION}    seed: int = setting(")
    )
    (tmp_path / "study.py").write_text(STUDY)
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", SESSION], cwd=tmp_path, env=env, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
