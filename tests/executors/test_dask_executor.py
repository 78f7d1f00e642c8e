"""The Dask executor on a real embedded cluster."""

from __future__ import annotations

import importlib
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from threading import Event as Flag
from threading import Thread
from typing import Any, get_args

import cloudpickle
import pytest
from distributed import Client

from spot_dask.coordinator import Beat, Event, Finished, Joined, Left, Proposed, Reported
from spot_dask.errors import ClusterError
from spot_dask.executors import cluster, dask, workers
from spot_dask.records import Status, Trial
from spot_dask.settings import Isolation
from spot_dask.tasks.function import FunctionTask
from spot_dask.worker import heartbeat, supervisor
from spot_dask.worker.limits import Conditions, Limits

pytestmark = pytest.mark.dask

# The processes must not have to find this file.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


def train(cfg: Any, trial: Any) -> float:
    if cfg.kind == "report":
        for epoch in range(1, 1001):
            trial.report(epoch, loss=1.0 / epoch)
            time.sleep(0.001)
    if cfg.kind == "endless":
        for epoch in range(1, 6001):
            trial.report(epoch, loss=1.0 / epoch)
            time.sleep(0.01)
    if cfg.kind == "raise":
        raise ValueError("bad")
    if cfg.kind == "die":
        os.abort()
    if cfg.kind == "sleep":
        time.sleep(60)
    return float(cfg.x)


def trial(number: int, kind: str = "ok") -> Trial:
    return Trial(number, {"x": float(number), "kind": kind}, seed=1)


@pytest.fixture(scope="module")
def embedded() -> Iterator[Client]:
    with closing(cluster.embedded(2)) as client:
        yield client
        client.cluster.close()
        supervisor.close()


Make = Callable[..., dask.DaskExecutor]


@pytest.fixture
def make(embedded: Client, request: pytest.FixtureRequest) -> Iterator[Make]:
    """Make a run's executor on the cluster of this module, which outlives it."""
    made: list[dask.DaskExecutor] = []

    def make(task: Any = None, **options: Any) -> dask.DaskExecutor:
        task = FunctionTask(train) if task is None else task
        made.append(dask.DaskExecutor(embedded, task, request.node.name, owned=True, **options))
        return made[-1]

    yield make
    for executor in made:
        executor.kill()
        executor._owned = False
        executor.close()


@pytest.fixture
def executor(make: Make) -> dask.DaskExecutor:
    return make()


@pytest.fixture
def alone() -> Iterator[dask.DaskExecutor]:
    """An executor with a cluster of its own."""
    executor = dask.DaskExecutor(cluster.embedded(2), FunctionTask(train), "run", owned=True)
    yield executor
    executor.close()


def collect(executor: dask.DaskExecutor, count: int, kind: Any = Finished) -> list[Event]:
    found: list[Event] = []
    deadline = time.monotonic() + 60
    while len(found) < count:
        assert time.monotonic() < deadline, found
        found += [e for e in executor.wait(0.5) if isinstance(e, kind)]
    return found


def joined(executor: dask.DaskExecutor) -> str:
    event = collect(executor, 1, Joined)[0]
    assert isinstance(event, Joined)
    assert event.slots == 2
    return event.worker


def test_every_end_of_a_training_is_an_event(executor: dask.DaskExecutor) -> None:
    worker = joined(executor)
    for number, kind in enumerate(["ok", "raise", "die"]):
        executor.start(trial(number, kind), 0, worker)
    ends = {e.number: e.outcome for e in collect(executor, 3) if isinstance(e, Finished)}
    assert {n: o.status for n, o in ends.items()} == {
        0: Status.OK,
        1: Status.FAILED,
        2: Status.CRASHED,
    }
    assert all(outcome.worker == worker for outcome in ends.values())
    assert all(outcome.seconds >= 0 for outcome in ends.values())


def test_the_same_configuration_is_trained_again_for_another_attempt(
    executor: dask.DaskExecutor,
) -> None:
    worker = joined(executor)
    executor.start(trial(0), 0, worker)
    executor.start(trial(0), 1, worker)
    ends = [(e.number, e.attempt) for e in collect(executor, 2) if isinstance(e, Finished)]
    assert sorted(ends) == [(0, 0), (0, 1)]


def test_kill_ends_what_runs_at_once(executor: dask.DaskExecutor) -> None:
    worker = joined(executor)
    executor.start(trial(0, "sleep"), 0, worker)
    time.sleep(1.0)
    began = time.monotonic()
    executor.kill()
    end = collect(executor, 1)[0]
    assert time.monotonic() - began < 30
    assert isinstance(end, Finished)
    assert end.outcome.error is not None
    assert end.outcome.error.type == "Stopped"


def test_a_worker_tells_what_goes_on_and_stops_the_one_it_is_told(
    executor: dask.DaskExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.2)
    worker = joined(executor)
    executor.start(trial(0, "sleep"), 2, worker)
    executor.start(trial(1, "sleep"), 0, worker)
    time.sleep(0.5)
    deadline = time.monotonic() + 30
    while Beat(worker, ((0, 2), (1, 0))) not in executor.wait(0.5):
        assert time.monotonic() < deadline
    executor.stop(0, 2, worker)
    end = collect(executor, 1)[0]
    assert isinstance(end, Finished)
    assert (end.number, end.attempt) == (0, 2)
    while Beat(worker, ((1, 0),)) not in executor.wait(0.5):
        assert time.monotonic() < deadline
    executor.kill()


@pytest.mark.parametrize("isolation", get_args(Isolation))
def test_a_training_told_to_end_early_ends_at_its_next_report_and_frees_its_slot(
    isolation: Isolation, make: Make
) -> None:
    supervisor.close()
    executor = make(conditions=Conditions(isolation=isolation))
    worker = joined(executor)
    executor.start(trial(0, "endless"), 0, worker)
    executor.start(trial(1, "endless"), 0, worker)
    for number in (0, 1):
        collect(executor, 1, Reported)
        executor.stop_early(number, 0, worker)
        end = collect(executor, 1)[0]
        assert isinstance(end, Finished)
        assert (end.number, end.outcome.status) == (number, Status.STOPPED)
        assert end.outcome.error is None
        curve = end.outcome.curves["loss"]
        assert curve == tuple(1.0 / epoch for epoch in range(1, len(curve) + 1))
        executor.start(trial(number + 2), 0, worker)  # beside the other, which goes on
        end = collect(executor, 1)[0]
        assert isinstance(end, Finished)
        assert (end.number, end.outcome.status) == (number + 2, Status.OK)
    if isolation == "warm":
        assert len(_trial_processes()) == 2
        supervisor.close()
    assert _trial_processes() == []


def test_a_slow_proposal_holds_up_nothing(executor: dask.DaskExecutor) -> None:
    worker = joined(executor)
    proposed, gate = Proposed((trial(1),)), Flag()

    def slow() -> Proposed:
        gate.wait(30)
        return proposed

    executor.defer(slow)
    executor.start(trial(0), 0, worker)
    assert collect(executor, 1)[0].number == 0
    gate.set()
    assert collect(executor, 1, Proposed) == [proposed]


def test_a_proposal_that_fails_fails_the_run(executor: dask.DaskExecutor) -> None:
    joined(executor)

    def broken() -> Proposed:
        raise ZeroDivisionError("a defect")

    executor.defer(broken)
    with pytest.raises(ZeroDivisionError, match="a defect"):
        collect(executor, 1, Proposed)


def test_closing_leaves_no_process_behind(alone: dask.DaskExecutor) -> None:
    supervisor.close()
    worker = joined(alone)
    alone.start(trial(0), 0, worker)
    collect(alone, 1)
    assert _trial_processes()
    alone.close()
    assert _trial_processes() == []


def _trial_processes() -> list[Path]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            command = (status.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == os.getpid() and b"spot_dask.worker.training_main" in command:
            found.append(status.parent)
    return found


def test_a_worker_that_goes_away_is_an_event(alone: dask.DaskExecutor) -> None:
    worker = joined(alone)
    time.sleep(0.5)  # until the scheduler knows that we want to hear of its workers
    alone._client.retire_workers([worker], close_workers=True)
    assert collect(alone, 1, Left) == [Left(worker)]


def test_the_embedded_worker_is_never_given_up_for_silence(embedded: Client) -> None:
    assert embedded.cluster.scheduler.worker_ttl is None


def test_an_address_nobody_listens_at_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1.0)
    with pytest.raises(ClusterError, match="no Dask scheduler answers at") as caught:
        cluster.connect("tcp://127.0.0.1:1")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("address", ["bla", "127.0.0.1", "nonsense://x:1", "127.0.0.1:http"])
def test_what_is_no_address_is_told_at_once(address: str) -> None:
    with pytest.raises(ClusterError, match="expected one like tcp://host:8786"):
        cluster.connect(address)


@pytest.mark.parametrize("greeting", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_a_server_that_is_no_scheduler_does_not_hold_us(
    greeting: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 2.0)
    done = Flag()

    def serve() -> None:
        with server.accept()[0] as connection:
            connection.sendall(greeting)
            done.wait()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = Thread(target=serve)
        thread.start()
        with pytest.raises(ClusterError, match="no Dask scheduler answers at"):
            cluster.connect(f"tcp://127.0.0.1:{server.getsockname()[1]}")
        done.set()
        thread.join()


def test_workers_with_gpus_offer_one_slot_for_each() -> None:
    assert [Limits(gpus).slots(4) for gpus in (None, 1, 2, 3, 8, 0.5, 0.25)] == [
        4,
        4,
        2,
        1,
        0,
        8,
        16,
    ]


def test_a_trial_that_asks_for_more_gpus_than_any_worker_has_is_told_at_once() -> None:
    with pytest.raises(ClusterError, match=r"asks for 8 GPUs, but no worker has more than 4"):
        cluster.refuse_too_few(Limits(8), [0, 4, 2])
    cluster.refuse_too_few(Limits(4), [0, 4, 2])


def test_what_a_training_reports_arrives_in_order_and_seldom(
    executor: dask.DaskExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[float] = []
    dispatch = heartbeat.Parcels._dispatch

    def counted(parcels: heartbeat.Parcels) -> None:
        sent.append(time.monotonic())
        dispatch(parcels)

    monkeypatch.setattr(heartbeat.Parcels, "_dispatch", counted)
    worker = joined(executor)
    executor.start(trial(3, "report"), 1, worker)
    heard: list[Reported] = []
    deadline = time.monotonic() + 60
    end = None
    while end is None or not heard or heard[-1].epoch < 1000:
        assert time.monotonic() < deadline, heard[-1:]
        for event in executor.wait(0.5):
            end = event if isinstance(event, Finished) else end
            heard += [event] if isinstance(event, Reported) else []
    assert {(r.number, r.attempt) for r in heard} == {(3, 1)}
    epochs = [r.epoch for r in heard]
    assert epochs == sorted(set(epochs))
    assert heard[0] == Reported(3, 1, 1, {"loss": 1.0})
    assert len(end.outcome.curves["loss"]) == 1000
    pauses = [later - earlier for earlier, later in pairwise(sent[:-1])]  # the last is at once
    assert min(pauses) > 0.99 * heartbeat.PERIOD_SECONDS


class Unloadable:
    """Can be pickled, not unpickled, like a task whose modules are not there."""

    def __reduce__(self) -> tuple[Any, ...]:
        return importlib.import_module, ("module_that_is_not_there",)


@pytest.mark.parametrize("isolation", get_args(Isolation))
def test_a_task_that_cannot_be_loaded_ends_the_run_and_no_evaluation(
    isolation: Isolation, make: Make
) -> None:
    executor = make(Unloadable(), conditions=Conditions(isolation=isolation))
    worker = joined(executor)
    executor.start(trial(0), 0, worker)
    events = collect(executor, 2, Joined | Finished)  # on a busy machine a heartbeat comes between
    assert events[0] == Joined(worker, 0, worker)  # before the coordinator starts it again
    assert isinstance(events[1], Finished)
    assert events[1].outcome.status is Status.LOST
    with pytest.raises(ClusterError, match="No module named 'module_that_is_not_there'"):
        executor.wait(0)


def test_a_call_that_a_worker_cannot_unpickle_takes_its_slots(
    executor: dask.DaskExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    worker = joined(executor)
    executor._keep = Unloadable()  # type: ignore[assignment]
    executor.start(trial(0), 0, worker)
    executor.start(trial(1), 0, worker)
    events = collect(executor, 3, Event)
    assert [e for e in events if isinstance(e, Joined)] == [Joined(worker, 0, worker)]
    ends = [e.outcome for e in events if isinstance(e, Finished)]
    assert [(o.status, o.error.type) for o in ends if o.error] == [(Status.LOST, "UnfitWorker")] * 2
    ours = [r.message for r in caplog.records if r.name == workers.__name__]
    assert [("module_that_is_not_there" in line, "no trials" in line) for line in ours] == [
        (True, True)
    ]
