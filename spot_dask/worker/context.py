"""What a training may use while it runs."""

from __future__ import annotations

import logging
import math
import operator
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from spot_dask.errors import StoreError, warn_once
from spot_dask.records import Trial
from spot_dask.tasks import StoppedEarly, measured
from spot_dask.worker.artifacts import ArtifactPlace
from spot_dask.worker.checkpoints import Place

logger = logging.getLogger(__name__)

LAST_EPOCH = 1_000_000

Tell = Callable[[int, dict[str, float]], object]
"""Is told an epoch, counted from 1, and its metrics."""


class ReportedCurves:
    """Learning curves: entry ``epoch - 1`` of a metric's curve; NaN where it was not reported."""

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {}

    def add(self, epoch: int, metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            curve = self._values.setdefault(name, [])
            curve.extend([math.nan] * (epoch - len(curve)))
            curve[epoch - 1] = value

    def latest(self) -> dict[str, float]:
        """The last value of every metric."""
        return {name: curve[-1] for name, curve in self._values.items()}

    def freeze(self) -> dict[str, tuple[float, ...]]:
        return {name: tuple(curve) for name, curve in self._values.items()}


class RunningTrial:
    """The running trial as its training sees it (the protocol ``spot_dask.tasks.Context``).

    ``tell`` hears every report; ``to_stop`` is asked after each whether the training is to end.
    """

    def __init__(
        self,
        trial: Trial,
        attempt: int = 0,
        slot: int = 0,
        tell: Tell | None = None,
        place: Place | None = None,
        to_stop: Callable[[], bool] | None = None,
        shelf: ArtifactPlace | None = None,
    ) -> None:
        self.number = trial.number
        self.attempt = attempt
        self.seed = trial.seed
        self.fold = trial.fold
        self.partition = trial.seed if trial.partition is None else trial.partition
        self.slot = slot
        self.device = ""
        self.curves = ReportedCurves()
        self.stopped = False
        self._tell = tell
        self._to_stop = to_stop
        self._place = place
        self._shelf = shelf
        self._temporary: list[Path] = []

    @cached_property
    def keeps_checkpoint(self) -> bool:
        """Whether there will be a next attempt that finds it; else it is a temporary directory."""
        if self._place is None:
            return False
        if not self._place.is_here:
            warn_once(
                logger,
                "%s is not on this machine: trainings that are interrupted here begin anew; "
                "give a directory that all workers share with --checkpoints",
                self._place.root,
            )
        return self._place.is_here

    @cached_property
    def checkpoint(self) -> Path:
        """A directory for what the next attempt at the trial shall find in its own."""
        if self._place is not None and self.keeps_checkpoint:
            try:
                return self._place.begin(self.number)
            except OSError as error:
                logger.warning("trial %d has no checkpoint: %s", self.number, error)
        return self._made()

    @cached_property
    def keeps_artifacts(self) -> bool:
        """Whether artifacts are kept if the training ends well; else they are temporary."""
        if self._shelf is None:
            return False
        try:
            here, why = self._shelf.owner == self._shelf.run, "is not on this machine"
        except StoreError as error:
            here, why = False, f"does not answer ({error})"
        if not here:
            warn_once(
                logger,
                "%s %s: what trainings here leave as artifacts is lost; %s",
                self._shelf.root,
                why,
                self._shelf.remedy,
            )
        return here

    @cached_property
    def artifacts(self) -> Path:
        """A directory, empty at first, for what shall be left of the training if it ends well."""
        return self._made()

    def publish(self) -> None:
        """Keep what the training, which has ended well, has left as artifacts.

        Where that is not possible it is logged: the result counts all the same.
        """
        saved = self.__dict__.get("artifacts")  # if it was asked for
        if self._shelf is None or not self.keeps_artifacts or saved is None:
            return
        try:
            if any(saved.iterdir()):
                self._shelf.publish(saved, self.number, self.attempt)
        except OSError as error:
            warn_once(logger, "artifacts of trainings are lost: %s: %s", self._shelf.root, error)

    def close(self) -> None:
        """Remove the directories of which nothing is kept."""
        for path in self._temporary:
            shutil.rmtree(path, ignore_errors=True)

    def _made(self) -> Path:
        made = Path(tempfile.mkdtemp(prefix=temporary_prefix(os.getpid())))
        self._temporary.append(made)
        return made

    def report(self, epoch: int, /, **metrics: float) -> None:
        """Record the metrics of a finished epoch (counted from 1); kept as learning curves.

        Raises StoppedEarly where the training is to end now.
        """
        number = operator.index(epoch)
        if not 1 <= number <= LAST_EPOCH:
            raise ValueError(f"epoch is {epoch}; expected a number counted from 1")
        values = measured(metrics)
        self.curves.add(number, values)
        if self._tell is not None:
            self._tell(number, values)
        if self._to_stop is not None and self._to_stop():
            self.stopped = True
            raise StoppedEarly


def temporary_prefix(pid: int) -> str:
    """How the names of a process's temporary directories begin."""
    return f"spot-dask-{pid}-"
