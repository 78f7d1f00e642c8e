"""Data of a training: the result of ``data()`` in its parts.

Arrays become tensors in memory, of which a batch is one indexing operation. Any other dataset is
read item by item. Numbers keep their types here; what floating-point type a model gets is up to
``batches``. Frames, and arrays of texts, may stay what they are until something makes numbers of
them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset

from spot_dask.cards import Listed
from spot_dask.tasks import check_call
from spot_dask.tasks.columns import as_numbers, is_frame, missing
from spot_dask.tasks.nested import leaves, mapped, rows

Items: TypeAlias = Dataset[Any]
Indices = npt.NDArray[np.int64]
Change = Callable[[Any], Any]
"""A function of inputs."""

SMALL_INTEGERS = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32)


@dataclass(frozen=True)
class Data(Listed):
    """Data in parts, each a Dataset or arrays (X, y), and how they are read.

    A part of the training data validates where no ``validation`` is given. ``transform`` is a
    function of the inputs of all parts; ``train_transform`` takes its place in training only, and
    is applied anew whenever a sample is trained on, so that it may draw at random. A Dataset's
    inputs pass through them one by one; of arrays, ``transform`` gets all inputs at once and
    ``train_transform`` those of a batch, before they are moved to the device.

    ``collate`` makes a batch of a list of items, as DataLoader's ``collate_fn`` does.
    ``sampler(train, generator)`` returns an iterable with a length: the indices of an epoch's
    samples, new in each iteration; what it draws it must draw from the generator, for a training
    that was interrupted goes on with the same draws.

    Raises ValueError for a function that cannot be called so.

    >>> import numpy as np
    >>> from spot_dask import Data
    >>> x, y = np.random.default_rng(0).random((10, 3)), np.arange(10) % 2
    >>> data = Data((x[:8], y[:8]), validation=(x[8:], y[8:]), train_transform=lambda x: x + 0.01)
    >>> data.test is None
    True
    """

    train: Any
    validation: Any = None
    test: Any = None
    transform: Change | None = None
    train_transform: Change | None = None
    collate: Callable[[list[Any]], Any] | None = None
    sampler: Callable[[Any, Any], Any] | None = None

    def __post_init__(self) -> None:
        for name in ("transform", "train_transform"):
            if getattr(self, name) is not None:
                check_call(name, getattr(self, name), "inputs")
        if self.collate is not None:
            check_call("collate", self.collate, "items")
        if self.sampler is not None:
            check_call("sampler", self.sampler, "train", "generator")


class Arrays(TensorDataset):
    """Inputs X and targets y of n samples in memory: ``tensors`` is (X, y).

    Each is a tensor of n rows, or a mapping, tuple or list of such. X may hold frames and arrays of
    texts, which are not numbers yet. Raises ValueError where they are not of as many samples.
    """

    tensors: Any

    def __init__(self, X: Any, y: Any) -> None:
        self.tensors = X, y
        rows = [[len(leaf) for leaf in leaves(value)] for value in (X, y)]
        if not rows[0] or not rows[1]:
            raise ValueError("arrays (X, y) of which one is empty; expected inputs and targets")
        if len({*rows[0], *rows[1]}) > 1:
            X_rows, y_rows = (" and ".join(map(str, dict.fromkeys(part))) for part in rows)
            raise ValueError(f"X has {X_rows} samples but y has {y_rows}; expected as many")
        self._n = rows[0][0]

    def __len__(self) -> int:
        return self._n

    @property
    def X(self) -> Any:
        return self.tensors[0]

    @property
    def y(self) -> Any:
        return self.tensors[1]

    def __getitem__(self, chosen: Any) -> tuple[Any, Any]:
        return rows(self.X, chosen), rows(self.y, chosen)


def as_data(returned: Any, frames: bool = False) -> Data:
    """The result of ``data()`` as Data whose parts are Datasets, arrays as Arrays.

    A pair of parts is (train, test), three are (train, validation, test). Frames and arrays of
    texts stay what they are where ``frames`` says so. Raises ValueError for what is no data, and
    for a part without samples.
    """
    given = returned if isinstance(returned, Data) else _parted(returned)
    parts: dict[str, Any] = {}
    for name in ("train", "validation", "test"):
        value = getattr(given, name)
        if value is None and name != "train":
            continue
        found = _dataset(value, name, frames)
        if found is None:
            what = "data() returned" if value is returned else f"the {name} data are"
            raise ValueError(
                f"{what} {named(value)}; expected a Dataset,"
                " arrays (X, y), (train, test), (train, validation, test) or Data(train=...)"
            )
        if length(found) == 0:
            raise ValueError(f"the {name} data have no samples")
        parts[name] = found
    return replace(given, **parts)


def both(one: Items, other: Items) -> Items:
    """The samples of two parts as one; raises ValueError where their arrays do not fit together."""
    if not (isinstance(one, Arrays) and isinstance(other, Arrays)):
        return ConcatDataset([one, other])
    try:
        return Arrays(*(_appended(*pair) for pair in zip(one.tensors, other.tensors, strict=True)))
    except (RuntimeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the train and validation data do not fit together: {error}") from None


def _appended(one: Any, other: Any) -> Any:
    """The rows of two tensors, or of two containers of such."""
    if isinstance(one, Tensor):
        return torch.cat([one, other])
    if is_frame(one):
        import pandas as pd

        return pd.concat([one, other], ignore_index=True)
    if isinstance(one, np.ndarray):
        return np.concatenate([one, other])
    if isinstance(one, Mapping):
        return {key: _appended(value, other[key]) for key, value in one.items()}
    items = [_appended(*pair) for pair in zip(one, other, strict=True)]
    return type(one)(*items) if hasattr(one, "_fields") else type(one)(items)


def _parted(returned: Any) -> Data:
    """What is no Data: one part, or a tuple or list of two or three."""
    several = isinstance(returned, tuple | list) and len(returned) in (2, 3)
    if several and not _is_pair(returned) and all(map(_is_part, returned)):
        return Data(returned[0], returned[1] if len(returned) == 3 else None, returned[-1])
    return Data(returned)


def _is_part(value: Any) -> bool:
    return isinstance(value, Dataset) or _is_pair(value) or _reads_items(value)


def _is_pair(value: Any) -> bool:
    """Whether it is (X, y): both hold arrays and at least one of them is no plain tuple or list."""
    plain = isinstance(value, tuple | list) and not hasattr(value, "_fields")
    if not plain or len(value) != 2 or not all(map(_holds_arrays, value)):
        return False
    return not all(isinstance(v, tuple | list) and not hasattr(v, "_fields") for v in value)


def _holds_arrays(value: Any) -> bool:
    found = list(leaves(value))
    return bool(found) and all(map(_is_array, found))


def _reads_items(value: Any) -> bool:
    """Whether it can be read item by item though it is no Dataset."""
    other = _is_array(value) or isinstance(value, tuple | list | Mapping | str)
    return hasattr(value, "__getitem__") and hasattr(value, "__len__") and not other


def _dataset(value: Any, name: str, frames: bool) -> Items | None:
    """A part as a Dataset, plain tensors in memory; None where it is none."""
    if _is_pair(value):
        return arrays(value[0], value[1], name, frames)
    if isinstance(value, Subset) and isinstance(value.dataset, TensorDataset):
        value = part(_in_memory(value.dataset), np.asarray(value.indices))
    if isinstance(value, TensorDataset):
        return _in_memory(value)
    return value if isinstance(value, Dataset) or _reads_items(value) else None


def _in_memory(data: TensorDataset) -> Arrays:
    if isinstance(data, Arrays):
        return data
    if len(data.tensors) != 2:
        raise ValueError(
            f"data() returned a TensorDataset of {len(data.tensors)} tensors; "
            "expected two, input and target"
        )
    return arrays(*data.tensors)


def arrays(X: Any, y: Any, name: str = "train", frames: bool = False) -> Arrays:
    """Arrays, frames or tensors, or containers of them, as tensors in memory of the same types.

    Small integers as targets become what torch's losses expect of class numbers. Inputs that are
    ``frames`` or texts may stay so. Raises ValueError naming the columns that hold no numbers.
    """

    def target(t: Tensor) -> Tensor:
        return t.long() if t.dtype in SMALL_INTEGERS else t

    return Arrays(
        as_tensors(X, f"X ({name})", frames), mapped(target, as_tensors(y, f"y ({name})"))
    )


def numbers(data: Items, what: str = "X") -> Items:
    """The data whose inputs are tensors.

    Raises ValueError, saying ``what`` they are, naming the columns without numbers.
    """
    if not isinstance(data, Arrays) or all(isinstance(leaf, Tensor) for leaf in leaves(data.X)):
        return data
    return Arrays(as_tensors(data.X, what), data.y)


def as_tensors(values: Any, what: str, frames: bool = False) -> Any:
    """Arrays, or containers of them, as tensors, but for frames and texts that may stay so.

    Raises ValueError, with ``what`` they are, naming the columns without numbers.
    """
    if isinstance(values, Tensor):
        return values
    if hasattr(values, "toarray"):  # a sparse matrix of scipy
        values = values.toarray()
    if frames and (is_frame(values) or getattr(values, "dtype", np.dtype(int)).kind in "OUST"):
        return values
    if is_frame(values) or hasattr(values, "__array__"):
        array = as_numbers(values, what)
        # Torch would write into an array that is not to be written; one on disk stays there.
        kept = array.flags.writeable or isinstance(array, np.memmap)
        return torch.as_tensor(array if kept else array.copy())
    if isinstance(values, Mapping):
        return {key: as_tensors(item, f"{what}[{key!r}]", frames) for key, item in values.items()}
    items = [as_tensors(item, f"{what}[{i}]", frames) for i, item in enumerate(values)]
    return type(values)(*items) if hasattr(values, "_fields") else type(values)(items)


def doubts_of(returned: Any, prepared: bool = False) -> Iterator[str]:
    """A sentence for each column of the arrays that ``data()`` returned with NaN in it.

    Of inputs that are ``prepared`` nothing is said: that may be what NaN are left to.
    """
    given = returned if isinstance(returned, Data) else _parted(returned)
    for name in ("train", "validation", "test"):
        value = getattr(given, name)
        if isinstance(value, TensorDataset):
            value = value.tensors
        if not _is_pair(value):
            continue
        for letter, values in zip("Xy", value, strict=True):
            if prepared and letter == "X":
                continue
            for leaf in [values] if is_frame(values) else leaves(values):
                yield from missing(leaf, f"{letter} ({name})")


def length(data: Items) -> int:
    """Number of samples; ValueError for a dataset without one."""
    if not isinstance(data, Sized):
        raise ValueError(f"{type(data).__name__} has no length; expected a dataset with __len__")
    return len(data)


def part(data: Items, indices: Indices) -> Items:
    """The samples at ``indices``; arrays stay arrays."""
    if isinstance(data, TensorDataset):
        return Arrays(*_in_memory(data)[torch.from_numpy(indices)])
    return Subset(data, indices.tolist())


def class_numbers(data: Items) -> Indices | None:
    """The targets (n) if they are class numbers and known without reading the items, else None."""
    if isinstance(data, TensorDataset):
        targets: Any = data.tensors[-1]
    elif isinstance(data, Subset):
        whole = class_numbers(data.dataset)
        return None if whole is None else whole[np.asarray(data.indices)]
    elif isinstance(data, Transformed):
        return class_numbers(data.data)
    else:
        targets = getattr(data, "targets", getattr(data, "labels", None))
    if targets is None or isinstance(targets, Mapping) or len(targets) != length(data):
        return None
    try:
        labels = np.asarray(targets)
    except (ValueError, TypeError, RuntimeError):  # heads of several sizes, tensors on a GPU
        return None
    if labels.ndim != 1 or labels.dtype.kind not in "iub":
        return None
    return labels.astype(np.int64)


def transformed(data: Items, change: Change, frames: bool = False) -> Items:
    """The data with their inputs changed: all at once of arrays, else of an item that is read.

    What becomes ``frames`` or texts may stay so. Raises ValueError where the changed inputs of
    arrays are of fewer or more samples, and for columns without numbers.
    """
    if isinstance(data, TensorDataset):
        X, y = data.tensors
        return Arrays(as_tensors(change(X), "the prepared X", frames), y)
    return Transformed(data, change)


class Transformed(Dataset[Any]):
    """A dataset whose inputs pass through a function."""

    def __init__(self, data: Items, change: Change) -> None:
        self.data = data
        self._change = change

    def __len__(self) -> int:
        return length(self.data)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        x, y = self.data[index]
        return self._change(x), y


def _is_array(value: Any) -> bool:
    return isinstance(value, Tensor) or hasattr(value, "__array__")


def named(value: Any) -> str:
    """The type of a value, and those of its items, for a message."""
    if isinstance(value, tuple | list):
        return f"{type(value).__name__} of ({', '.join(type(v).__name__ for v in value)})"
    return type(value).__name__


def chained(changes: Iterable[Change]) -> Change:
    """One function that applies several, in order."""
    steps = list(changes)

    def apply(x: Any) -> Any:
        for step in steps:
            x = step(x)
        return x

    return apply
