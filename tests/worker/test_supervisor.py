"""The trial's own process and its supervisor: whatever a training does, an outcome comes back."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
import torch
from dask.system import cpu_count
from torch.utils.data import DataLoader, TensorDataset

from spot_dask import Budget, Real, Run, Space, Study
from spot_dask.records import Asked, Outcome, Status, Trial
from spot_dask.store.inbox import Inbox
from spot_dask.store.journal import Journal
from spot_dask.tasks import Config
from spot_dask.tasks.function import FunctionTask
from spot_dask.worker import pipe, supervisor, training_main, training_process
from spot_dask.worker.slots import THREAD_VARIABLES

# The processes must not have to find this file.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

PATIENCE = 60.0  # seconds until a test gives up; no test depends on how long anything takes

RUN = "run"


@pytest.fixture(autouse=True, scope="module")
def _no_processes_left() -> Iterator[None]:
    yield
    supervisor.close()


@pytest.fixture
def _fresh_process() -> Iterator[None]:
    """What is trained starts a process, in the environment of the test."""
    supervisor.close()
    yield
    supervisor.close()


def run(function: Callable[..., Any], number: int = 0, **config: Any) -> Outcome:
    task = cloudpickle.dumps(FunctionTask(function))
    return run_pickled(task, number, **config)


def run_pickled(task: bytes, number: int = 0, **config: Any) -> Outcome:
    return supervisor.run_trial(task, Trial(number, config, seed=5), 0, RUN)


def alive(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state not in "ZX"
    return False


def wait_until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def pid(cfg: Config) -> dict[str, float]:
    return {"loss": 1.0, "pid": os.getpid()}


def sleeper(cfg: Config) -> float:
    Path(cfg.file).write_text(str(os.getpid()))
    time.sleep(600)
    return 1.0


def pid_in(path: Path) -> int:
    wait_until(lambda: path.exists() and path.read_text())
    return int(path.read_text())


def test_an_outcome_comes_back_with_metrics_curves_and_times() -> None:
    def train(cfg: Config, trial: Any) -> dict[str, float]:
        trial.report(1, loss=3.0)
        trial.report(2, loss=2.0)
        return {"loss": cfg.x, "seed": trial.seed, "slot": trial.slot, "number": trial.number}

    outcome = run(train, number=4, x=0.25)
    assert outcome.status is Status.OK
    assert outcome.y == 0.25
    assert outcome.metrics == {"loss": 0.25, "seed": 5.0, "slot": 0.0, "number": 4.0}
    assert outcome.curves == {"loss": (3.0, 2.0)}
    assert 0 <= outcome.seconds < PATIENCE
    assert outcome.device == "cpu"


def test_trials_one_after_the_other_share_a_process() -> None:
    def other(cfg: Config) -> dict[str, float]:
        return {"loss": 2.0, "pid": os.getpid()}

    first, second, third = run(pid), run(pid), run(other)
    assert first.metrics["pid"] == second.metrics["pid"] == third.metrics["pid"] != os.getpid()
    assert third.y == 2.0
    assert run(pid).y == 1.0


def test_a_process_outlives_the_thread_that_started_it() -> None:
    pids = []
    for _ in range(2):
        thread = threading.Thread(target=lambda: pids.append(run(pid).metrics["pid"]))
        thread.start()
        thread.join()
        wait_until(lambda: alive(int(pids[-1])))
        time.sleep(0.1)  # long enough for a death signal to arrive
    assert pids[0] == pids[1]


def test_two_threads_use_two_processes_in_two_slots(tmp_path: Path) -> None:
    def meet(cfg: Config, trial: Any) -> dict[str, float]:
        Path(cfg.folder, str(trial.number)).touch()
        deadline = time.monotonic() + 60
        while len(list(Path(cfg.folder).iterdir())) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        return {"loss": len(list(Path(cfg.folder).iterdir())), "pid": os.getpid(), "s": trial.slot}

    with ThreadPoolExecutor(2) as threads:
        outcomes = list(threads.map(lambda n: run(meet, n, folder=str(tmp_path)), range(2)))
    assert [o.y for o in outcomes] == [2.0, 2.0]
    assert len({o.metrics["pid"] for o in outcomes}) == 2
    assert {o.metrics["s"] for o in outcomes} == {0.0, 1.0}
    assert run(pid).metrics["pid"] in {o.metrics["pid"] for o in outcomes}


@pytest.mark.parametrize("error", ["KeyError('x')", "SystemExit(3)", "KeyboardInterrupt()"])
def test_whatever_a_training_raises_is_its_failure(error: str) -> None:
    def train(cfg: Config) -> float:
        raise eval(cfg.error)

    pids = [run(pid).metrics["pid"]]
    outcome = run(train, error=error)
    pids.append(run(pid).metrics["pid"])
    assert outcome.status is Status.FAILED
    assert outcome.error is not None
    assert outcome.error.type == error.partition("(")[0]
    assert outcome.error.message
    assert "in train" in outcome.error.traceback
    assert pids[0] == pids[1]


def test_leaving_by_sys_exit_is_a_failure_that_says_so() -> None:
    error = run(lambda cfg: sys.exit("bye")).error
    assert error is not None
    assert error.message == "the training called sys.exit('bye')"


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (signal.SIGSEGV, "the training's process was killed by SIGSEGV"),
        (signal.SIGABRT, "the training's process was killed by SIGABRT"),
        (signal.SIGKILL, "the training's process was killed by SIGKILL (out of memory?)"),
    ],
)
def test_a_process_that_dies_is_a_crash_and_the_next_trial_runs(number: int, message: str) -> None:
    def train(cfg: Config, trial: Any) -> float:
        trial.report(1, loss=3.0)
        os.kill(os.getpid(), cfg.signal)
        return 1.0

    outcome = run(train, signal=int(number))
    assert outcome.status is Status.CRASHED
    assert outcome.error is not None
    assert (outcome.error.type, outcome.error.message) == (signal.Signals(number).name, message)
    assert outcome.curves == {"loss": (3.0,)}
    assert ("in train" in outcome.error.traceback) == (number != signal.SIGKILL)
    assert run(pid).ok


def test_a_process_that_just_leaves_is_a_crash() -> None:
    outcome = run(lambda cfg: os._exit(4))
    assert outcome.status is Status.CRASHED
    assert outcome.error is not None
    assert "ended with exit code 4 before" in outcome.error.message


def test_a_process_killed_from_outside_is_a_crash_and_is_replaced(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as threads:
        outcome = threads.submit(run, sleeper, file=str(tmp_path / "pid"))
        victim = pid_in(tmp_path / "pid")
        os.kill(victim, signal.SIGKILL)
    assert outcome.result().status is Status.CRASHED
    assert run(pid).metrics["pid"] != victim


def test_a_process_killed_while_it_waits_costs_no_trial() -> None:
    victim = int(run(pid).metrics["pid"])
    os.kill(victim, signal.SIGKILL)
    outcome = run(pid)
    assert outcome.ok
    assert outcome.metrics["pid"] != victim


def test_what_a_crashed_training_started_dies_with_it(tmp_path: Path) -> None:
    def train(cfg: Config) -> float:
        helper = subprocess.Popen(["sleep", "600"])
        Path(cfg.file).write_text(str(helper.pid))
        os.kill(os.getpid(), signal.SIGKILL)
        return 1.0

    assert run(train, file=str(tmp_path / "pid")).status is Status.CRASHED
    helper = pid_in(tmp_path / "pid")
    wait_until(lambda: not alive(helper))


def test_stopped_trainings_are_crashes_that_say_so(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as threads:
        files = [tmp_path / "a", tmp_path / "b"]
        outcomes = [threads.submit(run, sleeper, file=str(file)) for file in files]
        pids = [pid_in(file) for file in files]
        assert supervisor.stop("another run") == 0
        assert all(alive(pid) for pid in pids)
        assert supervisor.stop(RUN) == 2
        ends = [outcome.result() for outcome in outcomes]
    for end in ends:
        assert end.status is Status.CRASHED
        assert end.error is not None
        assert (end.error.type, end.error.message) == ("Stopped", "the training was stopped")
    assert not any(alive(pid) for pid in pids)
    assert run(pid).ok


def test_ctrl_c_does_not_reach_a_training(tmp_path: Path) -> None:
    def train(cfg: Config) -> float:
        os.kill(os.getpid(), signal.SIGINT)
        assert os.getsid(0) == os.getpid()
        return 1.0

    assert run(train).ok


@pytest.mark.usefixtures("_fresh_process")
def test_what_a_training_prints_does_not_disturb(capfd: pytest.CaptureFixture[str]) -> None:
    def train(cfg: Config) -> float:
        print('{"outcome": {}, "last": true}')
        os.write(1, b'\n{"outcome": 1}\n')
        print("more", file=sys.__stdout__, flush=True)
        subprocess.run(["echo", "from echo"], check=True)
        subprocess.run(["cat"], check=True)  # reads stdin, which must not be ours
        warnings.warn("a warning of the user's", stacklevel=1)
        with contextlib.suppress(EOFError):
            input("a question")
        return 1.0

    assert run(train).ok
    seen = capfd.readouterr()
    assert seen.out == ""
    for text in ('"last": true', '"outcome": 1', "more", "from echo", "a warning of the user's"):
        assert text in seen.err


def test_a_data_loader_may_have_workers() -> None:
    def train(cfg: Config) -> float:
        data = TensorDataset(torch.arange(10.0))
        return sum(float(x.sum()) for (x,) in DataLoader(data, batch_size=4, num_workers=1))

    assert run(train).y == 45.0


def test_a_sigterm_to_all_ends_neither_a_training_nor_its_loading_processes() -> None:
    def train(cfg: Config) -> dict[str, float]:
        data = TensorDataset(torch.arange(40.0))
        loader = DataLoader(data, batch_size=4, num_workers=2, persistent_workers=True)
        total = sum(float(x.sum()) for (x,) in loader)
        os.killpg(0, signal.SIGTERM)
        total += sum(float(x.sum()) for (x,) in loader)
        alive, left = 0, 0
        for method in ("fork", "spawn"):
            context = multiprocessing.get_context(method)
            begun = context.Event()
            sleeper = context.Process(target=sleep_on, args=(begun,))
            sleeper.start()
            begun.wait(60)
            os.killpg(0, signal.SIGTERM)
            time.sleep(0.2)
            alive += sleeper.is_alive()
            sleeper.terminate()
            sleeper.join(60)
            left += sleeper.is_alive()
        return {"loss": total, "alive": alive, "left": left}

    assert run(train).metrics == {"loss": 1560.0, "alive": 2.0, "left": 0.0}


def sleep_on(begun: Any) -> None:
    begun.set()
    time.sleep(600)


def test_a_task_of_many_bytes_arrives_whole() -> None:
    load = os.urandom(5_000_000)
    outcome = run(lambda cfg: len(load) + load[-1])
    assert outcome.y == 5_000_000 + load[-1]


def test_a_task_that_cannot_be_loaded_says_nothing_about_the_trial() -> None:
    task = b"cnot_a_module\nfunction\n."  # a pickle of not_a_module.function
    for _ in range(2):
        outcome = run_pickled(task)
        assert outcome.status is Status.LOST
        assert outcome.error is not None
        assert outcome.error.type == "UnfitWorker"
        assert outcome.error.message == "ModuleNotFoundError: No module named 'not_a_module'"
        assert "Traceback" in outcome.error.traceback
    assert run(pid).ok


def test_memory_that_does_not_suffice_to_load_the_task_is_told_as_such() -> None:
    outcome = run_pickled(cloudpickle.dumps(Greedy()))
    assert outcome.status is Status.MEMORY


class Greedy:
    """Needs more memory to be loaded than there is."""

    def __reduce__(self) -> tuple[Any, ...]:
        return bytes, (1 << 62,)


def test_modules_beside_the_study_are_found_in_the_trials_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "study_helpers.py").write_text("def loss(cfg):\n    return 0.5\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    import study_helpers  # type: ignore[import-not-found]

    assert run(pid).ok  # the process is there before the path is sent
    outcome = run_pickled(cloudpickle.dumps(FunctionTask(study_helpers.loss)))
    assert outcome.y == 0.5
    assert run(lambda cfg: float(Path.cwd() == tmp_path)).y == 1.0


def threads(cfg: Config) -> float:
    return torch.get_num_threads()


@pytest.mark.usefixtures("_fresh_process")
def test_torch_has_all_cores_for_the_only_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert run(threads).y == cpu_count()


@pytest.mark.usefixtures("_fresh_process")
@pytest.mark.parametrize("name", THREAD_VARIABLES)
def test_all_libraries_have_the_threads_the_user_says(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def said(cfg: Config) -> dict[str, float]:
        return {"loss": 0.0, **{name: float(os.environ[name]) for name in THREAD_VARIABLES}}

    for other in THREAD_VARIABLES:
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, "1")
    assert run(said).metrics == {"loss": 0.0, **dict.fromkeys(THREAD_VARIABLES, 1.0)}
    if name == THREAD_VARIABLES[-1]:  # torch takes as long to import in each process
        assert run(threads).y == 1.0


@pytest.mark.usefixtures("_fresh_process")
def test_a_process_that_cannot_start_is_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    outcome = run(pid)
    assert outcome.status is Status.CRASHED
    assert outcome.error is not None
    assert "/nonexistent/python" in outcome.error.message
    monkeypatch.undo()
    assert run(pid).metrics["pid"]


def test_what_a_training_gives_is_kept_before_anyone_else_hears_of_it(tmp_path: Path) -> None:
    study = Study(Space(x=Real(0.0, 1.0, default=0.5)), lambda cfg: float(cfg.x), name="late")
    study.run(Budget(evaluations=1), local=0, store=tmp_path / "a.zarr")
    before = Run.open(tmp_path / "a.zarr")
    with contextlib.closing(Journal.resume(before.path)) as journal:
        (trial,) = study.tuner.ask(before.history, 1)
        journal.append(Asked((trial,)))
    # The coordinator is dead now; the training goes on without it.
    keep = Inbox(str(before.path), before.header.run_id).leave
    task = cloudpickle.dumps(FunctionTask(lambda cfg: 7.0))
    supervisor.run_trial(task, trial, 0, before.header.run_id, keep=keep)
    resumed = study.resume(before.path, Budget(evaluations=2), local=0)
    assert resumed.history.evaluations[-1].y == 7.0
    assert resumed.history.evaluations[-1].trial == trial


def test_an_outcome_that_cannot_be_kept_is_told_all_the_same() -> None:
    def full(number: int, attempt: int, outcome: Any) -> None:
        raise OSError("no space")

    task = cloudpickle.dumps(FunctionTask(lambda cfg: 3.0))
    assert supervisor.run_trial(task, Trial(0, {}, seed=5), 0, RUN, keep=full).y == 3.0


PARENT = """
import multiprocessing, os, signal, sys, threading, time
from pathlib import Path
import cloudpickle
from spot_dask.records import Trial
from spot_dask.tasks.function import FunctionTask
from spot_dask.worker import supervisor

def trial(function, **config):
    task = cloudpickle.dumps(FunctionTask(function))
    return supervisor.run_trial(task, Trial(0, config, seed=0), 0)

def pid(cfg):
    return {"loss": 1.0, "pid": os.getpid()}

def sleeper(cfg):
    Path(cfg.file).write_text(str(os.getpid()))
    time.sleep(600)
"""


def start(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PARENT + script, *arguments], stdout=subprocess.PIPE, text=True
    )


def children_of(parent: int) -> list[int]:
    """Trial processes whose command line says that they belong to this process."""
    mark = f"spot_dask.worker.training_main\0{parent}\0".encode()
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and mark in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_training_outlives_its_worker(tmp_path: Path, number: signal.Signals) -> None:
    script = """
threading.Thread(target=trial, args=(sleeper,), kwargs={"file": sys.argv[1]}).start()
for _ in range(2):
    trial(pid)  # and a process that waits
time.sleep(600)
"""
    with start(script, str(tmp_path / "pid")) as parent:
        trained = pid_in(tmp_path / "pid")
        wait_until(lambda: len(children_of(parent.pid)) == 2)
        assert trained in children_of(parent.pid)
        os.kill(parent.pid, number)
        parent.wait(PATIENCE)
    wait_until(lambda: not children_of(parent.pid))


def test_a_worker_that_ends_in_good_order_leaves_nothing_behind() -> None:
    with start("print(trial(pid).metrics['pid'])") as parent:
        output, _ = parent.communicate(timeout=PATIENCE)
    assert parent.returncode == 0
    assert not alive(int(float(output)))
    assert not children_of(parent.pid)


def test_a_daemonic_process_may_run_trials_and_never_uses_its_parents_processes() -> None:
    script = """
def show():
    print(int(trial(pid).metrics["pid"]), flush=True)

show()
child = multiprocessing.get_context("fork").Process(target=show, daemon=True)
child.start()
child.join()
show()
"""
    with start(script) as parent:
        output, _ = parent.communicate(timeout=PATIENCE)
    mine, the_childs, mine_again = map(int, output.split())
    assert mine == mine_again != the_childs
    wait_until(lambda: not alive(the_childs))


def endless(cfg: Config, trial: Any) -> float:
    """Reports for ever, and tells where it runs."""
    Path(cfg.file).write_text(str(os.getpid()))
    for epoch in range(1, 10**6):
        trial.report(epoch, loss=1.0 / epoch, other=float(epoch))
        time.sleep(0.01)
    return 0.0


def stopped_early(function: Callable[..., Any], path: Path, number: int = 0) -> Outcome:
    """The outcome of a training that is stopped early as soon as it has begun."""
    with ThreadPoolExecutor(1) as thread:
        future = thread.submit(run, function, number, file=str(path))
        pid_in(path)
        supervisor.stop_early(RUN, (number, 0))
        return future.result(PATIENCE)


def test_a_training_that_is_stopped_early_tells_what_it_has_and_its_process_stays(
    tmp_path: Path,
) -> None:
    outcome = stopped_early(endless, tmp_path / "a")
    curves = outcome.curves
    assert outcome.status is Status.STOPPED
    assert outcome.error is None
    assert outcome.y != outcome.y  # NaN: there is no result
    assert curves["other"] == tuple(map(float, range(1, len(curves["other"]) + 1)))
    assert outcome.metrics == {name: curve[-1] for name, curve in curves.items()}
    assert run(pid).metrics["pid"] == pid_in(tmp_path / "a")


def test_a_training_that_does_not_come_to_a_report_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stuck(cfg: Config, trial: Any) -> float:
        trial.report(1, loss=3.0)
        return sleeper(cfg)

    monkeypatch.setattr(training_process, "REPORT_SECONDS", 0.2)
    outcome = stopped_early(stuck, tmp_path / "a")
    assert (outcome.status, outcome.error) == (Status.STOPPED, None)
    assert outcome.curves == {"loss": (3.0,)}
    assert outcome.metrics == {"loss": 3.0}
    assert not alive(pid_in(tmp_path / "a"))


def test_a_training_that_goes_on_after_its_stop_has_no_result(tmp_path: Path) -> None:
    def stubborn(cfg: Config, trial: Any) -> float:
        with contextlib.suppress(BaseException):
            endless(cfg, trial)
        return 0.5

    assert stopped_early(stubborn, tmp_path / "a").status is Status.STOPPED


def test_a_stop_that_comes_late_stops_nothing_else(tmp_path: Path) -> None:
    def short(cfg: Config, trial: Any) -> dict[str, float]:
        Path(cfg.file).write_text(str(os.getpid()))
        for epoch in range(1, 100):
            trial.report(epoch, loss=1.0)
            time.sleep(0.01)
        return {"loss": 1.0, "pid": os.getpid()}

    with ThreadPoolExecutor(1) as thread:
        first = thread.submit(run, short, 0, file=str(tmp_path / "a"))
        pid_in(tmp_path / "a")
        (occupant,) = supervisor._slots._occupants.values()
        assert first.result(PATIENCE).ok
        second = thread.submit(run, short, 1, file=str(tmp_path / "b"))
        pid_in(tmp_path / "b")
        assert occupant.process is not None
        occupant.process.stop_early(RUN, (0, 0))  # to the process that trains another one now
        supervisor.stop_early("another run", (1, 0))
        assert second.result(PATIENCE).ok
    assert first.result().metrics["pid"] == second.result().metrics["pid"]


def test_a_process_ignores_a_stop_for_what_it_does_not_train() -> None:
    channel = training_main.Channel.__new__(training_main.Channel)
    channel._lock, channel._to_end = threading.Lock(), None
    channel._requests, wire = multiprocessing.Pipe(duplex=False)
    request = pipe.TrainingRequest(b"abc", Trial(2, {}, seed=0), 0, RUN)
    with channel._requests, wire:
        for other in (pipe.EndEarly(RUN, (1, 0)), pipe.EndEarly("another run", (2, 0))):
            wire.send(other)
            assert not channel.to_stop(request)
        wire.send(pipe.EndEarly(RUN, (2, 0)))
        assert channel.to_stop(request)
        wire.send(pipe.EndEarly(RUN, (2, 0)))
        wire.send(request)
        assert channel.receive(1.0) == request
        assert not channel.to_stop(request)  # a coordinator that was killed has it trained again
        assert channel.receive(0.0) is None


@pytest.mark.parametrize(
    "garbage",
    [
        b"{}\n" * 10,
        b"\0\0\0\5hello",
        b"\0\0\0\x0fcos\nsystem\n)R..",
        b"\0\0\0\4N...",
        b"\0\0\0\x10" + pickle.dumps("x")[:16],
    ],
)
def test_a_training_that_writes_into_our_pipes_is_a_crash(garbage: bytes) -> None:
    def train(cfg: Config, trial: Any) -> float:
        trial.report(1, loss=3.0)
        for number in range(3, 100):
            with contextlib.suppress(OSError):
                os.write(number, garbage)
        time.sleep(600)
        return 1.0

    outcome = run(train)
    assert outcome.status is Status.CRASHED
    assert outcome.error is not None
    assert outcome.error.type == "BadMessage"
    assert outcome.curves == {"loss": (3.0,)}
    assert run(pid).ok


def test_what_a_training_returns_arrives_as_plain_values() -> None:
    def train(cfg: Config, trial: Any) -> dict[Any, Any]:
        class Name(str):
            pass

        trial.device = Path("gpu")
        trial.report(np.int64(1), **{Name("loss"): np.float32(0.5)})
        return {Name("loss"): np.float64(0.25), 3: np.array(1)}

    outcome = run(train)
    assert (outcome.y, outcome.device) == (0.25, "gpu")
    assert outcome.metrics == {"loss": 0.25, "3": 1.0}
    assert outcome.curves == {"loss": (0.5,)}
