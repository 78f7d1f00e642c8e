"""What several adapters of one peer share."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from spot_dask import Categorical, Integer, Real, Space
from spot_dask.records import Configuration


class OptunaStudy:
    """Ask and tell of an Optuna study; conditional parameters are suggested where active."""

    def __init__(self, optuna: Any, space: Space, sampler: Any) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._failed = optuna.trial.TrialState.FAIL
        self._space, self._trials = space, []
        self._study = optuna.create_study(sampler=sampler)

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

    def _suggested(self) -> Configuration:
        trial = self._study.ask()
        self._trials.append(trial)
        config: dict[str, Any] = {}
        for name, parameter in self._space.parameters.items():
            if all(config.get(p, _NONE) in v for p, v in parameter.conditions):
                config[name] = _suggest(trial, name, parameter)
        return self._space.validate(config)


_NONE = object()


def _suggest(trial: Any, name: str, p: Any) -> Any:
    if p.fixed:
        return p.default
    if isinstance(p, Real):
        return trial.suggest_float(name, p.low, p.high, log=p.scale == "log")
    if isinstance(p, Integer) and p.scale != "power2":
        return trial.suggest_int(name, p.low, p.high, log=p.scale == "log")
    if isinstance(p, Categorical) and not p.ordered:
        return trial.suggest_categorical(name, list(p.levels))
    return p.value(float(trial.suggest_int(name, 0, int(p.size) - 1)))  # an index of even steps


def worst(values: Sequence[float]) -> float:
    """What a failed evaluation counts as where a peer wants a number; 0 before any success."""
    finite = [v for v in values if np.isfinite(v)]
    return max(finite, default=0.0)
