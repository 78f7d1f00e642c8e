"""Functions whose Sobol indices are known, or can be computed to any precision.

On the first four the gates of importances were set; the others were tried afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from benchmarks.problems import Problem, synthetic
from spot_dask import Categorical, Integer, Real, Space
from spot_dask.records import Configuration


def ishigami() -> Problem:
    """Ishigami & Homma (1990), a = 7, b = 0.1: x3 acts only together with x1."""
    space = Space({f"x{i + 1}": Real(-math.pi, math.pi, default=0.0) for i in range(3)})

    def function(c: Configuration) -> float:
        return math.sin(c["x1"]) * (1.0 + 0.1 * c["x3"] ** 4) + 7.0 * math.sin(c["x2"]) ** 2

    return synthetic("sensitivity/ishigami", space, function, -1.0 - 0.1 * math.pi**4)


_G = (0.0, 1.0, 4.5, 9.0, 99.0, 99.0)


def sobol_g() -> Problem:
    """Sobol's g function (Saltelli & Sobol 1995): a product of six V shapes of falling weight."""
    space = Space({f"x{i + 1}": Real(0.0, 1.0, default=0.5) for i in range(6)})
    lowest = math.prod(a / (1.0 + a) for a in _G)

    def function(c: Configuration) -> float:
        return math.prod(
            (abs(4.0 * c[f"x{i + 1}"] - 2.0) + a) / (1.0 + a) for i, a in enumerate(_G)
        )

    return synthetic("sensitivity/sobol_g", space, function, lowest)


def additive() -> Problem:
    """Six parameters of all kinds, each with an effect of its own, and some noise."""
    space = Space(
        lr=Real(1e-4, 1.0, scale="log", default=1e-2),
        drop=Real(0.0, 0.6, default=0.2),
        width=Integer(16, 256, scale="power2", default=64),
        depth=Integer(1, 6, default=2),
        act=Categorical(["relu", "gelu", "tanh"], default="relu"),
        junk=Real(0.0, 1.0, default=0.5),
    )
    acts = {"relu": 0.03, "gelu": 0.0, "tanh": 0.1}

    def function(c: Configuration) -> float:
        lr, width = math.log10(c["lr"]) / 4.0 + 0.6, math.log2(c["width"]) - 6.0
        rest = 0.05 * abs(c["depth"] - 3) + 0.02 * width**2 + acts[c["act"]]
        return 1.2 * lr**2 + 0.5 * (c["drop"] - 0.15) ** 2 + rest

    return synthetic("sensitivity/additive", space, function, 0.0, noise=0.1)


def toy() -> Problem:
    """One dominant parameter, U-shaped, whose best value depends on another; little else matters.

    As learning rate and batch size do: lr takes part in 9 tenths of the variance.
    """
    space = Space(
        lr=Real(1e-5, 1.0, scale="log", default=1e-3),
        batch=Integer(16, 512, scale="power2", default=64),
        wd=Real(1e-6, 1e-1, scale="log", default=1e-4),
        dropout=Real(0.0, 0.6, default=0.1),
        junk=Real(0.0, 1.0, default=0.5),
        optimiser=Categorical(["sgd", "adam", "rmsprop"], default="sgd"),
    )
    shifts = {"sgd": 0.12, "adam": 0.0, "rmsprop": 0.05}

    def function(c: Configuration) -> float:
        lr, batch = math.log10(c["lr"]) / 5.0 + 1.0, math.log2(c["batch"]) / 5.0 - 0.8
        wd = math.log10(c["wd"]) / 5.0 + 1.2
        valley = 1.7 * (lr - 0.55 - 0.2 * (batch - 0.5)) ** 2
        return valley + shifts[c["optimiser"]] + 0.05 * (wd - 0.5)

    return synthetic("sensitivity/toy", space, function, -0.025, noise=0.1)


def friedman() -> Problem:
    """Friedman (1991) with two parameters that do nothing: a product, a bowl, and slopes."""
    space = Space({f"x{i + 1}": Real(0.0, 1.0, default=0.5) for i in range(7)})

    def function(c: Configuration) -> float:
        product = 10.0 * math.sin(math.pi * c["x1"] * c["x2"])
        return product + 20.0 * (c["x3"] - 0.5) ** 2 + 10.0 * c["x4"] + 5.0 * c["x5"]

    return synthetic("sensitivity/friedman", space, function, 0.0, noise=0.1)


def creases() -> Problem:
    """A sum of V shapes, which a smooth model has to round off, and a factor that tilts one."""
    space = Space(
        a=Real(0.0, 1.0, default=0.5),
        b=Real(0.0, 1.0, default=0.5),
        c=Real(0.0, 1.0, default=0.5),
        kind=Categorical(["flat", "steep"], default="steep"),
        junk=Real(0.0, 1.0, default=0.5),
    )

    def function(c: Configuration) -> float:
        slope = 0.5 if c["kind"] == "flat" else 1.5
        return abs(c["a"] - 0.3) + slope * abs(c["b"] - 0.6) + 0.4 * abs(c["c"] - c["a"])

    return synthetic("sensitivity/creases", space, function, 0.0, noise=0.05)


def diverging() -> Problem:
    """A loss that diverges above a learning rate which momentum lowers."""
    space = Space(
        lr=Real(1e-4, 1.0, scale="log", default=1e-2),
        momentum=Real(0.0, 0.99, default=0.5),
        width=Integer(8, 256, scale="power2", default=32),
        decay=Real(1e-6, 1e-2, scale="log", default=1e-4),
    )

    def function(c: Configuration) -> float:
        step = math.log10(c["lr"] / (1.0 - c["momentum"]))
        slow, fast = 0.25 * (step + 1.0) ** 2, math.exp(min(6.0, 3.0 * step))
        narrow = 0.1 * (math.log2(c["width"]) - 7.0) ** 2 / 4.0
        return 0.1 + slow + 0.05 * fast + narrow + 0.02 * (math.log10(c["decay"]) + 4.0) ** 2

    return synthetic("sensitivity/diverging", space, function, 0.10243594094427, noise=0.1)


_PROBLEMS: dict[str, Callable[[], Problem]] = {
    "ishigami": ishigami,
    "sobol_g": sobol_g,
    "additive": additive,
    "toy": toy,
    "friedman": friedman,
    "creases": creases,
    "diverging": diverging,
}
NAMES = list(_PROBLEMS)


def make(name: str) -> Problem:
    if name not in _PROBLEMS:
        raise ValueError(f"no sensitivity/{name}; there are: {', '.join(NAMES)}")
    return _PROBLEMS[name]()


def kind(name: str) -> str:
    return "smooth" if name in ("ishigami", "sobol_g") else "noisy"
