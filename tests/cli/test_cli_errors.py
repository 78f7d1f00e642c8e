"""Whatever a user gets wrong is one clear line on stderr, and the exit code tells its kind."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from cli_studies import run_study, spot, spot_json, write_study


def told(*args: str | Path, code: int = 2) -> str:
    """The one error line of a command; nothing is on stdout."""
    result = spot(*args, code=code)
    assert result.stdout == ""
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1
    assert result.stderr.rstrip().endswith(lines[0])
    assert "Traceback" not in result.stderr
    return lines[0]


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_missing_study_is_told(command: str, tmp_path: Path) -> None:
    assert "no such file" in told(command, tmp_path / "gone.py")


@pytest.mark.parametrize(
    ("flag", "value", "problem"),
    [
        ("--early-stopping", "hope", "no early_stopping named 'hope'"),
        ("--wall", "3", "no unit"),
        ("--isolation", "hope", "isolation is 'hope'; expected 'warm', 'process'"),
    ],
)
def test_a_bad_flag_is_named(flag: str, value: str, problem: str, tmp_path: Path) -> None:
    message = told("run", write_study(tmp_path), flag, value, "--set", "space.x.high=0.9")
    assert flag in message
    assert problem in message


def test_a_syntax_error_in_the_study_is_told_with_its_line(tmp_path: Path) -> None:
    study = write_study(tmp_path, ("def loss(cfg):", "def loss(cfg:"))
    assert f"{study}:4: " in told("run", study)


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("space.y.high=1.0", "no parameter 'y'"),
        ("space.x.low=2.0", "low 2.0 is above high 1.0"),
        ("space.x.default=2.0", "default 2.0 is outside the bounds"),
        ("space.kind=c", "'c' (str) is not a level"),
    ],
)
def test_a_bad_override_is_told(override: str, problem: str, tmp_path: Path) -> None:
    assert problem in told("run", write_study(tmp_path), "--set", override)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("Real(0.01, 1.0, default=0.5, ", "Real(2.0, 1.0, default=0.5, ", "low 2.0 is above"),
        ("Real(0.01, 1.0, default=0.5, ", "Real(0.01, 1.0, default=3.0, ", "outside the bounds"),
        ('when(kind="b")', 'when(kind="z")', "'z'"),
    ],
)
def test_a_bad_space_in_the_study_is_told(old: str, new: str, problem: str, tmp_path: Path) -> None:
    assert problem in told("run", write_study(tmp_path, (old, new)))


def test_an_unknown_toml_key_is_told_with_the_nearest(tmp_path: Path) -> None:
    write_study(tmp_path)
    toml = tmp_path / "spot.toml"
    toml.write_text('[study]\nfile = "study.py"\n[design]\nintial = 3\n')
    assert "did you mean 'design.initial'?" in told("run", toml)


@pytest.mark.parametrize("command", ["resume", "status", "best", "report"])
def test_a_path_that_is_not_a_store_is_told(command: str, tmp_path: Path) -> None:
    assert str(tmp_path) in told(command, tmp_path)
    assert "gone.zarr" in told(command, tmp_path / "gone.zarr")
    file = tmp_path / "file.zarr"
    file.write_text("no store")
    assert "file.zarr" in told(command, file)


def test_a_store_of_another_space_is_told_with_the_difference(tmp_path: Path) -> None:
    store = run_study(tmp_path)
    changed = write_study(tmp_path, ("Real(0.01,", "Real(0.02,"))
    assert "x: low 0.02 here, 0.01 there" in told(
        "resume", store, "--evaluations", "7", "--study", changed
    )
    changed.unlink()
    assert "--study" in told("resume", store)


def test_a_store_that_exists_is_not_overwritten(tmp_path: Path) -> None:
    store = run_study(tmp_path)
    assert str(store) in told("run", tmp_path / "study.py", "--local", "0", "--store", store)


def test_a_warm_start_from_what_is_no_store_is_told(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    assert "gone.zarr" in told(
        "run", study, "--store", tmp_path / "a.zarr", "--warm-start", tmp_path / "gone.zarr"
    )
    assert not (tmp_path / "a.zarr").exists()


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (("--warm-start", "old.csv"), "no column 'loss', which is the objective"),
        (
            ("--warm-start", "old.csv", "--rename", "y=loss"),
            "'step' is no parameter of this study and has different values",
        ),
        (("--prior", "old.csv", "--rename", "y=loss", "--rename", "z="), "there is no 'z'"),
        (("--prior", "old.xls"), "expected a store or .csv"),
    ],
)
def test_a_source_that_does_not_fit_is_told(
    args: tuple[str, ...], problem: str, tmp_path: Path
) -> None:
    (tmp_path / "old.csv").write_text("x,step,y\n0.1,1,2\n0.2,2,3\n")
    study = write_study(tmp_path)
    given = [tmp_path / a if a.startswith("old") else a for a in args]
    line = told("run", study, "--local", "0", "--store", tmp_path / "a.zarr", *given)
    assert problem in line
    assert not (tmp_path / "a.zarr").exists()


@pytest.mark.parametrize("args", [("--rename", "a"), ("--rename", "a=b")])
def test_a_renaming_of_nothing_is_told(args: tuple[str, str], tmp_path: Path) -> None:
    assert "--rename" in told("run", write_study(tmp_path), *args)


@pytest.mark.parametrize(
    "args",
    [("--wall", "90"), ("--evaluations", "0"), ("--local", "x"), ("--evaluatoins", "9")],
)
def test_a_bad_flag_is_told_in_one_line(args: tuple[str, str], tmp_path: Path) -> None:
    study = write_study(tmp_path)
    assert args[0] in told("run", study, *args)
    assert spot("run", study, *args, code=2).stderr.count("\n") == 1


def test_a_missing_argument_and_an_unknown_command_are_told_in_one_line() -> None:
    unknown = "'rum'; did you mean 'run'?"
    for args, problem in ((("run",), "'STUDY'"), (("rum", "study.py"), unknown)):
        assert problem in told(*args)
        assert spot(*args, code=2).stderr.count("\n") == 1


def test_scheduler_and_local_exclude_each_other(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    assert "not both" in told("run", study, "--local", "2", "--scheduler", "tcp://a:1")
    toml = tmp_path / "spot.toml"
    toml.write_text('[study]\nfile="study.py"\n[cluster]\nlocal = 1\nscheduler = "tcp://a:1"\n')
    assert "keep one" in told("run", toml)


@pytest.mark.dask
def test_an_unreachable_scheduler_is_told_within_15_seconds(tmp_path: Path) -> None:
    began = time.monotonic()
    message = told("run", write_study(tmp_path), "--scheduler", "tcp://127.0.0.1:1", code=5)
    assert time.monotonic() - began < 15
    assert "tcp://127.0.0.1:1" in message
    assert not (tmp_path / "runs").exists()


def test_the_traceback_is_there_on_request(tmp_path: Path) -> None:
    study = write_study(tmp_path, ("print(", "raise RuntimeError('broken'"))
    assert "Traceback" not in spot("run", study, code=2).stderr
    for args in (["-v", "run", study], ["run", study, "-v"]):
        stderr = spot(*args, code=2).stderr
        assert "Traceback" in stderr
        assert "RuntimeError: broken" in stderr


def test_a_run_in_which_everything_fails_exits_with_3(tmp_path: Path) -> None:
    study = write_study(tmp_path, ("return (cfg", "raise ValueError('never')\n    return (cfg"))
    store = tmp_path / "run.zarr"
    result = spot("run", study, "--local", "0", "--store", store, code=3)
    assert "never" in result.stderr
    assert "no successful trial" in told("best", store, code=3)
    assert "never" in spot("status", store).stdout


def test_a_default_that_cannot_be_built_ends_a_run_that_goes_on_once_it_is_mended(
    tmp_path: Path,
) -> None:
    study = write_study(tmp_path, ("return (cfg", "import not_there\n    return (cfg"))
    store = tmp_path / "run.zarr"
    ended = spot("run", study, "--local", "0", "--store", store, "--progress", "plain", code=3)
    assert "ModuleNotFoundError: No module named 'not_there'; no evaluation was" in ended.stderr
    assert "no evaluation: mend the default" in ended.stdout
    assert "broken: 0 evaluations" in ended.stdout
    write_study(tmp_path)
    spot("resume", store, "--study", study, "--local", "0", "--progress", "none")
    assert spot_json("status", store)["trials"]["done"] == 6
