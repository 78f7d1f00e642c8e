"""Evaluations that trackers are told of, and studies that they follow."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from spot_dask import Categorical, FunctionTask, Integer, Real, Run, Space, Study
from spot_dask.records import (
    Evaluation,
    Failure,
    History,
    Objective,
    Origin,
    Outcome,
    Status,
    Trial,
)
from spot_dask.trackers import Listener, Tracked

SPACE = Space(
    {
        "optim.lr": Real(1e-3, 1.0, scale="log", default=0.1),
        "n": Integer(0, 9, default=4),
        "flag": Categorical([True, False]),
        "kind": Categorical({"none": None, "64x64": (64, 64)}),
        "mixed": Categorical([1, "two"]),
    }
)


def evaluation(number: int, **changed: Any) -> Evaluation:
    """The evaluation of a trial with two curves of three epochs, one of them with a gap."""
    config = {"optim.lr": 0.1 + number / 10, "n": 4, "flag": True, "kind": "none", "mixed": "two"}
    trial = Trial(number, config, seed=number, origin=Origin.DESIGN)
    loss = 1.0 / (number + 1)
    outcome: dict[str, Any] = {
        "status": Status.OK,
        "y": loss,
        "metrics": {"loss": loss, "val/acc <b>": 0.5},
        "curves": {"loss": (3.0, 2.0, loss), "val/acc <b>": (0.1, math.nan, 0.5)},
        "started": 1000.0 + number,
        "finished": 1003.0 + number,
        "worker": "tcp://here",
    } | changed
    return Evaluation(trial, Outcome(**outcome))


def failed(number: int) -> Evaluation:
    """A training that ended after two epochs, with more to say than a tracker takes."""
    error = Failure("RuntimeError", "too long " * 3000)
    curves = {"loss": (3.0, math.inf)}
    return evaluation(
        number, status=Status.FAILED, y=math.nan, metrics={}, curves=curves, error=error
    )


def tracked(store: Path, *past: Evaluation, run: str = "0123456789abcdef") -> Tracked:
    """A run that has these evaluations."""
    return Tracked(run, "example", store, SPACE, Objective("loss", "min"), History(past))


def told(listener: Listener, run: Tracked, *new: Evaluation) -> None:
    """Tell a listener of a session that goes on with a run, as a feed does."""
    known = listener.begin(run)
    everything = (*run.past.evaluations, *new)
    for place, found in enumerate(everything, 1):
        if found.trial.number not in known or found in new:
            listener.asked(found.trial)
            listener.evaluated(found, place)
    listener.end("budget")


def points(found: Evaluation) -> list[tuple[str, int, float]]:
    """What there is to be written of an evaluation: name, epoch, value."""
    curves = found.outcome.curves.items()
    return sorted(
        (name, epoch, value)
        for name, curve in curves
        for epoch, value in enumerate(curve, 1)
        if not math.isnan(value)
    )


def train(cfg: Any, trial: Any) -> dict[str, float]:
    """Three epochs; where n is 5 they fail."""
    for epoch in (1, 2, 3):
        trial.report(epoch, loss=cfg.lr + 1 / epoch)
    if cfg.n == 5:
        raise RuntimeError("five")
    return {"loss": cfg.lr + 1 / 3}


def study(**settings: Any) -> Study:
    """A study that takes no time."""
    space = Space(lr=Real(1e-3, 1.0, default=0.3), n=Integer(0, 9, default=4))
    return Study(space, FunctionTask(train), name="example", infill="log_ei", **settings)


def evaluations(store: Path) -> tuple[Evaluation, ...]:
    """Those of a run, in the order of its journal."""
    return Run.open(store).history.evaluations
