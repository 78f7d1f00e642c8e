"""How long a worker takes to begin a training, by where it runs.

``first line`` is the time from asking the worker to the training's first line, ``round trip`` that
until its outcome is there; the training itself does nothing. Dask's own part is not in it:
``benchmarks.utilisation`` tells that.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import click
import cloudpickle
import torch

from benchmarks.summary import table
from spot_dask.codec import outcome_from_json, trial_to_json
from spot_dask.records import Trial
from spot_dask.tasks import Config
from spot_dask.tasks.function import FunctionTask
from spot_dask.worker import supervisor
from spot_dask.worker.limits import Conditions, Isolation

BASELINE = "process, an interpreter each"
PATIENCE = 120.0
Train = Callable[[Config, Any], dict[str, float]]


@dataclass(frozen=True)
class Start:
    """Seconds from asking for a training to its first line and to its outcome."""

    first_line: float
    round_trip: float


def plain(cfg: Config, trial: Any) -> dict[str, float]:
    return {"loss": 0.0, "began": time.time(), "parent": os.getppid()}


def with_torch(cfg: Config, trial: Any) -> dict[str, float]:
    began = time.time()
    return {"loss": float(torch.zeros(1)), "began": began, "parent": os.getppid()}


class Threaded:
    """A training that cannot be forked, for loading it leaves a thread running."""

    def __init__(self, train: Train) -> None:
        self._train = train

    def __reduce__(self) -> Any:
        return _with_thread, (self._train,)


def _with_thread(train: Train) -> FunctionTask:
    threading.Thread(target=time.sleep, args=(3600.0,), daemon=True).start()
    return FunctionTask(train)


TRAININGS: dict[str, Train] = {"numpy": plain, "torch": with_torch}


@click.command()
@click.option("--trainings", type=click.IntRange(1), default=30, show_default=True)
@click.option("--task", "tasks", multiple=True, type=click.Choice(list(TRAININGS)))
def main(trainings: int, tasks: Sequence[str]) -> None:
    """Start trainings one after the other and print medians and the ratios of round trips."""
    rows = []
    for name in tasks or TRAININGS:
        starts = measure(TRAININGS[name], trainings)
        base = starts[BASELINE].round_trip
        for way, start in starts.items():
            figures = (f"{1000 * s:.1f}" for s in (start.first_line, start.round_trip))
            rows.append([name, way, *figures, f"1/{base / start.round_trip:.3g}"])
    click.echo(table(["task", "way", "first line ms", "round trip ms", "ratio"], rows))


def measure(train: Train, trainings: int) -> dict[str, Start]:
    """The median start of each way."""
    task = cloudpickle.dumps(FunctionTask(train))
    unforkable = cloudpickle.dumps(Threaded(train))
    return {
        BASELINE: _median(unforkable, "process", trainings),
        "process, forked": _median(task, "process", trainings, forked=True),
        "warm": _median(task, "warm", trainings),
        "thread": _median(task, "thread", trainings),
    }


def _median(task: bytes, isolation: Isolation, trainings: int, forked: bool = False) -> Start:
    try:
        _prepare(task, isolation, forked)
        starts = [_start(task, isolation)[0] for _ in range(trainings)]
    finally:
        supervisor.close()
    return Start(median(s.first_line for s in starts), median(s.round_trip for s in starts))


def _prepare(task: bytes, isolation: Isolation, forked: bool) -> None:
    """Train until trainings begin as all later ones will."""
    deadline = time.monotonic() + PATIENCE
    while _start(task, isolation)[1] == os.getpid() and forked:
        if time.monotonic() > deadline:
            raise click.ClickException(f"no training was forked within {PATIENCE:.0f} s")
        time.sleep(0.1)


def _start(task: bytes, isolation: Isolation) -> tuple[Start, int]:
    """Of one training; and the process that its own was started by."""
    trial = json.dumps(trial_to_json(Trial(0, {}, seed=0)))
    asked = time.time()
    conditions = Conditions(isolation=isolation)
    outcome = outcome_from_json(supervisor.run_trial(task, trial, 0, "starts", conditions))
    took = time.time() - asked
    if not outcome.ok:
        raise click.ClickException(f"a training failed: {outcome.error}")
    return Start(outcome.metrics["began"] - asked, took), int(outcome.metrics["parent"])


if __name__ == "__main__":
    main()
