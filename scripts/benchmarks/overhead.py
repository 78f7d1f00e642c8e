"""CPU seconds of a TorchTask over those of a tight loop that computes the same numbers.

The loop indexes tensors, makes steps and judges after every epoch, and does nothing else; its
losses must be those of the task. One thread; both in turn, and the ratio is the median of those of
the pairs. Rows with a feature are compared with the same loop, which has it, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import click
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.optim import lr_scheduler

from benchmarks.summary import table
from spot_dask import TorchTask
from spot_dask.records import Trial
from spot_dask.space.config import Config
from spot_dask.tasks.data import arrays
from spot_dask.tasks.splits import Split
from spot_dask.worker.context import RunningTrial

_SEED, _JUDGED_AT_ONCE = 3, 256
Make = Callable[[], nn.Module]


def perceptron() -> nn.Module:
    """64 - 64 - 10."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def convolutional() -> nn.Module:
    """Two convolutions on 8 x 8 pixels."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(128, 10),
    )  # fmt: skip


MODELS: Mapping[str, Make] = {"mlp": perceptron, "cnn": convolutional}
FEATURES = ("none", "clip and schedule")


@click.command()
@click.option("--epochs", default=12, show_default=True)
@click.option("--repeats", default=5, show_default=True)
@click.option("--batch", "batches", multiple=True, type=click.IntRange(2), default=[16, 64])
def main(epochs: int, repeats: int, batches: tuple[int, ...]) -> None:
    """Time both and print CPU seconds and their ratio."""
    torch.set_num_threads(1)
    rows = []
    for name, model in MODELS.items():
        for batch in batches:
            for feature in FEATURES:
                extra = feature != "none"
                task, loop = compared(model, batch, epochs, repeats, extra)
                ratio = f"{task / loop:.3f}"
                rows.append([name, str(batch), feature, f"{loop:.3f}", f"{task:.3f}", ratio])
    click.echo(table(["model", "batch", "features", "loop, CPU s", "TorchTask", "ratio"], rows))


def compared(
    model: Make, batch: int, epochs: int, repeats: int, extra: bool
) -> tuple[float, float]:
    """CPU seconds of the task and the loop in the median pair; ``extra``: clip and schedule."""
    task = task_of(model, batch, epochs, extra)
    pairs = []
    for _ in range(repeats):
        losses, seconds = [], []
        for train in (lambda: by_task(task), lambda: by_loop(task, model, extra)):
            began = time.process_time()
            losses.append(train())
            seconds.append(time.process_time() - began)
        pairs.append((seconds[0], seconds[1]))
        if abs(losses[0] - losses[1]) > 1e-5:
            raise AssertionError(f"the task's loss is {losses[0]}, the loop's {losses[1]}")
    return sorted(pairs, key=lambda pair: pair[0] / pair[1])[len(pairs) // 2]


def task_of(model: Make, batch: int, epochs: int, extra: bool) -> TorchTask:
    """A training on scikit-learn's digits."""
    options: dict[str, Any] = {}
    if extra:
        options = {"clip": 1.0, "scheduler": _schedule}
    return TorchTask(
        lambda cfg: model(), _data, lambda p, cfg: torch.optim.Adam(p, 1e-3), nn.CrossEntropyLoss(),
        ("accuracy",), epochs, batch, device="cpu", eval_batch_size=_JUDGED_AT_ONCE, **options,
    )  # fmt: skip


def by_task(task: TorchTask) -> float:
    """Train by the task; the validation loss."""
    return task(Config({}), RunningTrial(Trial(0, {}, _SEED)))["val_loss"]


def by_loop(task: TorchTask, model: Make, extra: bool) -> float:
    """Train by hand, with the split, weights and order of the task; the validation loss."""
    train, held_out = (part.tensors for part in Split()(arrays(*_data()), _SEED))  # type: ignore[attr-defined]
    order = torch.Generator().manual_seed(_SEED)
    torch.manual_seed(_SEED)
    net, loss = model(), nn.CrossEntropyLoss()
    X, y = train[0].float(), train[1]
    held_X, held_y = held_out[0].float(), held_out[1]
    size, epochs, n = int(task.batch_size), int(task.epochs), len(y)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    steps = n // size + (n % size > 1)  # a last batch of one sample is left out
    schedule = _schedule(optimizer, None, epochs * steps) if extra else None
    value = 0.0
    for _ in range(epochs):
        net.train()
        sums: list[Tensor] = []
        for rows in torch.randperm(n, generator=order).split(size):
            if len(rows) == 1:
                continue
            optimizer.zero_grad()
            now = loss(net(X[rows]), y[rows])
            now.backward()
            if extra:
                nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            if schedule is not None:
                schedule.step()
            sums.append(now.detach())
        torch.stack(sums).mean().item()
        value = judged(net, loss, held_X, held_y)
    return value


@torch.no_grad()
def judged(net: nn.Module, loss: nn.Module, X: Tensor, y: Tensor) -> float:
    """The mean loss; the accuracy is computed, too."""
    net.eval()
    total, right = torch.zeros(()), torch.zeros(())
    for x, target in zip(X.split(_JUDGED_AT_ONCE), y.split(_JUDGED_AT_ONCE), strict=True):
        output = net(x)
        total += loss(output, target) * len(x)
        right += (output.argmax(1) == target).sum()
    right.item()
    return float(total) / len(y)


def _schedule(optimizer: Any, cfg: Any, steps: int) -> Any:
    return lr_scheduler.CosineAnnealingLR(optimizer, steps)


def _data() -> tuple[Any, Any]:
    digits = load_digits()
    return digits.images[:, None] / 16, digits.target


if __name__ == "__main__":
    main()
