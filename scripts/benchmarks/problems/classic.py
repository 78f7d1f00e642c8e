"""Classic test functions with noise, without anything to install.

``ackley-n0.1`` has Gaussian noise with a standard deviation of 0.1 spreads. Definitions and optima:
Surjanovic & Bingham, Virtual Library of Simulation Experiments, and for ``camel`` and ``branin``
Dixon & Szego 1978. Where the optimum would be in the middle of the domain, the domain is shifted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.problems import FloatArray, Problem, synthetic
from spot_dask import Real, Space
from spot_dask.records import Configuration

_NAME = re.compile(r"([a-z0-9]+)(?:-n([\d.]+))?")


@dataclass(frozen=True)
class Classic:
    """A function of d real parameters on bounds (d x 2), with its optimum."""

    function: Callable[[FloatArray], float]
    bounds: tuple[tuple[float, float], ...]
    optimum: float = 0.0


def _rosenbrock(x: FloatArray) -> float:
    return math.log1p(float(np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)))


def _ackley(x: FloatArray) -> float:
    bowl = -20 * math.exp(-0.2 * math.sqrt(float(np.mean(x**2))))
    return bowl - math.exp(float(np.mean(np.cos(2 * np.pi * x)))) + 20 + math.e


def _rastrigin(x: FloatArray) -> float:
    return float(np.sum(x**2 - 3 * np.cos(2 * np.pi * x) + 3))


def _griewank(x: FloatArray) -> float:
    waves = np.cos(x / np.sqrt(np.arange(1, len(x) + 1)))
    return float(np.sum(x**2) / 40 - np.prod(waves) + 1)


def _levy(x: FloatArray) -> float:
    w = 1 + (x - 1) / 4
    inner = (w[:-1] - 1) ** 2 * (1 + 10 * np.sin(np.pi * w[:-1] + 1) ** 2)
    last = (w[-1] - 1) ** 2 * (1 + np.sin(2 * np.pi * w[-1]) ** 2)
    return float(np.sin(np.pi * w[0]) ** 2 + np.sum(inner) + last)


def _styblinski(x: FloatArray) -> float:
    return float(np.sum(x**4 - 16 * x**2 + 5 * x) / 2)


def _zakharov(x: FloatArray) -> float:
    s = float(np.sum(0.5 * np.arange(1, len(x) + 1) * x))
    return math.log1p(float(np.sum(x**2)) + s**2 + s**4)


def _powell(x: FloatArray) -> float:
    a, b, c, d = x
    found = (a + 10 * b) ** 2 + 5 * (c - d) ** 2 + (b - 2 * c) ** 4 + 10 * (a - d) ** 4
    return math.log1p(float(found))


def _alpine(x: FloatArray) -> float:
    return float(np.sum(np.abs(x * np.sin(x) + 0.1 * x)))


def _ellipsoid(x: FloatArray) -> float:
    return float(np.sum(10.0 ** np.linspace(0, 2, len(x)) * x**2))


def _branin(x: FloatArray) -> float:
    a, b = x
    valley = b - 5.1 / (4 * np.pi**2) * a**2 + 5 / np.pi * a - 6
    return float(valley**2 + 10 * (1 - 1 / (8 * np.pi)) * np.cos(a) + 10)


def _camel(x: FloatArray) -> float:
    a, b = x
    return float((4 - 2.1 * a**2 + a**4 / 3) * a**2 + a * b + (4 * b**2 - 4) * b**2)


_WEIGHTS = np.array([1.0, 1.2, 3.0, 3.2])
_A3 = np.array([[3, 10, 30], [0.1, 10, 35], [3, 10, 30], [0.1, 10, 35]])
_P3 = 1e-4 * np.array(
    [[3689, 1170, 2673], [4699, 4387, 7470], [1091, 8732, 5547], [381, 5743, 8828]]
)
_A6 = np.array(
    [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8],
     [17, 8, 0.05, 10, 0.1, 14]]
)  # fmt: skip
_P6 = 1e-4 * np.array(
    [[1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991],
     [2348, 1451, 3522, 2883, 3047, 6650], [4047, 8828, 8732, 5743, 1091, 381]]
)  # fmt: skip


def _hartmann(A: FloatArray, P: FloatArray) -> Callable[[FloatArray], float]:
    return lambda x: -float(_WEIGHTS @ np.exp(-np.sum(A * (x - P) ** 2, axis=1)))


CLASSIC: dict[str, Classic] = {
    "sphere": Classic(lambda x: float(np.sum(x**2)), ((-2.0, 5.0),) * 5),
    "ellipsoid": Classic(_ellipsoid, ((-2.0, 5.0),) * 5),
    "rosenbrock": Classic(_rosenbrock, ((-2.0, 3.0),) * 4),
    "ackley": Classic(_ackley, ((-3.0, 5.0),) * 4),
    "rastrigin": Classic(_rastrigin, ((-1.5, 2.5),) * 3),
    "griewank": Classic(_griewank, ((-4.0, 7.0),) * 4),
    "levy": Classic(_levy, ((-7.0, 10.0),) * 4),
    "styblinski": Classic(_styblinski, ((-5.0, 5.0),) * 3, -39.1661657037714 * 3),
    "zakharov": Classic(_zakharov, ((-5.0, 10.0),) * 4),
    "powell": Classic(_powell, ((-4.0, 5.0),) * 4),
    "alpine": Classic(_alpine, ((-7.0, 10.0),) * 3),
    "branin": Classic(_branin, ((-5.0, 10.0), (0.0, 15.0)), 0.397887357729738),
    "camel": Classic(_camel, ((-2.0, 2.0), (-1.0, 1.0)), -1.031628453489877),
    "hartmann3": Classic(_hartmann(_A3, _P3), ((0.0, 1.0),) * 3, -3.86278214782076),
    "hartmann6": Classic(_hartmann(_A6, _P6), ((0.0, 1.0),) * 6, -3.32236801141551),
}
_RUGGED = {"ackley", "rastrigin", "griewank", "levy", "styblinski", "alpine"}
NAMES = [f"{name}-n{noise}" for name in CLASSIC for noise in ("0.1", "0.3")]


def make(name: str) -> Problem:
    """A problem by its name; ValueError where there is no such function."""
    match = _NAME.fullmatch(name)
    if match is None or match[1] not in CLASSIC:
        raise ValueError(f"no classic/{name}; there are: {', '.join(CLASSIC)}, with -n0.1")
    classic = CLASSIC[match[1]]
    space = Space(
        {f"x{j}": Real(low, high, default=low) for j, (low, high) in enumerate(classic.bounds)}
    )

    def value(config: Configuration) -> float:
        return classic.function(np.array([config[n] for n in space.names], dtype=np.float64))

    return synthetic(f"classic/{name}", space, value, classic.optimum, float(match[2] or 0.0))


def kind(name: str) -> str:
    function, dash, _ = name.partition("-n")
    if dash:
        return "noisy"
    return "rugged" if function in _RUGGED else "smooth"
