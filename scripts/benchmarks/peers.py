"""What the adapters of peers share: parameters as peers know them, and Optuna's ask and tell."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spot_dask import Categorical, Integer, Real, Space
from spot_dask.records import Configuration, Value
from spot_dask.space.parameters import Parameter


@dataclass(frozen=True)
class Axis:
    """A parameter for a peer: a range of floats or integers, or a factor of levels 0 .. high.

    Powers of two and ordered factors become ranges of indices: even steps, as they are here.
    """

    parameter: Parameter
    kind: str
    low: float
    high: float
    log: bool = False

    @staticmethod
    def of(p: Parameter) -> Axis:
        if isinstance(p, Real):
            return Axis(p, "float", p.low, p.high, p.scale == "log")
        if isinstance(p, Integer) and p.scale != "power2":
            return Axis(p, "int", p.low, p.high, p.scale == "log")
        ordered = not isinstance(p, Categorical) or p.ordered
        return Axis(p, "int" if ordered else "factor", 0, int(p.size) - 1)

    @property
    def indexed(self) -> bool:
        """Whether the peer sees indices instead of values."""
        p = self.parameter
        return isinstance(p, Categorical) or (isinstance(p, Integer) and p.scale == "power2")

    def value(self, raw: Any) -> Value:
        """The value that the peer's number stands for."""
        if self.indexed:
            return self.parameter.value(float(int(raw)))
        return float(raw) if self.kind == "float" else int(raw)

    def raw(self, value: Value) -> Any:
        """The peer's number for a value."""
        return int(self.parameter.parse(value)) if self.indexed else value


def axes(space: Space) -> dict[str, Axis]:
    """The free parameters as axes, in order."""
    return {name: Axis.of(space.parameters[name]) for name in space.free}


def config_of(space: Space, raw: Mapping[str, Any]) -> Configuration:
    """The configuration of a peer's numbers; those of inactive parameters are dropped."""
    found = axes(space)
    (config,) = space.decode(space.encode([{n: found[n].value(v) for n, v in raw.items()}]))
    return config


class Worst:
    """The worst value told so far: what a failure counts as where a peer wants a number."""

    def __init__(self) -> None:
        self.value = 0.0
        self._any = False

    def see(self, y: float) -> None:
        if math.isfinite(y):
            self.value = max(self.value, y) if self._any else y
            self._any = True


class OptunaStudy:
    """Ask and tell of an Optuna study; conditional parameters are suggested where active."""

    def __init__(self, optuna: Any, space: Space, sampler: Any) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._optuna = optuna
        self._failed = optuna.trial.TrialState.FAIL
        self._space, self._axes = space, axes(space)
        self._study = optuna.create_study(sampler=sampler)
        self._trials: list[Any] = []

    @property
    def study(self) -> Any:
        """Optuna's own study."""
        return self._study

    def ask(self, n: int) -> list[Configuration]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return [self._suggested() for _ in range(n)]

    def tell(self, results: Sequence[tuple[int, float]]) -> None:
        for number, y in results:
            if math.isfinite(y):
                self._study.tell(self._trials[number], y)
            else:
                self._study.tell(self._trials[number], state=self._failed)

    def attach(self, results: Sequence[tuple[Configuration, float]]) -> None:
        for config, y in results:
            params = {n: axis.raw(config[n]) for n, axis in self._axes.items() if n in config}
            distributions = {n: self._distribution(self._axes[n]) for n in params}
            self._study.add_trial(
                self._optuna.trial.create_trial(params=params, distributions=distributions, value=y)
            )
            self._trials.append(None)

    def _distribution(self, axis: Axis) -> Any:
        kinds = self._optuna.distributions
        if axis.kind == "float":
            return kinds.FloatDistribution(axis.low, axis.high, log=axis.log)
        if axis.kind == "int":
            return kinds.IntDistribution(int(axis.low), int(axis.high), log=axis.log)
        return kinds.CategoricalDistribution(list(range(int(axis.high) + 1)))

    def _suggested(self) -> Configuration:
        trial = self._study.ask()
        self._trials.append(trial)
        config: dict[str, Value] = {}
        for name, parameter in self._space.parameters.items():
            if all(config.get(parent) in v for parent, v in parameter.conditions):
                axis = self._axes.get(name)
                given = (
                    parameter.default if axis is None else axis.value(_suggest(trial, name, axis))
                )
                config[name] = given
        return self._space.validate(config)


def _suggest(trial: Any, name: str, axis: Axis) -> Any:
    if axis.kind == "float":
        return trial.suggest_float(name, axis.low, axis.high, log=axis.log)
    if axis.kind == "int":
        return trial.suggest_int(name, int(axis.low), int(axis.high), log=axis.log)
    return trial.suggest_categorical(name, list(range(int(axis.high) + 1)))
