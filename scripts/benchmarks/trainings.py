"""Problems that really train: a small model on data that a package ships, seed by seed.

An evaluation trains with a seed of its own. The truth is the mean over ``TRUTH_SEEDS`` fixed seeds;
it is kept on disk, in ``runs/benchmarks/truth``, for it costs as many trainings.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.problems import FloatArray, Problem, with_random_default
from spot_dask import Space
from spot_dask.records import Configuration

Train = Callable[[Configuration, int], float]
"""(configuration, seed) -> what a training shows; finite."""

TRUTH_SEEDS = 4
FOLDER = Path("runs/benchmarks/truth")


@dataclass(frozen=True)
class Known:
    """The lowest true value that a search found, and the median of uniform configurations.

    Both are printed by ``python -m benchmarks.best_known SUITE/NAME``.
    """

    optimum: float
    median: float


def training(name: str, space: Space, train: Train, known: Known, version: str) -> Problem:
    """The problem ``name`` of a training; ``version`` is that of the package that trains."""
    kept = Kept(FOLDER / f"{name.replace('/', '-')}-{version}.jsonl")

    train = quiet(train)

    def mean(config: Configuration) -> float:
        return float(np.mean([train(config, seed) for seed in range(TRUTH_SEEDS)]))

    def truth(configs: Sequence[Configuration]) -> FloatArray:
        return np.array([kept.value(config, mean) for config in configs])

    def observe(config: Configuration, rng: np.random.Generator) -> float:
        return train(config, int(rng.integers(TRUTH_SEEDS, 2**31)))

    space = with_random_default(space, name)
    return Problem(name, space, truth, observe, known.optimum, median=known.median)


def quiet(train: Train) -> Train:
    """The training without warnings: it may well be cut off before it converges."""

    def trained(config: Configuration, seed: int) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return train(config, seed)

    return trained


class Kept:
    """Values of configurations, a line of JSON each, in a file that processes may share."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._values: dict[str, float] | None = None

    def value(self, config: Configuration, compute: Callable[[Configuration], float]) -> float:
        """The value of a configuration: the kept one, or the computed one, which is then kept."""
        if self._values is None:
            self._values = dict(self._lines())
        key = json.dumps(config, sort_keys=True)
        if key not in self._values:
            self._values[key] = compute(config)
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps([key, self._values[key]]) + "\n")
        return self._values[key]

    def _lines(self) -> list[tuple[str, float]]:
        """What the file has; a line that was cut off is left out."""
        if not self._path.exists():
            return []
        found = []
        for line in self._path.read_text(encoding="utf-8").splitlines():
            try:
                key, value = json.loads(line)
            except ValueError:
                continue
            found.append((key, value))
        return found
