"""Mixed and conditional spaces whose optimum is known by construction."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from benchmarks.problems import Problem, stream, synthetic
from spot_dask import Categorical, Integer, Real, Space
from spot_dask.records import Configuration


def branches() -> Problem:
    """Three optimisers with parameters of their own; the best branch looks worst at first."""
    space = Space(
        optimizer=Categorical(["sgd", "adam", "lbfgs"], default="adam"),
        lr=Real(1e-5, 10.0, scale="log", default=1e-3),
        momentum=Real(0.0, 0.99, default=0.5).when(optimizer="sgd"),
        nesterov=Categorical([False, True], default=False).when(optimizer="sgd"),
        beta=Real(0.8, 0.9999, default=0.9).when(optimizer="adam"),
        memory=Integer(1, 50, default=10).when(optimizer="lbfgs"),
        batch=Integer(16, 512, scale="power2", default=64),
        dropout=Real(0.0, 0.6, default=0.1),
    )
    return synthetic("mixed/branches", space, _branches, 0.1, noise=0.01)


def _branches(c: Configuration) -> float:
    step, size = math.log10(c["lr"]), math.log2(c["batch"])
    common = 2.0 * (c["dropout"] - 0.25) ** 2 + 0.02 * (size - 6.0) ** 2
    if c["optimizer"] == "sgd":
        gain = step - math.log10(1.0 - c["momentum"])
        own = 0.1 + 0.4 * gain**2 + 0.8 * (c["momentum"] - 0.9) ** 2 + 0.05 * (not c["nesterov"])
    elif c["optimizer"] == "adam":
        own = 0.2 + 0.1 * (step + 3.0) ** 2 + 5.0 * (c["beta"] - 0.95) ** 2
    else:
        own = 0.25 + 0.15 * step**2 + 0.0004 * (c["memory"] - 20) ** 2
    return own + common


def levels() -> Problem:
    """A factor of 20 levels, each with a shift of the other parameters' optimum of its own."""
    kinds = [f"k{i}" for i in range(20)]
    rng = stream("mixed/levels")
    offset, shift = rng.permutation(20) / 19.0, rng.uniform(-0.15, 0.15, (20, 4))
    space = Space(
        {
            "kind": Categorical(kinds, default="k0"),
            "rank": Categorical([1, 2, 5, 10, 20, 50], default=1, ordered=True),
            **{f"x{j}": Real(0.0, 1.0, default=0.0) for j in range(4)},
        }
    )

    def function(c: Configuration) -> float:
        k = kinds.index(c["kind"])
        x = np.array([c[f"x{j}"] for j in range(4)])
        rank = [1, 2, 5, 10, 20, 50].index(c["rank"])
        bowl = 4.0 * ((x - 0.5 - shift[k]) ** 2).sum()
        return float(offset[k] + bowl + 0.05 * (rank - 3) ** 2)

    return synthetic("mixed/levels", space, function, 0.0, noise=0.01)


def layers() -> Problem:
    """A network of one to four layers; the width of a layer exists only where the layer does."""
    deeper = {j: tuple(range(j, 5)) for j in range(2, 5)}
    space = Space(
        {
            "depth": Integer(1, 4, default=1),
            "width1": Integer(8, 512, scale="log", default=64),
            **{
                f"width{j}": Integer(8, 512, scale="log", default=64).when(depth=deeper[j])
                for j in deeper
            },
            "lr": Real(1e-5, 1.0, scale="log", default=1e-3),
            "activation": Categorical(["relu", "tanh", "gelu"], default="relu"),
        }
    )
    return synthetic("mixed/layers", space, _layers, 0.0, noise=0.01)


_WIDTHS = (128, 32, 256, 16)


def _layers(c: Configuration) -> float:
    """The best has three layers of 128, 32 and 256 units, lr 10^-2.5 and gelu."""
    depth = c["depth"]
    widths = [math.log2(c[f"width{j + 1}"] / _WIDTHS[j]) ** 2 for j in range(depth)]
    step = (math.log10(c["lr"]) + 1.0 + 0.5 * depth) ** 2
    kind = {"relu": 0.1, "tanh": 0.3, "gelu": 0.0}[c["activation"]]
    return 0.15 * abs(depth - 3) + 0.15 * sum(widths) / depth + 0.2 * step + kind


def grid() -> Problem:
    """A small finite space (600 configurations): snapping makes duplicates, and it can end."""
    space = Space(
        a=Integer(0, 9, default=0),
        b=Integer(1, 32, scale="power2", default=1),
        c=Categorical(["p", "q", "r", "s", "t"], default="p"),
        d=Categorical([False, True], default=False),
    )
    effects = dict(zip("pqrst", (0.7, 0.2, 0.9, 0.0, 0.5), strict=True))

    def function(c: Configuration) -> float:
        b = math.log2(c["b"])
        twist = 0.05 * (c["a"] - 6) ** 2 + 0.1 * (b - 3) ** 2 + 0.02 * (c["a"] - 6) * (b - 3)
        return twist + effects[c["c"]] + 0.3 * c["d"]

    return synthetic("mixed/grid", space, function, 0.0, noise=0.02)


def pipeline() -> Problem:
    """A preparation and a model, each with parameters of its own, one of them two levels deep."""
    space = Space(
        scaler=Categorical(["none", "standard", "quantile"], default="none"),
        quantiles=Integer(4, 1024, scale="power2", default=64).when(scaler="quantile"),
        model=Categorical(["linear", "kernel", "trees"], default="linear"),
        alpha=Real(1e-6, 1e2, scale="log", default=1.0).when(model="linear"),
        C=Real(1e-3, 1e4, scale="log", default=1.0).when(model="kernel"),
        gamma=Real(1e-5, 10.0, scale="log", default=0.1).when(model="kernel"),
        trees=Integer(10, 1000, scale="log", default=100).when(model="trees"),
        depth=Integer(1, 16, default=6).when(model="trees"),
        boosting=Categorical([False, True], default=False).when(model="trees"),
        rate=Real(1e-3, 1.0, scale="log", default=0.3).when(boosting=True),
        share=Real(0.05, 1.0, default=1.0),
    )
    return synthetic("mixed/pipeline", space, _pipeline, 0.0, noise=0.01)


def _pipeline(c: Configuration) -> float:
    """The best are trees that are boosted at a rate of .05: 400 of depth 5 on .6 of the data."""
    scaled = {"none": 0.2, "standard": 0.1, "quantile": 0.0}[c["scaler"]]
    if c["scaler"] == "quantile":
        scaled += 0.02 * abs(math.log2(c["quantiles"]) - 7)
    share = (c["share"] - 0.6) ** 2
    if c["model"] == "linear":
        return 0.5 + scaled + share + 0.02 * (math.log10(c["alpha"]) + 2.5) ** 2
    if c["model"] == "kernel":
        ridge = math.log10(c["C"]) + 0.7 * math.log10(c["gamma"])
        return 0.15 + scaled + share + 0.08 * ridge**2 + 0.03 * (math.log10(c["gamma"]) + 2) ** 2
    if not c["boosting"]:
        return 0.3 + scaled + share + 0.003 * (c["depth"] - 12) ** 2
    total = math.log10(c["rate"] * c["trees"]) - math.log10(0.05 * 400)
    grown = 0.01 * (c["depth"] - 5) ** 2 + 0.1 * (math.log10(c["rate"]) - math.log10(0.05)) ** 2
    return scaled + share + grown + 0.6 * total**2


_PROBLEMS: dict[str, Callable[[], Problem]] = {
    "branches": branches,
    "levels": levels,
    "layers": layers,
    "grid": grid,
    "pipeline": pipeline,
}
NAMES = list(_PROBLEMS)
KIND = "mixed"


def make(name: str) -> Problem:
    if name not in _PROBLEMS:
        raise ValueError(f"no mixed/{name}; there are: {', '.join(NAMES)}")
    return _PROBLEMS[name]()
