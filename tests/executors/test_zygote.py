"""Trials forked from a process that has loaded their task."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
import torch

from spot_dask.codec import outcome_from_json, trial_to_json
from spot_dask.records import Outcome, Status, Trial
from spot_dask.tasks import Config
from spot_dask.tasks.function import FunctionTask
from spot_dask.worker import forking, supervisor
from spot_dask.worker.limits import Conditions, Limits

cloudpickle.register_pickle_by_value(sys.modules[__name__])
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks")
PATIENCE = 60.0


@pytest.fixture(autouse=True)
def _fresh_processes() -> Iterator[None]:
    yield
    supervisor.close()


def run(
    task: bytes, seconds: float | None = None, gpus: float | None = None, **config: Any
) -> Outcome:
    conditions = Conditions(Limits(gpus=gpus, seconds=seconds), "process")
    trial = json.dumps(trial_to_json(Trial(0, config, seed=5)))
    return outcome_from_json(supervisor.run_trial(task, trial, 0, "run", conditions))


def train(cfg: Config, trial: Any) -> dict[str, float]:
    trial.report(1, loss=2.0)
    known = {"trial": trial, "json": json, "os": os, "time": time, "Path": Path}
    exec(cfg.what, known)
    drawn = random.random(), float(np.random.rand())  # noqa: NPY002
    return {"loss": 1.0, "parent": os.getppid(), "pid": os.getpid(), "r": drawn[0], "n": drawn[1]}


def forked(task: bytes) -> Outcome:
    """An outcome of a forked trial, once there can be one."""
    deadline = time.monotonic() + PATIENCE
    while True:
        outcome = run(task, what="")
        assert outcome.ok, outcome.error
        if outcome.metrics["parent"] != os.getpid():
            return outcome
        assert time.monotonic() < deadline, "nothing was forked"
        time.sleep(0.05)


def gone(pid: float) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{int(pid)}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    return True


def wait_until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def test_trials_are_forked_and_end_as_they_do_in_an_interpreter_of_their_own() -> None:
    task = cloudpickle.dumps(FunctionTask(train))
    first, second = forked(task), forked(task)
    assert first.metrics["parent"] == second.metrics["parent"] == forked(task).metrics["parent"]
    assert first.metrics["pid"] != second.metrics["pid"]
    assert first.metrics["r"] != second.metrics["r"]
    assert first.metrics["n"] != second.metrics["n"]
    for what, status, text in [
        ("os.kill(os.getpid(), 11)", Status.CRASHED, "killed by SIGSEGV"),
        ("os._exit(4)", Status.CRASHED, "exit code 4"),
        ("raise SystemExit(3)", Status.FAILED, "the training called sys.exit(3)"),
        ("raise MemoryError('of it')", Status.MEMORY, "of it"),
    ]:
        outcome = run(task, what=what)
        assert outcome.status is status
        assert outcome.error is not None
        assert text in outcome.error.message
        assert outcome.curves == {"loss": (2.0,)}
        if "SEGV" in text:
            assert "in train" in outcome.error.traceback
    assert run(task, 0.3, what="time.sleep(600)").status is Status.TIMEOUT
    last = forked(task).metrics
    assert last["parent"] == first.metrics["parent"]
    supervisor.close()
    assert gone(last["parent"])


def test_a_zygote_that_is_killed_takes_its_trials_along_and_is_replaced(tmp_path: Path) -> None:
    task = cloudpickle.dumps(FunctionTask(train))
    zygote = forked(task).metrics["parent"]
    file, outcomes = tmp_path / "pid", []
    what = f"Path({str(file)!r}).write_text(str(os.getpid()))"
    what += "; time.sleep(600)"
    thread = threading.Thread(target=lambda: outcomes.append(run(task, what=what)))
    thread.start()
    wait_until(lambda: file.exists() and file.read_text())
    os.kill(int(zygote), signal.SIGKILL)
    thread.join(PATIENCE)
    assert outcomes[0].status is Status.CRASHED
    wait_until(lambda: gone(int(file.read_text())))
    assert forked(task).metrics["parent"] != zygote


def begin(task: bytes, what: str) -> tuple[threading.Thread, list[Outcome]]:
    """A trial in a thread of its own."""
    outcomes: list[Outcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(run(task, what=what)))
    thread.start()
    wait_until(lambda: supervisor.going_on("run"))
    return thread, outcomes


def test_a_forked_trial_is_stopped() -> None:
    task = cloudpickle.dumps(FunctionTask(train))
    forked(task)
    thread, outcomes = begin(task, "time.sleep(600)")
    wait_until(lambda: supervisor.stop("run"))
    thread.join(PATIENCE)
    assert outcomes[0].error is not None
    assert outcomes[0].error.type == "Stopped"


def test_a_forked_trial_is_stopped_early() -> None:
    task = cloudpickle.dumps(FunctionTask(train))
    forked(task)
    endless = "[(trial.report(n, loss=1.0), time.sleep(0.01)) for n in range(2, 60000)]"
    thread, outcomes = begin(task, endless)
    time.sleep(0.2)
    supervisor.stop_early("run", (0, 0))
    thread.join(PATIENCE)
    assert outcomes[0].status is Status.STOPPED
    assert outcomes[0].metrics == {"loss": 1.0}


def test_what_one_trial_does_to_a_module_no_other_sees() -> None:
    task = cloudpickle.dumps(FunctionTask(train))
    forked(task)
    for _ in range(2):
        outcome = run(task, what="assert not hasattr(json, 'ours'); json.ours = 1")
        assert outcome.ok, outcome.error


def learn(cfg: Config, trial: Any) -> dict[str, float]:
    before = "torch" in sys.modules
    data = torch.utils.data.TensorDataset(torch.arange(64.0).reshape(32, 2))
    weights = torch.nn.Linear(2, 1)
    for (rows,) in torch.utils.data.DataLoader(data, batch_size=8, num_workers=2):
        loss = weights(rows).square().mean()
        loss.backward()
    return {"loss": float(loss.detach()), "parent": os.getppid(), "before": float(before)}


def test_torch_is_there_from_the_start_and_its_data_loaders_work() -> None:
    task = cloudpickle.dumps(FunctionTask(learn))
    metrics = forked(task).metrics
    assert metrics["before"] == 1.0
    assert run(task, what="").metrics["loss"] == metrics["loss"]  # as in new interpreters


def test_a_zygote_that_hangs_holds_up_nothing(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forking, "ANSWER_SECONDS", 0.5)
    task = cloudpickle.dumps(FunctionTask(train))
    zygote = int(forked(task).metrics["parent"])
    os.kill(zygote, signal.SIGSTOP)
    assert run(task, what="").metrics["parent"] == os.getpid()
    assert f"process {zygote}: it hangs" in caplog.text
    assert forked(task).metrics["parent"] != zygote
    assert gone(zygote)


def test_the_trainings_of_a_zygote_that_hangs_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forking, "ANSWER_SECONDS", 0.5)
    task = cloudpickle.dumps(FunctionTask(train))
    zygote = int(forked(task).metrics["parent"])
    hold, begun = tmp_path / "hold", tmp_path / "begun"
    hold.touch()
    what = f"Path({str(begun)!r}).touch()\n"
    what += f"while Path({str(hold)!r}).exists(): time.sleep(0.01)"
    thread, outcomes = begin(task, what)
    wait_until(begun.exists)
    os.kill(zygote, signal.SIGSTOP)
    assert run(task, what="").metrics["parent"] == os.getpid()
    hold.unlink()
    thread.join(PATIENCE)
    assert outcomes[0].ok, outcomes[0].error
    assert outcomes[0].metrics["parent"] == zygote


def test_a_forked_trial_sees_the_gpus_of_its_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    task = cloudpickle.dumps(FunctionTask(train))
    what = "trial.report(2, gpu=float(os.environ['CUDA_VISIBLE_DEVICES']))"
    outcome = run(task, gpus=1, what=what)
    deadline = time.monotonic() + PATIENCE
    while outcome.metrics["parent"] == os.getpid():
        assert time.monotonic() < deadline
        outcome = run(task, gpus=1, what=what)
    assert outcome.curves["gpu"][-1] == 3.0


WORKER = """
import json, pickle, sys, time
from spot_dask.codec import trial_to_json
from spot_dask.worker import supervisor
from spot_dask.worker.limits import Conditions
from spot_dask.records import Trial

task = sys.stdin.buffer.read()
for number in range(1000):
    trial = json.dumps(trial_to_json(Trial(number, {"what": sys.argv[1]}, seed=5)))
    supervisor.run_trial(task, trial, 0, "run", Conditions(isolation="process"))
"""


def test_nothing_outlives_a_worker_that_is_killed(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    what = f"print(os.getpid(), os.getppid(), file=open({str(notes)!r}, 'a'), flush=True)\n"
    what += "time.sleep(0.1)"
    worker = subprocess.Popen([sys.executable, "-c", WORKER, what], stdin=subprocess.PIPE)
    assert worker.stdin is not None
    worker.stdin.write(cloudpickle.dumps(FunctionTask(train)))
    worker.stdin.close()

    def seen() -> list[list[int]]:
        text = notes.read_text() if notes.exists() else ""
        return [[int(word) for word in line.split()] for line in text.splitlines()]

    wait_until(lambda: any(parent != worker.pid for _, parent in seen()))
    worker.kill()
    worker.wait()
    for pids in seen():
        for pid in pids:
            wait_until(lambda pid=pid: gone(pid))  # type: ignore[misc]


class Threaded:
    """Leaves a thread behind where it is loaded."""

    def __reduce__(self) -> Any:
        return _threaded, ()


def _threaded() -> Callable[..., Any]:
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    return FunctionTask(train)


def test_nothing_is_forked_beside_threads(caplog: pytest.LogCaptureFixture) -> None:
    task = cloudpickle.dumps(Threaded())
    with caplog.at_level(logging.WARNING):
        assert run(task, what="").metrics["parent"] == os.getpid()
        wait_until(lambda: "left 1 threads running" in caplog.text)
    assert run(task, what="").metrics["parent"] == os.getpid()
    assert caplog.text.count("left 1 threads") == 1
