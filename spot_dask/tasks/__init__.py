"""Tasks: what a training is.

A task is a value that travels to the workers (by cloudpickle) and is called there, once per
trial, in the trial's own process. It returns named metrics; one of them is the objective. The
sign of an objective to be maximised is flipped here, once, in ``score``.
"""

from __future__ import annotations

import math
import numbers
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol, runtime_checkable

from spot_dask.errors import did_you_mean
from spot_dask.records import Configuration, Value

Direction = Literal["min", "max"]

PARTIAL = ".partial"
"""How the name of a file ends that is still being written."""


class Config(Mapping[str, Value]):
    """A configuration whose parameters are also attributes: ``cfg.lr`` is ``cfg["lr"]``."""

    def __init__(self, values: Configuration) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._values[name]
        except KeyError:
            active = ", ".join(self._values)
            raise AttributeError(
                f"no active parameter {name!r} in this configuration; active: {active}"
            ) from None

    def __repr__(self) -> str:
        return f"Config({self._values!r})"


class Context(Protocol):
    """What a running training knows about its trial and can tell about itself."""

    number: int
    attempt: int
    seed: int
    slot: int
    device: str  # set by a task that knows where it trains

    @property
    def checkpoint(self) -> Path:
        """A directory for what the next attempt at the trial shall find in its own.

        It is made at the first access, with all that the last attempt had saved there, and
        removed when the trial has its evaluation. Save with ``replacing``, since an attempt may
        end at any moment.
        """
        ...

    @property
    def keeps_checkpoint(self) -> bool:
        """Whether there will be a next attempt that finds it; else it is a temporary directory."""
        ...

    def report(self, epoch: int, **metrics: float) -> None:
        """Record the metrics of a finished epoch (counted from 1); kept as learning curves.

        Raises StoppedEarly where the training is to end now: what it has reported counts.
        """
        ...


@runtime_checkable
class Task(Protocol):
    """A training whose metrics include the objective, to be minimised or maximised."""

    @property
    def objective(self) -> str: ...

    @property
    def direction(self) -> Direction: ...

    def __call__(self, config: Config, trial: Context) -> Mapping[str, float]:
        """Run the training and return its final metrics; whatever it raises is its failure."""
        ...

    def shortened(self) -> Task:
        """The same task cut to one epoch where it has epochs, for ``spot-dask check``."""
        ...


class StoppedEarly(BaseException):
    """Raised by ``report`` in a training whose remaining epochs are not worth it.

    No Exception, so that a training that goes on after its own errors does not go on after this.
    """


class Diverged(ArithmeticError):
    """A training whose loss is no longer finite; any task may raise it to say so."""


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A binary file to write that becomes ``path`` when it is complete, and on disk, or never.

    Whoever reads ``path`` meanwhile, or after a crash, finds what was there before.
    """
    aside = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}{PARTIAL}")
    try:
        with aside.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def score(task: Task, metrics: Mapping[str, float]) -> float:
    """The task's objective among its metrics, signed so that smaller is better.

    Raises ValueError if the objective is missing or not finite.
    """
    if task.objective not in metrics:
        raise ValueError(
            f"no metric {task.objective!r} (the objective) among what the training returned"
            f"{nearest(task.objective, metrics)}"
        )
    value = metrics[task.objective]
    if not math.isfinite(value):
        raise ValueError(f"the objective {task.objective!r} is {value}; it must be finite")
    return -value if task.direction == "max" else value


def check_direction(direction: str) -> None:
    """Raises ValueError for anything but "min" and "max"."""
    if direction not in ("min", "max"):
        raise ValueError(f"direction is {direction!r}; expected 'min' or 'max'")


def measured(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Metrics as plain floats, by plain str; ValueError names a value that is no real number."""
    names = (str.__str__(name) if isinstance(name, str) else str(name) for name in metrics)
    return {name: number(name, value) for name, value in zip(names, metrics.values(), strict=True)}


def number(name: str, value: Any) -> float:
    """A real number, numpy scalar or array without dimensions (numpy's or torch's) as a float."""
    wrong = ValueError(f"{name!r} is {_described(value)}; expected one real number")
    real = not isinstance(value, numbers.Complex) or isinstance(value, numbers.Real)
    scalar = not hasattr(value, "ndim") or value.ndim == 0
    if isinstance(value, bool | str | bytes) or not real or not scalar:
        raise wrong
    try:
        return float(value.detach() if hasattr(value, "detach") else value)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise wrong from error


def nearest(name: str, known: Iterable[str]) -> str:
    """What to say after naming something unknown: the nearest known name, or all of them."""
    names = list(known)
    return did_you_mean(name, names) or f"; there are: {', '.join(names) or 'none'}"


def _described(value: Any) -> str:
    if value is None:
        return "None"
    shape = getattr(value, "shape", None)
    text = f"shape {tuple(shape)}" if shape else repr(value)
    return f"{type(value).__name__} ({text if len(text) <= 60 else text[:57] + '...'})"
