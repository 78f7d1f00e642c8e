"""The workers of a cluster, told by a scheduler of words only."""

from __future__ import annotations

from typing import Any

import pytest
from distributed.client import FutureCancelledError
from distributed.comm import CommClosedError
from distributed.scheduler import NoValidWorkerError

from spot_dask.coordinator import Joined, Left
from spot_dask.errors import ClusterError
from spot_dask.executors.dask import fetch
from spot_dask.executors.workers import Workers
from spot_dask.records import Status
from spot_dask.worker import supervisor
from spot_dask.worker.limits import Limits

A, B = "tcp://10.0.0.1:1001", "tcp://10.0.0.2:1002"


class Scheduler:
    """What a client tells of a scheduler; ``silent`` workers do not answer."""

    cluster = None

    def __init__(self, *addresses: str) -> None:
        self.workers: dict[str, dict[str, Any]] = {}
        self.answers: dict[str, str | Exception] = {}
        self.asked: list[str] = []
        self.silent: set[str] = set()
        for address in addresses:
            self.add(address)

    def add(self, address: str, threads: int = 2, **resources: float) -> None:
        self.workers[address] = {"status": "running", "nthreads": threads, "resources": resources}

    def scheduler_info(self, n_workers: int) -> dict[str, Any]:
        assert n_workers == -1
        return {"workers": dict(self.workers)}

    def run(self, call: Any, workers: list[str], on_error: str) -> dict[str, Any]:
        assert on_error == "return"
        if call is not supervisor.version:
            return dict.fromkeys(workers)
        self.asked += workers
        heard = [w for w in workers if w not in self.silent]
        return {w: self.answers.get(w, supervisor.version()) for w in heard}


def members(scheduler: Scheduler, limits: Limits | None = None) -> Workers:
    client: Any = scheduler
    return Workers(client, limits or Limits(), owned=False)


def changes(members: Workers) -> list[Any]:
    members.look_again()
    return members.changes()


def test_what_has_changed_is_told_once() -> None:
    scheduler = Scheduler(A, B)
    known = members(scheduler)
    assert changes(known) == [Joined(A, 2, "10.0.0.1"), Joined(B, 2, "10.0.0.2")]
    assert A in known
    assert changes(known) == []
    scheduler.add(A, 3)
    del scheduler.workers[B]
    assert changes(known) == [Left(B), Joined(A, 3, "10.0.0.1")]
    assert B not in known
    assert changes(known) == []


def test_nobody_is_asked_before_it_is_time() -> None:
    scheduler = Scheduler(A)
    known = members(scheduler)
    changes(known)
    scheduler.add(B)
    assert known.changes() == []


def test_a_worker_is_asked_for_its_version_once_for_as_long_as_it_is_there() -> None:
    scheduler = Scheduler(A, B)
    scheduler.answers[A] = "0.0.1"
    known = members(scheduler)
    assert changes(known) == [Joined(A, 0, "10.0.0.1"), Joined(B, 2, "10.0.0.2")]
    changes(known)
    assert scheduler.asked == [A, B]
    away = scheduler.workers.pop(A)
    assert changes(known) == [Left(A)]
    scheduler.workers[A], scheduler.answers[A] = away, supervisor.version()
    assert changes(known) == [Joined(A, 2, "10.0.0.1")]


def test_a_worker_that_does_not_answer_gets_nothing_and_is_asked_again() -> None:
    scheduler = Scheduler(A)
    scheduler.silent.add(A)
    known = members(scheduler)
    assert changes(known) == [Joined(A, 0, "10.0.0.1")]
    known.refuse_none_fit()  # it may be fit
    scheduler.silent.clear()
    assert changes(known) == [Joined(A, 2, "10.0.0.1")]


def test_a_worker_that_cannot_load_the_task_has_no_slots_any_more() -> None:
    known = members(Scheduler(A, B))
    changes(known)
    assert known.refuse(A, "no module") == [Joined(A, 0, "10.0.0.1")]
    assert known.refuse(A, "no module") == []
    assert changes(known) == []
    known.refuse_none_fit()
    known.refuse(B, "nor here")
    with pytest.raises(ClusterError, match=rf"the worker {A} cannot load .* \(no module\); put"):
        known.refuse_none_fit()


def test_workers_that_could_not_load_the_task_are_tried_again_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scheduler = Scheduler(A, B)
    known = members(scheduler)
    changes(known)
    for worker in (B, A):
        known.refuse(worker, "no module")
    assert changes(known) == []
    monkeypatch.setattr("spot_dask.executors.workers.REFUSED_SECONDS", 0.0)
    assert changes(known) == [Joined(B, 2, "10.0.0.2")]
    assert known.refuse(B, "still none") == [Joined(B, 0, "10.0.0.2")]
    assert changes(known) == [Joined(A, 2, "10.0.0.1")]
    away = scheduler.workers.pop(B)
    assert changes(known) == [Left(B)]
    scheduler.workers[B] = away
    assert changes(known) == [Joined(B, 2, "10.0.0.2")]
    monkeypatch.setattr("spot_dask.executors.workers.REFUSED_SECONDS", 600.0)
    known.refuse(B, "not again")
    assert changes(known) == []


def test_a_worker_that_leaves_first_is_not_refused() -> None:
    known = members(Scheduler(A))
    changes(known)
    known.leave(A)
    assert known.refuse(A, "no module") == []


def test_a_worker_that_its_nanny_kills_again_and_again_is_named(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = Scheduler(A, B)
    known, now = members(scheduler), [1000.0]
    monkeypatch.setattr("spot_dask.executors.workers.time.monotonic", lambda: now[0])
    mine = {"nanny": "tcp://10.0.0.1:7", "memory_limit": 60_000_000}

    def start_again(i: int) -> list[Any]:
        known.leave(A)
        scheduler.add(A)
        scheduler.workers[A] |= {**mine, "local_directory": f"/tmp/worker-{i}"}
        now[0] += 5.0
        return changes(known)

    assert [Joined(A, 2, "10.0.0.1") in start_again(i) for i in range(4)] == [True] * 3 + [False]
    assert Joined(A, 0, "10.0.0.1") in start_again(5)
    complaint = (
        f"the worker {A} is started again and again by its nanny: its memory_limit of 60 MB is "
        "that of the worker, not of its trainings; start it with --memory-limit 0, or as "
        "'spot-dask worker'"
    )
    assert [r.getMessage() for r in caplog.records] == [f"{complaint}; it gets no trials"]
    known.refuse_none_fit()  # there is another one
    del scheduler.workers[B]
    changes(known)
    with pytest.raises(ClusterError) as told:
        known.refuse_none_fit()
    assert str(told.value) == complaint
    now[0] += 300.0  # a worker that is started again later, by the same nanny
    del scheduler.workers[A]
    changes(known)
    assert start_again(6) == [Joined(A, 2, "10.0.0.1")]


def test_a_worker_that_dies_while_it_is_asked_is_not_unfit() -> None:
    scheduler = Scheduler(A)
    scheduler.answers[A] = CommClosedError("in <TCP (closed)>: Stream is closed")
    known = members(scheduler)
    assert changes(known) == [Joined(A, 0, "10.0.0.1")]
    known.refuse_none_fit()
    del scheduler.answers[A]  # as it has been started again
    assert changes(known) == [Joined(A, 2, "10.0.0.1")]


def test_a_worker_that_is_paused_for_its_memory_is_named(caplog: pytest.LogCaptureFixture) -> None:
    scheduler = Scheduler(A, B)
    for worker, used in ((A, 90e6), (B, 10e6)):  # the second drains
        more = {"status": "paused", "memory_limit": 10**8, "metrics": {"memory": int(used)}}
        scheduler.workers[worker] |= more
    known = members(scheduler)
    changes(known)
    assert changes(known) == []
    (record,) = caplog.records
    assert record.getMessage() == (
        f"the worker {A} is paused by Dask, since its own memory comes near its memory_limit of "
        "100 MB; start it with --memory-limit 0, or as 'spot-dask worker'; it gets no trials "
        "meanwhile"
    )


@pytest.mark.parametrize("each", [1 / 3, 1 / 7, 1 / 49])
def test_shares_of_a_gpu_add_up_to_no_more_than_it(each: float) -> None:
    scheduler = Scheduler()
    scheduler.add(A, threads=64, GPU=1.0)
    known = members(scheduler, Limits(gpus=each))
    slots = round(1 / each)
    assert changes(known) == [Joined(A, slots, "10.0.0.1")]
    resources = known.resources(A)
    assert resources is not None
    used = 0.0  # as Dask adds them up
    for _ in range(slots):
        assert used + resources["GPU"] <= 1.0
        used += resources["GPU"]
    assert used + resources["GPU"] > 1.0


# ------------------------------------------------------------ what a task returns or raises


class Ended:
    """A future that has ended."""

    def __init__(self, status: str, error: BaseException) -> None:
        self.status = status
        self._error = error

    def result(self, timeout: float) -> None:
        assert timeout > 0
        raise self._error


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        ("error", ModuleNotFoundError("No module named 'x'"), "UnfitWorker"),
        ("error", NoValidWorkerError("key", {A}, {}, {}, 0.0), "NoValidWorkerError"),
        ("finished", TimeoutError(), "TimeoutError"),
        ("finished", OSError("the worker died"), "OSError"),
        ("cancelled", FutureCancelledError("key", "gone"), "FutureCancelledError"),
    ],
)
def test_only_what_a_task_itself_raises_is_held_against_its_worker(
    status: str, error: BaseException, kind: str
) -> None:
    future: Any = Ended(status, error)
    outcome = fetch(future)
    assert outcome.status is Status.LOST
    assert outcome.error is not None
    assert outcome.error.type == kind
    assert outcome.error.message
