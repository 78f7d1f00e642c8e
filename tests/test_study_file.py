"""Loading studies: what runs, what travels, and one line for everything that is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cloudpickle
import pytest

from spot_dask.errors import StudyError
from spot_dask.settings import GivenValue
from spot_dask.study_file import load, reload

STUDY = """\
from spot_dask.space import Categorical, Integer, Real, Space
from spot_dask.settings import Budget
from spot_dask.study import Study
from spot_dask.tasks.function import FunctionTask


def loss(cfg):
    return scale() * cfg.lr


def scale():
    return 2.0


space = Space(
    lr=Real(0.001, 1.0, default=0.01, scale="log"),
    width=Integer(8, 64, default=16, scale="power2"),
    opt=Categorical(["sgd", "adam"], default="sgd"),
)
study = Study(space=space, task=FunctionTask(loss), budget=Budget(evaluations=5))
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "study.py"
    path.write_text(STUDY)
    return path


def told(target: object, *overrides: str) -> str:
    """The one line that loading a bad study gives."""
    with pytest.raises(StudyError) as caught:
        load(str(target), overrides)
    message = str(caught.value)
    assert "\n" not in message
    assert caught.value.exit_code == 2
    return message


def test_overrides_change_the_study_and_the_later_one_wins(file: Path) -> None:
    loaded = load(
        str(file),
        ["seed=3", "space.lr.high=0.1", "space.width=32", "design.initial=6", "seed=4",
         "budget.wall=90m", "batch=2", "sync=true", "name=mine", "cluster.local=2",
         "replication=0"],
    )  # fmt: skip
    study = loaded.study
    assert (study.seed, study.batch, study.sync, study.name) == (4, 2, True, "mine")
    assert (study.budget.evaluations, study.budget.wall) == (5, 5400)
    assert study.replication == study.tuner.replication == 0
    assert study.design.initial == 6
    assert study.space.parameters["lr"].high == 0.1
    assert study.space.default["width"] == 32
    assert study.space.free == ("lr", "opt")
    assert loaded.local == 2


def test_a_toml_file_gives_the_same_study_as_the_same_overrides(file: Path) -> None:
    toml = file.with_name("spot.toml")
    toml.write_text(
        '[study]\nfile = "study.py"\nseed = 3\n[space.lr]\nhigh = 0.5\n[space]\nopt = "adam"\n'
        '[budget]\nevaluations = 9\nwall = "6h"\n[design]\nreplicates = 2\n'
        '[cluster]\nscheduler = "tcp://a:1"\n'
    )
    from_file = load(str(toml))
    by_flags = load(
        str(file),
        ["seed=3", "space.lr.high=0.5", "space.opt=adam", "budget.evaluations=9",
         "budget.wall=6h", "design.replicates=2", "cluster.scheduler=tcp://a:1"],
    )  # fmt: skip
    assert from_file.study.settings == by_flags.study.settings
    assert from_file.study.space == by_flags.study.space
    assert from_file.scheduler == by_flags.scheduler == "tcp://a:1"


def test_an_override_beats_the_toml_file(file: Path) -> None:
    toml = file.with_name("spot.toml")
    toml.write_text('[study]\nfile = "study.py"\nseed = 3\n')
    assert load(str(toml), ["seed=5"]).study.seed == 5


def test_a_study_can_be_loaded_again_from_what_it_recorded(file: Path) -> None:
    toml = file.with_name("spot.toml")
    toml.write_text('[study]\nfile = "study.py:study"\nseed = 3\n[space.lr]\nhigh = 0.5\n')
    first = load(str(toml), ["space.opt=adam", "cluster.local=2"])
    assert first.study.source["text"] == STUDY
    toml.unlink()
    again = reload(first.study.source)
    assert again.study.settings == first.study.settings
    assert again.study.space == first.study.space
    assert again.study.source == first.study.source
    assert again.local == 2


def test_a_study_that_moved_is_loaded_from_its_new_place(file: Path) -> None:
    recorded = load(str(file), ["seed=3"]).study.source
    moved = file.rename(file.with_name("moved.py"))
    with pytest.raises(StudyError, match=r"gone: .*study\.py; name its new place with --study"):
        reload(recorded)
    assert reload(recorded, str(moved)).study.seed == 3


def test_a_run_begun_from_python_needs_the_study_named() -> None:
    with pytest.raises(StudyError, match="--study FILE"):
        reload({})


def test_functions_of_a_study_travel_to_a_process_that_does_not_have_the_file(file: Path) -> None:
    (file.parent / "neighbour.py").write_text("FACTOR = 3.0\ndef scale():\n    return FACTOR\n")
    file.write_text(STUDY.replace("def scale():\n    return 2.0\n", "from neighbour import scale"))
    pickled = file.with_name("task.pickle")
    pickled.write_bytes(cloudpickle.dumps(load(str(file)).study.task))
    code = (
        "import sys, cloudpickle, types\n"
        "task = cloudpickle.load(open(sys.argv[1], 'rb'))\n"
        "print(task.function(types.SimpleNamespace(lr=0.5)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(pickled)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent.parent,
    )
    assert done.stdout.strip() == "1.5"


def test_loading_keeps_the_directory_for_what_a_training_imports(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sys.path[:]
    monkeypatch.setattr(sys, "path", before[:])
    load(str(file))
    assert sys.path == [*before, str(file.parent)]


def test_two_studies_of_one_file_name_are_two_modules(tmp_path: Path) -> None:
    loaded = []
    for i in range(2):
        (tmp_path / f"{i}").mkdir()
        path = tmp_path / f"{i}" / "study.py"
        path.write_text(STUDY.replace("default=0.01", f"default=0.0{i + 2}"))
        loaded.append(load(str(path)).study)
    modules = {study.task.function.__module__ for study in loaded}  # type: ignore[attr-defined]
    assert len(modules) == 2
    assert [study.space.default["lr"] for study in loaded] == [0.02, 0.03]


# What can be wrong, each in one line.


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    assert "no such file" in told(tmp_path / "gone.py")


def test_a_syntax_error_is_told_with_its_line(file: Path) -> None:
    file.write_text("x = 1\ndef f(:\n")
    assert f"{file}:2: invalid syntax" in told(file)


def test_an_exception_is_told_with_its_line(file: Path) -> None:
    file.write_text("def f():\n    raise KeyError('no')\n\nf()\n")
    assert told(file) == f"{file}:2: KeyError: 'no'"


def test_a_study_that_exits_is_told(file: Path) -> None:
    file.write_text("import sys\nsys.exit(3)\n")
    assert f"{file}:2: SystemExit" in told(file)


def test_a_module_that_is_not_there_is_told(file: Path) -> None:
    file.write_text("import no_such_module_anywhere\n")
    assert "ModuleNotFoundError" in told(file)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("Real(0.001, 1.0,", "Real(2.0, 1.0,", "low 2.0 is above high 1.0"),
        ("default=0.01", "default=5.0", "default 5.0 is outside the bounds"),
        ('default="sgd"', 'default="sdg"', "'sdg' (str) is not a level"),
    ],
)
def test_a_bad_space_is_told_with_its_line(file: Path, old: str, new: str, problem: str) -> None:
    file.write_text(STUDY.replace(old, new))
    line = next(i for i, text in enumerate(STUDY.splitlines(), 1) if old in text)
    message = told(file)
    assert message.startswith(f"{file}:{line}: ")
    assert problem in message


def test_a_file_without_a_study_says_what_it_has(file: Path) -> None:
    file.write_text("def train(cfg):\n    return 1.0\n")
    message = told(file)
    assert "no Study in it" in message
    assert "train" in message


def test_several_studies_are_listed(file: Path) -> None:
    file.write_text(STUDY + "other = Study(space=space, task=FunctionTask(loss))\n")
    assert f"{file}:study, {file}:other" in told(file)
    assert load(f"{file}:other").study.budget.evaluations is None


def test_two_names_of_one_study_are_one_study(file: Path) -> None:
    file.write_text(STUDY + "alias = study\n")
    assert load(str(file)).study.source["name"] == "study"


def test_a_name_that_is_not_there_lists_those_that_are(file: Path) -> None:
    assert "no Study named 'stydu'; there are: study" in told(f"{file}:stydu")
    assert "no Study named 'loss'" in told(f"{file}:loss")


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("space.lrr.high=0.1", "no parameter 'lrr', there are lr, width, opt; did you mean 'lr'?"),
        ("space.lr.hihg=0.1", "did you mean 'space.lr.high'?"),
        ("design.intial=3", "did you mean 'design.initial'?"),
        ("sede=3", "did you mean 'study.seed'?"),
        ("xyzzy.q=1", "there are: budget.evaluations"),
        ("space.lr.low=2.0", "low 2.0 is above high 1.0"),
        ("space.lr.high=0.005", "0.01 is outside the bounds"),
        ("space.opt=adm", "'adm' (str) is not a level"),
        ("space.lr.high=big", "is not a number"),
        ("space.lr.high=1979-05-27", "expected a number"),
        ("seed=three", "seed is 'three'; expected a whole number, at least 0"),
        ("seed=-1", "seed is -1; expected a whole number, at least 0"),
        ("sync=1", "expected true or false"),
        ("budget.evaluations=0", "at least 1"),
        ("budget.wall=90", "has no unit"),
        ("sync=true", "without a batch size"),
        ("design.kind=grid", "grid"),
        ("surrogate=krigin", "kriging"),
        ("infill=ei2", "log_ei"),
        ("replication=0.9", "from 0 to 0.5"),
        ("replication=on", "replication is 'on'; expected a share from 0 to 0.5"),
    ],
)
def test_a_bad_override_is_told(file: Path, override: str, problem: str) -> None:
    message = told(file, override)
    assert message.startswith("--set")
    assert problem in message


@pytest.mark.parametrize(
    ("given", "blamed"),
    [
        (["gpus=1", "space.lr.high=0.0001", "seed=3"], "--set space.lr.high: "),
        (["space.lr.default=0.5", "seed=3", "space.lr.high=0.1"], None),
        ([GivenValue(("study", "trackers"), ["tenorboard"], "--track"), "seed=3"], "--track: "),
    ],
)
def test_of_several_settings_those_at_fault_are_named(
    file: Path, given: list[str | GivenValue], blamed: str | None
) -> None:
    with pytest.raises(StudyError) as told:
        load(str(file), given)
    both = "--set space.lr.default, --set space.lr.high: "
    assert str(told.value).startswith(both if blamed is None else blamed)


def test_an_unknown_toml_key_is_told_with_the_nearest_known(file: Path) -> None:
    toml = file.with_name("spot.toml")
    toml.write_text('[study]\nfile = "study.py"\n[budget]\nevaluation = 3\n')
    message = told(toml)
    assert message.startswith(f"{toml}: ")
    assert "unknown key 'budget.evaluation'; did you mean 'budget.evaluations'?" in message
