"""Any training loop as a task: a plain function of the configuration."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from spot_dask.tasks import Config, Context, Direction, check_direction, measured


@dataclass(frozen=True)
class FunctionTask:
    """A function ``f(cfg)`` or ``f(cfg, trial)`` that trains and returns what it measured.

    It returns the objective as one number, or a mapping of metrics that has it. ``trial`` is
    passed where the function has a parameter of that name or a second required one; it carries
    ``seed`` and ``slot``, ``trial.report(epoch, val_loss=...)`` keeps learning curves, and
    ``trial.checkpoint`` is a directory that survives the attempt (see ``tasks.Context``).
    """

    function: Callable[..., Any]
    objective: str = "loss"
    direction: Direction = "min"

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise ValueError(
                f"function is {type(self.function).__name__}; expected a callable f(cfg)"
            )
        check_direction(self.direction)

    def __call__(self, config: Config, trial: Context) -> Mapping[str, float]:
        """The function's metrics; raises ValueError where it returned anything but numbers."""
        returned = self._call(config, trial)
        if isinstance(returned, Mapping):
            return measured(returned)
        return measured({self.objective: returned})

    def shortened(self) -> FunctionTask:
        """The task itself: a function has no epochs that could be cut."""
        return self

    def _call(self, config: Config, trial: Context) -> Any:
        wanted = _trial_parameter(self.function)
        if wanted is None:
            return self.function(config)
        if wanted.name == "trial":
            return self.function(config, trial=trial)
        return self.function(config, trial)


def _trial_parameter(function: Callable[..., Any]) -> inspect.Parameter | None:
    """The parameter that takes the trial, None for a function of the configuration alone."""
    try:
        others = list(inspect.signature(function).parameters.values())[1:]
    except ValueError:  # some functions written in C have no signature
        return None
    named = [p for p in others if p.name == "trial" and p.kind is not p.POSITIONAL_ONLY]
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = [p for p in others if p.kind in positional and p.default is p.empty]
    return next(iter(named + required), None)
