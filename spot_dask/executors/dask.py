"""Trials on a Dask cluster, embedded in this process or reached by address.

A trial is one Dask task, pinned to the worker whose slot the coordinator chose, under a key of
its own for every attempt. The task supervises the training, which runs in another process, and
returns whatever happens; so Dask neither retries nor moves it, and a worker that dies takes
down nothing but what ran there.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import queue
import re
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cloudpickle
import dask
from distributed import Client, Future, LocalCluster
from distributed.core import rpc

from spot_dask.codec import outcome_from_json, trial_to_json
from spot_dask.coordinator import Event, Finished, Joined, Left
from spot_dask.errors import ClusterError
from spot_dask.executors import supervisor
from spot_dask.records import Failure, Outcome, Status, Trial
from spot_dask.tasks import Task

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 8.0
"""How long a scheduler may take to answer, at first and again after a lost connection."""

RECONCILE_SECONDS = 30.0
"""How often the workers known here are compared with those the scheduler knows."""

GATHER_SECONDS = 60.0
"""How long a finished training's (small) result may take to arrive."""


def connect(address: str) -> Client:
    """A client of the scheduler at ``address``; ClusterError if none answers in time."""
    if not re.fullmatch(r"((tcp|tls|ws|wss)://)?[^/:]+:\d+", address):
        raise ClusterError(
            f"{address!r} is no address of a Dask scheduler; expected one like tcp://host:8786"
        )
    try:
        # Before a Client is made: a client has no limit for a server that accepts a connection
        # and then never answers, and a half-made one cannot be closed.
        asyncio.run(asyncio.wait_for(_probe(address), CONNECT_SECONDS))
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except Exception as error:  # what another kind of server says can fail in any way
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ClusterError(
            f"no Dask scheduler answers at {address} ({reason}); "
            "start one with 'dask scheduler' or leave out --scheduler for an embedded cluster"
        ) from None
    try:
        client.run_on_scheduler(supervisor.version)
    except Exception as error:
        client.close()
        raise ClusterError(
            f"the scheduler at {address} cannot import spot_dask ({type(error).__name__}); "
            "install spot-dask in the environment of the scheduler and of its workers"
        ) from error
    return client


async def _probe(address: str) -> None:
    """Ask whoever listens there who it is; raises where that is no Dask scheduler."""
    async with rpc(address) as scheduler:
        await scheduler.identity(n_workers=0)


def local_slots() -> int:
    """How many trainings this machine runs at a time: one on each GPU, else on each core."""
    import torch  # late: a study with an address needs no torch in the coordinator

    return torch.cuda.device_count() or len(os.sched_getaffinity(0))


def embedded(slots: int) -> Client:
    """A client of a cluster inside this process with so many slots.

    The cluster needs no communication port (its comms are in-process); its HTTP servers listen on
    the loopback interface only. Closing the client's cluster ends it.
    """
    # The worker lives and dies with this process: a laptop that slept has not lost it.
    with dask.config.set({"distributed.scheduler.worker-ttl": None}):
        cluster = LocalCluster(
            n_workers=1,
            threads_per_worker=slots,
            processes=False,
            memory_limit=0,
            dashboard_address="127.0.0.1:0",
            worker_dashboard_address="127.0.0.1:0",
            silence_logs=logging.ERROR,
        )
    return Client(cluster, set_as_default=False)


class DaskExecutor:
    """Runs a task's trials on the workers of a Dask cluster.

    A worker offers as many slots as it advertises of the resource ``GPU``, or else as it has
    threads. ``owned`` tells that the client (and its cluster, if embedded) ends with the executor.
    """

    def __init__(self, client: Client, task: Task, run_id: str, *, owned: bool) -> None:
        self._client = client
        self._task = cloudpickle.dumps(task)
        self._run_id = run_id
        self._owned = owned
        self._events: queue.SimpleQueue[Event | BaseException | None] = queue.SimpleQueue()
        self._slots: dict[str, int] = {}
        self._gpu_workers: set[str] = set()
        self._futures: dict[str, tuple[str, Future]] = {}  # key -> (worker, future)
        self._next_reconcile = 0.0
        client.subscribe_topic("all", self._on_membership)
        # A coordinator that was killed leaves trainings that nobody waits for in our slots.
        client.run(supervisor.stop, run_id, on_error="ignore")

    def now(self) -> float:
        return time.time()

    def start(self, trial: Trial, attempt: int, worker: str) -> None:
        key = f"spot:{self._run_id}:{trial.number}:a{attempt}"
        future = self._client.submit(
            supervisor.run_trial,
            self._task,
            json.dumps(trial_to_json(trial)),
            attempt,
            self._run_id,
            key=key,
            pure=False,
            workers=[worker],
            allow_other_workers=False,
            retries=0,
            resources={"GPU": 1} if worker in self._gpu_workers else None,
        )
        self._futures[key] = (worker, future)
        future.add_done_callback(lambda f: self._on_done(f, trial.number, attempt, worker))

    def defer(self, work: Callable[[], Event]) -> None:
        def run() -> None:
            try:
                self._events.put(work())
            except BaseException as error:  # the coordinator's to see
                self._events.put(error)

        # A daemon: a run that ends need not wait for a proposal that nobody wants any more.
        threading.Thread(target=run, name="spot-dask-proposal", daemon=True).start()

    def wait(self, seconds: float) -> list[Event]:
        self._check_connection()
        events = self._reconcile() if time.monotonic() >= self._next_reconcile else []
        events += self._arrived(0 if events else seconds)
        for event in events:
            self._forget(event)
        return events

    def _arrived(self, seconds: float) -> list[Event]:
        """What has been put into the queue; waits up to ``seconds`` for the first."""
        events: list[Event] = []
        try:
            item = self._events.get(timeout=seconds)
            while True:
                if isinstance(item, BaseException):
                    raise item
                events += [] if item is None else [item]
                item = self._events.get_nowait()
        except queue.Empty:
            return events

    def kill(self) -> None:
        workers = sorted({worker for worker, _ in self._futures.values()} & set(self._slots))
        if workers:
            self._client.run(supervisor.stop, self._run_id, workers=workers, on_error="ignore")
        self._futures.clear()

    def close(self) -> None:
        if self._client.status == "running":
            self._client.unsubscribe_topic("all")
        self._futures.clear()
        if self._owned:
            cluster = self._client.cluster
            self._client.close()
            if cluster is not None:
                cluster.close()
                supervisor.close()  # the embedded worker's processes are this process's children

    def _on_done(self, future: Future, number: int, attempt: int, worker: str) -> None:
        """Runs in a thread of the client: fetch the result at once, before its worker can die."""
        outcome = replace(_fetch(future), worker=worker)
        self._events.put(Finished(number, attempt, outcome))

    def _on_membership(self, event: tuple[float, Any]) -> None:
        """Runs in the client's event loop for every change of the cluster's membership."""
        _, message = event
        if not isinstance(message, dict):
            return
        if message.get("action") == "remove-worker":
            self._events.put(Left(message["worker"]))
        elif message.get("action") == "add-worker":
            self._next_reconcile = 0.0
            self._events.put(None)  # wake up the waiting coordinator

    def _check_connection(self) -> None:
        deadline = time.monotonic() + CONNECT_SECONDS
        while self._client.status != "running":
            if self._client.status == "closed" or time.monotonic() > deadline:
                raise ClusterError(
                    "the Dask scheduler is gone; every finished training is in the store: "
                    "start a scheduler and continue with 'spot-dask resume'"
                )
            time.sleep(0.1)
            self._next_reconcile = 0.0

    def _reconcile(self) -> list[Event]:
        """Events that bring the workers known here up to those the scheduler knows."""
        self._next_reconcile = time.monotonic() + RECONCILE_SECONDS
        try:
            workers = self._client.scheduler_info(n_workers=-1)["workers"]
        except (OSError, TimeoutError, asyncio.CancelledError) as error:
            logger.warning("the scheduler does not tell its workers (%r); asking again", error)
            return []
        slots = {address: _slots(info) for address, info in workers.items()}
        self._gpu_workers = {a for a, info in workers.items() if "GPU" in info["resources"]}
        joined = [Joined(a, n) for a, n in slots.items() if self._slots.get(a) != n]
        left = [Left(a) for a in self._slots if a not in slots]
        self._slots = slots
        return [*left, *joined]

    def _forget(self, event: Event) -> None:
        """Drop the futures of what has ended, so that the scheduler can forget the tasks."""
        match event:
            case Finished(number, attempt):
                self._futures.pop(f"spot:{self._run_id}:{number}:a{attempt}", None)
            case Left(worker):
                self._slots.pop(worker, None)
                for key in [k for k, (w, _) in self._futures.items() if w == worker]:
                    del self._futures[key]


def _slots(info: dict[str, Any]) -> int:
    resources = info["resources"]
    return int(resources["GPU"]) if "GPU" in resources else int(info["nthreads"])


def _fetch(future: Future) -> Outcome:
    """The outcome a finished task returned; LOST where Dask has none to give."""
    try:
        if future.status == "finished":
            return outcome_from_json(future.result(timeout=GATHER_SECONDS))
        if future.status == "error":
            return _lost(future.exception(timeout=GATHER_SECONDS))
    except (Exception, asyncio.CancelledError) as error:  # the worker died with the result
        return _lost(error)
    return Outcome(Status.LOST, error=Failure("Cancelled", f"the task was {future.status}"))


def _lost(error: BaseException) -> Outcome:
    message = str(error).strip() or "no message"
    failure = Failure(type(error).__name__, message.splitlines()[0])
    return Outcome(Status.LOST, error=failure)
