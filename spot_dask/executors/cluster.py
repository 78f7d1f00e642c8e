"""The Dask cluster of a run: one that is there, reached by its address, or one in this process."""

from __future__ import annotations

import asyncio
import logging
import os

import dask
from distributed import Client, LocalCluster

from spot_dask import endings
from spot_dask.errors import ClusterError
from spot_dask.executors.connection import Connection, why_unanswered
from spot_dask.executors.workers import refuse_too_few, unfit
from spot_dask.worker import supervisor
from spot_dask.worker.limits import Limits

CONNECT_SECONDS = 8.0
"""How long a scheduler may take to answer, at first and again after a lost connection."""


def connect(address: str | Connection) -> Client:
    """A client of the scheduler at ``address``.

    Raises ClusterError if none answers in time, or one whose spot-dask is of another version.
    """
    endings.silence()  # what happens to the connection our errors tell
    way = Connection(address) if isinstance(address, str) else address
    url, security = way.url(), way.security()
    try:
        # Before a Client is made: a client has no limit for a server that accepts a connection
        # and then never answers, and a half-made one cannot be closed.
        asyncio.run(asyncio.wait_for(way.probe("client"), CONNECT_SECONDS))
        client = Client(url, timeout=CONNECT_SECONDS, set_as_default=False, security=security)
    except Exception as error:  # what another kind of server says can fail in any way
        raise ClusterError(
            f"no Dask scheduler answers at {url} ({why_unanswered(error)}); "
            "start one with 'spot-dask scheduler' or leave out --scheduler for an embedded cluster"
        ) from None
    answer: str | Exception
    try:
        answer = str(client.run_on_scheduler(supervisor.version))
    except Exception as error:  # it may have no spot_dask, or one that cannot be imported
        answer = error
    if (complaint := unfit(f"scheduler at {url}", answer)) is not None:
        client.close()
        raise ClusterError(complaint) from (answer if isinstance(answer, Exception) else None)
    return client


def local_slots(limits: Limits | None = None) -> int:
    """How many trainings this machine runs at a time: as its GPUs allow, else one on each core."""
    import torch  # late: a study with an address needs no torch in the coordinator

    limits, gpus = limits or Limits(), torch.cuda.device_count()
    if limits.gpus == 0 or (limits.gpus is None and not gpus):
        return len(os.sched_getaffinity(0))
    refuse_too_few(limits, [gpus])
    return limits.slots(gpus)


def embedded(slots: int) -> Client:
    """A client of a cluster inside this process with so many slots.

    The cluster needs no communication port (its comms are in-process); its HTTP servers listen on
    the loopback interface only. Closing the client's cluster ends it.
    """
    endings.silence()
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
