"""A trial sees exactly its own GPUs and ends when its time is over."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cloudpickle
import pytest
import torch

from spot_dask.errors import ClusterError
from spot_dask.records import Outcome, Status, Trial
from spot_dask.tasks.function import FunctionTask
from spot_dask.worker import supervisor, training_main
from spot_dask.worker.context import RunningTrial
from spot_dask.worker.limits import Conditions, Limits
from spot_dask.worker.training_main import attempt_trial, share_gpu

# The processes must not have to find this file.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

GPUS = ["4", "5", "6", "7"]


@pytest.mark.parametrize(
    ("gpus", "expected"),
    [
        (None, ["4", "5", "6", "7", "4"]),
        (1, ["4", "5", "6", "7"]),
        (2, ["4,5", "6,7"]),
        (4, ["4,5,6,7"]),
        (0.5, ["4", "5", "6", "7", "4", "5", "6", "7"]),
        (0, ["", ""]),
    ],
)
def test_slots_have_gpus_of_their_own(gpus: float | None, expected: list[str]) -> None:
    slots = range(len(expected))
    assert [",".join(Limits(gpus).devices(slot, GPUS)) for slot in slots] == expected


def test_a_slot_beyond_the_gpus_is_refused() -> None:
    with pytest.raises(ClusterError, match="slot 2 of the worker asks for 2 GPUs of its own"):
        Limits(2).devices(2, GPUS)
    with pytest.raises(ClusterError, match="its worker sees none"):
        Limits(0.5).devices(0, [])


@pytest.mark.parametrize("gpus", [1.5, 0.3, -1])
def test_no_other_shares_of_gpus(gpus: float) -> None:
    with pytest.raises(ValueError, match="expected a whole number or a share such as"):
        Limits(gpus)


def train(cfg: Any) -> dict[str, float]:
    # Two at a time, so that both slots are used.
    time.sleep(cfg.seconds)
    names = os.environ["CUDA_VISIBLE_DEVICES"]
    return {"loss": 0.0, **{f"gpu{name}": 1.0 for name in names.split(",")}}


@pytest.fixture
def four_gpus(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(GPUS))
    yield
    supervisor.close()


def run(gpus: float | None, seconds: float = 1.0, limit: float | None = None) -> Outcome:
    task = cloudpickle.dumps(FunctionTask(train, objective="loss"))
    trial = Trial(0, {"seconds": seconds}, 1)
    conditions = Conditions(Limits(gpus, limit))
    return supervisor.run_trial(task, trial, 0, "run", conditions)


@pytest.mark.usefixtures("four_gpus")
def test_a_training_sees_the_gpus_of_its_slot_and_no_others() -> None:
    with ThreadPoolExecutor(2) as pool:
        ends = list(pool.map(run, [2.0, 2.0]))
    assert [end.status for end in ends] == [Status.OK, Status.OK], ends
    seen = sorted(sorted(name for name in end.metrics if name != "loss") for end in ends)
    assert seen == [["gpu4", "gpu5"], ["gpu6", "gpu7"]]
    # The process that waits in this slot has other GPUs than this trial is to have.
    assert set(run(1, 0.0).metrics) == {"loss", "gpu4"}


@pytest.mark.usefixtures("four_gpus")
def test_a_training_that_takes_too_long_is_ended() -> None:
    end = run(1, 60.0, limit=1.0)
    assert end.status is Status.TIMEOUT
    assert end.error is not None
    assert end.error.message == "the training took longer than 1 s"
    assert end.seconds < 30
    assert run(1, 0.0, limit=60.0).status is Status.OK


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (MemoryError(), Status.MEMORY),
        (OutOfMemoryError("CUDA: 2 GiB"), Status.MEMORY),
        (RuntimeError("HIP out of memory"), Status.MEMORY),
        (RuntimeError("shapes differ"), Status.FAILED),
        (ValueError("out of memory"), Status.FAILED),
    ],
)
def test_running_out_of_memory_is_an_end_of_its_own(error: Exception, status: Status) -> None:
    def fail(cfg: Any) -> float:
        raise error

    trial = Trial(0, {}, 1)
    assert attempt_trial(lambda: FunctionTask(fail), trial, RunningTrial(trial)).status is status


def test_a_share_of_a_gpu_is_one_of_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also a process that another run has used is held to the share of this one."""
    told: list[tuple[float, int]] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda *given: told.append(given)
    )
    monkeypatch.setattr(training_main, "_gpu_share", [1.0])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    share_gpu(0.25)  # of no GPU
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4")
    for gpus in (None, 1, 2, 0.25, 0.25, 0.5, 1, None):
        share_gpu(gpus)
    assert told == [(0.25, 0), (0.5, 0), (1.0, 0)]
