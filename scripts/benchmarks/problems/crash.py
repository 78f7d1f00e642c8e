"""Configurations that cannot be trained: out of memory, NaN, and failures by mere chance."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from benchmarks.problems import Problem, synthetic
from spot_dask import Categorical, Integer, Real, Space
from spot_dask.records import Configuration


def m2() -> Problem:
    """Fails for x + y > 1.2 and improves towards that border: bigger is better until it crashes.

    Uniform random fails 32 %. Optimum 0.8, on all of the border.
    """
    space = Space(x=Real(0.0, 1.0, default=0.5), y=Real(0.0, 1.0, default=0.5))
    return synthetic("crash/m2", space, lambda c: _edge(c["x"] + c["y"]), 0.8)


def _edge(size: float) -> float:
    return math.inf if size > 1.2 else 2.0 - size


def oom() -> Problem:
    """A network that fits into memory: width, depth and batch size want to be large, but not all.

    Memory grows like depth width^2 + batch depth width; the optimum uses all of it.
    """
    space = Space(
        width=Integer(16, 1024, scale="log", default=64),
        depth=Integer(1, 8, default=2),
        batch=Integer(16, 512, scale="power2", default=64),
        lr=Real(1e-4, 1.0, scale="log", default=1e-2),
        dropout=Real(0.0, 0.6, default=0.1),
    )
    return synthetic("crash/oom", space, _network, _oom_optimum(), noise=0.01)


def _fits(width: int, depth: int, batch: int) -> bool:
    return depth * width**2 + batch * depth * width <= 1.2e6


def _capacity(width: int, depth: int, batch: int) -> float:
    return -0.3 * math.log2(width) - 0.25 * math.log2(depth) - 0.1 * math.log2(batch)


def _network(c: Configuration) -> float:
    width, depth, batch = c["width"], c["depth"], c["batch"]
    if not _fits(width, depth, batch):
        return math.inf
    best_lr = -2.0 + 0.3 * (math.log2(batch) - 6)
    tuned = (math.log10(c["lr"]) - best_lr) ** 2 + 8.0 * (c["dropout"] - 0.2) ** 2
    return _capacity(width, depth, batch) + tuned


def _oom_optimum() -> float:
    """By enumeration of the integers; learning rate and dropout are at their best for each."""
    return min(
        _capacity(width, depth, batch)
        for depth in range(1, 9)
        for batch in (16, 32, 64, 128, 256, 512)
        for width in range(16, 1025)
        if _fits(width, depth, batch)
    )


def nan() -> Problem:
    """Diverges for large steps: where lr x momentum's gain is too large; the best is near by."""
    space = Space(
        optimizer=Categorical(["sgd", "adam"], default="adam"),
        lr=Real(1e-5, 10.0, scale="log", default=1e-3),
        momentum=Real(0.0, 0.99, default=0.5).when(optimizer="sgd"),
        decay=Real(1e-6, 1e-1, scale="log", default=1e-4),
    )
    return synthetic("crash/nan", space, _diverging, 0.1, noise=0.01)


def _diverging(c: Configuration) -> float:
    decay = 0.05 * (math.log10(c["decay"]) + 4.0) ** 2
    if c["optimizer"] == "adam":
        step = math.log10(c["lr"])
        return math.inf if step > -1.0 else 0.3 + 0.2 * (step + 1.5) ** 2 + decay
    step = math.log10(c["lr"] / (1.0 - c["momentum"]))
    return math.inf if step > 0.5 else 0.1 + 0.2 * (0.5 - step) + decay


def chance() -> Problem:
    """Every fifth evaluation fails wherever it is: failures that say nothing."""
    space = Space({f"x{j}": Real(-5.0, 5.0, default=0.0) for j in range(4)})

    def function(c: Configuration) -> float:
        x = np.array(list(c.values())) - np.array([1.2, -2.3, 0.7, 3.1])
        return float((np.array([1.0, 3.0, 10.0, 30.0]) * x**2).sum())

    return synthetic(
        "crash/chance", space, function, 0.0, noise=0.01, fails=lambda c, rng: rng.random() < 0.2
    )


_PROBLEMS: dict[str, Callable[[], Problem]] = {"m2": m2, "oom": oom, "nan": nan, "chance": chance}
NAMES = list(_PROBLEMS)
KIND = "failures"


def make(name: str) -> Problem:
    if name not in _PROBLEMS:
        raise ValueError(f"no crash/{name}; there are: {', '.join(NAMES)}")
    return _PROBLEMS[name]()
