"""Tasks: what a training is.

A task is a value that travels to the workers (by cloudpickle) and is called there, once per
trial, in the trial's own process. It returns named metrics; one of them is the objective. The
sign of an objective to be maximised is flipped here, once, in ``score``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, Protocol

from spot_dask.records import Configuration, Value

Direction = Literal["min", "max"]


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

    def __getattr__(self, name: str) -> Value:
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

    def report(self, epoch: int, **metrics: float) -> None:
        """Record the metrics of a finished epoch (counted from 1); kept as learning curves."""
        ...


class Task(Protocol):
    """A training whose metrics include the objective."""

    objective: str
    direction: Direction

    def __call__(self, config: Config, trial: Context) -> Mapping[str, float]:
        """Run the training and return its final metrics; whatever it raises is its failure."""
        ...

    def shortened(self) -> Task:
        """The same task cut to one epoch where it has epochs, for ``spot-dask check``."""
        ...
