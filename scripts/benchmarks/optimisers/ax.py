"""Ax's Client with its default strategy; a failed evaluation is marked as failed.

Conditional parameters are given to Ax as if they were always active.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Sequence
from typing import Any

from benchmarks.optimisers import require
from benchmarks.peers import Axis, axes, config_of
from spot_dask import Space
from spot_dask.records import Configuration


class Ax:
    def __init__(self, space: Space, seed: int) -> None:
        api = require("ax.api.client", "ax-platform")
        configs = require("ax.api.configs", "ax-platform")
        logging.getLogger("ax").setLevel(logging.ERROR)
        self._space = space
        self._client = api.Client(random_seed=seed)
        self._indices: list[int] = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._client.configure_experiment(
                parameters=[_parameter(configs, n, axis) for n, axis in axes(space).items()]
            )
            self._client.configure_optimization(objective="-y")
            # Without this, asynchronous runs stop when the start points are out.
            self._client.configure_generation_strategy(
                initialization_random_seed=seed, allow_exceeding_initialization_budget=True
            )

    def ask(self, n: int) -> list[Configuration]:
        found: dict[int, Any] = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            while len(found) < n:  # Ax hands out fewer at the end of its initial design
                trials = self._client.get_next_trials(n - len(found))
                if not trials:
                    break
                found |= trials
        self._indices += list(found)
        return [config_of(self._space, raw) for raw in found.values()]

    def tell(self, results: Sequence[tuple[int, float]]) -> None:
        for number, y in results:
            index = self._indices[number]
            if math.isfinite(y):
                self._client.complete_trial(index, raw_data={"y": y})
            else:
                self._client.mark_trial_failed(index)

    def attach(self, results: Sequence[tuple[Configuration, float]]) -> None:
        found = axes(self._space)
        for config, y in results:
            raw = {n: found[n].raw(v) for n, v in config.items()}
            index = self._client.attach_trial(raw)
            self._indices.append(index)
            self._client.complete_trial(index, raw_data={"y": y})
        for index in self._client.get_next_trials(1):  # Ax's first is always the centre
            self._client.mark_trial_abandoned(index)


def _parameter(configs: Any, name: str, axis: Axis) -> Any:
    if axis.kind == "factor":
        levels = [str(i) for i in range(int(axis.high) + 1)]
        return configs.ChoiceParameterConfig(
            name=name, values=levels, parameter_type="str", is_ordered=False
        )
    return configs.RangeParameterConfig(
        name=name,
        bounds=(axis.low, axis.high),
        parameter_type=axis.kind,
        scaling="log" if axis.log else "linear",
    )


def make(space: Space, seed: int) -> Ax:
    return Ax(space, seed)
