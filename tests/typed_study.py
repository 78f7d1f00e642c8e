"""A study as a user with a type checker writes it; ``mypy --strict`` is to find nothing in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from torch import nn, optim

from spot_dask import (
    Best,
    Budget,
    Categorical,
    Config,
    Context,
    Evaluation,
    FunctionTask,
    History,
    Integer,
    Listener,
    Real,
    Run,
    Space,
    Study,
    TorchTask,
    Trial,
    Tuner,
    WarmStart,
)
from spot_dask.infill import Request
from spot_dask.surrogates import Posterior


def train(cfg: Config, trial: Context) -> dict[str, float]:
    loss = float(cfg.lr)
    for epoch in range(1, 4):
        loss /= 2
        trial.report(epoch, loss=loss)
    return {"loss": loss}


class OwnTask:
    """A task of one's own, by the protocol."""

    objective: str = "loss"
    direction: Literal["min", "max"] = "min"

    def __call__(self, config: Config, trial: Context) -> Mapping[str, float]:
        return train(config, trial)

    def shortened(self) -> OwnTask:
        return self


class LowestMean:
    """A criterion of one's own: the candidate of the lowest mean."""

    def propose(self, posterior: Posterior, request: Request) -> npt.NDArray[np.float64]:
        rows: npt.NDArray[np.float64] = np.random.default_rng(0).random((64, request.space.d))
        mean, _ = posterior.predict(request.space.features(rows))
        return rows[np.argsort(mean)[: request.q]]


class Printed(Listener):
    """A listener that overrides one method."""

    def evaluated(self, evaluation: Evaluation, place: int) -> None:
        self.last = evaluation.config["lr"]


def network(cfg: Any) -> nn.Module:
    return nn.Linear(4, int(cfg.width))


space = Space(
    lr=Real(1e-4, 1.0, scale="log", default=1e-2),
    width=Integer(16, 256, scale="power2"),
    optimizer=Categorical(["sgd", "adam"]),
    momentum=Real(0.0, 0.99).when(optimizer="sgd"),
).where("width <= 128")
names: list[str] = list(space)
lowest = space["lr"].default

study = Study(space, OwnTask(), budget=Budget(evaluations=8), infill=LowestMean())
plain = Study(space, train, start=[{"lr": 0.1}])
wrapped = Study(space, FunctionTask(train, objective="loss", folds=2))
torched = Study(
    space,
    TorchTask(
        network,
        lambda: (np.zeros((8, 4)), np.zeros(8)),
        lambda parameters, cfg: optim.SGD(parameters, cfg.lr),
        loss=nn.MSELoss(),
    ),
)


def use(store: Path) -> Sequence[float]:
    run: Run = study.run(
        local=0, store=store, warm_start=[WarmStart("old.zarr")], trackers=[Printed()]
    )
    best: Best | None = run.best
    if best is None:
        return ()
    rate = best["lr"]
    values: list[float] = [evaluation.y for evaluation in run.history if evaluation.ok]
    report: Path = run.report("report.html")
    print(rate, len(run.history), report, run.status()["state"], dict(best.config))
    return values


def by_hand(history: History) -> tuple[Trial, ...]:
    tuner = Tuner(space, seed=1)
    trials = tuner.ask(history, 2)
    history = history.ask(trials).tell(trials[0].result(0.5))
    return tuner.ask(history, 1)


def wrong(run: Run) -> None:
    """What a type checker is to find."""
    Study(space, 3)  # type: ignore[arg-type]
    Study(space, train, budgets=Budget())  # type: ignore[call-arg]
    run.best["lr"]  # type: ignore[index]
    Real(0.0, 1.0, scale="logarithmic")  # type: ignore[arg-type]
    space["lr"] = Real(0.0, 1.0)  # type: ignore[index]
