"""What goes on without its coordinator, or behind a broken connection, is followed again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cloudpickle
import pytest
from distributed import Client, LocalCluster

from spot_dask.coordinator import Attached, Beat, Event, Finished, Joined, Left
from spot_dask.errors import ClusterError
from spot_dask.executors import dask, service, workers
from spot_dask.executors.cluster import connect
from spot_dask.records import Status, Trial
from spot_dask.tasks.function import FunctionTask
from spot_dask.worker import heartbeat, supervisor

pytestmark = pytest.mark.dask


@contextmanager
def two_workers() -> Iterator[LocalCluster]:
    """Two workers of one thread, reached over TCP as from another process."""
    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=False,
        protocol="tcp://",
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        worker_dashboard_address="127.0.0.1:0",
    ) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with two_workers() as cluster:
        yield cluster


Begin = Callable[..., dask.DaskExecutor]


@pytest.fixture
def begin(cluster: LocalCluster, tmp_path: Path) -> Iterator[Begin]:
    """Start another coordinator's executor of the same run, whose trainings note their starts."""
    notes = str(tmp_path / "begun")

    def train(cfg: Any) -> float:
        with open(notes, "a") as file:  # noqa: PTH123 - pickled by value, with no imports of ours
            file.write("begun\n")
        time.sleep(cfg.seconds)
        return 1.0

    made: list[dask.DaskExecutor] = []

    def begin(on: LocalCluster | None = None) -> dask.DaskExecutor:
        client = Client((on or cluster).scheduler_address, set_as_default=False)
        made.append(dask.DaskExecutor(client, FunctionTask(train), tmp_path.name, owned=True))
        return made[-1]

    yield begin
    for executor in made:
        executor.close()


def begun(tmp_path: Path) -> int:
    return len((tmp_path / "begun").read_text().splitlines())


def trial(seconds: float) -> Trial:
    return Trial(0, {"seconds": seconds}, seed=1)


def first(executor: dask.DaskExecutor, kind: type, events: list[Event] | None = None) -> Any:
    """The first event of a kind; all that were seen are added to ``events``."""
    deadline = time.monotonic() + 60
    while True:
        assert time.monotonic() < deadline
        for event in executor.wait(0.5):
            if events is not None:
                events.append(event)
            if isinstance(event, kind):
                return event


def test_an_attempt_that_waits_behind_another_runs_training_is_heard_of(
    cluster: LocalCluster, begin: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.2)
    monkeypatch.setattr(supervisor, "_heartbeat", heartbeat.Heartbeat())
    others = begin()
    worker = first(others, Joined).worker
    others.start(trial(4.0), 0, worker)
    first(others, Beat)
    while not (tmp_path / "begun").exists():
        first(others, Beat)
    client = Client(cluster.scheduler_address, set_as_default=False)
    executor = dask.DaskExecutor(client, cloudpickle.loads(others._task), "another run", owned=True)
    with closing(executor):
        executor.start(trial(0.0), 0, worker)
        for _ in range(5):
            assert first(executor, Beat).attempts == ((0, 0),)
        assert begun(tmp_path) == 1
        assert first(executor, Finished).outcome.ok
    assert first(others, Finished).outcome.ok


def cut_off(executor: dask.DaskExecutor) -> None:
    client = executor._client
    client.loop.add_callback(client.scheduler_comm.comm.abort)


@pytest.mark.parametrize("published", [True, False], ids=["published", "just-submitted"])
def test_a_lost_connection_costs_no_training(
    published: bool, begin: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.2)
    monkeypatch.setattr(supervisor, "_heartbeat", heartbeat.Heartbeat())
    executor = begin()
    worker = first(executor, Joined).worker
    if not published:
        monkeypatch.setattr(executor, "_publish", lambda *ignored: None)
    executor.start(trial(4.0), 0, worker)
    first(executor, Beat)
    cut_off(executor)
    seen: list[Event] = []
    end = first(executor, Finished, seen)
    assert end.outcome.status is Status.OK
    assert sum(isinstance(event, Beat) for event in seen) > 3  # it is heard again
    assert begun(tmp_path) == 1


def test_what_ended_behind_a_broken_connection_and_was_forgotten_is_lost(
    begin: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.2)
    monkeypatch.setattr(supervisor, "_heartbeat", heartbeat.Heartbeat())
    executor = begin()
    worker = first(executor, Joined).worker
    monkeypatch.setattr(executor, "_publish", lambda *ignored: None)
    executor.start(trial(1.0), 0, worker)
    first(executor, Beat)
    cut_off(executor)
    time.sleep(2.0)
    end = first(executor, Finished)
    assert (end.number, end.attempt, end.outcome.worker) == (0, 0, worker)
    assert end.outcome.status is Status.LOST
    assert end.outcome.error == dask.FORGOTTEN.error
    assert begun(tmp_path) == 1


def test_what_was_submitted_but_not_published_is_adopted(
    begin: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = begin()
    worker = first(killed, Joined).worker
    monkeypatch.setattr(killed, "_publish", lambda *ignored: None)
    killed.start(trial(4.0), 0, worker)
    time.sleep(1.0)
    killed.close()
    executor = begin()
    assert first(executor, Attached) == Attached(0, 0, worker)
    assert first(executor, Finished).outcome.status is Status.OK
    assert begun(tmp_path) == 1


def test_a_worker_that_leaves_hands_over_what_no_coordinator_has_heard(
    begin: Begin, tmp_path: Path
) -> None:
    with two_workers() as cluster:
        killed = begin(cluster)
        leaving = first(killed, Joined).worker
        killed.start(trial(0.5), 0, leaving)
        time.sleep(0.2)
        killed.close()
        worker = next(w for w in cluster.workers.values() if w.address == leaving)

        async def drain() -> None:
            await service._drain(worker, 30.0, asyncio.Event())

        began = time.monotonic()
        cluster.sync(drain)
        assert time.monotonic() - began < 25.0  # it need not stay until somebody comes
        executor = begin(cluster)
        seen: list[Event] = []
        first(executor, Left, seen)
        attached, ended, left = (e for e in seen if not isinstance(e, Joined))
        assert attached == Attached(0, 0, leaving)
        assert ended.outcome.status is Status.OK
        assert left == Left(leaving)
        assert begun(tmp_path) == 1
        executor.close()


def test_every_worker_ends_its_trainings_when_it_closes(
    begin: Begin, cluster: LocalCluster
) -> None:
    executor = begin()
    first(executor, Joined)
    deadline = time.monotonic() + 30
    while not all(supervisor.EndTrainings.name in w.plugins for w in cluster.workers.values()):
        assert time.monotonic() < deadline
        executor.wait(0.1)


def test_a_scheduler_of_another_version_is_refused(
    cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "supervisor", SimpleNamespace(version=lambda: "9.9"))
    with pytest.raises(ClusterError, match=r"install spot-dask 9\.9, as here"):
        connect(cluster.scheduler_address)
