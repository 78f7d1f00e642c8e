"""What a worker and the processes of its trainings tell each other: messages over two pipes.

==================  ===========================================================================
to a training       ``TrainingRequest``; ``EndEarly``: the training is to end at its next report
to the worker       for each request ``Accepted``, an ``EpochReport`` for every report of the
                    training, ``TrainingEnd``
==================  ===========================================================================

Each is the pickle of one of these, sent by a ``multiprocessing.connection.Connection``.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from spot_dask.records import Failure, Outcome, Status, Trial
from spot_dask.worker.limits import Conditions

Attempt = tuple[int, int]
"""The number of a trial and how often it was attempted before."""

LONGEST_BYTES = 1 << 29
"""More than any message of a training; what claims to be longer is none."""


@dataclass(frozen=True)
class TrainingRequest:
    """What is to be trained: a pickled task with a trial, in a run, under conditions.

    ``digest`` identifies the task, which is left out (``b""``) for a process that has it already.
    """

    task: bytes = field(repr=False)
    trial: Trial
    attempt: int
    run: str
    conditions: Conditions = field(default_factory=Conditions)
    slot: int = 0
    digest: str = ""
    cwd: str = "."
    path: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.digest:
            object.__setattr__(self, "digest", hashlib.sha256(self.task).hexdigest())

    @property
    def key(self) -> Attempt:
        return self.trial.number, self.attempt


@dataclass(frozen=True)
class EndEarly:
    """The training of this attempt of a run is to end."""

    run: str
    key: Attempt


@dataclass(frozen=True)
class Accepted:
    """The process has read a request and begins."""


@dataclass(frozen=True)
class EpochReport:
    """The metrics of an epoch, counted from 1."""

    epoch: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class TrainingEnd:
    """How a training has ended; ``last``: its process takes no more requests."""

    outcome: Outcome
    last: bool


class _FromTraining(pickle.Unpickler):
    """Loads only the classes of such messages: whatever comes in, nothing is imported or run."""

    CLASSES = (Accepted, EpochReport, TrainingEnd, Outcome, Status, Failure)

    def find_class(self, module: str, name: str) -> Any:
        for known in self.CLASSES:
            if (module, name) == (known.__module__, known.__name__):
                return known
        raise pickle.UnpicklingError(f"{module}.{name} is no part of a message")


def receive(pipe: Connection) -> Accepted | EpochReport | TrainingEnd | None:
    """The next message of a training's process; None at the end, and for a message cut off by it.

    Raises ValueError for bytes that are no message: user code may have written into the pipe.
    """
    try:
        pickled = pipe.recv_bytes(LONGEST_BYTES)
    except EOFError:
        return None
    except OSError as error:
        if pipe.closed:
            raise ValueError(str(error)) from error
        return None
    try:
        message = _FromTraining(io.BytesIO(pickled)).load()
    except Exception as error:  # damaged by user code, a pickle can fail in any way
        raise ValueError(str(error)) from error
    if not isinstance(message, Accepted | EpochReport | TrainingEnd):
        raise ValueError(f"a {type(message).__name__}")
    return message
