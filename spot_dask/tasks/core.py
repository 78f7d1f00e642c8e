"""A core model on data as a task: what its study needs beside the data.

Sizes of inputs and outputs, loss and metrics follow from the data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from spot_dask.core_models import CoreModel, Squeezed, core_model
from spot_dask.space import Integer, Parameter, Space
from spot_dask.tasks.data import Data, Items, as_data, class_numbers, length
from spot_dask.tasks.nested import leaves
from spot_dask.tasks.optimizers import optimizer, optimizers
from spot_dask.tasks.torch import TorchTask

READ = 10_000
"""Targets that are read one by one to find the classes of a dataset that does not tell them."""


@dataclass(frozen=True)
class Sizes:
    """The shape of a sample, the number of outputs, and whether targets are classes."""

    n_in: tuple[int, ...]
    n_out: int
    classes: bool
    plain: bool = False  # targets are plain numbers, not rows of numbers


@dataclass(frozen=True)
class CoreNetwork:
    """``model(cfg)`` of a core model for data of certain sizes."""

    core: CoreModel
    sizes: Sizes

    def __call__(self, cfg: Any) -> nn.Module:
        network = self.core.build(cfg, self.sizes.n_in, self.sizes.n_out)
        return Squeezed(network) if self.sizes.plain else network


@dataclass(frozen=True)
class AtHand:
    """``data()`` that returns what is at hand, and travels with the task."""

    data: Any

    def __call__(self) -> Any:
        return self.data


def core_study(
    name: str | CoreModel,
    data: Any,
    *,
    classes: int | None = None,
    space: Mapping[str, Parameter] | None = None,
    **settings: Any,
) -> tuple[Space, TorchTask]:
    """The space and the task of a core model on data; see ``Study.of``."""
    core = core_model(name)
    load: Callable[[], Any] = data if _is_loader(data) else AtHand(data)
    sizes = sizes_of(as_data(load()), classes)
    usual: dict[str, Parameter] = {
        "epochs": Integer(4, 64, default=16, scale="power2"),
        "batch_size": Integer(8, 256, default=32, scale="power2"),
    }
    parameters: dict[str, Parameter] = {
        **core.space(),
        **{name: p for name, p in usual.items() if settings.get(name, name) == name},
        **optimizers(),
        **(space or {}),
    }
    given: dict[str, Any] = {
        "loss": nn.CrossEntropyLoss() if sizes.classes else nn.MSELoss(),
        "optimizer": optimizer,
        "epochs": "epochs",
        "batch_size": "batch_size",
    }
    task = TorchTask(model=CoreNetwork(core, sizes), data=load, **given | settings)
    return Space(parameters), task


def _is_loader(data: Any) -> bool:
    return callable(data) and not isinstance(data, torch.utils.data.Dataset)


def sizes_of(data: Data, classes: int | None = None) -> Sizes:
    """What a network for these data must take and give.

    ``classes`` is their number, where the training data do not have all of them. Raises ValueError
    for inputs that are not one array, and for targets of which no loss follows.
    """
    train: Items = data.train
    x, y = train[0]
    if data.transform is not None and not hasattr(train, "tensors"):
        x = data.transform(x)
    inputs = list(leaves(x))
    if len(inputs) != 1 or not hasattr(inputs[0], "shape"):
        raise ValueError(
            "a core model needs inputs that are one array for each sample; give a TorchTask with a"
            " model of your own"
        )
    n_in, target = tuple(inputs[0].shape), np.asarray(y)
    if classes is not None or target.dtype.kind in "iub":
        if target.ndim:
            raise ValueError(
                f"targets are whole numbers of shape {target.shape}; expected one class each, or"
                " floating-point numbers"
            )
        return Sizes(n_in, _classes(train) if classes is None else classes, classes=True)
    if target.ndim > 1 or target.dtype.kind != "f":
        raise ValueError(
            f"targets are of shape {target.shape} and type {target.dtype}; expected class numbers,"
            " a number or a row of numbers each"
        )
    return Sizes(n_in, int(target.size), classes=False, plain=target.ndim == 0)


def _classes(train: Items) -> int:
    """The number of classes of the training data."""
    known = getattr(train, "classes", None)
    if known is not None:
        return len(known)
    numbers = class_numbers(train)
    if numbers is None:
        if length(train) > READ:
            raise ValueError(
                f"the data do not tell their classes without being read; give classes=..., or a"
                f" dataset with targets (it has {length(train)} samples)"
            )
        numbers = np.array([int(train[i][1]) for i in range(length(train))])
    if numbers.min() < 0:
        raise ValueError(f"a class is {numbers.min()}; expected numbers from 0")
    return max(2, int(numbers.max()) + 1)
