"""Do the stated intervals hold the mean of fresh seeds? Real trainings, told by training again.

Each study is run as a user runs it, confirmation included; then its recommended configuration and
the default are trained under seeds that nobody has used, and their means are compared with what the
run has stated. The named baseline is the observed value that the configuration was chosen by.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from sklearn.datasets import load_diabetes, load_digits
from torch import nn

from benchmarks.summary import table
from spot_dask import Budget, Categorical, FunctionTask, Integer, Real, Run, Space, Study

FRESH = 2**40
"""Names the stream of the seeds under which a result is tried; no study has this seed."""


@dataclass(frozen=True)
class Problem:
    """A training with its space."""

    space: Space
    train: Callable[..., float]


NETWORK = {
    "lr": Real(1e-4, 1.0, scale="log", default=1e-2),
    "width": Integer(8, 128, scale="log", default=32),
    "dropout": Real(0.0, 0.6, default=0.2),
    "optimizer": Categorical(["sgd", "adam"], default="sgd"),
    "batch": Integer(16, 256, scale="log", default=64),
}


def fitted(net: nn.Module, loss: nn.Module, cfg: Any, X: Any, y: Any, epochs: int) -> float:
    """The validation loss of a network trained on the first three quarters of the rows."""
    cut = 3 * len(X) // 4
    kind = torch.optim.SGD if cfg.optimizer == "sgd" else torch.optim.Adam
    optimizer = kind(net.parameters(), lr=cfg.lr)
    for _ in range(epochs):
        order = torch.randperm(cut)
        for begin in range(0, cut, cfg.batch):
            rows = order[begin : begin + cfg.batch]
            optimizer.zero_grad()
            loss(net(X[rows]), y[rows]).backward()
            optimizer.step()
    net.eval()
    with torch.no_grad():
        return float(loss(net(X[cut:]), y[cut:]))


def shuffled(X: Any, y: Any, seed: int) -> tuple[Any, Any]:
    """Rows in the random order of a seed, which also seeds torch: split, start and batches."""
    torch.manual_seed(seed % 2**63)
    torch.set_num_threads(1)
    order = torch.randperm(len(X))
    return X[order], y[order]


def digits(cfg: Any, trial: Any) -> float:
    """Cross entropy of a small perceptron on scikit-learn's digits."""
    data = load_digits()
    X, y = torch.tensor(data.data / 16, dtype=torch.float32), torch.tensor(data.target)
    X, y = shuffled(X, y, trial.seed)
    net = nn.Sequential(
        nn.Linear(64, cfg.width), nn.ReLU(), nn.Dropout(cfg.dropout), nn.Linear(cfg.width, 10)
    )
    return fitted(net, nn.CrossEntropyLoss(), cfg, X, y, 12)


def diabetes(cfg: Any, trial: Any) -> float:
    """Mean squared error of a small perceptron on scikit-learn's diabetes data."""
    data = load_diabetes()
    X = torch.tensor(data.data / data.data.std(axis=0), dtype=torch.float32)
    X, y = shuffled(X, torch.tensor(data.target / 100, dtype=torch.float32)[:, None], trial.seed)
    net = nn.Sequential(
        nn.Linear(10, cfg.width), nn.ReLU(), nn.Dropout(cfg.dropout), nn.Linear(cfg.width, 1)
    )
    return fitted(net, nn.MSELoss(), cfg, X, y, 20)


def convolution(cfg: Any, trial: Any) -> float:
    """Cross entropy of a small convolutional network on scikit-learn's digits."""
    data = load_digits()
    X, y = torch.tensor(data.images / 16, dtype=torch.float32)[:, None], torch.tensor(data.target)
    X, y = shuffled(X, y, trial.seed)
    channels = max(2, cfg.width // 8)
    net = nn.Sequential(
        nn.Conv2d(1, channels, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(cfg.dropout),
        nn.Linear(16 * channels, 10),
    )
    return fitted(net, nn.CrossEntropyLoss(), cfg, X, y, 6)


PROBLEMS = {
    name: Problem(Space(NETWORK), train)
    for name, train in (("digits", digits), ("diabetes", diabetes), ("convolution", convolution))
}


@dataclass(frozen=True)
class Tried:
    """What a run has stated of its result, and what fresh seeds say."""

    observed: float
    mean: float
    low: float
    high: float
    gain: float
    gain_low: float
    gain_high: float
    fresh: float
    fresh_sd: float
    fresh_gain: float

    @property
    def holds(self) -> bool:
        return self.low <= self.fresh <= self.high

    @property
    def gain_holds(self) -> bool:
        return self.gain_low <= self.fresh_gain <= self.gain_high


def again(problem: Problem, config: Any, seeds: int) -> np.ndarray[Any, Any]:
    """The objective (seeds) of a configuration under seeds that nobody has used."""
    from types import SimpleNamespace

    cfg = SimpleNamespace(**config)
    drawn = np.random.SeedSequence(FRESH).generate_state(seeds)  # torch mixes neighbours badly
    return np.array([problem.train(cfg, SimpleNamespace(seed=int(s))) for s in drawn])


def tried(problem: Problem, run: Run, seeds: int) -> Tried:
    """A finished run against fresh seeds."""
    best, found = run.best, run.confirmed
    assert best is not None
    assert found is not None
    tuned, default = (again(problem, c, seeds) for c in (best.config, run.space.default))
    gain = found.gain
    ends = (math.nan,) * 3 if gain is None else (gain.mean, gain.t.low, gain.t.high)
    return Tried(
        run.signed(best.observed),
        found.value.mean,
        found.value.t.low,
        found.value.t.high,
        *ends,
        float(tuned.mean()),
        float(tuned.std(ddof=1)),
        float((default - tuned).mean()),
    )


@click.command()
@click.option("--studies", default=5, help="Studies of each problem.")
@click.option("--evaluations", default=40, help="Budget of each, confirmation included.")
@click.option("--seeds", default=40, help="Fresh seeds that each result is tried with.")
@click.option("--only", multiple=True, type=click.Choice(list(PROBLEMS)))
def main(studies: int, evaluations: int, seeds: int, only: tuple[str, ...]) -> None:
    """Print what was stated against what fresh seeds say."""
    rows, everything = [], []
    with tempfile.TemporaryDirectory() as folder:
        for name in only or PROBLEMS:
            for seed in range(studies):
                problem = PROBLEMS[name]
                study = Study(problem.space, FunctionTask(problem.train), seed=seed, name=name)
                store = Path(folder) / f"{name}-{seed}.zarr"
                run = study.run(Budget(evaluations=evaluations), local=0, store=store)
                t = tried(problem, run, seeds)
                everything.append(t)
                rows.append(
                    [
                        f"{name} {seed}", f"{t.observed:.4f}", f"{t.mean:.4f}",
                        f"{t.low:.4f} to {t.high:.4f}", f"{t.fresh:.4f}",
                        "yes" if t.holds else "NO", f"{t.gain_low:.4f} to {t.gain_high:.4f}",
                        f"{t.fresh_gain:.4f}", "yes" if t.gain_holds else "NO",
                    ]
                )  # fmt: skip
                click.echo("  ".join(rows[-1]), err=True)
    head = ["study", "observed", "stated", "95 %", "fresh", "in it", "gain 95 %", "fresh", "in it"]
    click.echo(table(head, rows))
    n = len(everything)
    click.echo(f"mean in its interval: {sum(t.holds for t in everything)} of {n}")
    click.echo(f"gain in its interval: {sum(t.gain_holds for t in everything)} of {n}")
    for what, values in (
        ("stated", [t.mean for t in everything]),
        ("observed (baseline)", [t.observed for t in everything]),
    ):
        bias = [
            (value - t.fresh) / (t.fresh_sd / math.sqrt(5) or 1.0)
            for value, t in zip(values, everything, strict=True)
        ]
        click.echo(f"bias of the {what} value: {np.mean(bias):+.2f} standard errors of five seeds")


if __name__ == "__main__":
    main()
