"""The batches of a dataset on a device, epoch by epoch."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, RandomSampler, TensorDataset

from spot_dask.tasks import seed_all
from spot_dask.tasks.data import Change, Items, chained, length, named, numbers, transformed
from spot_dask.tasks.nested import leaves, mapped, moved

RESIDENT_BYTES = 2**30
"""Tensors up to this size are moved to the device once, larger ones batch by batch."""


@dataclass(frozen=True)
class Source:
    """Data, and what is done to a sample whenever it is read: ``fixed``, then ``anew``.

    The functions change inputs. Those of ``fixed`` draw nothing at random: with arrays they are
    applied once, to all. Those of ``anew`` get an item's input, or that of a batch of arrays.
    """

    data: Items
    fixed: tuple[Change, ...] = ()
    anew: tuple[Change, ...] = ()
    collate: Callable[[list[Any]], Any] | None = None
    sampler: Callable[[Any, Any], Any] | None = None

    def of(self, data: Items) -> Source:
        """The same changes of other data."""
        return replace(self, data=data)

    def then(self, change: Change, anew: bool = False) -> Source:
        """The same, with one more change of a sample after the others."""
        if self.anew or anew:
            return replace(self, anew=(*self.anew, change))
        return replace(self, fixed=(*self.fixed, change))


class Batches:
    """The batches of a source on a device; each iteration is one epoch.

    Floating-point numbers come in the type ``dtype``, if it is set before the first batch.
    The order is new and random in each epoch if a generator is given, as in training, or what the
    source's sampler says. A last batch of one sample is then left out, since batch normalisation
    cannot learn from one; with the random order it is another sample each epoch. ``workers``
    processes load data that are no arrays; in training they draw what the generator's state says.
    ``steps`` is the number of batches of an epoch.

    ``part`` (i, k) are the samples of each batch that the process i of k gets; ``share`` is what
    share of the last batch it was. Raises ValueError for batches of fewer samples than processes.
    """

    def __init__(
        self,
        source: Source,
        size: int,
        device: torch.device,
        generator: torch.Generator | None = None,
        workers: int = 0,
        dtype: torch.dtype | None = None,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        data, self._device, self.dtype = source.data, device, dtype
        self._order: Any = None
        if generator is not None:
            make = source.sampler or (
                lambda data, g: RandomSampler(range(length(data)), generator=g)
            )
            self._order = make(data, generator)
        n = length(data) if self._order is None else _length_of(self._order)
        self._size = size = min(size, n)
        self._first, self._parts = part
        if size < self._parts:
            raise ValueError(f"a batch of {size} cannot be shared by {self._parts} processes")
        left, least = n % size, max(self._parts, min(size, 2))
        drops_last = generator is not None and n > size and 0 < left < least
        self._all, self._n = n, n - left if drops_last else n
        self.share = 1.0
        self.steps = -(-self._n // size)
        self._shuffles = generator if source.sampler is None else None
        self._loader: DataLoader[Any] | None = None
        self._anew: Change | None = None
        if isinstance(data, TensorDataset):
            for change in source.fixed:
                data = transformed(data, change, frames=True)
            data = numbers(data, "the prepared X" if source.fixed else "X")
            self._anew = chained(source.anew) if source.anew else None
            changed: Any = data
            self._tensors: Any = changed.tensors
            # What is applied to batches may hold tensors that are where the arrays are.
            size_of_all = sum(leaf.nbytes for leaf in leaves(self._tensors))
            self._resident = self._anew is None and size_of_all <= RESIDENT_BYTES
            self._moved = False
            return
        changes = (*source.fixed, *source.anew)
        if changes:
            data = transformed(data, chained(changes))
        # One generator for the order alone: the loader's own draws depend on when it was opened.
        seeds = torch.Generator()
        if generator is not None:
            seeds.manual_seed(generator.initial_seed())
        whole: dict[str, Any] = {
            "batch_size": size, "sampler": self._order, "drop_last": drops_last,
        }  # fmt: skip
        if self._parts > 1:
            whole = {"batch_sampler": PartSampler(self._order, self)}
        if workers and generator is not None:
            data = Seeded(data)
            name = "sampler" if self._parts == 1 else "batch_sampler"
            whole[name] = SeededIndices(whole[name], generator)
        self._loader = DataLoader(
            data,
            **whole,
            generator=seeds,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=device.type == "cuda",
            collate_fn=source.collate,
        )

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return self._of_arrays() if self._loader is None else self._of_items(self._loader)

    def _of_items(self, loader: DataLoader[Any]) -> Iterator[tuple[Any, Any]]:
        for bounds, batch in zip(self.bounds, loader, strict=True):
            self.share = len(self.mine(range(*bounds))) / (bounds[1] - bounds[0])
            if not isinstance(batch, tuple | list) or len(batch) != 2:
                raise ValueError(
                    f"a batch of the data is {named(batch)}; expected pairs of input and target"
                )
            yield self._here(batch[0]), self._here(batch[1])

    def _of_arrays(self) -> Iterator[tuple[Any, Any]]:
        if self._resident and not self._moved:
            self._tensors, self._moved = self._here(self._tensors), True
        X, y = self._tensors
        order = None
        if self._shuffles is not None:
            order = torch.randperm(self._all, generator=self._shuffles)
        elif self._order is not None:
            order = torch.as_tensor(list(self._order))
        if order is not None:
            order = order.to(next(leaves(y)).device)
        for bounds in self.bounds:
            chosen: Any = slice(*bounds)
            if order is not None:
                chosen = order[chosen]
                if self._parts > 1:
                    chosen = self.mine(chosen)
                    self.share = len(chosen) / (bounds[1] - bounds[0])
            x, target = _taken(X, chosen), _taken(y, chosen)
            if self._anew is not None:
                x = self._anew(x)
            if not self._resident:
                x, target = self._here(x), self._here(target)
            yield x, target

    @property
    def bounds(self) -> list[tuple[int, int]]:
        """Where each batch begins and ends in the order of an epoch."""
        starts = range(0, self._n, self._size)
        return [(start, min(start + self._size, self._n)) for start in starts]

    def mine(self, batch: Any) -> Any:
        """What this process gets of a batch."""
        return batch[self._first :: self._parts]

    def _here(self, value: Any) -> Any:
        return moved(value, self._device, self.dtype)


class Seeded(Dataset[Any]):
    """A dataset whose items are read by (index, seed), with all generators set to the seed.

    So what a loading process draws depends neither on which process it is nor on what it has read.
    """

    def __init__(self, data: Items) -> None:
        self._data = data

    def __len__(self) -> int:
        return length(self._data)

    def __getitem__(self, key: tuple[int, int]) -> Any:
        index, seed = key
        seed_all(seed)
        return self._data[index]


class SeededIndices:
    """Indices, or lists of them, each with a seed of its own in every epoch.

    The seeds follow from the state that the generator of the order has at the epoch's beginning.
    """

    def __init__(self, order: Any, generator: torch.Generator) -> None:
        self._order, self._generator = order, generator

    def __iter__(self) -> Iterator[Any]:
        first = zlib.crc32(self._generator.get_state().numpy().tobytes()) << 20
        for place, chosen in enumerate(self._order):
            if isinstance(chosen, list):
                yield [(i, first + 4096 * place + k) for k, i in enumerate(chosen)]
            else:
                yield chosen, first + place

    def __len__(self) -> int:
        return len(self._order)


class PartSampler:
    """The indices of each batch that one of several processes gets."""

    def __init__(self, order: Any, batches: Batches) -> None:
        self._order, self._batches = order, batches

    def __iter__(self) -> Iterator[list[int]]:
        indices = list(self._order)
        for start, end in self._batches.bounds:
            yield self._batches.mine(indices[start:end])

    def __len__(self) -> int:
        return len(self._batches.bounds)


def _taken(value: Any, chosen: Any) -> Any:
    return value[chosen] if isinstance(value, torch.Tensor) else mapped(lambda t: t[chosen], value)


def _length_of(order: Any) -> int:
    """The length of an order of samples; ValueError where it has none."""
    try:
        return len(order)
    except (TypeError, NotImplementedError):
        raise ValueError(
            f"sampler() returned {named(order)} without a length; expected indices, as torch's"
            " samplers are"
        ) from None
