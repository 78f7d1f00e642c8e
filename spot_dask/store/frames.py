"""Tables for pandas and xarray, which are imported when they are asked for (extra ``tables``)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np

from spot_dask.errors import SpotDaskError
from spot_dask.store.columns import Array, Column, Table

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


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
        return _nullable(pd, column)
    return column.values


def _nullable(pd: Any, column: Column) -> Any:
    missing = column.missing
    return pd.arrays.IntegerArray(np.where(missing, 0, column.values), missing)


def _decoded(column: Column) -> Array:
    if column.kind == "time":
        return column.values.view("M8[us]")
    if column.kind == "factor":
        return _labels(column)
    if column.kind == "integer" and column.optional:
        return np.where(column.missing, np.nan, column.values)
    return column.values


def _labels(column: Column) -> Array:
    """The levels themselves, None where one is missing."""
    return np.array([*column.levels, None], dtype=object)[column.values]
