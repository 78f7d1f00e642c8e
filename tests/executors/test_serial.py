"""Trials one after another in the process that coordinates them."""

from __future__ import annotations

from typing import Any

from spot_dask.coordinator import Finished, Joined, Reported
from spot_dask.executors.serial import SerialExecutor
from spot_dask.records import Trial
from spot_dask.tasks.function import FunctionTask


def test_reports_come_before_the_end() -> None:
    def train(cfg: Any, trial: Any) -> float:
        trial.report(1, loss=2.0)
        trial.report(2, loss=1.0)
        return 1.0

    executor = SerialExecutor(FunctionTask(train))
    assert executor.wait(0.0) == [Joined("serial", 1)]
    executor.start(Trial(4, {}, seed=1), 2, "serial")
    *reports, end = executor.wait(0.0)
    assert reports == [Reported(4, 2, 1, {"loss": 2.0}), Reported(4, 2, 2, {"loss": 1.0})]
    assert isinstance(end, Finished)
    assert end.outcome.curves == {"loss": (2.0, 1.0)}
