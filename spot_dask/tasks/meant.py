"""A task whose named levels are what they stand for.

A store holds the names of levels (``Categorical({"64x64": (64, 64)})``), and so does a trial. What
they stand for travels with the task.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spot_dask.records import Value
from spot_dask.tasks import Config, Context, Direction, Task

Meanings = Mapping[str, Mapping[Value, Any]]
"""What named levels stand for, by parameter."""


def meant(task: Task, meanings: Meanings) -> Task:
    """The task, which gets what its levels stand for; itself where none is named."""
    return MeantTask(task, meanings) if meanings else task


@dataclass(frozen=True)
class MeantTask:
    """A task that is called with what named levels stand for."""

    task: Task
    meanings: Meanings

    @property
    def objective(self) -> str:
        return self.task.objective

    @property
    def direction(self) -> Direction:
        return self.task.direction

    def __call__(self, config: Config, trial: Context) -> Mapping[str, float]:
        """The task's metrics."""
        return self.task(self.config(config), trial)

    def config(self, config: Config) -> Config:
        """A configuration with what its levels stand for."""
        return Config({n: self.meanings.get(n, {}).get(v, v) for n, v in config.items()})

    def fitted(self, config: Config, trial: Context, *, full: bool = False) -> Any:
        """The network of a task that has one."""
        task: Any = self.task
        return task.fitted(self.config(config), trial, full=full)

    def shortened(self) -> MeantTask:
        """The same task, cut to one epoch."""
        return MeantTask(self.task.shortened(), self.meanings)
