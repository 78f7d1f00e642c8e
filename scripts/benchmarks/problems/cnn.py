"""Real trainings of a small convolutional network in PyTorch on scikit-learn's digits.

Four epochs on 400 images of 8 x 8 pixels; the error is the share of 500 others that is wrong, in
percent. The seed gives the first weights, the order of the images and what is dropped out.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from benchmarks.problems import Problem
from benchmarks.trainings import Known, training
from spot_dask import Categorical, Integer, Real, Space
from spot_dask.records import Configuration

NAMES = ["digits"]
KIND = "networks"

_EPOCHS, _TRAINED, _JUDGED = 4, 400, 500

_SPACE = Space(
    lr=Real(1e-3, 0.3, scale="log", default=1e-2),
    optimiser=Categorical(["sgd", "adam"], default="adam"),
    momentum=Real(0.0, 0.99, default=0.9).when(optimiser="sgd"),
    decay=Real(1e-6, 0.1, scale="log", default=1e-4),
    channels=Integer(2, 12, scale="log", default=8),
    hidden=Integer(8, 64, scale="log", default=32),
    batch=Integer(32, 128, scale="power2", default=64),
    dropout=Real(0.0, 0.6, default=0.2),
    activation=Categorical(["relu", "gelu", "tanh"], default="relu"),
)
_ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh}

# Optimum and median of `python -m benchmarks.best_known cnn/digits --rounds 4`, 200 true values
# with torch 2.15.0: a longer search may find lower ones.
_KNOWN = Known(7.2, 88.8)


def make(name: str) -> Problem:
    """The problem ``digits``; ValueError for any other name."""
    if name not in NAMES:
        raise ValueError(f"no cnn/{name}; there is: digits")
    return training("cnn/digits", _SPACE, _train, _KNOWN, torch.__version__)


def _train(c: Configuration, seed: int) -> float:
    torch.set_num_threads(1)
    images, labels = _data()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = _network(c)
        optimiser: torch.optim.Optimizer
        if c["optimiser"] == "sgd":
            optimiser = torch.optim.SGD(
                model.parameters(), c["lr"], c["momentum"], weight_decay=c["decay"]
            )
        else:
            optimiser = torch.optim.AdamW(model.parameters(), c["lr"], weight_decay=c["decay"])
        for _ in range(_EPOCHS):
            for rows in torch.randperm(_TRAINED).split(c["batch"]):
                optimiser.zero_grad()
                nn.functional.cross_entropy(model(images[rows]), labels[rows]).backward()
                optimiser.step()
    model.eval()
    with torch.no_grad():  # a network that diverged says 0 to everything
        said = torch.nan_to_num(model(images[_TRAINED:])).argmax(dim=1)
    return 100.0 * float((said != labels[_TRAINED:]).double().mean())


def _network(c: Configuration) -> nn.Sequential:
    activation = _ACTIVATIONS[c["activation"]]
    channels, hidden = c["channels"], c["hidden"]
    return nn.Sequential(
        nn.Conv2d(1, channels, 3, padding=1), activation(), nn.MaxPool2d(2),
        nn.Conv2d(channels, 2 * channels, 3, padding=1), activation(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(c["dropout"]),
        nn.Linear(8 * channels, hidden), activation(), nn.Linear(hidden, 10),
    )  # fmt: skip


@cache
def _data() -> tuple[Any, Any]:
    images, labels = load_digits(return_X_y=True)
    rows = np.random.default_rng(0).permutation(len(labels))[: _TRAINED + _JUDGED]
    pixels = (images[rows] / 16.0).reshape(-1, 1, 8, 8).astype(np.float32)
    return torch.from_numpy(pixels), torch.from_numpy(labels[rows].astype(np.int64))
