"""Problems: a search space, what an evaluation shows, the truth, and how long it takes.

A suite is one file of this folder with ``NAMES``, the problems it stands for, and ``make(name)``,
which may know more of them; ``KIND`` or ``kind(name)`` tells what kind they are of. A suite whose
values are to be told beside their regrets has ``VALUE``, what they are called, and
``published(evaluations)``. A problem is named ``suite/name``. Everything is minimised.

Regret is normalised: (true value - optimum) / spread, clipped to [0, 1], where spread is the median
of uniform samples minus the optimum. So 1 is what a random configuration gives, 0 the optimum.
"""

from __future__ import annotations

import fnmatch
import importlib
import math
import pkgutil
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import numpy.typing as npt

from spot_dask import Space
from spot_dask.records import Configuration

FloatArray = npt.NDArray[np.float64]
Truth = Callable[[Sequence[Configuration]], FloatArray]
Draw = Callable[[Configuration, np.random.Generator], float]

KINDS = (
    "networks", "other learners", "tables", "smooth", "rugged", "noisy", "mixed", "failures",
)  # fmt: skip
"""``mixed`` has conditional spaces, too; in ``failures`` many configurations cannot be trained."""

KEPT = "kept for the verdict of others"

_UNIFORM = 2048
_SIGMA = 0.5  # of the logarithm of synthetic durations: their coefficient of variation is 0.53


def duration(config: Configuration, rng: np.random.Generator) -> float:
    """Seconds of a synthetic evaluation: lognormal with median 1."""
    return float(np.exp(_SIGMA * rng.standard_normal()))


@dataclass(frozen=True)
class Problem:
    """``truth`` is the noise-free value of each configuration, infinite where it always fails.

    ``observe`` is what one evaluation shows, NaN where it failed; ``optimum`` is the lowest true
    value, or the best known one. ``earlier`` gives, for a seed, evaluations of other objectives.
    """

    name: str
    space: Space
    truth: Truth
    observe: Draw
    optimum: float
    seconds: Draw = duration
    earlier: Callable[[int], Sequence[Sequence[tuple[Configuration, float]]]] | None = None
    median: float | None = None
    """Of the true values of uniform configurations that succeed; None: it is computed."""
    first: Configuration | None = None
    """What everyone evaluates first, if it is given."""

    @cached_property
    def spread(self) -> float:
        """Median of the true values of uniform configurations that succeed, minus the optimum."""
        if self.median is not None:
            return self.median - self.optimum
        values = self.truth(uniform(self.space, _UNIFORM, stream(self.name, "spread")))
        return float(np.median(values[np.isfinite(values)])) - self.optimum

    def value(self, regret: float) -> float:
        """The true value of a normalised regret; of 1 the median, which it may be above."""
        return self.optimum + regret * self.spread

    def regret(self, value: float) -> float:
        """The normalised regret of a true value; 1 of NaN and infinity."""
        if not math.isfinite(value):
            return 1.0
        return min(max((value - self.optimum) / self.spread, 0.0), 1.0)


def synthetic(
    name: str,
    space: Space,
    function: Callable[[Configuration], float],
    optimum: float,
    noise: float = 0.0,
    fails: Callable[[Configuration, np.random.Generator], bool] | None = None,
) -> Problem:
    """A problem made of a formula: Gaussian noise with a standard deviation of noise x spread.

    A configuration whose true value is infinite always fails; ``fails`` says which others do now.
    """

    def truth(configs: Sequence[Configuration]) -> FloatArray:
        return np.array([function(config) for config in configs], dtype=np.float64)

    def observe(config: Configuration, rng: np.random.Generator) -> float:
        error = rng.standard_normal()
        value = function(config)
        if not math.isfinite(value) or (fails is not None and fails(config, rng)):
            return math.nan
        return value + noise * problem.spread * error if noise else value

    space = with_random_default(space, name.partition("-n")[0])
    problem = Problem(name, space, truth, observe, optimum)
    return problem


def with_random_default(space: Space, name: str) -> Space:
    """The space with defaults drawn by chance.

    A default in the middle would tell those who use it where half of all test functions are good.
    """
    (config,) = uniform(space, 1, stream(name, "default"))
    return space.modify(**{n: {"default": value} for n, value in config.items()})


def uniform(space: Space, n: int, rng: np.random.Generator) -> list[dict[str, object]]:
    return list(space.decode(rng.random((n, space.d))))


def stream(*key: str | int) -> np.random.Generator:
    """Random numbers that depend on the key only: the same in every process."""
    parts = [part if isinstance(part, int) else zlib.crc32(part.encode()) for part in key]
    return np.random.default_rng(parts)


@dataclass(frozen=True)
class Course:
    """What a training of so many seconds shows after each of its equally long epochs."""

    values: FloatArray
    seconds: float


@cache
def course(name: str) -> Callable[[Configuration, np.random.Generator], Course]:
    """How a training of the problem ``suite/name`` goes; ValueError where only its end is known."""
    suite, _, rest = name.partition("/")
    find(name)
    module = importlib.import_module(f"{__name__}.{suite}")
    if not hasattr(module, "course"):
        raise ValueError(f"{name} has no learning curves")
    found: Callable[[Configuration, np.random.Generator], Course] = module.course(rest)
    return found


@cache
def find(name: str) -> Problem:
    """The problem ``suite/name``; Unavailable where its suite needs what is not here."""
    suite, _, rest = name.partition("/")
    if suite not in suites():
        raise ValueError(f"no suite named {suite!r}; there are: {', '.join(suites())}")
    return importlib.import_module(f"{__name__}.{suite}").make(rest)


def kind(name: str) -> str:
    """Which of ``KINDS`` the problem ``suite/name`` is of; nothing is loaded for it."""
    suite, _, rest = name.partition("/")
    module = importlib.import_module(f"{__name__}.{suite}")
    found: str = module.KIND if hasattr(module, "KIND") else module.kind(rest)
    return found


def measure(name: str) -> str | None:
    """What the values of ``suite/name`` are called, where its suite has them told: its VALUE."""
    module = importlib.import_module(f"{__name__}.{name.partition('/')[0]}")
    found: str | None = getattr(module, "VALUE", None)
    return found


def published(name: str, evaluations: int) -> Mapping[str, tuple[float, float, int]]:
    """Published runs of a problem whose values are told, cut off after so many evaluations.

    By method: mean of the best values, mean number of failures, number of runs.
    """
    module = importlib.import_module(f"{__name__}.{name.partition('/')[0]}")
    found: Mapping[str, tuple[float, float, int]] = module.published(evaluations)
    return found


def suites() -> list[str]:
    """The suites: the files of this folder."""
    return sorted(info.name for info in pkgutil.iter_modules(__path__))


def matching(pattern: str) -> list[str]:
    """The problem of that name, or those of a pattern such as ``bbob/f8-*``."""
    if not any(sign in pattern for sign in "*?["):
        return [pattern]
    names = [
        f"{suite}/{name}"
        for suite in suites()
        for name in importlib.import_module(f"{__name__}.{suite}").NAMES
    ]
    return fnmatch.filter(names, pattern)
