"""One training by two processes, which meet by gloo on the CPU."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from spot_dask import Data, Fit, TorchTask
from spot_dask.executors.checkpoints import Folder
from spot_dask.records import Outcome, Status, Trial
from spot_dask.tasks import snapshot, together
from spot_dask.tasks.batches import Batches, Source
from spot_dask.tasks.data import arrays
from spot_dask.worker.checkpoints import Place
from spot_dask.worker.context import RunningTrial
from spot_dask.worker.training_main import attempt_trial

# The processes must not have to find this file.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

pytestmark = pytest.mark.dask

RNG = np.random.default_rng(4)
Y = np.arange(51) % 3
X = (RNG.normal(size=(51, 5)) + Y[:, None]).astype(np.float32)


def data() -> Any:
    return Data((X, Y), (X[::3] + 0.1, Y[::3]), (X[1::3], Y[1::3]))


class Loud(nn.Module):
    """A linear network that draws noise from its eleventh batch, so its third epoch, on."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 3)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Any) -> Any:
        if self.training:
            self.seen += 1
            x = x + torch.rand_like(x) * (self.seen > 10)
        return self.layer(x)


def momentum(parameters: Any, cfg: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, 0.1, momentum=0.9)


TASK = TorchTask(
    lambda cfg: Loud(), data, momentum, nn.CrossEntropyLoss(), epochs=5, batch_size=10,
    clip=0.5, device="cpu", checkpoint_seconds=0.0,
    scheduler=lambda o, cfg, steps: torch.optim.lr_scheduler.CosineAnnealingLR(o, steps),
)  # fmt: skip
TRIAL = Trial(0, {"lr": 0.05}, seed=7)


class Interrupted(BaseException):
    """Stands for whatever ends a training."""


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(snapshot, "SHARE", 1.0)
    yield
    torch.set_num_threads(threads)


def run(task: TorchTask, place: Place | None = None, last: float = math.inf) -> Outcome:
    class Ended(RunningTrial):
        def report(self, epoch: int, /, **metrics: float) -> None:
            if epoch > last:
                raise Interrupted
            super().report(epoch, **metrics)

    return attempt_trial(lambda: task, TRIAL, Ended(TRIAL, place=place))


def test_two_processes_train_as_one_and_go_on_exactly(tmp_path: Path) -> None:
    place, task = Place.of(tmp_path / "checkpoints", "run", ""), replace(TASK, processes=2)
    Folder(place)
    one, through = run(TASK), run(task)
    assert through.ok, through.error
    for name, values in one.curves.items():
        assert through.curves[name][:2] == pytest.approx(values[:2], rel=1e-5)
    assert through.curves["train_loss"][2:] != pytest.approx(one.curves["train_loss"][2:], rel=1e-4)
    assert not run(task, place, 3).ok
    trained: list[float] = []
    train = Fit.train
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Fit, "train", lambda fit, b: trained.append(0.0) or train(fit, b))
        resumed = run(task, place)
    assert len(trained) == 2
    assert (resumed.curves, resumed.metrics) == (through.curves, through.metrics)
    assert not together.dist.is_initialized()


def test_what_another_process_dies_of_is_told() -> None:
    def model(cfg: Any) -> nn.Module:
        if together.rank() == 1:
            raise ValueError("bad news")
        return nn.Linear(5, 3)

    outcome = run(replace(TASK, processes=2, model=model))
    assert outcome.status is Status.FAILED
    assert outcome.error is not None
    assert outcome.error.message == "process 1 of the training failed: ValueError: bad news"


class Items(Dataset[Any]):
    def __len__(self) -> int:
        return 51

    def __getitem__(self, i: int) -> Any:
        return torch.tensor(float(i)), i


@pytest.mark.parametrize("kind", ["arrays", "items"])
@pytest.mark.parametrize(("size", "count"), [(10, 2), (10, 3), (7, 3), (50, 2), (51, 4)])
def test_processes_share_the_samples_of_each_batch(kind: str, size: int, count: int) -> None:
    source = Source(Items() if kind == "items" else arrays(np.arange(51.0), np.arange(51)))

    def batches(*part: int) -> list[tuple[list[int], float]]:
        generator = torch.Generator().manual_seed(1)
        found = Batches(source, size, torch.device("cpu"), generator, part=(part[0], part[1]))
        return [(y.tolist(), found.share) for _, y in found]

    whole, parts = batches(0, 1), [batches(i, count) for i in range(count)]
    for i, shared in enumerate(zip(*parts, strict=True)):
        expected = whole[i][0]
        assert sorted(y for ys, _ in shared for y in ys) == sorted(expected)
        assert [share for _, share in shared] == [len(ys) / len(expected) for ys, _ in shared]
    left = 51 - sum(len(ys) for ys, _ in whole[: len(parts[0])])
    assert left < max(count, 2)


def test_a_batch_smaller_than_its_processes_is_told() -> None:
    source = Source(arrays(np.arange(9.0), np.arange(9)))
    with pytest.raises(ValueError, match="a batch of 2 cannot be shared by 3 processes"):
        Batches(source, 2, torch.device("cpu"), torch.Generator(), part=(0, 3))
