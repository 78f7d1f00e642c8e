"""Exports say what the table says, in the words of their format."""

from __future__ import annotations

import csv
import io
import json
import math

import numpy as np
import pytest
from table_examples import header, story

from benchmarks.memory import MemoryStore
from spot_dask.errors import SpotDaskError, StoreError
from spot_dask.fold import Fold
from spot_dask.records import Asked, Evaluation, Outcome, Status, Told, Trial
from spot_dask.store.export import FORMATS, export, write_csv, write_curves_csv, write_jsonl
from spot_dask.store.table import tabulate
from spot_dask.store.tables import about, node

ABOUT = {"run_id": "f00d"}


def table_of(entries):
    store = MemoryStore(header())
    for entry in entries:
        store.append(entry)
    return tabulate(store.header, Fold.of(store.records()).rows)


@pytest.fixture(scope="module")
def table():
    """12 trials and 2 imports, and a trial whose numbers are not finite."""
    trial = Trial(12, {"lr": 0.1, "width": 16, "optimizer": "adam", "warmup": -3, "norm": 1}, 0)
    metrics = {"accuracy": math.nan, "val/loss": -math.inf}
    curves = {"val/loss": (math.inf, math.nan, 0.1 + 0.2)}
    outcome = Outcome(Status.OK, 1.0, metrics, curves)
    return table_of([*story(12), Asked([trial]), Told(Evaluation(trial, outcome))])


def written(write, table):
    file = io.StringIO()
    write(table, file, "f00d")
    return file.getvalue()


def test_csv_leaves_missing_values_empty_and_writes_non_finite_numbers_as_words(table):
    rows = list(csv.DictReader(io.StringIO(written(write_csv, table))))
    assert len(rows) == 15
    assert list(rows[0]) == ["run", *(column.name for column in table.columns)]
    last = rows[-1]
    assert last["metric.accuracy"] == "NaN"
    assert last["metric.val/loss"] == "-Infinity"
    assert (last["config.warmup"], last["config.momentum"], last["config.norm"]) == ("-3", "", "1")
    failed = rows[6]
    assert failed["status"] == "failed"
    assert failed["objective"] == "NaN"
    assert failed["metric.accuracy"] == ""
    assert failed["error_traceback"] == 'File "\\udc80.py"\n  x = 1\n'
    assert failed["started"] == "2023-11-14T22:13:20.000000+00:00"
    assert (failed["finished"], failed["seconds"]) == ("", "NaN")
    assert {row["config.norm"] for row in rows} >= {"true", "1"}
    assert rows[0]["source_run"] == "r0"
    assert [float(row["config.lr"]) for row in rows] == table["config.lr"].values.tolist()


def test_pandas_reads_the_csv_with_infinities(table):
    pd = pytest.importorskip("pandas")
    frame = pd.read_csv(io.StringIO(written(write_csv, table)), parse_dates=["started"])
    assert frame["metric.val/loss"].iloc[-1] == -math.inf
    assert np.isnan(frame["metric.accuracy"].iloc[-1])
    assert frame["started"].iloc[2] == pd.Timestamp(1_700_000_000, unit="s", tz="UTC")


def test_curves_have_a_csv_of_their_own(table):
    rows = list(csv.reader(io.StringIO(written(write_curves_csv, table))))
    assert rows[0] == ["trial", "metric", "epoch", "value"]
    assert len(rows) == 1 + 50 + 3
    assert rows[-3:] == [
        ["12", "val/loss", "1", "Infinity"],
        ["12", "val/loss", "2", "NaN"],
        ["12", "val/loss", "3", repr(0.1 + 0.2)],
    ]


def test_json_lines_hold_exact_configurations_metrics_and_curves(table):
    rows = [json.loads(line) for line in written(write_jsonl, table).splitlines()]
    evaluations = [e.evaluation for e in story(12) if isinstance(e, Told)]
    assert [repr(row["config"]) for row in rows[2:-1]] == [
        repr(dict(e.trial.config)) for e in evaluations
    ]
    assert rows[-1]["metrics"] == {"accuracy": "NaN", "val/loss": "-Infinity"}
    assert rows[-1]["curves"] == {"val/loss": ["Infinity", "NaN", 0.1 + 0.2]}
    assert rows[6]["metrics"] == rows[6]["curves"] == {}
    assert rows[2]["curves"] == {"val/loss": [0.0, 0.125, 0.25, 0.375, 0.5]}
    assert (rows[0]["status"], rows[0]["source_run"]) == ("imported", "r0")
    assert "trial" not in rows[0]


def test_parquet_tells_null_from_nan_and_holds_curves_as_lists(table, tmp_path):
    pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    export(table, tmp_path / "e.parquet", "parquet", {})
    found = parquet.read_table(tmp_path / "e.parquet")
    assert found.num_rows == 15
    accuracy = found["metric.accuracy"].to_pylist()
    assert accuracy[6] is None
    assert math.isnan(accuracy[-1])
    assert found["metric.val/loss"].to_pylist()[-1] == -math.inf
    assert found["config.warmup"].to_pylist()[-1] == -3
    assert found["config.optimizer"].to_pylist()[-1] == "adam"
    assert {"true", "1"} <= set(found["config.norm"].to_pylist())  # of several types: as texts
    curves = found["curve.val/loss"].to_pylist()
    assert repr(curves[-1]) == repr([math.inf, math.nan, 0.1 + 0.2])
    assert curves[2] == [0.0, 0.125, 0.25, 0.375, 0.5]
    assert str(found.schema.field("started").type) == "timestamp[us, tz=UTC]"


def test_zarr_is_a_consolidated_group(table, tmp_path):
    zarr = pytest.importorskip("zarr")
    export(table, tmp_path / "e.zarr", "zarr", about(header()))
    group = zarr.open_consolidated(tmp_path / "e.zarr")
    assert group.attrs["spot_dask"]["objective"] == "val loss"
    assert group["metric.val~2Floss"][-1] == -math.inf
    assert group["curve.val~2Floss"][-3] == math.inf
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("to", FORMATS)
def test_nothing_is_overwritten_unless_asked_for(table, tmp_path, to):
    if to == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / "new/e"
    export(table, path, to, ABOUT)
    with pytest.raises(StoreError, match=r"(?s)\A[^\n]*is already there[^\n]*--force\Z"):
        export(table_of([]), path, to, ABOUT)
    export(table_of([]), path, to, ABOUT, force=True)
    assert [p.name for p in path.parent.iterdir()] == ["e"]
    other = "csv" if to == "zarr" else "zarr"
    with pytest.raises(StoreError, match="no earlier export"):
        export(table, path, other, ABOUT, force=True)


def test_force_replaces_no_directory_but_an_earlier_export(table, tmp_path):
    kept = tmp_path / "photos"
    kept.mkdir()
    (kept / "a.jpg").write_text("a")
    with pytest.raises(StoreError, match="does not replace it"):
        export(table, kept, "zarr", {}, force=True)
    assert (kept / "a.jpg").read_text() == "a"


def test_what_cannot_be_written_is_told_in_one_line_and_leaves_nothing(table, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"(?s)\A[^\n]*cannot write[^\n]*\Z"):
        export(table, tmp_path / "file/e.csv", "csv", ABOUT)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_parquet_without_pyarrow_says_what_to_install(table, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(SpotDaskError, match=r"needs pyarrow .*pip install 'spot-dask\[tables\]'"):
        export(table, tmp_path / "e.parquet", "parquet", {})
    assert not list(tmp_path.iterdir())


def test_names_of_arrays_are_safe_and_distinct():
    awkward = ["a/b", "a~2Fb", "a%2Fb", "größe", "..", "a b", "\udc80", "x" * 300, "x" * 301]
    names = [node(f"metric.{name}") for name in awkward]
    assert len(set(names)) == len(names)
    for name in names:
        assert name.isascii()
        assert len(name) <= 255
        assert not set(name) & set("/%\\ ")
    assert node("config.lr_max-1") == "config.lr_max-1"
