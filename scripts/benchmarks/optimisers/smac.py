"""SMAC3's black-box facade: a Gaussian process; a crash costs the worst value seen.

Deterministic, so that no budget goes into repeats. Its Sobol design has 8 points per parameter, at
most a quarter of the budget. Asked for a batch, it takes the best points of one model one by one:
it knows no pending ones.
"""

from __future__ import annotations

import math
import tempfile
import warnings
from collections.abc import Sequence
from typing import Any

from benchmarks.optimisers import require
from benchmarks.peers import Axis, Worst, axes, config_of
from spot_dask import Space
from spot_dask.records import Configuration


class Smac:
    def __init__(self, space: Space, seed: int, budget: int) -> None:
        self._smac = require("smac", "smac")
        self._history = require("smac.runhistory", "smac")
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        facade = self._smac.BlackBoxFacade
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scenario = self._smac.Scenario(
                _configspace(space),
                deterministic=True,
                n_trials=budget,
                seed=seed,
                output_directory=self._folder.name,
            )
            self._facade = facade(scenario, _never_called, logging_level=False, overwrite=True)
        self._space, self._worst = space, Worst()
        self._asked: list[Any] = []

    def ask(self, n: int) -> list[Configuration]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            infos = [self._facade.ask() for _ in range(n)]
        self._asked += infos
        return [config_of(self._space, dict(info.config)) for info in infos]

    def tell(self, results: Sequence[tuple[int, float]]) -> None:
        status = self._history.StatusType
        for number, y in results:
            self._worst.see(y)
            value = (
                self._history.TrialValue(cost=y)
                if math.isfinite(y)
                else self._history.TrialValue(cost=self._worst.value, status=status.CRASHED)
            )
            self._facade.tell(self._asked[number], value, save=False)

    def attach(self, results: Sequence[tuple[Configuration, float]]) -> None:
        space, known = self._facade.scenario.configspace, axes(self._space)
        configuration = require("ConfigSpace", "smac").Configuration
        for config, y in results:
            values = {n: _raw(known[n], v) for n, v in config.items() if n in known}
            info = self._history.TrialInfo(configuration(space, values=values), seed=0)
            self._asked.append(info)
            self.tell([(len(self._asked) - 1, y)])


def _never_called(config: Any, seed: int = 0) -> float:
    raise AssertionError("asked and told, never run")


def _configspace(space: Space) -> Any:
    cs = require("ConfigSpace", "smac")
    found, hyperparameters = cs.ConfigurationSpace(), {}
    for name, axis in axes(space).items():
        hyperparameters[name] = _hyperparameter(cs, name, axis)
    found.add(*hyperparameters.values())
    for name, axis in axes(space).items():
        conditions = [
            cs.InCondition(
                hyperparameters[name],
                hyperparameters[parent],
                [_raw(Axis.of(space.parameters[parent]), v) for v in values],
            )
            for parent, values in axis.parameter.conditions
            if parent in hyperparameters
        ]
        if conditions:
            found.add(cs.AndConjunction(*conditions) if len(conditions) > 1 else conditions[0])
    return found


def _hyperparameter(cs: Any, name: str, axis: Axis) -> Any:
    if axis.kind == "float":
        return cs.UniformFloatHyperparameter(name, axis.low, axis.high, log=axis.log)
    if axis.kind == "int":
        return cs.UniformIntegerHyperparameter(name, int(axis.low), int(axis.high), log=axis.log)
    return cs.CategoricalHyperparameter(name, [str(i) for i in range(int(axis.high) + 1)])


def _raw(axis: Axis, value: Any) -> Any:
    raw = axis.raw(value)
    return str(raw) if axis.kind == "factor" else raw


def make(space: Space, seed: int, budget: int = 64) -> Smac:
    return Smac(space, seed, budget)
