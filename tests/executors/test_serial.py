"""Trials one after another in the process that coordinates them."""

from __future__ import annotations

from typing import Any

from spot_dask.coordinator import Finished, Joined, Reported
from spot_dask.executors.serial import SerialExecutor
from spot_dask.records import Status, Trial
from spot_dask.tasks.function import FunctionTask


def test_reports_are_heard_while_the_training_goes_on() -> None:
    def train(cfg: Any, trial: Any) -> float:
        trial.report(1, loss=2.0)
        trial.report(2, loss=1.0)
        return 1.0

    executor = SerialExecutor(FunctionTask(train))
    assert executor.wait(0.0) == [Joined("serial", 1)]
    executor.start(Trial(4, {}, seed=1), 2, "serial")
    heard: list[object] = []
    executor.listen(heard.append)
    (end,) = executor.wait(0.0)
    assert heard == [Reported(4, 2, 1, {"loss": 2.0}), Reported(4, 2, 2, {"loss": 1.0})]
    assert isinstance(end, Finished)
    assert end.outcome.curves == {"loss": (2.0, 1.0)}


def test_a_training_that_is_stopped_early_ends_at_its_report() -> None:
    def train(cfg: Any, trial: Any) -> float:
        for epoch in range(1, 10):
            trial.report(epoch, loss=1.0 / epoch)
        return 0.0

    executor = SerialExecutor(FunctionTask(train))
    executor.wait(0.0)
    executor.listen(lambda event: event.epoch == 3 and executor.stop_early(4, 0, "serial"))
    executor.start(Trial(4, {}, seed=1), 0, "serial")
    executor.start(Trial(5, {}, seed=1), 0, "serial")
    (first,), (second,) = executor.wait(0.0), executor.wait(0.0)
    assert (first.outcome.status, len(first.outcome.curves["loss"])) == (Status.STOPPED, 3)
    assert first.outcome.metrics == {"loss": 1.0 / 3}
    assert second.outcome.ok
