"""Metrics of a batch: functions of the model's output and the target, averaged over samples.

Notation: ``n`` samples in a batch. Classification takes class scores (n x classes, or n x classes x
... for dense targets) or one logit per sample (positive means class 1); a target holds class
numbers. Regression takes output and target of the same shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from spot_dask.tasks import Direction, nearest

Measure = Callable[[Tensor, Tensor], Any]
"""(output, target) -> the mean over the batch's samples."""


@dataclass(frozen=True)
class Metric:
    """A named measure; ``finish`` is applied to its mean over all samples."""

    name: str
    measure: Measure
    better: Direction | None = None  # None: not known
    finish: Callable[[float], float] = float


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    """Share of the samples whose highest score is that of their class."""
    classes = output.ndim > target.ndim
    predicted = output.argmax(1) if classes else (output > 0).to(target.dtype)
    return (predicted == target).float().mean()


def error(output: Tensor, target: Tensor) -> Tensor:
    """1 - accuracy."""
    return 1.0 - accuracy(output, target)


def mae(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error."""
    return (output - target).abs().mean()


def mse(output: Tensor, target: Tensor) -> Tensor:
    """Mean squared error."""
    return (output - target).square().mean()


KNOWN = {
    metric.name: metric
    for metric in (
        Metric("accuracy", accuracy, "max"),
        Metric("error", error, "min"),
        Metric("mae", mae, "min"),
        Metric("mse", mse, "min"),
        Metric("rmse", mse, "min", math.sqrt),
    )
}


def resolve(metric: str | Measure) -> Metric:
    """A metric by its name, or a function under its own; ValueError for an unknown name."""
    if not isinstance(metric, str):
        if not callable(metric):
            raise ValueError(f"metric {metric!r} is neither a name nor a function")
        return Metric(getattr(metric, "__name__", type(metric).__name__), metric)
    if metric not in KNOWN:
        raise ValueError(f"no metric named {metric!r}{nearest(metric, KNOWN)}")
    return KNOWN[metric]


class Mean:
    """Means of several values over batches, weighted by the batches' sizes.

    Values stay on their device until ``result``: reading one would wait for the GPU.
    """

    def __init__(self) -> None:
        self._values: dict[str, list[Tensor]] = {}
        self._sizes: list[int] = []

    def add(self, values: dict[str, Tensor], size: int) -> None:
        for name, value in values.items():
            self._values.setdefault(name, []).append(value.detach())
        self._sizes.append(size)

    def result(self) -> dict[str, float]:
        weights = torch.tensor(self._sizes, dtype=torch.float64)
        return {
            name: float(torch.stack(values).cpu().double() @ weights / weights.sum())
            for name, values in self._values.items()
        }
