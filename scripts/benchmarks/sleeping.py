"""Trainings that sleep on a Dask cluster, driven by spot-dask and by others.

Whoever drives them, they draw the same durations in the order in which they begin, and note when
they begin and end. A slot is a process (spot-dask's) or a thread (others') of a worker.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import Unavailable

WORKERS, SLOTS = 2, 4


@dataclass(frozen=True)
class Note:
    """A training: where, and from when to when (seconds since the epoch)."""

    place: str
    began: float
    ended: float

    @property
    def seconds(self) -> float:
        return self.ended - self.began


def duration(number: int, sigma: float, median: float) -> float:
    """Seconds of the training that begins as number so and so."""
    return float(median * np.random.default_rng([20261123, number]).lognormal(0.0, sigma))


def sleep(folder: str, sigma: float, median: float, x: float, y: float) -> float:
    """One training; its loss."""
    began = time.time()
    tickets = os.open(f"{folder}/tickets", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(tickets, b".")
    number = os.lseek(tickets, 0, os.SEEK_CUR) - 1
    os.close(tickets)
    time.sleep(max(0.0, duration(number, sigma, median) - (time.time() - began)))
    line = json.dumps([f"{os.getpid()}.{threading.get_ident()}", began, time.time()]) + "\n"
    notes = os.open(f"{folder}/notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(notes, line.encode())
    os.close(notes)
    return (x - 0.3) ** 2 + y**2


def notes(folder: Path) -> list[Note]:
    """What the trainings of a folder noted."""
    return [Note(*json.loads(line)) for line in (folder / "notes").read_text().splitlines()]


@contextmanager
def cluster(folder: Path) -> Iterator[str]:
    """A scheduler and workers as processes of their own; the scheduler's file."""
    file = folder / "scheduler.json"
    spot = [sys.executable, "-c", "from spot_dask.cli import main; main()"]
    commands = [
        [*spot, "scheduler", "--host", "127.0.0.1", "--port", "0", "--dashboard", "127.0.0.1:0",
         "--scheduler-file", str(file)],
        *([*spot, "worker", str(file), "--slots", str(SLOTS)] for _ in range(WORKERS)),
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(c, cwd=folder, env=environment, stderr=subprocess.DEVNULL)
        for c in commands
    ]
    try:
        from distributed import Client

        while not file.exists():
            time.sleep(0.1)
        with Client(scheduler_file=str(file), set_as_default=False) as client:
            client.wait_for_workers(WORKERS, timeout=120)
        yield str(file)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(60)


def spot(address: str, folder: Path, trials: int, sigma: float, median: float) -> None:
    """spot-dask, refilling slots as they become free."""
    _spot(address, folder, trials, sigma, median, sync=False)


def spot_confirmed(address: str, folder: Path, trials: int, sigma: float, median: float) -> None:
    """spot-dask as it comes: a part confirms, whose finalist waits for the whole search."""
    _spot(address, folder, trials, sigma, median, sync=False, confirm=None)


def spot_sync(address: str, folder: Path, trials: int, sigma: float, median: float) -> None:
    """spot-dask with --sync --batch 8."""
    _spot(address, folder, trials, sigma, median, sync=True)


def _spot(
    address: str,
    folder: Path,
    trials: int,
    sigma: float,
    median: float,
    *,
    sync: bool,
    confirm: float | None = 0.0,
) -> None:
    from spot_dask import Budget, FunctionTask, Real, Space, Study
    from spot_dask.executors.connection import Connection

    text = str(folder)

    def train(cfg: Any) -> float:
        from benchmarks.sleeping import sleep

        return sleep(text, sigma, median, cfg.x, cfg.y)

    space = Space(x=Real(0.0, 1.0, default=0.5), y=Real(-1.0, 1.0, default=0.5))
    batch = 8 if sync else None
    study = Study(space, FunctionTask(train), seed=1, sync=sync, batch=batch, confirm=confirm)
    study.run(Budget(evaluations=trials), client=Connection(address), store=folder / "run.zarr")


def optuna(address: str, folder: Path, trials: int, sigma: float, median: float) -> None:
    """Optuna's own recipe: DaskStorage, and each slot optimises in a Dask task."""
    try:
        import optuna
        from optuna_integration.dask import DaskStorage
    except ImportError as error:
        raise Unavailable(f"Optuna on Dask needs optuna-integration ({error})") from error
    from distributed import Client, wait

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    text = str(folder)

    def objective(trial: Any) -> float:
        from benchmarks.sleeping import sleep

        x, y = trial.suggest_float("x", 0.0, 1.0), trial.suggest_float("y", -1.0, 1.0)
        return sleep(text, sigma, median, x, y)

    with Client(scheduler_file=address) as client, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = optuna.create_study(storage=DaskStorage(client=client), study_name=folder.name)
        callbacks = [optuna.study.MaxTrialsCallback(trials, states=None)]
        futures = [
            client.submit(study.optimize, objective, callbacks=callbacks, pure=False)
            for _ in range(WORKERS * SLOTS)
        ]
        wait(futures)
        for future in futures:
            future.result()


def smac(address: str, folder: Path, trials: int, sigma: float, median: float) -> None:
    """SMAC3's Dask runner, given the same client."""
    try:
        from ConfigSpace import ConfigurationSpace
        from smac import HyperparameterOptimizationFacade, Scenario
    except ImportError as error:
        raise Unavailable(f"SMAC3 on Dask needs smac ({error})") from error
    from distributed import Client

    text = str(folder)

    def objective(config: Any, seed: int = 0) -> float:
        from benchmarks.sleeping import sleep

        return sleep(text, sigma, median, config["x"], config["y"])

    with Client(scheduler_file=address) as client, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scenario = Scenario(
            ConfigurationSpace({"x": (0.0, 1.0), "y": (-1.0, 1.0)}),
            deterministic=True,
            n_trials=trials,
            n_workers=WORKERS * SLOTS,
            output_directory=folder / "smac",
        )
        facade = HyperparameterOptimizationFacade(
            scenario, objective, dask_client=client, logging_level=False, overwrite=True
        )
        facade.optimize()


CONTENDERS: dict[str, Callable[[str, Path, int, float, float], None]] = {
    "spot-dask": spot,
    "spot-dask confirmed": spot_confirmed,
    "spot-dask sync": spot_sync,
    "Optuna DaskStorage": optuna,
    "SMAC3 Dask runner": smac,
}
"""Name -> runs so many trainings to their end."""
