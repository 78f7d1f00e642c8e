"""Trainings with curves, a few milliseconds an epoch, and studies of them."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import nn

from spot_dask import Design, FunctionTask, Real, Space, Study
from spot_dask.tasks.torch import TorchTask

EPOCHS = 27


def train(cfg: Any, trial: Any) -> dict[str, float]:
    """An accuracy that rises to its end; writes down who trains, and for how many epochs."""
    best = 1.0 - (cfg.x - 0.3) ** 2 - (cfg.y - 0.6) ** 2 - 0.1 * math.sin(40 * cfg.x) ** 2
    log = Path(os.environ["TRAINED"], f"{trial.number}.{trial.attempt}")
    for epoch in range(1, EPOCHS + 1):
        time.sleep(0.01)
        with log.open("a") as file:
            file.write(f"{os.getpid()}\n")
        trial.report(epoch, acc=best * (1 - 0.5**epoch), loss=-best)
    return {"acc": best * (1 - 0.5**EPOCHS)}


def study(**changes: Any) -> Study:
    settings: dict[str, Any] = {
        "early_stopping": "asha",
        "design": Design(initial=6),
        "seed": 2,
        "replication": 0.0,
        **changes,
    }
    space = Space(x=Real(0.0, 1.0, default=0.9), y=Real(0.0, 1.0, default=0.1))
    return Study(space, FunctionTask(train, "acc", "max"), **settings)


def digits() -> tuple[Any, Any]:
    X, y = load_digits(return_X_y=True)
    return X[:600] / 16, y[:600]


def network(cfg: Any) -> nn.Module:
    Path(os.environ["TRAINED"], f"{cfg.lr!r}").write_text(str(os.getpid()))
    return nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))


def sgd(parameters: Any, cfg: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, cfg.lr)


def torch_study(**changes: Any) -> Study:
    """Networks that learn digits, stopped early unless they are among the best third."""
    task = TorchTask(network, digits, sgd, nn.CrossEntropyLoss(), epochs=100, batch_size=16)
    space = Space(lr=Real(1e-3, 1.0, scale="log", default=0.1))
    settings: dict[str, Any] = {"design": Design(initial=4), "seed": 3, "replication": 0.0}
    return Study(space, task, early_stopping="asha(min_epochs=2)", **(settings | changes))
