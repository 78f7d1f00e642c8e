"""A table is for others: what zarr-python, xarray, pandas and tensorstore read is what we wrote."""

from __future__ import annotations

import math

import numpy as np
import pytest
from table_examples import SPACE, header, publish, story

from spot_dask.errors import SpotDaskError
from spot_dask.records import Status
from spot_dask.store import export, tables
from spot_dask.store.journal import Journal


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The path of a run of 12 trials, 2 of them failed, and 2 imports; it has a table."""
    path = tmp_path_factory.mktemp("runs") / "run.zarr"
    journal = Journal.create(path, header("max"), durability="process")
    for entry in story(12):
        journal.append(entry)
    publish(path)
    journal.close()
    return path


@pytest.fixture(scope="module")
def table(run):
    return tables.read(Journal.open(run))


@pytest.fixture
def generation(run):
    return run / "tables/g0000000017"


def test_zarr_finds_the_newest_table_and_reads_every_array(run, table):
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(run, mode="r")
    assert group.attrs["spot_dask"]["run_id"] == "f00d"
    latest = group["tables"].attrs["latest"]
    found = zarr.open_consolidated(run / "tables" / latest)
    assert len(dict(found.arrays())) == len(table.columns) + 2 * len(table.curves)
    assert found["objective"].metadata.dimension_names == ("evaluation",)
    assert found["objective"][2:5].tolist() == [-0.25, -1.25, -2.25]
    for column in table.columns:
        assert found[column.name.replace("/", "~2F")][:].tolist() == pytest.approx(
            column.values.tolist(), nan_ok=True
        ) or column.kind in ("text", "real")
    assert found["error_message"][6] == "out of memory, größer"
    assert found["config.norm"].attrs["categories"] == [True, 1, 0.5, "1"]
    assert found["curve_size.val~2Floss"][:].sum() == found["curve.val~2Floss"].shape[0] == 50
    assert found["metric.val~2Floss"][2] == math.inf


def test_every_number_carries_the_attributes_of_the_cf_convention(generation):
    zarr = pytest.importorskip("zarr")
    found = zarr.open_group(generation, mode="r")
    assert found.attrs["Conventions"] == "CF-1.11"
    for name, array in found.arrays():
        assert array.attrs["long_name"], name
        assert array.attrs.get("coordinates") == "trial" or name.startswith(("curve", "trial"))
    status = found["status"].attrs
    assert status["flag_meanings"].split() == [*Status, "imported"]
    assert status["flag_values"] == list(range(len(Status) + 1))
    assert found["config.optimizer"].attrs["flag_meanings"] == "sgd adam größer_→"
    assert found["started"].attrs["units"] == "microseconds since 1970-01-01"
    assert found["seconds"].attrs["units"] == "s"
    sizes = found["curve_size.val~2Floss"].attrs
    assert sizes["sample_dimension"] == "curve.val~2Floss.point"
    assert found["curve.val~2Floss"].metadata.dimension_names == ("curve.val~2Floss.point",)


def test_xarray_decodes_times_and_missing_values(generation):
    xr = pytest.importorskip("xarray")
    data = xr.open_zarr(generation, chunks=None)
    assert "trial" in data.coords
    assert data.trial.values.tolist()[2:] == list(range(12))
    assert np.isnan(data.trial.values[:2]).all()
    assert data.started.values[2] == np.datetime64(1_700_000_000, "s")
    assert np.isnat(data.started.values[0])
    assert np.isnan(data["config.warmup"].values).any()
    chosen = data.objective.where(data.status == 0, drop=True)
    assert chosen.values.tolist() == [-(t + 0.25) for t in range(12) if t % 5 != 4]


def test_tensorstore_reads_the_numbers(generation, table):
    ts = pytest.importorskip("tensorstore")
    for column in table.columns:
        if column.kind == "text":
            continue
        where = generation / column.name.replace("/", "~2F")
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(where)}}
        values = ts.open(spec, read=True).result().read().result()
        assert values.dtype == column.values.dtype
        assert values.tobytes() == column.values.tobytes()


def test_a_dataframe_has_the_types_that_its_columns_are_of(table):
    pd = pytest.importorskip("pandas")
    frame = export.to_dataframe(table)
    assert frame.shape == (14, len(table.columns))
    assert frame["objective"].dtype == np.float64
    assert frame["objective"].tolist()[:4] == [-7.5, 7.5, -0.25, -1.25]
    assert frame["trial"].isna().tolist() == [True] * 2 + [False] * 12
    assert frame["trial"].tolist()[2:] == list(range(12))
    assert frame["seed"].max() == 2**32 - 1
    assert frame["config.width"].dtype == np.int64
    assert str(frame["config.warmup"].dtype) == "Int64"
    assert list(frame["config.optimizer"].cat.categories) == ["sgd", "adam", "größer →"]
    assert frame["started"].iloc[2] == pd.Timestamp(1_700_000_000, unit="s", tz="UTC")
    assert frame["started"].isna().tolist()[:3] == [True, True, False]
    assert frame["metric.val/loss"].iloc[2] == math.inf
    assert frame["error_traceback"].iloc[6] == 'File "\\udc80.py"\n  x = 1\n'
    assert frame.groupby("status", observed=True).size().to_dict() == {
        "ok": 10,
        "failed": 2,
        "imported": 2,
    }
    # Levels that Python holds to be equal (True, 1) stay apart.
    expected = [e.trial.config.get("norm") for e in _evaluations()]
    assert [repr(v) for v in frame["config.norm"].iloc[2:]] == [repr(v) for v in expected]
    for name in ("lr", "momentum", "warmup", "width"):
        mine = [None if pd.isna(v) else v for v in frame[f"config.{name}"].iloc[2:]]
        assert mine == [e.trial.config.get(name) for e in _evaluations()]


def _evaluations():
    return [entry.evaluation for entry in story(12) if hasattr(entry, "evaluation")]


def test_curves_are_in_long_form(table):
    pytest.importorskip("pandas")
    frame = export.curves(table)
    assert list(frame.columns) == ["trial", "metric", "epoch", "value"]
    assert len(frame) == 50
    assert frame.iloc[5:8].values.tolist() == [
        [1, "val/loss", 1, 1.0],
        [1, "val/loss", 2, 1.125],
        [1, "val/loss", 3, 1.25],
    ]
    assert set(frame["trial"]) == {t for t in range(12) if t % 5 != 4}


def test_a_dataset_holds_the_same_values_and_can_be_written(table, tmp_path):
    xr = pytest.importorskip("xarray")
    data = export.to_xarray(table)
    assert data.sizes == {"evaluation": 14, "curve.val/loss.point": 50}
    assert data["config.optimizer"].values.tolist()[2:] == [
        e.trial.config["optimizer"] for e in _evaluations()
    ]
    assert (data["status"] == "failed").sum() == 2
    assert data["record"].dtype == data["config.width"].dtype == np.int64
    assert data["trial"].dtype == np.float64  # some are imported and have none
    assert data["started"].values[2] == np.datetime64(1_700_000_000, "s")
    assert data["seconds"].attrs == {"long_name": "duration of the training", "units": "s"}
    assert isinstance(data.drop_vars("config.norm").load(), xr.Dataset)


def test_a_run_without_evaluations_gives_empty_frames(tmp_path):
    pytest.importorskip("xarray")
    path = tmp_path / "run.zarr"
    Journal.create(path, header(), durability="process").close()
    empty = tables.read(Journal.open(path))
    assert export.to_dataframe(empty).shape == (0, len(empty.columns))
    assert export.curves(empty).shape == (0, 4)
    assert export.to_xarray(empty).sizes == {"evaluation": 0}
    publish(path)
    (generation,) = path.glob("tables/g*")
    assert pytest.importorskip("xarray").open_zarr(generation, chunks=None).sizes == {
        "evaluation": 0
    }


@pytest.mark.parametrize("package", ["pandas", "xarray"])
def test_a_package_that_is_missing_is_named_in_one_line(table, package, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    call = export.to_dataframe if package == "pandas" else export.to_xarray
    with pytest.raises(SpotDaskError, match=rf"(?s)\A[^\n]*{package}.*spot-dask\[tables\]'\Z"):
        call(table)


def test_names_of_parameters_are_those_of_the_space(table):
    names = [c.name for c in table.columns if c.name.startswith("config.")]
    assert names == [f"config.{name}" for name in SPACE.names]
