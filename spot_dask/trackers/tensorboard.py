"""TensorBoard: scalars of each trial, its hyperparameters, and how the search stands.

A trial's event file gets its name when it is complete. How the search stands is appended then, a
record for each evaluation; a session begins a file of its own for that and leaves out the records
that earlier ones have in whole. A trial that has both is there.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, ClassVar

from spot_dask.records import Evaluation
from spot_dask.trackers import Listener, Tracked
from spot_dask.trackers.event_files import (
    EVENTS,
    experiment,
    put,
    record,
    scalars,
    session_end,
    session_start,
    steps_in,
    text,
)
from spot_dask.trackers.points import SearchPoints, epochs, facts, moment, results, trial_name

OWNER = "spot-dask-run"
"""The file that tells whose run a directory belongs to."""

SEARCH = "search"
"""The run, in TensorBoard's sense, that has a point for each evaluation."""


@dataclass
class TensorBoard(Listener):
    """Event files for ``tensorboard --logdir``.

    They are in ``dir``, in a folder of the store's name; without ``dir``, in ``tensorboard`` of the
    run's own folder beside the store.
    """

    needs: ClassVar[tuple[str, ...]] = ("tensorboard",)

    dir: str | Path | None = None
    _files: EventFiles | None = field(default=None, init=False, repr=False, compare=False)

    def begin(self, run: Tracked) -> Collection[int]:
        """The trials whose event file and point of the search are there."""
        base = run.folder / "tensorboard" if self.dir is None else Path(self.dir) / run.folder.name
        owner = base / OWNER
        if owner.exists() and owner.read_text() != run.id:  # of an earlier store of this name
            base = base.with_name(f"{base.name}-{run.id[:8]}")
        base.mkdir(parents=True, exist_ok=True)
        (base / OWNER).write_text(run.id)
        self._files = EventFiles(run, base)
        return self._files.complete()

    def evaluated(self, evaluation: Evaluation, place: int) -> None:
        """Write the trial's event file, then the point of the search."""
        if self._files is not None:
            self._files.write(evaluation, place)

    def end(self, reason: str) -> None:
        """Close the file of the search."""
        if self._files is not None:
            self._files.close()


class EventFiles:
    """The event files of a run in a directory."""

    def __init__(self, run: Tracked, root: Path) -> None:
        self._run, self._root = run, root
        self._points = SearchPoints(run)
        self._metrics = {f"result/{run.objective.name}"}
        self._described = False
        self._steps = steps_in(root / SEARCH)
        self._series: BinaryIO | None = None

    def complete(self) -> set[int]:
        """The numbers of the trials that lack nothing here."""
        found = set()
        for place, evaluation in enumerate(self._run.past.evaluations, 1):
            told = place in self._steps or not self._points.at(evaluation, place)
            if told and self._path(evaluation).exists():
                found.add(evaluation.trial.number)
                self._metrics |= results(evaluation.outcome).keys()
        return found

    def write(self, evaluation: Evaluation, place: int) -> None:
        """Write what is not there of an evaluation."""
        outcome, parameters = evaluation.outcome, self._run.space.parameters
        metrics = results(outcome)
        if not self._described or metrics.keys() - self._metrics:
            self._metrics |= metrics.keys()
            told = experiment(self._run.name, parameters, sorted(self._metrics))
            put(self._root / f"{EVENTS}.0.{self._run.id[:8]}", [record(0.0, 0, [told])])
            self._described = True
        begun, ended = moment(outcome, 0.0), moment(outcome, 1.0)
        noted = "\n\n".join(f"**{name}** {value}" for name, value in facts(evaluation).items())
        start = [session_start(evaluation.trial.config, parameters, begun), text("facts", noted)]
        end = [*scalars(metrics), session_end(outcome.failed, ended)]
        put(
            self._path(evaluation),
            [
                record(begun, 0, start),
                *(record(when, epoch, scalars(row)) for epoch, when, row in epochs(outcome)),
                record(ended, outcome.epochs, end),
            ],
        )
        if (point := self._points.at(evaluation, place)) and place not in self._steps:
            self._append(record(ended, place, scalars(point)))
            self._steps.add(place)

    def close(self) -> None:
        """End the file of the search; another one begins where more follows."""
        if self._series is not None:
            self._series.close()
            self._series = None

    def _path(self, evaluation: Evaluation) -> Path:
        """The event file of a trial, the same whoever writes it."""
        begun = int(moment(evaluation.outcome, 0.0))
        folder = self._root / trial_name(evaluation.trial.number)
        return folder / f"{EVENTS}.{begun}.{self._run.id[:8]}"

    def _append(self, point: bytes) -> None:
        if self._series is None:
            folder = self._root / SEARCH
            folder.mkdir(exist_ok=True)
            self._series = (folder / f"{EVENTS}.{time.time_ns()}.{self._run.id[:8]}").open("xb")
            point = record(time.time()) + point
        self._series.write(point)
        self._series.flush()
