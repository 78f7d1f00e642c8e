"""Dask's own scheduler and worker as services: they leave in good order and come back.

A plain ``dask worker`` works as well. What it lacks: at SIGTERM Dask tells the scheduler at once
that it is gone, so what it trains would be trained again elsewhere; and it exits when the
scheduler does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import os
import random
import resource
import signal
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distributed import Scheduler, Status, Worker

from spot_dask import endings
from spot_dask.cards import counted
from spot_dask.errors import ClusterError
from spot_dask.executors.connection import Connection, Tls, check_listener, why_unanswered
from spot_dask.outputs import write_texts
from spot_dask.worker import supervisor
from spot_dask.worker.limits import visible_gpus

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 8.0
"""How long a scheduler may take to answer."""

START_SECONDS = 60.0
"""How long a worker may take to register with a scheduler that answers."""

PAUSES = (1.0, 30.0)
"""How long (seconds) a worker waits before it looks for the scheduler again, at first and most."""

POLL_SECONDS = 0.1


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker offers. ``grace``: how long (seconds) it lets trainings go on when it leaves.

    ``slots``: how many trainings at a time at most; by default one on each core, and at least one
    on each GPU.
    """

    slots: int | None = None
    grace: float = 20.0
    name: str | None = None
    host: str | None = None
    port: int = 0
    local_directory: str | None = None


@dataclass(frozen=True)
class SchedulerSettings:
    """Where a scheduler listens; ``host`` is this machine only unless there are certificates."""

    host: str | None = None
    port: int = 8786
    dashboard: str = "127.0.0.1:8787"
    file: str | None = None


def run_worker(connection: Connection, settings: WorkerSettings) -> None:
    """Serve a scheduler until a signal comes; returns when everything is given back."""
    asyncio.run(_serve(connection, settings))


def run_scheduler(settings: SchedulerSettings, tls: Tls | None, insecure: bool) -> None:
    """Run a scheduler until a signal comes."""
    host = settings.host or ("0.0.0.0" if tls else "127.0.0.1")
    check_listener(host, tls, insecure)
    asyncio.run(_schedule(settings, host, tls))


async def _schedule(settings: SchedulerSettings, host: str, tls: Tls | None) -> None:
    leaving, _ = _signals()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)  # a few for every worker
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, hard // 2), hard))
    scheduler = Scheduler(
        host=f"{'tls' if tls else 'tcp'}://{host}",
        port=settings.port,
        security=tls.security() if tls else None,
        dashboard_address=settings.dashboard,
    )
    try:
        await scheduler
    except (OSError, RuntimeError) as error:  # Dask wraps what the system says
        why = error.__cause__ or error
        raise ClusterError(
            f"no scheduler can listen at {host}:{settings.port} ({why}); choose another --port"
        ) from None
    if settings.file is not None:  # for workers and runs, who never see half of it
        identity = json.dumps(scheduler.identity(n_workers=0), indent=2)
        write_texts({Path(settings.file): identity})
    pages = scheduler.http_server
    logger.info("scheduler at %s; dashboard at %s:%d", scheduler.address, pages.address, pages.port)
    await _first(scheduler.finished(), leaving.wait())
    await scheduler.close(reason="signal")


async def _serve(connection: Connection, settings: WorkerSettings) -> None:
    leaving, hurrying = _signals()
    if not connection.is_file:
        connection.url()  # what is refused now will be refused for ever
    connection.security()
    pause, told = PAUSES[0], -math.inf
    while not leaving.is_set():
        starting = asyncio.ensure_future(_started(connection, settings))
        await _first(starting, leaving.wait())
        if not starting.done():
            starting.cancel()
        elif (error := starting.exception()) is not None:
            if time.monotonic() - told >= 60:  # at first, and then once a minute
                told = time.monotonic()
                why = why_unanswered(error)
                logger.info("no scheduler yet (%s); trying again until there is one", why)
            # Not all workers of a cluster at the same moment.
            await _first(asyncio.sleep(pause * random.uniform(0.5, 1.0)), leaving.wait())
            pause = min(2.0 * pause, PAUSES[1])
        else:
            worker = starting.result()
            logger.info("serving %s with %d slots", worker.scheduler.address, worker.state.nthreads)
            await _first(worker.finished(), leaving.wait())
            if leaving.is_set():
                await _drain(worker, settings.grace, hurrying)
            else:
                logger.info("the scheduler is gone; looking for it")
            pause, told = PAUSES[0], -math.inf


async def _started(connection: Connection, settings: WorkerSettings) -> Worker:
    """A worker that is registered; raises whatever prevents that."""
    url = connection.url()
    async with asyncio.timeout(ANSWER_SECONDS):
        await connection.probe("worker")
    gpus = len(visible_gpus())
    worker = Worker(
        url,
        nthreads=settings.slots or max(len(os.sched_getaffinity(0)), gpus),
        resources={"GPU": gpus} if gpus else None,
        name=settings.name,
        # Dask's default is every interface, whatever the scheduler's address is.
        host=settings.host or ("127.0.0.1" if connection.is_local(url) else None),
        port=settings.port,
        security=connection.security(),
        local_directory=settings.local_directory,
        dashboard_address="127.0.0.1:0",
        memory_limit=0,  # it would see this process and not the trainings
        death_timeout=START_SECONDS,
        plugins=[supervisor.EndTrainings()],
    )
    return await worker


async def _drain(worker: Worker, grace: float, hurrying: asyncio.Event) -> None:
    """Take no more trials, let those that run end within the grace, and go.

    What has not ended by then is lost with the worker, as far as coordinators can tell; they have
    it run again elsewhere. To stop the trainings and let their tasks return would make them failed
    evaluations.
    """
    trainings = counted(len(worker.state.executing), "training")
    logger.info("leaving: %s may go on for %g s", trainings, grace)
    worker.status = Status.paused
    worker.log_event("all", {"action": supervisor.DRAINING, "worker": worker.address})
    deadline = time.monotonic() + grace

    async def until_nobody_needs_us() -> None:
        while worker.state.executing or worker.state.long_running:
            await asyncio.sleep(POLL_SECONDS)
        # A result is wanted from here until its coordinator has stored it. Where none is there,
        # other workers keep it.
        with contextlib.suppress(OSError):
            await worker.scheduler.retire_workers(
                workers=[worker.address], close_workers=False, remove=False
            )
        while worker.data:
            await asyncio.sleep(POLL_SECONDS)

    await _first(
        until_nobody_needs_us(),
        hurrying.wait(),
        worker.finished(),
        asyncio.sleep(deadline - time.monotonic()),
    )
    await worker.close(executor_wait=False, nanny=False, reason="drained")


def _signals() -> tuple[asyncio.Event, asyncio.Event]:
    """Events for the first signal that ends us, and for the second; the third kills."""
    loop = asyncio.get_running_loop()
    leaving, hurrying, heeded = asyncio.Event(), asyncio.Event(), endings.heeded()

    def handle(number: signal.Signals) -> None:
        if number is signal.SIGHUP:
            endings.forget_terminal()
        if not leaving.is_set():
            leaving.set()
            return
        hurrying.set()
        for each in heeded:
            loop.remove_signal_handler(each)

    for number in heeded:
        loop.add_signal_handler(number, handle, number)
    return leaving, hurrying


async def _first(*waits: Coroutine[Any, Any, Any] | asyncio.Future[Any]) -> None:
    """Wait until one of these is over; the coroutines among the others are cancelled."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task, wait in zip(tasks, waits, strict=True):
        if task is not wait:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
