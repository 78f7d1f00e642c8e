"""The state of a PyTorch training in its checkpoint, from which an interrupted one continues.

The checkpoint is a file of tensors, numbers and texts; reading it runs no code. A damaged file, or
one by another version of torch or of this module, is not used.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from spot_dask.errors import warn_once
from spot_dask.outputs import replacing
from spot_dask.tasks import Context

logger = logging.getLogger(__name__)

NAME = "training.pt"
FORMAT = 2
VERSION = str(torch.__version__)

SHARE = 0.05
"""The largest share of a training's time that is spent on saving."""

State = dict[str, Any]
Metrics = Mapping[str, float]


@dataclass(frozen=True)
class Snapshot:
    """A training after its last finished epoch: the metrics of all epochs and its state."""

    epochs: Sequence[Metrics]
    parts: State


class SavingPace:
    """When a training saves: at most once every ``seconds``, and in ``SHARE`` of its time.

    Never where no next attempt would find what is saved.
    """

    def __init__(self, trial: Context, seconds: float) -> None:
        self._keeps, self._pause = trial.keeps_checkpoint, seconds
        self._began = self._ended = time.monotonic()

    def due(self) -> bool:
        """Whether to save now; ``saved`` is to be called afterwards."""
        self._began = time.monotonic()
        return self._keeps and self._began - self._ended >= self._pause

    def saved(self) -> None:
        """Learn how long it took."""
        self._ended = time.monotonic()
        self._pause = max(self._pause, (self._ended - self._began) * (1 / SHARE - 1))


class Snapshots:
    """The snapshots of one trial; at least ``seconds`` pass from one to the next."""

    def __init__(self, trial: Context, seconds: float) -> None:
        self._trial = trial
        self._pace = SavingPace(trial, seconds)

    def last(self) -> Snapshot | None:
        """The snapshot of the last attempt, None if there is no usable one."""
        if not self._trial.keeps_checkpoint:
            return None
        path = self._trial.checkpoint / NAME
        if not path.exists():
            return None
        try:
            found = torch.load(path, map_location="cpu", weights_only=True)
            written = found["format"], found["torch"]
            if written != (FORMAT, VERSION):
                raise ValueError(f"written as format {written[0]} by torch {written[1]}")
            return Snapshot(found["epochs"], found["parts"])
        except Exception as error:  # a damaged file can fail in any way
            self.refuse(error)
            return None

    def refuse(self, error: Exception) -> None:
        """Log why the training begins anew."""
        begins_anew(self._trial, error)

    def offer(self, epochs: Sequence[Metrics], parts: Callable[[], State]) -> None:
        """Save the training if enough time has passed; a failure is only logged."""
        if not self._pace.due():
            return
        state = {
            "format": FORMAT,
            "torch": VERSION,
            "epochs": [dict(metrics) for metrics in epochs],
            "parts": parts(),
        }
        try:
            with replacing(self._trial.checkpoint / NAME) as file:
                torch.save(state, file)
        except Exception as error:  # a full disk, or user code in a model's state
            warn_once(logger, "a training cannot be saved and goes on: %r", error)
        self._pace.saved()


def begins_anew(trial: Context, error: Exception) -> None:
    """Log that a trial's checkpoint cannot be used, and why."""
    logger.warning(
        "trial %d begins anew, its checkpoint cannot be used (%s: %s)",
        trial.number,
        type(error).__name__,
        str(error).partition("\n")[0],
    )


def random_state(device: torch.device) -> State:
    """The states of all generators that a training uses: of torch, Python and numpy."""
    name, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002 - the user's transforms
    state: State = {
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(np.asarray(keys, dtype=np.int64)), *rest),
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(state: State, device: torch.device) -> None:
    """Set the generators to the states that ``random_state`` returned."""
    name, keys, *rest = state["numpy"]
    torch.set_rng_state(state["torch"])
    random.setstate(state["python"])
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002 - as above
    if "cuda" in state and device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)
