"""A task as ``spot-dask check`` tries it: one epoch of it, and what was noticed on the way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from spot_dask.tasks import Config, Context, Direction, Task


@dataclass
class Noticed:
    """What was noticed of a training: the parameters that it read, doubts about its data in
    sentences, and whether it was cut to one epoch."""

    read: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    cut: bool = True


@dataclass(frozen=True)
class Watched:
    """A task cut to one epoch, which writes what it notices into a file.

    A task that cannot be cut ends at its first report of the objective; one that reports none is
    run to its end.
    """

    task: Task
    path: str

    @property
    def objective(self) -> str:
        return self.task.objective

    @property
    def direction(self) -> Direction:
        return self.task.direction

    def __call__(self, config: Config, trial: Context) -> Mapping[str, float]:
        """What the task returns, or has reported; raises what it raises."""
        noticed, seen = Noticed(), ReadConfig(dict(config))
        short = self.task.shortened()
        noticed.cut = short is not self.task
        context: Any = trial if noticed.cut else OneEpoch(trial, self.objective)
        try:
            return short(seen, context)
        except FirstReport as end:
            noticed.cut = True
            return end.metrics
        finally:
            noticed.read = sorted(seen.read)
            if hasattr(self.task, "doubts"):
                noticed.doubts = list(self.task.doubts())
            Path(self.path).write_text(json.dumps(asdict(noticed)))

    def shortened(self) -> Watched:
        """The task itself."""
        return self


def noticed_in(path: Path) -> Noticed:
    """What a task has written; nothing where its process did not live to do so."""
    return Noticed(**json.loads(path.read_text())) if path.exists() else Noticed()


class ReadConfig(Config):
    """A configuration that knows which of its parameters were read; ``start`` begins their names.

    ``read`` is shared with the configurations of those parameters that have a common beginning.
    """

    def __init__(
        self, values: Mapping[str, Any], read: set[str] | None = None, start: str = ""
    ) -> None:
        super().__init__(values)
        self.read: set[str] = set() if read is None else read
        self._start = start

    def __getitem__(self, name: str) -> Any:
        value = super().__getitem__(name)
        self.read.add(self._start + name)
        return value

    def __getattr__(self, name: str) -> Any:
        value = super().__getattr__(name)
        if isinstance(value, Config):
            return ReadConfig(value, self.read, f"{self._start}{name}.")
        self.read.add(self._start + name)
        return value


class FirstReport(BaseException):
    """Ends a training once it has reported the objective."""

    def __init__(self, metrics: dict[str, float]) -> None:
        super().__init__("one epoch is enough")
        self.metrics = metrics


class OneEpoch:
    """A training's trial whose first report of the objective is the last."""

    def __init__(self, trial: Context, objective: str) -> None:
        self._trial, self._objective = trial, objective
        self._metrics: dict[str, float] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trial, name)

    def report(self, epoch: int, /, **metrics: float) -> None:
        """Record the metrics; raises FirstReport if the objective is among them."""
        self._trial.report(epoch, **metrics)
        self._metrics |= metrics
        if self._objective in self._metrics:
            raise FirstReport(self._metrics)
