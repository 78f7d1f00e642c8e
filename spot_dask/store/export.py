"""A table as a file that other programs read: CSV, JSON lines, Parquet or Zarr.

Numbers that are not finite survive: CSV and JSON lines write them as ``NaN``, ``Infinity`` and
``-Infinity`` (JSON lines as strings, since JSON has no such numbers), Parquet and Zarr hold them
as they are. A missing value is empty in CSV, left out in JSON lines, null in Parquet and
``_FillValue`` in Zarr.

A text that a spreadsheet would compute has an apostrophe before it in CSV, and only there
(``texts.csv_cell``; ``texts.csv_text`` is its inverse). A lone surrogate, which UTF-8 has not, is
written as ``\\ud800``.
"""

from __future__ import annotations

import csv
import importlib
import json
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from spot_dask.codec import number_to_json
from spot_dask.errors import SpotDaskError, StoreError
from spot_dask.outputs import PARTIAL
from spot_dask.store.files import Directory, failure, make_directories, what_is_at
from spot_dask.store.table import Array, Column, Table
from spot_dask.store.tables import parse_group, write_table
from spot_dask.texts import csv_cell, encodable, json_document

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


JSON = dict[str, Any]
CRLF = "\r\n"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def export(table: Table, path: Path, to: str, about: JSON, *, force: bool = False) -> None:
    """Write a table to ``path`` as one of ``FORMATS``, whole or not at all.

    Raises StoreError if something is there, unless ``force``, or if it cannot be written;
    SpotDaskError if a package is missing.
    """
    _refuse(path, to, force)
    make_directories(path.parent.absolute(), "process")
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}{PARTIAL}")
    try:
        if to == "zarr":
            temporary.mkdir()
            write_table(Directory(temporary, "process"), "", table, about)
        elif to == "parquet":
            write_parquet(table, temporary)
        else:
            with temporary.open("w", encoding="utf-8", newline="") as file:
                TEXT_FORMATS[to](table, file, about["run_id"])
        if path.is_dir():
            _discard(path.rename(temporary.with_name(f"{temporary.name}.old")))
        temporary.replace(path)
    except OSError as error:
        raise StoreError(failure(f"cannot write {path}", error)) from error
    finally:
        _discard(temporary)


def _refuse(path: Path, to: str, force: bool) -> None:
    seen = what_is_at(path)
    if seen == "nothing":
        return
    if not force:
        raise StoreError(f"{path} is already there ({seen}): give another path (-o) or --force")
    if (to == "zarr") != path.is_dir() or (path.is_dir() and not _is_table(path)):
        raise StoreError(
            f"{path} is {seen}, but no earlier export to {to}: --force does not replace it; "
            "remove it yourself or give another path (-o)"
        )


def _is_table(path: Path) -> bool:
    try:
        parse_group((path / "zarr.json").read_bytes())
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return True


def _discard(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    elif path.exists():
        path.unlink()


@dataclass(frozen=True)
class _UnixLines:
    """What rows are written to that end with a line feed, and have quotes around any line end."""

    file: TextIO

    def write(self, row: str) -> int:
        return self.file.write(f"{row.removesuffix(CRLF)}\n")


def formulas(table: Table) -> int:
    """How many texts of a table have an apostrophe before them in CSV."""
    texts = (v for column in table.columns for v in _values(column) if isinstance(v, str))
    return sum(csv_cell(text) != encodable(text) for text in texts)


def write_csv(table: Table, file: TextIO, run: str) -> None:
    """One line per evaluation, in the order of the journal; curves are left out."""
    writer = csv.writer(_UnixLines(file))
    writer.writerow(["run", *(csv_cell(column.name) for column in table.columns)])
    cells = [[csv_cell(_text(v)) for v in _values(column)] for column in table.columns]
    writer.writerows(zip([csv_cell(run)] * len(table), *cells, strict=True))


def write_curves_csv(table: Table, file: TextIO, run: str) -> None:
    """One line per epoch of an evaluation and metric: trial, metric, epoch, value."""
    writer = csv.writer(_UnixLines(file))
    writer.writerow(["trial", "metric", "epoch", "value"])
    trials = table["trial"].values
    for curve in table.curves:
        points = zip(
            np.repeat(trials, curve.sizes).tolist(),
            epochs(curve.sizes).tolist(),
            curve.values.tolist(),
            strict=True,
        )
        name = csv_cell(curve.name)
        writer.writerows((trial, name, epoch, _text(y)) for trial, epoch, y in points)


def write_jsonl(table: Table, file: TextIO, run: str) -> None:
    """One JSON object per evaluation; configuration, metrics and curves are objects in it."""
    for row in _objects(table):
        document = json.dumps({"run": run} | row, allow_nan=False, ensure_ascii=False)
        file.write(json_document(document) + "\n")


def write_parquet(table: Table, path: Path) -> None:
    """One row per evaluation, curves as lists; raises SpotDaskError without pyarrow."""
    pa = optional("pyarrow", "Parquet")
    parquet = optional("pyarrow.parquet", "Parquet")
    arrays = {encodable(column.name): _arrow(pa, column) for column in table.columns}
    for curve in table.curves:
        offsets = np.concatenate([[0], np.cumsum(curve.sizes)])
        arrays[encodable(f"curve.{curve.name}")] = pa.LargeListArray.from_arrays(
            offsets, curve.values
        )
    parquet.write_table(pa.table(arrays), path)


TEXT_FORMATS: Mapping[str, Callable[[Table, TextIO, str], None]] = {
    "csv": write_csv,
    "curves.csv": write_curves_csv,
    "jsonl": write_jsonl,
}
FORMATS = (*TEXT_FORMATS, "parquet", "zarr")


def _objects(table: Table) -> Iterator[JSON]:
    groups: dict[str, list[tuple[str, Sequence[Any]]]] = {"": [], "config": [], "metric": []}
    for column in table.columns:
        group, dot, name = column.name.partition(".")
        groups[group if dot else ""].append((name if dot else group, _values(column)))
    ends = [np.cumsum(curve.sizes).tolist() for curve in table.curves]
    for i in range(len(table)):
        row = _present(groups[""], i)
        row["config"] = _present(groups["config"], i)
        row["metrics"] = _present(groups["metric"], i)
        row["curves"] = {
            curve.name: [number_to_json(y) for y in curve.values[stop - size : stop].tolist()]
            for curve, stop, size in (
                (curve, end[i], int(curve.sizes[i]))
                for curve, end in zip(table.curves, ends, strict=True)
            )
            if size
        }
        yield row


def _present(columns: Sequence[tuple[str, Sequence[Any]]], i: int) -> JSON:
    return {
        name: number_to_json(values[i]) if isinstance(values[i], float) else values[i]
        for name, values in columns
        if values[i] is not None
    }


def _values(column: Column) -> list[Any]:
    """The values as Python has them, None where missing; times in ISO 8601."""
    values: list[Any] = column.values.tolist()
    convert: Callable[[Any], Any] | None = None
    if column.kind == "time":
        convert = _iso
    elif column.kind == "factor":
        convert = column.levels.__getitem__
    if convert is None and not column.optional:
        return values
    missing = column.missing.tolist()
    return [
        None if gone else value if convert is None else convert(value)
        for value, gone in zip(values, missing, strict=True)
    ]


def _iso(microseconds: int) -> str:
    return (_EPOCH + timedelta(microseconds=microseconds)).isoformat(timespec="microseconds")


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return str(number_to_json(value)) if isinstance(value, float) else encodable(str(value))


def _arrow(pa: Any, column: Column) -> Any:
    missing = column.missing
    if column.kind == "time":
        return pa.array(column.values, pa.timestamp("us", "UTC"), mask=missing)
    if column.kind == "factor":
        # Levels of several types have no common one in Parquet: they become texts.
        alike = len({type(level) for level in column.levels}) == 1
        levels = column.levels if alike else [_text(level) for level in column.levels]
        texts = [encodable(v) if isinstance(v, str) else v for v in levels]
        return pa.array(np.array([*texts, None], dtype=object)[column.values])
    if column.kind == "text":
        return pa.array([*map(encodable, column.values)], pa.string(), mask=missing)
    return pa.array(column.values, mask=missing)


def optional(package: str, what: str) -> Any:
    """A package of the extra ``tables``; raises SpotDaskError if it is not installed."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise SpotDaskError(
            f"{what} needs {package} ({error}): pip install 'spot-dask[tables]'"
        ) from error


def to_dataframe(table: Table) -> pd.DataFrame:
    """One row per evaluation; times in UTC, factors as categoricals, curves left out."""
    pd = optional("pandas", "a DataFrame")
    return pd.DataFrame({c.name: _series(pd, c) for c in table.columns}, copy=False)


def curves(table: Table) -> pd.DataFrame:
    """All curves in long form: trial, metric, epoch (from 1) and value."""
    pd = optional("pandas", "a DataFrame")
    trial = table["trial"].values
    parts = table.curves
    metric = np.repeat(np.arange(len(parts)), [len(curve.values) for curve in parts])
    columns = {
        "trial": [np.repeat(trial, curve.sizes) for curve in parts],
        "epoch": [epochs(curve.sizes) for curve in parts],
        "value": [curve.values for curve in parts],
    }
    whole = {
        name: np.concatenate(values) if values else np.empty(0, np.int64)
        for name, values in columns.items()
    }
    whole["value"] = whole["value"].astype(np.float64, copy=False)
    names = [curve.name for curve in parts]
    whole["metric"] = pd.Categorical.from_codes(metric, pd.Index(names, dtype=object))
    order = ["trial", "metric", "epoch", "value"]
    return pd.DataFrame({name: whole[name] for name in order}, copy=False)


def to_xarray(table: Table) -> xr.Dataset:
    """Evaluations along ``evaluation``, every curve along a dimension of its own.

    Values as in a DataFrame; ``curve_size.<name>`` says how many points of a curve belong to
    each evaluation (CF's contiguous ragged array).
    """
    package = optional("xarray", "a Dataset")
    data: dict[str, Any] = {}
    for column in table.columns:
        attributes = {"long_name": column.long_name, "units": column.units}
        attributes = {name: text for name, text in attributes.items() if text}
        data[column.name] = ("evaluation", _decoded(column), attributes)
    for curve in table.curves:
        points = f"curve.{curve.name}.point"
        data[f"curve_size.{curve.name}"] = ("evaluation", curve.sizes, {"sample_dimension": points})
        data[f"curve.{curve.name}"] = (points, curve.values, {"long_name": curve.name})
    dataset: xr.Dataset = package.Dataset(data).set_coords("trial")
    return dataset


def epochs(sizes: Array) -> Array:
    """The epoch of every point of a curve: 1 .. size of each row."""
    ends = np.cumsum(sizes)
    points: Array = np.arange(1, int(sizes.sum()) + 1) - np.repeat(ends - sizes, sizes)
    return points


def _series(pd: Any, column: Column) -> Any:
    if column.kind == "time":
        return pd.DatetimeIndex(column.values.view("M8[us]")).tz_localize("UTC")
    if column.kind == "factor":
        if len({*column.levels}) < len(column.levels):  # True and 1: no categories for pandas
            return _labels(column)
        levels = pd.Index(list(column.levels), dtype=object).infer_objects()
        return pd.Categorical.from_codes(column.values, levels)
    if column.kind == "integer" and column.optional:
        missing = column.missing
        return pd.arrays.IntegerArray(np.where(missing, 0, column.values), missing)
    return column.values


def _decoded(column: Column) -> Array:
    if column.kind == "time":
        return column.values.view("M8[us]")
    if column.kind == "factor":
        return _labels(column)
    if column.kind == "integer" and column.missing.any():
        return np.where(column.missing, np.nan, column.values)
    return column.values


def _labels(column: Column) -> Array:
    """The levels themselves, None where one is missing."""
    return np.array([*column.levels, None], dtype=object)[column.values]
