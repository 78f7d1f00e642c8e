"""A training that comes to have more memory than it may, with all it starts, is ended."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from spot_dask import FunctionTask, Real, Space, Study
from spot_dask.executors.open import executor_of
from spot_dask.records import Outcome, Status, Trial
from spot_dask.settings import size
from spot_dask.worker import supervisor
from spot_dask.worker.limits import Conditions, Limits
from spot_dask.worker.memory import (
    MemoryWatch,
    WatchedProcess,
    kin,
    processes,
    proportional,
    resident,
)

cloudpickle.register_pickle_by_value(sys.modules[__name__])

CHILD = """
import sys, time
held = []
for _ in range(int(sys.argv[1])):
    held.append(b"x" * 10_000_000)
    time.sleep(0.005)
time.sleep(30)
"""


@pytest.fixture(autouse=True)
def end_processes() -> Iterator[None]:
    yield
    supervisor.close()


def run(function: Any, memory: str | None, **config: Any) -> Outcome:
    task = cloudpickle.dumps(FunctionTask(function))
    conditions = Conditions(Limits(memory=memory))
    return supervisor.run_trial(task, Trial(0, config, seed=5), 0, "run", conditions)


def grow(cfg: Any, trial: Any) -> float:
    """Leave it to a process of a session of its own, as a program's children may be."""
    import subprocess

    trial.report(1, loss=7.0)
    command = [sys.executable, "-c", cfg.program, str(cfg.tens)]
    with subprocess.Popen(command, start_new_session=True) as child:
        Path(cfg.log).write_text(str(child.pid))
        return float(child.wait())


def share(cfg: Any) -> float:
    """Three more processes that have the same pages, as the workers of a data loader do."""
    held = b"x" * 200_000_000
    children = []
    for _ in range(3):
        if (pid := os.fork()) == 0:
            held.count(b"x")
            time.sleep(1.0)
            os._exit(0)
        children.append(pid)
    time.sleep(0.7)
    total = sum(resident(pid) for pid in (os.getpid(), *children))
    for pid in children:
        os.waitpid(pid, 0)
    return float(total)


def test_what_a_training_starts_counts(tmp_path: Any) -> None:
    log = tmp_path / "pid"
    outcome = run(grow, "400MB", program=CHILD, tens=60, log=str(log))
    assert outcome.status is Status.MEMORY
    assert outcome.failed
    error = outcome.error
    assert error is not None
    assert error.type == "MemoryLimit"
    amount, rest = error.message.removeprefix("the training has ").split(" MB", 1)
    assert 400 < float(amount) < 700
    assert rest == (
        " of memory in 2 processes, but memory is 400MB: give it more, or search what needs less"
    )
    assert outcome.curves == {"loss": (7.0,)}
    assert outcome.seconds < 20
    assert resident(int(log.read_text())) == 0  # it has ended as well
    assert run(grow, "2GB", program="", tens=0, log=str(log)).ok  # in a new process


def test_pages_that_processes_share_count_once() -> None:
    outcome = run(share, "500MB")
    assert outcome.status is Status.OK, outcome.error
    assert outcome.y > 800e6  # what it would have been


def test_looking_takes_little_of_a_core() -> None:
    """Of as many processes as there are, of which eight are watched; a thread of its own."""
    watch, pids = MemoryWatch(), sorted(processes())[:8]
    for pid in pids:
        watch.begin(pid, 1 << 60, lambda used, processes: None)
    (thread,) = _threads()
    time.sleep(0.5)  # it has seen all processes once
    began, spent = time.monotonic(), _seconds(thread)
    time.sleep(2.0)
    share_of_core = (_seconds(thread) - spent) / (time.monotonic() - began)
    assert 0 < share_of_core < 0.01
    for pid in pids:
        watch.end(pid)
    thread.join(timeout=5.0)
    assert not _threads()  # nothing is left to watch


def _threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "spot-dask-memory"]


def _seconds(thread: threading.Thread) -> float:
    """Of a core, that a thread has had (proc_pid_schedstat)."""
    fields = Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text().split()
    return int(fields[0]) / 1e9


def test_who_belongs_to_whom() -> None:
    watch = MemoryWatch()
    me, another = WatchedProcess(os.getpid(), 1, print), WatchedProcess(1 << 30, 1, print)
    child = os.fork()
    if child == 0:
        time.sleep(30)
        os._exit(0)
    try:
        watch._find_members([me, another])
        assert {os.getpid(), child} <= me.members
        assert os.getppid() not in me.members
        assert another.members == {1 << 30}
        assert 0 < proportional(child) < resident(child)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
    watch._find_members([me])
    assert child not in me.members
    assert (resident(child), proportional(child), kin(child)) == (0, 0, ())


def test_a_size_is_of_bytes_with_a_unit() -> None:
    assert [size(text) for text in ("8GB", "500 mb", "1.5GiB", "2TB")] == [
        8e9, 5e8, 1.5 * 2**30, 2e12,
    ]  # fmt: skip
    task = FunctionTask(lambda cfg: 0.0)
    for wrong in ("8", "8 gigs", "-1GB", "0", "0GB", "999kB", "9" * 400 + "GB", 8, 8e9, ""):
        with pytest.raises(
            ValueError, match=r"memory is .*; expected a size with its unit"
        ) as told:
            Study(Space(x=Real(0, 1)), task, memory=wrong)
        assert "\n" not in str(told.value)
    assert Study(Space(x=Real(0, 1)), task, memory="8GB").limits.memory == "8GB"


def test_what_cannot_be_kept_in_the_coordinators_process_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    task = FunctionTask(lambda cfg: 0.0)
    limits = Limits(seconds=5.0, memory="1GB")
    executor_of(task, "r", Conditions(limits), print, local=0)
    (record,) = caplog.records
    assert record.getMessage() == (
        "trainings in this very process (local 0) can have no timeout and no limit of memory: "
        "it is not kept; --local 1 gives them a process of their own"
    )
    caplog.clear()
    executor_of(task, "r", Conditions(), print, local=0)
    assert not caplog.records
