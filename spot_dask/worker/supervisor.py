"""The worker's side of a trial: run it in a process of its own and say how it ended.

``run_trial`` is what a Dask worker executes. It blocks on a pipe and holds no GIL meanwhile, so the
worker's heartbeats go on. The processes die with this one, however it ends; processes that a
training has started itself are killed with it where this process lives on.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import sys
import time
from collections.abc import Callable

from distributed import Worker, WorkerPlugin, secede

import spot_dask
from spot_dask.codec import JSON, outcome_to_json
from spot_dask.records import Failure, Outcome, Status
from spot_dask.worker.context import Curves
from spot_dask.worker.heartbeat import Attempt, Heartbeat, parcels
from spot_dask.worker.limits import Conditions
from spot_dask.worker.slots import Pool
from spot_dask.worker.training_main import failure
from spot_dask.worker.training_process import Request, crashed

logger = logging.getLogger(__name__)

DRAINING = "drain-worker"
"""What a worker that leaves tells on the topic of the cluster's membership."""

Keep = Callable[[int, int, JSON], object]
"""Remembers trial number, attempt and outcome where a later coordinator finds them."""


def run_trial(
    task: bytes,
    trial_json: str,
    attempt: int,
    run: str = "",
    conditions: Conditions | None = None,
    keep: Keep | None = None,
) -> JSON:
    """Run one trial of a pickled task; its outcome as JSON. Never raises an Exception.

    ``run`` names the run it belongs to, whose trials can be stopped together; ``keep`` is told
    trial number, attempt and outcome before anyone else, so that no result is lost with a
    coordinator. The outcome is CRASHED where the training's
    process died, could not be started or was stopped.
    """
    started = time.time()
    try:
        request = Request(task, json.loads(trial_json), attempt, run, conditions or Conditions())
        with _heartbeat.of(run, request.attempt_key):
            reports = parcels(run, request.attempt_key)
            outcome = _pool.run(request, reports.add)
            reports.flush()
    except Exception as error:  # a Dask task that raises would be Dask's to judge
        logger.exception("the supervisor of a training failed")
        return outcome_to_json(crashed(failure(error), started, Curves()))
    try:
        if keep is not None:
            keep(*request.attempt_key, outcome)
    except Exception:
        logger.exception("the outcome of a training could not be kept")
    return outcome


def going_on(run: str) -> list[Attempt]:
    """The attempts of the run that are trained here now."""
    return _pool.going_on(run)


def await_end(run: str, attempt: Attempt) -> JSON:
    """The outcome of an attempt that is trained here, or was a moment ago; waits for its end.

    Executed by a Dask worker, one slot of which the training has already.
    """
    with contextlib.suppress(ValueError):  # called outside of a Dask task
        secede()
    outcome = _pool.await_end(run, attempt)
    if outcome is None:
        error = Failure("Forgotten", "the worker does not know the training any more")
        return outcome_to_json(Outcome(Status.LOST, error=error))
    return outcome


def stop(run: str) -> int:
    """Kill the run's trainings that go on now, with all their processes; how many there were."""
    return _pool.stop(run, lambda attempt: True)


def stop_attempt(run: str, attempt: Attempt) -> int:
    """Kill the training of one attempt; how many there were."""
    return _pool.stop(run, lambda other: other == attempt)


def stop_early(run: str, attempt: Attempt) -> None:
    """Have the training of one attempt end with what it has reported so far."""
    _pool.stop_early(run, attempt)


class EndTrainings(WorkerPlugin):  # type: ignore[misc]
    """When its worker closes, nobody waits for its trainings any more."""

    name = "spot-dask-end-trainings"

    def teardown(self, worker: Worker) -> None:
        close()


async def prepare(dask_worker: Worker) -> None:
    """Have a worker, also a plain ``dask worker``, end its trainings when it closes.

    Dask would let them go on for a while, though it has told the scheduler that they are gone.
    From now on it also tells which attempts wait there behind what others train.
    """
    _heartbeat.watch(dask_worker)
    if EndTrainings.name not in dask_worker.plugins:
        await dask_worker.plugin_add(EndTrainings(), EndTrainings.name)


def close() -> None:
    """Kill the trainings that run now and end the warm processes that wait for work."""
    _pool.close()


def version() -> str:
    """The version of spot-dask that is installed here, and that of Python.

    Pickled functions, such as those of a study's file, hold bytecode: that of one minor version.
    """
    return f"{spot_dask.__version__} on Python {sys.version_info.major}.{sys.version_info.minor}"


_heartbeat = Heartbeat()
_pool = Pool()
_inherited: list[Pool] = []


def _after_fork() -> None:
    """A forked process must not talk to its parent's children, nor wait for them."""
    global _heartbeat, _pool
    _inherited.append(_pool)
    _heartbeat, _pool = Heartbeat(), Pool()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(close)
