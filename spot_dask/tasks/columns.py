"""Arrays and frames of a user as numbers, and what is wrong with their columns, by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from spot_dask.errors import shown

NUMBERS = "biuf"
"""The kinds of numpy's types that hold real numbers."""

Array = npt.NDArray[Any]


def is_frame(values: Any) -> bool:
    """Whether it is a frame or a series of pandas: columns with names."""
    return hasattr(values, "iloc") and hasattr(values, "items")


def as_numbers(values: Any, what: str) -> Array:
    """The numbers of an array, of a frame (n x columns) or of a series (n).

    A missing number is NaN. Raises ValueError naming ``what`` it is, and the columns that hold
    anything but numbers.
    """
    if not is_frame(values):
        array = np.asarray(values)
        if array.dtype.kind not in NUMBERS + "c":
            raise ValueError(f"{what} holds {_kind(array)}; expected numbers")
        return array
    named = list(_columns(values))
    wrong = [f"{shown(name)} ({_kind(c)})" for name, c in named if not _is_numeric(c)]
    if wrong:
        raise ValueError(
            f"{what} holds no numbers in the columns {', '.join(wrong)}; encode or leave out these"
        )
    arrays = [_array(column) for _, column in named]
    return arrays[0] if values.ndim == 1 else np.column_stack(arrays)


def missing(values: Any, what: str) -> Iterator[str]:
    """A sentence for each column of an array or a frame that holds NaN or infinite numbers."""
    if is_frame(values):
        named = [(shown(name), _array(c)) for name, c in _columns(values) if _is_numeric(c)]
    else:
        array = np.asarray(values)
        if array.dtype.kind != "f":
            return
        flat = array.reshape(len(array), -1) if array.ndim > 1 else array[:, None]
        if array.ndim > 2:  # images and the like have no columns
            flat = flat.reshape(-1, 1)
        named = [(str(i), flat[:, i]) for i in range(flat.shape[1])]
    for name, column in named:
        count = int(np.sum(~np.isfinite(column)))
        if count:
            which = f"column {name} of {what}" if len(named) > 1 or is_frame(values) else what
            yield f"{which} holds {count} of {column.size} values that are NaN or infinite"


def _columns(values: Any) -> Iterator[tuple[Any, Any]]:
    return values.items() if values.ndim == 2 else iter([(values.name, values)])


def _is_numeric(column: Any) -> bool:
    return getattr(column.dtype, "kind", "O") in NUMBERS


def _array(column: Any) -> Array:
    whole = not column.isna().any()
    return np.asarray(column.to_numpy() if whole else column.to_numpy("float64", na_value=np.nan))


def _kind(values: Any) -> str:
    """The type of what a column holds, with an example where it is text."""
    array = np.asarray(values, dtype=object).reshape(-1)
    first = next((v for v in array if not isinstance(v, int | float | np.number)), None)
    if first is None:
        return str(values.dtype)
    return f"{type(first).__name__}, such as {shown(first)}"
