"""Settings: durations, values as TOML, and which study is meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot_dask.errors import StudyError
from spot_dask.settings import Setting, duration, parse_override
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
    setting = Setting(("space", "x"), value, "--set")
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
