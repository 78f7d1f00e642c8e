"""Trials one after another in the process that coordinates them."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from spot_dask import Budget, Design, Real, Space, Study
from spot_dask.coordinator import Finished, Joined, Reported
from spot_dask.executors.serial import SerialExecutor
from spot_dask.records import Status, Trial
from spot_dask.tasks.function import FunctionTask
from spot_dask.worker.context import RunningTrial
from spot_dask.worker.training_main import attempt_trial


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


class OwnEnd(BaseException):
    """A study's own, which is no Exception."""


ENDS = (KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError, OwnEnd)


def test_nothing_that_a_training_raises_ends_its_run(tmp_path: Path) -> None:
    """Nobody has pressed Ctrl-C; trainings run in this very thread, the main one."""

    def train(cfg: Any, trial: Any) -> float:
        if trial.number % 2:
            raise ENDS[trial.number // 2 % len(ENDS)]
        return float(cfg.x)

    space, budget = Space(x=Real(0.0, 1.0)), Budget(evaluations=10)
    design = Design(initial=10)
    study = Study(space, FunctionTask(train), budget=budget, design=design, repeats=0, confirm=0.0)
    run = study.run(local=0, store=tmp_path / "run.zarr", progress="none")
    assert (run.state, len(run.history.ok)) == ("done", 5)
    failed = {e.trial.number: e.outcome for e in run.history.failed}
    assert [failed[2 * i + 1].status for i in range(5)] == [Status.FAILED] * 5
    types = [o.error.type for n, o in sorted(failed.items()) if o.error is not None]
    assert types == [end.__name__ for end in ENDS]


def test_ctrl_c_of_a_user_does_end_what_has_no_handler_of_its_own() -> None:
    def train(cfg: Any) -> float:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
        return 1.0

    trial = Trial(0, {}, 1)
    with pytest.raises(KeyboardInterrupt):
        attempt_trial(lambda: FunctionTask(train), trial, RunningTrial(trial))
