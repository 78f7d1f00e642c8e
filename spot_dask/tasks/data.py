"""Data of a training: the result of ``data()``, its hold-out split and its batches.

Plain tensors stay tensors: a batch is one indexing operation. Any other dataset is read item by
item through torch's DataLoader.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sized
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler, Subset, TensorDataset

Data: TypeAlias = Dataset[Any]
Indices = npt.NDArray[np.int64]

RESIDENT_BYTES = 2**30
"""Tensors up to this size are moved to the device once, larger ones batch by batch."""


@dataclass(frozen=True)
class Split:
    """A hold-out split: the share of the training data that validates, stratified by class.

    It is stratified if the targets are class numbers that are known without reading the items
    (plain tensors, or a dataset with ``targets`` or ``labels``, as torchvision's), else random.
    Raises ValueError unless ``validation`` is between 0 and 1.
    """

    validation: float = 0.2
    stratify: bool = True

    def __post_init__(self) -> None:
        if not 0.0 < self.validation < 1.0:
            raise ValueError(
                f"split: validation is {self.validation}; expected a share between 0 and 1"
            )

    def __call__(self, data: Data, seed: int) -> tuple[Data, Data]:
        """The training and the validation part, the same for the same seed.

        Raises ValueError if one of them would be empty.
        """
        n = length(data)
        rng = np.random.default_rng(seed)
        order = rng.permutation(n)
        labels = class_numbers(data) if self.stratify else None
        if labels is not None:  # sort by class, the classes in random order
            _, numbers = np.unique(labels, return_inverse=True)
            ranks = rng.permutation(int(numbers.max()) + 1)
            order = order[np.argsort(ranks[numbers[order]], kind="stable")]
        # Systematic sampling: of every run of consecutive samples, so of every class, its share
        # up to rounding; of all of them exactly round(n * validation).
        marks = np.floor(np.arange(n + 1) * self.validation + 0.5)
        held_out = np.diff(marks) > 0
        if held_out.all() or not held_out.any():
            raise ValueError(
                f"{n} samples cannot be split with validation={self.validation}; "
                "expected at least one for training and one for validation"
            )
        return part(data, np.sort(order[~held_out])), part(data, np.sort(order[held_out]))


def as_parts(returned: Any) -> tuple[Data, Data | None]:
    """The result of ``data()`` as (training data, test data or None).

    Raises ValueError unless it is a dataset, a pair of them or arrays (X, y).
    """
    is_sequence = hasattr(returned, "__getitem__") and hasattr(returned, "__len__")
    is_other = _is_array(returned) or isinstance(returned, tuple | list | dict | str)
    if isinstance(returned, Dataset) or (is_sequence and not is_other):
        return _in_memory(returned), None
    if isinstance(returned, tuple | list) and len(returned) == 2:
        first, second = returned
        if _is_array(first) and _is_array(second):
            return _tensors(first, second), None
        if _is_array(first) == _is_array(second):
            return as_parts(first)[0], as_parts(second)[0]
    raise ValueError(
        f"data() returned {_named(returned)}; expected a Dataset, (train, test) or arrays (X, y)"
    )


def _in_memory(data: Data) -> Data:
    """Plain tensors in the types that training expects; any other dataset as it is."""
    if isinstance(data, Subset) and isinstance(data.dataset, TensorDataset):
        data = part(data.dataset, np.asarray(data.indices))
    if isinstance(data, TensorDataset):
        if len(data.tensors) != 2:
            raise ValueError(
                f"data() returned a TensorDataset of {len(data.tensors)} tensors; "
                "expected two, input and target"
            )
        return _tensors(*data.tensors)
    return data


def length(data: Data) -> int:
    """Number of samples; ValueError for a dataset without one."""
    if not isinstance(data, Sized):
        raise ValueError(f"{type(data).__name__} has no length; expected a dataset with __len__")
    return len(data)


def part(data: Data, indices: Indices) -> Data:
    """The samples at ``indices``; plain tensors stay plain tensors."""
    if isinstance(data, TensorDataset):
        return TensorDataset(*(t[torch.from_numpy(indices)] for t in data.tensors))
    return Subset(data, indices.tolist())


def class_numbers(data: Data) -> Indices | None:
    """The targets (n) if they are class numbers and known without reading the items, else None."""
    if isinstance(data, TensorDataset):
        targets: Any = data.tensors[-1]
    elif isinstance(data, Subset):
        whole = class_numbers(data.dataset)
        return None if whole is None else whole[np.asarray(data.indices)]
    else:
        targets = getattr(data, "targets", getattr(data, "labels", None))
    if targets is None or len(targets) != length(data):
        return None
    labels = np.asarray(targets)
    if labels.ndim != 1 or labels.dtype.kind not in "iub":
        return None
    return labels.astype(np.int64)


def transformed(data: Data, transform: Callable[[Any], Any]) -> Data:
    """The data with ``transform`` applied to the inputs.

    ``transform`` gets all inputs at once of plain tensors, of any other dataset the input of one
    item when the item is read.
    """
    if isinstance(data, TensorDataset):
        X, y = data.tensors
        return _tensors(transform(X), y)
    return Transformed(data, transform)


class Transformed(Dataset[Any]):
    """A dataset whose inputs pass through a function."""

    def __init__(self, data: Data, transform: Callable[[Any], Any]) -> None:
        self._data = data
        self._transform = transform

    def __len__(self) -> int:
        return length(self._data)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        x, y = self._data[index]
        return self._transform(x), y


class Batches:
    """The batches of a dataset on a device; each iteration is one epoch.

    The order is new and random in each epoch if a generator is given, as in training. A last batch
    of one sample is then left out, since batch normalisation cannot learn from one; with the
    random order it is another sample each epoch. ``workers`` processes load data that are not
    plain tensors.
    """

    def __init__(
        self,
        data: Data,
        size: int,
        device: torch.device,
        generator: torch.Generator | None = None,
        workers: int = 0,
    ) -> None:
        n = length(data)
        self._size, self._device, self._generator = size, device, generator
        self._drops_last = generator is not None and n > size > 1 and n % size == 1
        if isinstance(data, TensorDataset):
            X, y = data.tensors
            resident = X.nbytes + y.nbytes <= RESIDENT_BYTES
            self._tensors = (X.to(device), y.to(device)) if resident else (X, y)
            self._loader: DataLoader[Any] | None = None
            return
        # One generator for the order alone: the loader's own draws depend on when it was opened.
        seeds, order = torch.Generator(), None
        if generator is not None:
            seeds.manual_seed(generator.initial_seed())
            order = RandomSampler(range(n), generator=generator)
        self._loader = DataLoader(
            data,
            batch_size=size,
            sampler=order,
            generator=seeds,
            drop_last=self._drops_last,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=device.type == "cuda",
        )

    def __iter__(self) -> Iterator[tuple[Any, Tensor]]:
        if self._loader is not None:
            for batch in self._loader:
                if not isinstance(batch, tuple | list) or len(batch) != 2:
                    raise ValueError(
                        f"a batch of the data is {_named(batch)};"
                        " expected pairs of input and target"
                    )
                yield _to(batch[0], self._device), _to(batch[1], self._device)
            return
        X, y = self._tensors
        n, order = len(y), None
        if self._generator is not None:
            order = torch.randperm(n, generator=self._generator).to(X.device)
        for start in range(0, n - 1 if self._drops_last else n, self._size):
            chosen: Any = slice(start, start + self._size)
            if order is not None:
                chosen = order[chosen]
            yield X[chosen].to(self._device), y[chosen].to(self._device)


def _to(value: Any, device: torch.device) -> Any:
    """Tensors, also in containers, on the device; Python's doubles become the default type."""
    if isinstance(value, Tensor):
        dtype = torch.get_default_dtype() if value.dtype == torch.float64 else value.dtype
        return value.to(device, dtype, non_blocking=True)
    if isinstance(value, dict):
        return {key: _to(item, device) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_to(item, device) for item in value)
    return value


def _tensors(X: Any, y: Any) -> TensorDataset:
    inputs, targets = as_tensor(X), as_tensor(y)
    if targets.dtype in (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32):
        targets = targets.long()  # what the losses of torch expect of class numbers
    if len(inputs) != len(targets):
        raise ValueError(f"X has {len(inputs)} samples but y has {len(targets)}; expected as many")
    return TensorDataset(inputs, targets)


def as_tensor(values: Any) -> Tensor:
    """An array or tensor as a tensor; doubles become torch's default floating-point type."""
    tensor = values if isinstance(values, Tensor) else torch.as_tensor(np.asarray(values))
    return tensor.to(torch.get_default_dtype()) if tensor.dtype == torch.float64 else tensor


def _is_array(value: Any) -> bool:
    return isinstance(value, Tensor) or hasattr(value, "__array__")


def _named(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"{type(value).__name__} of ({', '.join(type(v).__name__ for v in value)})"
    return type(value).__name__
