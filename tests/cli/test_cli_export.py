"""``spot-dask export``: what it writes, where, and what it refuses."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from spot_dask import Budget, FunctionTask, Real, Space, Study
from spot_dask.cli import main
from spot_dask.run import Run


def measure(cfg, trial):  # type: ignore[no-untyped-def]
    for epoch in (1, 2):
        trial.report(epoch, loss=cfg.x + epoch)
    if trial.number == 2:
        raise RuntimeError("too hot")
    return {"loss": cfg.x}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = Study(Space(x=Real(0.0, 1.0, default=0.5)), FunctionTask(measure, objective="loss"))
    study.run(Budget(evaluations=4), local=0, store=tmp_path_factory.mktemp("runs") / "a.zarr")
    return study


@pytest.fixture(scope="module")
def store(study: Study) -> Path:
    return study._run().path


def export(*args: object) -> Result:
    return CliRunner().invoke(main, ["export", *map(str, args)])


def test_a_run_leaves_a_table_of_all_its_records(store: Path) -> None:
    (generation,) = store.glob("tables/g*")
    assert generation.name == f"g{Run.open(store).end:010d}"


def test_the_frames_of_a_study_are_those_of_its_last_run(study: Study, store: Path) -> None:
    pytest.importorskip("xarray")
    frame = study.to_dataframe()
    assert frame["trial"].tolist() == [0, 1, 2, 3]
    assert frame["status"].tolist() == ["ok", "ok", "failed", "ok"]
    assert frame["error_message"].iloc[2] == "too hot"
    assert frame["config.x"].iloc[0] == frame["objective"].iloc[0] == 0.5
    assert study.curves()["value"].tolist()[:2] == [1.5, 2.5]
    assert study.to_xarray()["objective"].values[0] == 0.5
    assert frame.equals(Run.open(store).to_dataframe())


def test_a_run_shows_what_it_held_when_it_was_opened(study: Study, tmp_path: Path) -> None:
    path = tmp_path / "b.zarr"
    study.run(Budget(evaluations=3), local=0, store=path)
    before = Run.open(path)
    study.resume(path, Budget(evaluations=5), local=0)
    assert len(before.tabulated) == len(before.history.evaluations) == 3
    after = Run.open(path)
    assert len(after.tabulated) == len(after.history.evaluations) == 5


def test_the_last_line_is_the_path_and_the_file_holds_every_evaluation(store: Path) -> None:
    done = export(store, "--to", "csv")
    path = store.with_suffix("") / "evaluations.csv"
    assert (done.exit_code, done.output) == (0, f"{path}\n")
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [row["trial"] for row in rows] == ["0", "1", "2", "3"]
    again = export(store, "--to", "csv")
    assert again.exit_code == 2
    assert again.output.startswith("Error: ")
    assert "is already there" in again.output
    assert export(store, "--to", "csv", "--force").exit_code == 0


@pytest.mark.parametrize("to", ["jsonl", "parquet", "zarr"])
def test_other_formats_are_written_too(store: Path, tmp_path: Path, to: str) -> None:
    if to == "parquet":
        pytest.importorskip("pyarrow")
    done = export(store, "--to", to, "-o", tmp_path / "out" / "e", "--json")
    assert done.exit_code == 0
    document = json.loads(done.output)
    assert document == {
        "schema": "spot-dask/export/1",
        "store": str(store),
        "path": str(tmp_path / "out" / "e"),
        "format": to,
        "rows": 4,
    }
    assert (tmp_path / "out" / "e").exists()


def test_text_goes_to_stdout_for_a_dash(store: Path) -> None:
    lines = export(store, "--to", "jsonl", "-o", "-").output.splitlines()
    assert [json.loads(line)["trial"] for line in lines] == [0, 1, 2, 3]
    curves = export(store, "--to", "csv", "--curves", "-o", "-").output.splitlines()
    assert curves[:2] == ["trial,metric,epoch,value", "0,loss,1,1.5"]
    assert len(curves) == 1 + 4 * 2


@pytest.mark.parametrize(
    "args",
    [
        ["--to", "xlsx"],
        [],
        ["--to", "jsonl", "--curves"],
        ["--to", "zarr", "-o", "-"],
        ["--to", "csv", "-o", "-", "--json"],
    ],
)
def test_what_does_not_go_together_is_a_usage_error(store: Path, args: list[str]) -> None:
    assert export(store, *args).exit_code == 2


def test_no_store_is_told_in_one_line(tmp_path: Path) -> None:
    done = export(tmp_path / "gone.zarr", "--to", "csv")
    assert done.exit_code == 2
    assert done.output.count("\n") == 1
    assert done.output.startswith("Error: no run at ")


def test_a_package_that_is_missing_is_an_error_of_one_line(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    done = export(store, "--to", "parquet", "-o", tmp_path / "e.parquet")
    assert done.exit_code == 1
    assert "pip install 'spot-dask[tables]'" in done.output
    assert done.output.count("\n") == 1


def test_the_store_itself_is_never_replaced(store: Path) -> None:
    done = export(store, "--to", "zarr", "-o", store, "--force")
    assert done.exit_code == 2
    assert "does not replace it" in done.output
    assert len(Run.open(store).journal.records()) == Run.open(store).end
