"""Tasks: what a training is.

A task is a value that travels to the workers (by cloudpickle) and is called there, once per
trial, in the trial's own process. It returns named metrics; one of them is the objective. The
sign of an objective to be maximised is flipped here, once, in ``score``.
"""

from __future__ import annotations

import inspect
import math
import numbers
import random
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from spot_dask.errors import did_you_mean, shown
from spot_dask.space import Config as Config

Direction = Literal["min", "max"]


class Context(Protocol):
    """What a running training knows about its trial, and how it reports its progress.

    ``number`` and ``seed`` are the trial's; ``attempt`` counts from 1; ``slot`` is the worker's
    slot (from 0) that the training occupies. In a study with folds the trial trains on ``fold``
    (from 0) of the partition whose seed is ``partition``: the same for all folds of a partition,
    whatever is trained on them. Without folds they are 0 and the trial's seed.

    >>> from spot_dask import Config, Context
    >>> def train(cfg: Config, trial: Context) -> float:
    ...     loss = 1.0
    ...     for epoch in range(1, 11):
    ...         loss *= 1.0 - cfg.lr
    ...         trial.report(epoch, loss=loss)
    ...     (trial.artifacts / "loss.txt").write_text(f"{loss}")
    ...     return loss
    """

    number: int
    attempt: int
    seed: int
    slot: int
    fold: int
    partition: int
    device: str  # set by a task that knows where it trains

    @property
    def checkpoint(self) -> Path:
        """A directory whose content the next attempt at the trial finds in its own.

        The first access creates it with all that the last attempt saved there; it is removed when
        the trial has its evaluation. Save with ``replacing``, since an attempt may end at any
        moment.
        """
        ...

    @property
    def keeps_checkpoint(self) -> bool:
        """Whether a next attempt would find ``checkpoint``; else it is a temporary directory."""
        ...

    @property
    def artifacts(self) -> Path:
        """A directory for what shall be left of the training, such as its model.

        It is empty at first, in every attempt. What is in it when the training ends well is kept
        as the study's ``keep`` says, all of it or nothing; else it is removed.
        """
        ...

    @property
    def keeps_artifacts(self) -> bool:
        """Whether what is saved in ``artifacts`` may be kept; else it is a temporary directory."""
        ...

    def report(self, epoch: int, /, **metrics: float) -> None:
        """Record the metrics of a finished epoch (counted from 1) as points of learning curves.

        Raises StoppedEarly if the training shall end now; the metrics reported so far count.
        """
        ...


class Task(Protocol):
    """A training whose metrics include the objective, to be minimised or maximised."""

    @property
    def objective(self) -> str: ...

    @property
    def direction(self) -> Direction: ...

    def __call__(self, config: Config, trial: Context) -> Mapping[str, float]:
        """Run the training and return its final metrics; any exception is its failure."""
        ...

    def shortened(self) -> Task:
        """The same task, cut to one epoch if it has epochs, for ``spot-dask check``."""
        ...


MEMBERS = ("objective", "direction", "shortened")
"""What a task has beside its call."""


def check(task: object) -> None:
    """Check an object against the whole protocol; raises ValueError naming what it lacks."""
    what = f"task is {shown(task)}"
    if isinstance(task, type):
        raise ValueError(f"{what}, a class; give an object of it")
    lacks = [name for name in MEMBERS if not hasattr(task, name)]
    if not callable(task):
        lacks.append("__call__(config, trial)")
    if lacks:
        raise ValueError(
            f"{what} without {', '.join(lacks)}; expected a TorchTask, a FunctionTask, a function"
            " or an object with objective, direction, shortened() and __call__(config, trial)"
        )
    given: Any = task
    check_objective(given.objective)
    check_direction(given.direction)
    check_call(f"{what} that", given, "config", "trial")
    check_call(f"{what} whose shortened()", given.shortened)


def check_objective(objective: object) -> None:
    """Raises ValueError unless an objective is the name of a metric."""
    if not isinstance(objective, str) or not objective:
        raise ValueError(f"objective is {shown(objective)}; expected a metric's name")


def check_call(what: str, function: Any, *arguments: str, **named: str) -> None:
    """Raises ValueError, saying ``what`` it is, if a function does not take these arguments."""
    if not callable(function):
        raise ValueError(f"{what} is {shown(function)}; expected a function")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some functions written in C have no signature
        return
    try:
        signature.bind(*arguments, **named)
    except TypeError as error:
        call = f"({', '.join((*arguments, *named))})"
        raise ValueError(f"{what} cannot be called with {call}: {error}") from None


class StoppedEarly(BaseException):
    """Raised by ``report`` in a training whose remaining epochs are not worth their time.

    It is no Exception, so a training that continues after its own errors still ends here.

    >>> from spot_dask import StoppedEarly
    >>> def train(cfg, trial):
    ...     log = open("training.log", "w")
    ...     try:
    ...         for epoch in range(1, 11):
    ...             trial.report(epoch, loss=cfg.lr / epoch)
    ...     except StoppedEarly:
    ...         print("stopped early", file=log)
    ...         raise
    ...     finally:
    ...         log.close()
    ...     return cfg.lr / epoch
    >>> issubclass(StoppedEarly, Exception)
    False
    """


class ObjectiveMissing(ValueError):
    """A training has returned metrics without its objective: so will every other one."""


class Diverged(ArithmeticError):
    """The loss of a training is no longer finite; any task may raise it."""


def score(task: Task, metrics: Mapping[str, float]) -> float:
    """The task's objective among its metrics, signed so that smaller is better.

    Raises ObjectiveMissing if the objective is missing, ValueError if it is not finite.
    """
    if task.objective not in metrics:
        raise ObjectiveMissing(
            f"no metric {task.objective!r} (the objective) among what the training returned"
            f"; return it, or name another by objective=...{nearest(task.objective, metrics)}"
        )
    value = metrics[task.objective]
    if not math.isfinite(value):
        raise ValueError(f"the objective {task.objective!r} is {value}; it must be finite")
    return -value if task.direction == "max" else value


def check_direction(direction: str) -> None:
    """Raises ValueError for anything but "min" and "max"."""
    if direction not in ("min", "max"):
        raise ValueError(f"direction is {shown(direction)}; expected 'min' or 'max'")


def measured(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Metrics as plain floats, by plain str; ValueError names a value that is no real number."""
    names = (str.__str__(name) if isinstance(name, str) else str(name) for name in metrics)
    return {name: number(name, value) for name, value in zip(names, metrics.values(), strict=True)}


def number(name: str, value: Any) -> float:
    """A real number, numpy scalar or array without dimensions (numpy's or torch's) as a float.

    Raises ValueError naming the value for anything else.
    """
    shape = getattr(value, "shape", None)
    text = f" (shape {tuple(shape)})" if shape else "" if value is None else f" ({shown(value)})"
    kind = "None" if value is None else type(value).__name__
    wrong = ValueError(f"{name!r} is {kind}{text}; expected one real number")
    real = not isinstance(value, numbers.Complex) or isinstance(value, numbers.Real)
    scalar = not hasattr(value, "ndim") or value.ndim == 0
    if isinstance(value, bool | str | bytes) or not real or not scalar:
        raise wrong
    try:
        return float(value.detach() if hasattr(value, "detach") else value)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise wrong from error


def count_of(name: str, value: int | str, config: Config) -> int:
    """The number itself, or the value of the parameter it names; ValueError where it is none."""
    if not isinstance(value, str):
        return value
    if value not in config:
        raise ValueError(f"{name}={value!r} names no active parameter{nearest(value, config)}")
    held = config[value]
    if type(held) is not int or held < 1:
        raise ValueError(f"{name} is {held!r} (parameter {value!r}); expected a number from 1")
    return held


def seed_all(seed: int) -> None:
    """Seed what a training may draw from: Python, numpy, and torch where it is loaded."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - for users and scikit-learn; we draw nothing there
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)  # on the CPU and all GPUs


def named_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as data, without code: what is no number, text or None is its name."""

    def plain(value: Any) -> Any:
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, tuple | list):
            return [plain(item) for item in value]
        return str(getattr(value, "__name__", value))

    return {name: plain(value) for name, value in config.items()}


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest known name, or all of them."""
    names = list(known)
    return did_you_mean(name, names) or f"; there are: {', '.join(names) or 'none'}"
