"""Trainings with curves, a few milliseconds an epoch, and studies of them."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Any

from spot_dask import Design, FunctionTask, Real, Space, Study

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
