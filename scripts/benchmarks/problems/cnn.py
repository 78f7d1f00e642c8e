"""Real trainings of a small convolutional network in PyTorch on scikit-learn's digits.

Four epochs on 400 images of 8 x 8 pixels; the error is the share of 500 others that is wrong, in
percent. The seed gives the first weights, the order of the images and what is dropped out. In
``cnn/digits-e27`` it is 27 epochs, each of which is judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from benchmarks.problems import Course, Problem
from benchmarks.trainings import TRUTH_SEEDS, Known, training
from spot_dask import Categorical, Integer, Real, Space
from spot_dask.records import Configuration

NAMES = ["digits"]
KIND = "networks"

_EPOCHS, _LONG, _TRAINED, _JUDGED = 4, 27, 400, 500

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
_KNOWN_LONG = Known(4.65, 41.325)  # with --samples 40 --rounds 2 --elite 4 --children 2


def make(name: str) -> Problem:
    """The problem ``digits`` or ``digits-e27``; ValueError for any other name."""
    if name == "digits-e27":
        return training("cnn/digits-e27", _SPACE, _train_long, _KNOWN_LONG, torch.__version__)
    if name not in NAMES:
        raise ValueError(f"no cnn/{name}; there is: digits")
    return training("cnn/digits", _SPACE, _train, _KNOWN, torch.__version__)


def course(name: str) -> Callable[[Configuration, np.random.Generator], Course]:
    """All epochs of the trainings of ``digits-e27``; an epoch takes a second."""
    if name != "digits-e27":
        raise ValueError(f"cnn/{name} has no learning curves")

    def trained(config: Configuration, rng: np.random.Generator) -> Course:
        seed = int(rng.integers(TRUTH_SEEDS, 2**31))
        return Course(np.array(list(_errors(config, seed, _LONG))), float(_LONG))

    return trained


def _train(c: Configuration, seed: int) -> float:
    (error,) = _errors(c, seed, _EPOCHS, last=True)
    return error


def _train_long(c: Configuration, seed: int) -> float:
    (error,) = _errors(c, seed, _LONG, last=True)
    return error


def _errors(c: Configuration, seed: int, epochs: int, *, last: bool = False) -> Iterator[float]:
    """The error after every epoch, or after the last only."""
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
        for epoch in range(epochs):
            for rows in torch.randperm(_TRAINED).split(c["batch"]):
                optimiser.zero_grad()
                nn.functional.cross_entropy(model(images[rows]), labels[rows]).backward()
                optimiser.step()
            if not last or epoch == epochs - 1:
                yield _error(model, images[_TRAINED:], labels[_TRAINED:])


def _error(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """The share of images that is wrong, in percent."""
    model.eval()
    with torch.no_grad():  # a network that diverged says 0 to everything
        said = torch.nan_to_num(model(images)).argmax(dim=1)
    model.train()
    return 100.0 * float((said != labels).double().mean())


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
