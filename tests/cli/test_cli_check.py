"""init writes a study that runs; check finds out what a run would."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_studies import spot, spot_json, write_study

from spot_dask.cli.check import TEMPLATES
from spot_dask.study_file import load

ROOT = Path(__file__).parents[2]


def test_init_writes_files_and_never_overwrites_them(tmp_path: Path) -> None:
    home = tmp_path / "my" / "study"
    result = spot("init", home)
    assert str(home / "spot.toml") in result.stdout
    assert sorted(path.name for path in home.iterdir()) == sorted(TEMPLATES)
    (home / "spot.toml").unlink()
    assert "exists already" in spot("init", home, code=2).stderr
    assert not (home / "spot.toml").exists()


def test_init_into_what_is_no_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "cannot write" in spot("init", tmp_path / "file" / "below", code=2).stderr


def test_the_shipped_example_is_the_study_that_init_writes() -> None:
    example = (ROOT / "scripts/examples/digits.py").read_text()
    template = (ROOT / "spot_dask/cli/templates/study.py.template").read_text()
    assert template == example.replace("digits.py", "study.py")


def test_the_study_that_init_writes_loads_both_ways(tmp_path: Path) -> None:
    spot("init", tmp_path)
    toml = load(str(tmp_path / "spot.toml")).study
    python = load(str(tmp_path / "study.py")).study
    assert toml.space.names == python.space.names
    assert toml.budget.evaluations == 40


@pytest.mark.e2e
def test_the_study_that_init_writes_passes_its_check(tmp_path: Path) -> None:
    spot("init", tmp_path)
    document = spot_json("check", tmp_path / "spot.toml")
    assert [item["status"] for item in document["checks"]] == ["PASS"] * 3
    assert document["estimate_seconds"] > 0


def test_check_shows_the_space_and_trains_the_defaults(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    result = spot("check", study, "--set", "space.x.high=0.9")
    for text in ("0.01 to 0.9", "a, b", "power2", "kind = b", "PASS  training", "loss 0.14"):
        assert text in result.stdout
    document = spot_json("check", study, "--set", "space.width=8")
    assert document["schema"] == "spot-dask/check/1"
    rows = {row["name"]: row for row in document["space"]}
    assert list(rows) == ["x", "kind", "width", "rate"]
    assert rows["width"]["fixed"]
    assert rows["rate"]["when"] == {"kind": ["b"]}
    assert document["seconds"] > 0


def test_check_fails_when_the_defaults_fail(tmp_path: Path) -> None:
    study = write_study(tmp_path, ("return (cfg", "raise ValueError('never')\n    return (cfg"))
    document = spot_json("check", study, code=4)
    assert [item["status"] for item in document["checks"]] == ["PASS", "PASS", "FAIL"]
    assert "ValueError: never" in document["checks"][2]["message"]


def test_check_names_what_cannot_travel(tmp_path: Path) -> None:
    study = write_study(
        tmp_path,
        ("def loss", "import threading\nguard = threading.Lock()\n\ndef loss"),
        ("return (cfg", "guard.locked()\n    return (cfg"),
    )
    result = spot("check", study, code=4)
    assert "FAIL  pickling: 'guard', used by loss(), is a lock" in result.stdout
    assert "SKIP  training" in result.stdout
