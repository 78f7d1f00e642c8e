"""Trackers: what hears of a run, such as TensorBoard, MLflow and Weights & Biases.

A listener hears what the journal of a run has, in its order and never before it is durable. It
lives in the coordinator's process, in a thread of its own: one that is slow, hangs or fails holds
no training up and ends no run. A new tracker is one file in this folder with one public class that
has ``evaluated``, or a class anywhere.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from spot_dask import plugins
from spot_dask.errors import StudyError, shown
from spot_dask.outputs import beside
from spot_dask.records import Evaluation, History, Objective, Trial
from spot_dask.space import Space


@dataclass(frozen=True)
class Tracked:
    """The run that a listener hears of.

    ``id`` is the run's alone, ``name`` is the study's; ``store`` is where the run is kept. ``past``
    is what earlier sessions have recorded, its evaluations in the order of the journal.
    """

    id: str
    name: str
    store: Path | str
    space: Space
    objective: Objective
    past: History

    @property
    def folder(self) -> Path:
        """The folder beside the store that bears its name; in the current one for a bucket."""
        return beside(self.store)


class Listener(Protocol):
    """Hears of a run; inherit from it to write only the methods that are wanted.

    An exception that one raises is logged, the first one only, and what comes later is told all the
    same. What a killed run or a failing listener has missed is told when the run is resumed.

    >>> from spot_dask import Budget, Listener, Real, Space, Study
    >>> class Printed(Listener):
    ...     def evaluated(self, evaluation, place):
    ...         print(place, f"{evaluation.y:.3f}")
    >>> study = Study(Space(lr=Real(0.0, 1.0)), lambda cfg: cfg.lr, trackers=[Printed()])
    >>> _ = study.run(Budget(evaluations=2), local=0, store="heard.zarr", progress="none")
    1 0.500
    2 0.402
    """

    def begin(self, run: Tracked) -> Collection[int] | None:
        """A session of a run begins, the first one or a later one.

        Returns the numbers of the trials whose evaluations need not be told, because they are
        known: all of ``run.past`` but these is told next. None, or unless it is overridden: nothing
        of the past is told.
        """
        return {evaluation.trial.number for evaluation in run.past.evaluations}

    def asked(self, trial: Trial) -> None:
        """A trial was proposed. A later session tells it again while it has no evaluation."""
        return

    def evaluated(self, evaluation: Evaluation, place: int) -> None:
        """A trial has its evaluation, with its curves; it is the ``place``-th of the run, from 1.

        ``evaluation.y`` is minimised; the metrics of its outcome are as they were reported.
        """
        return

    def end(self, reason: str) -> None:
        """The session has ended; ``reason`` as in the journal, such as "budget"."""
        return


METHODS = {"begin": ("run",), "asked": ("trial",), "evaluated": ("evaluation", "place"),
           "end": ("reason",)}  # fmt: skip


def names() -> list[str]:
    """The names of the trackers that there are."""
    return plugins.names(__name__, "evaluated")


def find(tracker: str | Listener) -> Listener:
    """The listener of that name; an object is returned as it is.

    A name is that of a file in this folder, with settings where wanted, or ``package.module:Name``.
    Raises ValueError if there is none.
    """
    if not isinstance(tracker, str):
        return tracker
    found: Listener = plugins.find(__name__, "evaluated", tracker)
    return found


@plugins.once
def check(tracker: str | Listener) -> None:
    """Raise ValueError, saying what is missing, unless this can be told of a run."""
    label = f"tracker {label_of(tracker)!r}"
    found = find(tracker)
    if isinstance(found, type):
        raise ValueError(f"{label} is a class; give an object of it, or its name")
    for method, arguments in METHODS.items():
        if not callable(getattr(found, method, None)):
            raise ValueError(f"{label} has no method {method}({', '.join(arguments)})")
        plugins.check_call(f"{label}: {method}", getattr(found, method), *arguments)


def label_of(tracker: object) -> str:
    """What a tracker is called in messages: its name without settings, or its class."""
    if isinstance(tracker, str):
        return tracker.partition("(")[0]
    return tracker.__name__ if isinstance(tracker, type) else type(tracker).__name__


def opened(trackers: Iterable[str | Listener]) -> list[tuple[str, Listener]]:
    """The listeners of a run with their labels.

    Raises ValueError as ``check`` does, and StudyError for one whose packages, which its ``needs``
    names, are not installed.
    """
    found = []
    for tracker in trackers:
        check(tracker)
        label, listener = label_of(tracker), find(tracker)
        needed: tuple[str, ...] = getattr(listener, "needs", ())
        lost = [name for name in needed if importlib.util.find_spec(name) is None]
        if lost:
            room, _, extra = type(listener).__module__.rpartition(".")
            how = f"pip install 'spot-dask[{extra}]'" if room == __name__ else "install them"
            raise StudyError(f"tracker {shown(label)} needs {', '.join(lost)}: {how}")
        found.append((label, listener))
    return found
