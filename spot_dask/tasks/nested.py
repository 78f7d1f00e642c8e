"""Values that hold tensors: a tensor, or mappings, tuples and lists of such, as deep as they go.

A function here keeps the kind of every container: a named tuple stays one, and so does a mapping
that is no ``dict`` where its items can be set. What is neither tensor nor container stays as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


def mapped(change: Callable[[Tensor], Any], value: Any) -> Any:
    """The value with ``change`` applied to each of its tensors."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return _mapping(value, {key: mapped(change, item) for key, item in value.items()})
    if isinstance(value, tuple | list):
        return _sequence(value, [mapped(change, item) for item in value])
    return value


def rows(value: Any, chosen: Any) -> Any:
    """The samples at ``chosen``, indices or a slice, of a value of tensors, arrays and frames."""
    if isinstance(value, Tensor):
        return value[chosen]
    if isinstance(value, Mapping):
        return _mapping(value, {key: rows(item, chosen) for key, item in value.items()})
    if isinstance(value, tuple | list):
        return _sequence(value, [rows(item, chosen) for item in value])
    places = chosen if isinstance(chosen, slice | int) else np.asarray(chosen)
    return value.iloc[places] if hasattr(value, "iloc") else value[places]


def moved(value: Any, device: torch.device, dtype: torch.dtype | None = None) -> Any:
    """The value with its tensors on a device; floating-point ones in a type, if it is given.

    What has a ``to`` of its own, such as a packed sequence, is moved by it.
    """
    if isinstance(value, Tensor):
        kept = dtype is None or not value.is_floating_point()
        return value.to(device, value.dtype if kept else dtype, non_blocking=True)
    if isinstance(value, Mapping):
        return _mapping(value, {key: moved(item, device, dtype) for key, item in value.items()})
    if hasattr(value, "to"):
        return value.to(device)
    if isinstance(value, tuple | list):
        return _sequence(value, [moved(item, device, dtype) for item in value])
    return value


def leaves(value: Any) -> Iterator[Any]:
    """What a value holds that is no container, in order."""
    if isinstance(value, Mapping | tuple | list):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from leaves(item)
    else:
        yield value


def samples(value: Any) -> int | None:
    """How many samples a batch's value is of: the rows of its first tensor; None if not known."""
    for leaf in leaves(value):
        if getattr(leaf, "ndim", 0):
            return len(leaf)
    return len(value) if isinstance(value, list | tuple) else None


def joined(values: Sequence[Any]) -> Any:
    """The values of several batches, of one structure, as one of all their samples.

    Raises ValueError where they hold other things than tensors that go together.
    """
    first = values[0]
    if isinstance(first, Tensor):
        try:
            return torch.cat([v if v.ndim else v.reshape(1) for v in values])
        except (RuntimeError, TypeError) as error:
            raise ValueError(f"batches that do not go together ({error})") from None
    if isinstance(first, Mapping):
        return _mapping(first, {key: joined([v[key] for v in values]) for key in first})
    if isinstance(first, tuple | list):
        return _sequence(first, [joined(items) for items in zip(*values, strict=True)])
    raise ValueError(f"batches that hold {type(first).__name__}")


def _mapping(like: Mapping[Any, Any], items: dict[Any, Any]) -> Any:
    if type(like) is dict:
        return items
    if isinstance(like, MutableMapping):
        changed = copy.copy(like)
        changed.update(items)
        return changed
    return items


def _sequence(like: Sequence[Any], items: list[Any]) -> Any:
    return type(like)(*items) if hasattr(like, "_fields") else type(like)(items)  # type: ignore[call-arg]
