"""A study of networks, apart from those whose processes need not import torch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from spot_dask import Design, Real, Space, Study
from spot_dask.tasks.torch import TorchTask


def clusters() -> tuple[Any, Any]:
    """Points around ten centres, and the numbers of these."""
    rng = np.random.default_rng(1)
    y = rng.integers(10, size=300)
    X = rng.normal(size=(10, 64))[y] + rng.normal(size=(300, 64))
    return X.astype(np.float32), y


def network(cfg: Any) -> nn.Module:
    Path(os.environ["TRAINED"], f"{cfg.lr!r}").write_text(str(os.getpid()))
    return nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))


def sgd(parameters: Any, cfg: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, cfg.lr)


def torch_study(**changes: Any) -> Study:
    """Networks that learn the clusters, stopped early unless they are among the best third."""
    task = TorchTask(network, clusters, sgd, nn.CrossEntropyLoss(), epochs=30, batch_size=16)
    space = Space(lr=Real(1e-3, 1.0, scale="log", default=0.1))
    settings: dict[str, Any] = {"design": Design(initial=4), "seed": 3, "replication": 0.0}
    return Study(space, task, early_stopping="asha(min_epochs=2)", **(settings | changes))
