"""run, resume, status, best and report, as a user or a script sees them."""

from __future__ import annotations

import json
import os
import socket
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cli_studies import run_study, spot, spot_json, write_study

from spot_dask import Run
from spot_dask.store.journal import Journal
from spot_dask.store.layout import header_checksum
from spot_dask.study_file import load


def test_a_run_ends_with_the_path_of_its_report(tmp_path: Path) -> None:
    store = tmp_path / "run.zarr"
    result = spot("run", write_study(tmp_path), "--local", "0", "--store", store, "--report")
    assert len(result.stdout.splitlines()) <= 12
    report = Path(result.stdout.splitlines()[-1])
    assert report.name == "report.html"
    assert report.is_file()
    assert str(store) in result.stdout
    assert "says hello" not in result.stdout
    lines = [line for line in result.stderr.splitlines() if "  trial " in line]
    assert [line.split()[2] for line in lines] == [f"{i}/6" for i in range(1, 7)]
    assert all("loss " in line and "best " in line for line in lines)


def test_a_store_is_told_when_it_is_there(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    refused = spot("run", study, "--local", "0", "--warm-start", tmp_path / "gone.csv", code=2)
    assert "store " not in refused.stderr
    store = tmp_path / "run.zarr"
    told = spot("run", study, "--local", "0", "--store", store, "--no-report").stderr
    assert told.splitlines()[1].endswith(f"  store {store}")


def test_a_run_without_a_report_writes_none(tmp_path: Path) -> None:
    run_study(tmp_path, "--no-report")
    assert not list(tmp_path.rglob("*.html"))


def test_json_is_one_document_and_all_there_is_on_stdout(tmp_path: Path) -> None:
    store = tmp_path / "run.zarr"
    study = write_study(tmp_path)
    document = spot_json("run", study, "--local", "0", "--store", store, "--report")
    assert document["schema"] == "spot-dask/run/1"
    assert document["state"] == "done"
    assert document["budget"]["used"] == 6
    assert Path(document["report"]).is_file()
    assert document["resume"] is None
    assert document["incumbent"]["config"].keys() >= {"x", "kind", "width"}


def test_flags_are_settings_of_the_study(tmp_path: Path) -> None:
    store = run_study(
        tmp_path, "--evaluations", "5", "--seed", "7", "--batch", "2", "--sync", "--wall", "1h",
        "--durability", "process",
        "--set", "space.width=8", "--no-report",
    )  # fmt: skip
    run = Run.open(store)
    budget = {name: v for name, v in run.settings["budget"].items() if v is not None}
    assert budget == {"evaluations": 5, "wall": 3600}
    assert (run.settings["seed"], run.settings["batch"], run.settings["sync"]) == (7, 2, True)
    assert run.settings["durability"] == "process"
    assert {e.trial.config["width"] for e in run.history.evaluations} == {8}


def test_a_flag_beats_the_environment_which_beats_the_file(tmp_path: Path) -> None:
    write_study(tmp_path)
    toml = tmp_path / "spot.toml"
    toml.write_text(
        '[study]\nfile="study.py"\nseed = 1\n[budget]\nevaluations = 5\n'
        '[cluster]\nlocal = 0\n[store]\npath = "a.zarr"\n'
    )
    env = {"SPOT_DASK_SEED": "2", "SPOT_DASK_EVALUATIONS": "4"}
    spot("run", toml, "--evaluations", "3", "--no-report", env=env)
    settings = Run.open(tmp_path / "a.zarr").settings
    assert settings["seed"] == 2
    assert settings["budget"]["evaluations"] == 3


def test_a_run_goes_on_with_a_larger_budget_and_its_own_settings(tmp_path: Path) -> None:
    store = run_study(tmp_path, "--seed", "5", "--set", "space.width=8", "--no-report")
    before = Run.open(store).history.evaluations
    assert "nothing to do" in spot("resume", store, "--local", "0", "--no-report").stderr
    document = spot_json("resume", store, "--local", "0", "--evaluations", "8", "--no-report")
    assert document["schema"] == "spot-dask/resume/1"
    assert document["budget"]["used"] == 8
    run = Run.open(store)
    assert run.history.evaluations[: len(before)] == before
    assert run.settings["seed"] == 5
    assert {e.trial.config["width"] for e in run.history.evaluations} == {8}


def test_a_resumed_run_says_which_file_it_runs(tmp_path: Path) -> None:
    store = run_study(tmp_path, "--no-report")
    told = spot("resume", store, "--local", "0", "--evaluations", "7", "--no-report").stderr
    assert told.splitlines()[1] == f"study {tmp_path / 'study.py'}"


def test_a_changed_study_file_is_run_only_if_it_is_named(tmp_path: Path) -> None:
    store = run_study(tmp_path, "--no-report")
    study = write_study(tmp_path, ("- 0.3", "- 0.4"), ("the study says", "the changed study says"))
    args = ["resume", store, "--local", "0", "--evaluations", "7", "--no-report"]
    refused = spot(*args, code=2)
    assert f"{study} has changed since the run began; " in refused.stderr
    assert f"--study {study}:study" in refused.stderr
    assert "changed study says" not in refused.output
    result = spot(*args, "--study", f"{study}:study")
    assert f"study {study}, which has changed since the run began" in result.stderr
    assert len(Run.open(store).history.evaluations) == 7


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 2)])
def test_on_a_terminal_it_is_asked_whether_a_changed_study_is_run(
    answer: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = run_study(tmp_path, "--no-report")
    study = write_study(tmp_path, ("- 0.3", "- 0.4"))
    asked: list[str] = []

    def confirm(text: str, err: bool) -> bool:
        asked.append(text)
        return answer == "y"

    monkeypatch.setattr("click.confirm", confirm)
    monkeypatch.setattr("spot_dask.cli.run._on_a_terminal", lambda: True)
    spot("resume", store, "--local", "0", "--evaluations", "7", "--no-report", code=code)
    assert asked == [f"{study} has changed since the run began. Run it?"]


def plant(store: Path, **study: Any) -> None:
    """Have the header of a store, with a checksum that is right, name another study."""
    root = store / "zarr.json"
    document = json.loads(root.read_text())
    header = document["attributes"]["spot_dask"]
    header["study"] = {**header["study"], **study}
    header["crc32c"] = header_checksum(header)
    root.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        ("/dev/stdin", "no study's file"),
        ("FOLDER/pipe.py", "no study's file"),
        ("FOLDER", "no study's file"),
        ("study.py", "is no study's file by its full path"),
        ("FOLDER/gone.py", "gone"),
        ("FOLDER/a\nb.py", "does not tell its study's file"),
        ("FOLDER/" + "a" * 5000 + ".py", "gone"),
        ("FOLDER/planted.py", "has changed since the run began"),
        (3, "does not tell its study's file"),
        (None, "does not tell its study's file"),
    ],
)
def test_a_planted_path_of_a_study_is_refused_in_one_line(
    file: Any, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = run_study(tmp_path, "--no-report")
    monkeypatch.chdir(tmp_path)
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "planted.py").write_text("open('ran', 'w')\n")
    plant(store, file=file.replace("FOLDER", str(tmp_path)) if isinstance(file, str) else file)
    refused = spot("resume", store, "--local", "0", "--evaluations", "7", code=2)
    assert problem in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "overrides",
    [3, [3], ["x"], ["space.x=[" + "[" * 5000], ["nothing=1"], ["space.x.low=2.0"]],
)
def test_planted_overrides_are_refused_in_one_line(overrides: Any, tmp_path: Path) -> None:
    store = run_study(tmp_path, "--no-report")
    plant(store, overrides=overrides)
    refused = spot("resume", store, "--local", "0", "--evaluations", "7", code=2)
    assert refused.stderr.splitlines()[-1].startswith("Error: ")
    assert sum("Error" in line for line in refused.stderr.splitlines()) == 1


def test_a_component_that_an_override_of_the_store_names_is_not_loaded(tmp_path: Path) -> None:
    study, store, ran = (
        load(str(write_study(tmp_path))).study,
        tmp_path / "a.zarr",
        tmp_path / "ran",
    )
    named = f"sklearn:utils._testing.check_output(args=['touch', '{ran}'])"
    study.source = {**study.source, "overrides": [f"surrogate={json.dumps(named)}"]}
    study.run(local=0, store=store)
    spot("resume", store, "--local", "0", "--evaluations", "7", "--no-report")
    assert not ran.exists()


def test_the_study_of_another_user_is_run_only_if_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = run_study(tmp_path, "--no-report")
    with monkeypatch.context() as other:
        other.setattr(os, "getuid", lambda: 4711)
        os.chown(tmp_path / "study.py", 4712, -1)
        args = ["resume", store, "--local", "0", "--evaluations", "7", "--no-report"]
        assert "is another user's" in spot(*args, code=2).stderr
        spot(*args, "--study", tmp_path / "study.py")


def test_a_resumed_run_takes_its_study_from_where_it_is_now(tmp_path: Path) -> None:
    store = run_study(tmp_path, "--no-report")
    moved = (tmp_path / "study.py").rename(tmp_path / "moved.py")
    spot("resume", store, "--local", "0", "--evaluations", "7", "--no-report", "--study", moved)
    assert len(Run.open(store).history.evaluations) == 7


def test_status_best_and_report_read_the_store(tmp_path: Path) -> None:
    store = run_study(tmp_path, "--no-report")
    (tmp_path / "study.py").unlink()
    assert spot_json("status", store)["trials"]["done"] == 6
    assert "6 of 6" in spot("status", store).stdout
    observed = min(e.y for e in Run.open(store).history.ok)
    for by in ("model", "observed"):
        document = spot_json("best", store, "--by", by)
        assert document["schema"] == "spot-dask/best/1"
        assert document["by"] == by
        assert f"trial {document['trial']}" in spot("best", store, "--by", by).stdout
    assert spot_json("best", store, "--by", "observed")["observed"] == observed
    target = tmp_path / "elsewhere" / "page.html"
    told = spot("report", store, "-o", target).stdout.splitlines()
    assert told[-1] == str(target)
    assert 3 < len(told) <= 12
    assert any(line.startswith("checks: ") for line in told)
    document = spot_json("report", store, "-o", target)
    assert Path(document["report"]).is_file()
    assert Path(document["data"]).is_file()
    assert Path(document["markdown"]).read_text().startswith("# ")


def test_a_warm_start_says_what_it_took(tmp_path: Path) -> None:
    old = run_study(tmp_path, "--no-report")
    store = tmp_path / "new.zarr"
    result = spot(
        "run", tmp_path / "study.py", "--local", "0", "--store", store, "--warm-start", old,
        "--evaluations", "2", "--no-report",
    )  # fmt: skip
    assert "warm start" in result.stderr
    assert "6 of 6" in result.stderr
    assert spot_json("status", store)["trials"]["imported"] == 6


@pytest.mark.parametrize("progress", ["plain", "rich", "none"])
def test_every_way_of_showing_progress_runs(progress: str, tmp_path: Path) -> None:
    store = tmp_path / "run.zarr"
    study = write_study(tmp_path)
    args = ["--local", "0", "--store", store, "--no-report", "--progress", progress]
    result = spot("run", study, *args)
    assert ("1/6" in result.stderr) == (progress == "plain")


def test_a_table_and_a_prior_start_a_run_that_is_resumed(tmp_path: Path) -> None:
    old = run_study(tmp_path, "--no-report")
    table = tmp_path / "old.csv"
    table.write_text("rate0,kind,width,y\n0.3,a,16,0.1\n0.9,b,8,0.4\n5.0,a,16,9.0\n")
    store = tmp_path / "new.zarr"
    began = spot(
        "run", tmp_path / "study.py", "--local", "0", "--store", store, "--evaluations", "7",
        "--warm-start", table, "--prior", old, "--rename", "rate0=x", "--rename", "y=loss",
        "--report",
    )  # fmt: skip
    assert "took 2 of 3 evaluations; dropped 1 (1 for x; the first: line 4: x: 5.0" in began.stderr
    assert "rate is not in it: taken to be 0.5" in began.stderr
    assert "took 6 of 6 evaluations as hints from another objective" in began.stderr
    trials = spot_json("status", store)["trials"]
    assert (trials["done"], trials["imported"], trials["hints"]) == (7, 2, 6)
    assert "hints        6" in spot("status", store).stdout
    page = (tmp_path / "new" / "report.html").read_text()
    assert "6 evaluations from 1 source of related objectives hinted at where to look" in page
    assert "2 evaluations from 1 source of this objective informed the model" in page
    table.unlink()
    spot("resume", store, "--local", "0", "--evaluations", "9", "--no-report")
    trials = spot_json("status", store)["trials"]
    assert (trials["done"], trials["imported"], trials["hints"]) == (9, 2, 6)


def test_a_run_that_another_machine_has_is_not_told_as_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = run_study(tmp_path, "--no-report")
    with monkeypatch.context() as there:
        there.setattr(socket, "gethostname", lambda: "gpu7")
        Journal.resume(store).close()
    told = spot("status", store).stdout.splitlines()[0]
    pid = os.getpid()
    assert told.startswith(
        f"toy: elsewhere (process {pid} on gpu7, which cannot be seen from here; "
    )
    document = spot_json("status", store)
    assert document["state"] == "elsewhere"
    assert document["coordinator"] == {"host": "gpu7", "pid": pid}
    Journal.resume(store).close()
    told = spot("status", store).stdout.splitlines()[0]
    assert told == f"toy: interrupted (process {pid} on {socket.gethostname()})"
    with closing(Journal.resume(store)):
        assert spot("status", store).stdout.startswith("toy: running (process ")
