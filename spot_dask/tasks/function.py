"""Any training loop as a task: a plain function of the configuration."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from spot_dask.cards import Listed
from spot_dask.records import FoldPlan
from spot_dask.tasks import (
    MEMBERS,
    Config,
    Context,
    Direction,
    Task,
    check,
    check_call,
    check_direction,
    check_objective,
    measured,
    seed_all,
)


def as_task(given: object) -> Task:
    """A task as it is, or a function as one; raises ValueError naming what a task lacks."""
    is_plain = callable(given) and not isinstance(given, type)
    if is_plain and not any(hasattr(given, name) for name in MEMBERS):
        given = FunctionTask(cast(Callable[..., Any], given))
    check(given)
    return cast(Task, given)


@dataclass(frozen=True)
class FunctionTask(Listed):
    """A function ``f(cfg)`` or ``f(cfg, trial)`` that trains and returns what it measured.

    It returns the objective as one number, or a mapping of metrics that contains it. ``trial`` is
    passed if the function has a parameter of that name or a second required one; it carries
    ``seed`` and ``slot``, ``trial.report(epoch, val_loss=...)`` records learning curves, and
    ``trial.checkpoint`` is a directory that survives the attempt (see ``tasks.Context``). Before
    each call the generators of Python, numpy and torch get ``trial.seed``, so that a training is
    repeated by its seed, and a fresh seed is fresh.

    With ``folds`` (a number, or ``Folds(5, repeats=2)``) every configuration is trained on each of
    them: on ``trial.fold``, from 0, of the partition that the function draws with the seed
    ``trial.partition``. Its value is the mean.

    Raises ValueError if the function cannot be called so, for another direction than min, max and
    for folds that are none.

    >>> from spot_dask import FunctionTask, Real, Space, Study
    >>> def accuracy(cfg, trial):
    ...     return {"accuracy": 1 - (cfg.lr - 0.1) ** 2, "seconds": 3.0}
    >>> Study(Space(lr=Real(0.0, 1.0)), FunctionTask(accuracy, "accuracy", "max"))
    Study(study: 1 parameter, maximises accuracy)
    """

    _unlisted = frozenset(("shortened",))

    function: Callable[..., Any]
    objective: str = "loss"
    direction: Direction = "min"
    folds: Any = 1

    def __post_init__(self) -> None:
        given, named = self._arguments("cfg", "trial")
        check_call("function", self.function, *given, **named)
        check_objective(self.objective)
        check_direction(self.direction)
        FoldPlan.of(self)

    def __call__(self, config: Config, trial: Context) -> Mapping[str, float]:
        """The function's metrics; raises ValueError if it returned anything but numbers."""
        given, named = self._arguments(config, trial)
        seed_all(trial.seed)
        returned = self.function(*given, **named)
        if not isinstance(returned, Mapping):
            returned = {self.objective: returned}
        return measured(returned)

    def shortened(self) -> FunctionTask:
        """The task itself: a function has no epochs that could be cut."""
        return self

    def _arguments(self, config: Any, trial: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What the function is called with: positional arguments, and those by name."""
        try:
            others = list(inspect.signature(self.function).parameters.values())[1:]
        except (TypeError, ValueError):  # some functions written in C have no signature
            return (config,), {}
        if any(p.name == "trial" and p.kind is not p.POSITIONAL_ONLY for p in others):
            return (config,), {"trial": trial}
        positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        if any(p.kind in positional and p.default is p.empty for p in others):
            return (config, trial), {}
        return (config,), {}
