"""A TorchTask that was interrupted goes on, and ends exactly as if it had not been."""

from __future__ import annotations

import math
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from spot_dask.executors.checkpoints import Folder
from spot_dask.records import Outcome, Trial
from spot_dask.tasks import snapshot
from spot_dask.tasks.data import Data
from spot_dask.tasks.snapshot import NAME, Snapshots
from spot_dask.tasks.torch import Fit, TorchTask
from spot_dask.worker.checkpoints import Place
from spot_dask.worker.context import RunningTrial
from spot_dask.worker.training_main import attempt_trial


class Noisy(Dataset[Any]):
    """Items of which each reading draws from all three generators."""

    def __init__(self, n: int = 48) -> None:
        self.y = torch.arange(n) % 3

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        noise = torch.rand(8) + random.random() + float(np.random.rand())  # noqa: NPY002
        return noise + self.y[i], int(self.y[i])


def plain() -> tuple[np.ndarray, np.ndarray]:
    y = np.arange(60) % 3
    return np.random.default_rng(0).normal(size=(60, 8)) + y[:, None], y


def network(cfg: Any) -> nn.Module:
    layers = nn.Linear(8, cfg.width), nn.BatchNorm1d(cfg.width), nn.ReLU(), nn.Dropout(0.3)
    return nn.Sequential(*layers, nn.Linear(cfg.width, 3))


def adam(parameters: Any, cfg: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, cfg.lr)


def momentum(parameters: Any, cfg: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, cfg.lr, momentum=0.9, nesterov=True)


TASK = TorchTask(
    network, Noisy, adam, nn.CrossEntropyLoss(), epochs=6, batch_size=8, device="cpu",
    checkpoint_seconds=0.0,
)  # fmt: skip
TRIAL = Trial(0, {"lr": 0.01, "width": 12}, seed=7)


class Interrupted(BaseException):
    """Stands for whatever ends a training."""


class Cut(RunningTrial):
    """A trial that ends when epoch ``last`` has begun to be reported."""

    last = math.inf

    def report(self, epoch: int, **metrics: float) -> None:
        if epoch > self.last:
            raise Interrupted
        super().report(epoch, **metrics)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place.of(tmp_path / "checkpoints", "run", "")
    Folder(place)
    return place


def run(task: TorchTask, place: Place | None, last: float = math.inf) -> Outcome:
    running = Cut(TRIAL, place=place)
    running.last = last
    return attempt_trial(lambda: task, TRIAL, running)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _every_epoch_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "SHARE", 1.0)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The losses of the epochs that were trained, not read from a checkpoint."""
    losses: list[float] = []
    train = Fit.train

    def counted(fit: Fit, batches: Any) -> float:
        losses.append(train(fit, batches))
        return losses[-1]

    monkeypatch.setattr(Fit, "train", counted)
    return losses


def saved(place: Place) -> Path:
    return max(Path(place.root, "0").iterdir()) / NAME


@pytest.mark.parametrize(
    "task",
    [TASK, replace(TASK, data=plain, optimizer=momentum), replace(TASK, data=plain)],
    ids=["items", "arrays, SGD", "arrays"],
)
@pytest.mark.parametrize("interruptions", [[3], [1, 2, 4]])
def test_an_interrupted_training_ends_as_one_that_ran_through(
    task: TorchTask, interruptions: list[int], place: Place, trained: list[float]
) -> None:
    through = run(task, None)
    for last in interruptions:
        assert not run(task, place, last).ok
    trained.clear()
    resumed = run(task, place)
    assert len(trained) == 6 - interruptions[-1]
    assert through.ok
    assert resumed.metrics == through.metrics
    assert resumed.curves == through.curves


def test_what_loading_processes_draw_is_drawn_again(place: Place, trained: list[float]) -> None:
    """Whatever their number; what validates is still, for there nothing is to be drawn."""
    data = Data(Noisy(), Still())
    task = replace(TASK, data=lambda: data, workers=2)
    through = run(task, None)
    assert len(set(through.curves["train_loss"])) == 6
    run(task, place, 3)
    trained.clear()
    assert run(replace(task, workers=1), place).curves == through.curves
    assert len(trained) == 3


class Still(Noisy):
    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return torch.full((8,), float(i)), int(self.y[i])


def test_every_generator_matters(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison above notices a generator that is not restored."""
    through = run(TASK, None)
    from spot_dask.tasks import fit as module

    monkeypatch.setattr(module, "restore_random_state", lambda state, device: None)
    run(TASK, place, 3)
    assert run(TASK, place).curves != through.curves


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {here!r})
from test_snapshot import TASK, TRIAL, Place, RunningTrial, attempt_trial, snapshot
snapshot.SHARE = 1.0
place = Place({root!r}, {version!r})

class Killed(RunningTrial):
    def report(self, epoch, **metrics):
        super().report(epoch, **metrics)
        if epoch == 4:
            os.kill(os.getpid(), signal.SIGKILL)

attempt_trial(lambda: TASK, TRIAL, Killed(TRIAL, place=place))
"""


def test_a_training_killed_in_another_process_goes_on_here(
    place: Place, trained: list[float]
) -> None:
    here = str(Path(__file__).parent)
    script = KILLED.format(here=here, root=place.root, version=place.version)
    env = os.environ | {"OMP_NUM_THREADS": "1"}  # as here, for sums are not associative
    end = subprocess.run([sys.executable, "-c", script], env=env, check=False)
    assert end.returncode == -signal.SIGKILL
    trained.clear()
    reported: list[int] = []
    running = RunningTrial(TRIAL, tell=lambda epoch, _: reported.append(epoch), place=place)
    resumed = attempt_trial(lambda: TASK, TRIAL, running)
    assert len(trained) == 3  # the fourth epoch was not saved yet
    assert resumed.curves == run(TASK, None).curves
    assert reported == [1, 2, 3, 4, 5, 6]


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-500])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def by_another_torch(file: Path) -> None:
    state = torch.load(file, weights_only=True)
    torch.save(state | {"torch": "1.13.0"}, file)


def no_snapshot(file: Path) -> None:
    torch.save({"epoch": 3}, file)


def of_another_model(file: Path) -> None:
    state = torch.load(file, weights_only=True)
    state["parts"]["model"] = nn.Linear(2, 2).state_dict()
    torch.save(state, file)


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.kill, (os.getpid(), signal.SIGKILL)


def code(file: Path) -> None:
    torch.save(Evil(), file)


@pytest.mark.parametrize(
    "damage", [truncate, empty, by_another_torch, no_snapshot, of_another_model, code]
)
def test_a_checkpoint_that_cannot_be_used_is_told_and_begun_anew(
    damage: Any, place: Place, trained: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    run(TASK, place, 3)
    damage(saved(place))
    trained.clear()
    assert run(TASK, place).curves == run(TASK, None).curves
    assert len(trained) == 12
    assert "trial 0 begins anew, its checkpoint cannot be used" in caplog.text


def test_a_disk_that_is_full_does_not_end_a_training(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert run(TASK, place).curves == run(TASK, None).curves
    assert "cannot be saved and goes on: OSError(28" in caplog.text
    assert [p for p in saved(place).parent.iterdir()] == []


def test_saving_takes_at_most_its_share_of_the_time(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "SHARE", 0.05)
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    snapshots, saves = Snapshots(RunningTrial(TRIAL, place=place), 30.0), []

    def parts() -> dict[str, Any]:
        saves.append(now[0])
        now[0] += 4.0  # so long does it take
        return {}

    for _ in range(1000):
        now[0] += 1.0  # an epoch
        snapshots.offer([{"val_loss": 1.0}], parts)
    assert saves[:2] == [30.0, 30.0 + 4.0 + 76.0]
    assert 4.0 * len(saves) <= 0.05 * now[0]


def test_nothing_is_saved_where_nobody_would_find_it() -> None:
    Snapshots(RunningTrial(TRIAL), 0.0).offer([], lambda: pytest.fail("saved"))
