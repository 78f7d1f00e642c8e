"""What Dask calls on a worker: run a trial, stop it, tell what goes on.

``run_trial`` blocks on a pipe and holds no GIL meanwhile, so the worker's heartbeats go on. The
processes of trainings die with this one, however it ends; processes that a training has started
itself are killed with it where this process lives on.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
from collections.abc import Callable

from distributed import Worker, WorkerPlugin, secede

import spot_dask
from spot_dask import clock
from spot_dask.errors import ClusterError, StoreError
from spot_dask.records import Failure, Outcome, Status, Trial
from spot_dask.secrets import without_secrets
from spot_dask.worker.context import ReportedCurves
from spot_dask.worker.heartbeat import Heartbeat, Parcels, Report, dask_worker, topic
from spot_dask.worker.limits import Conditions
from spot_dask.worker.pipe import Attempt, TrainingRequest
from spot_dask.worker.slots import Slots
from spot_dask.worker.training_main import failure
from spot_dask.worker.training_process import crashed

logger = logging.getLogger(__name__)

DRAINING = "drain-worker"
"""What a worker that leaves tells on the topic of the cluster's membership."""

Keep = Callable[[int, int, Outcome], object]
"""Remembers trial number, attempt and outcome where a later coordinator finds them."""


def run_trial(
    task: bytes,
    trial: Trial,
    attempt: int,
    run: str = "",
    conditions: Conditions | None = None,
    keep: Keep | None = None,
) -> Outcome:
    """Run one trial of a pickled task; whatever the training does, its outcome.

    ``run`` names the run it belongs to, whose trials can be stopped together. ``keep`` is told
    the outcome before anyone else, so that it is not lost with a coordinator. The outcome is
    CRASHED where the training's process died, could not be started or was stopped.
    """
    started = clock.now()
    request = TrainingRequest(task, trial, attempt, run, conditions or Conditions())
    worker = dask_worker()
    if worker is not None:
        _heartbeat.watch(worker, run)

    def tell(reports: list[Report]) -> None:
        if worker is not None:
            worker.log_event(topic(run), {"attempt": request.key, "reports": reports})

    parcels = Parcels(tell)
    try:
        outcome = without_secrets(_slots.run(request, parcels.add))
        parcels.flush()
    except (OSError, ClusterError) as error:
        logger.exception("a training could not be started")
        return crashed(failure(error), started, ReportedCurves())
    try:
        if keep is not None:
            keep(*request.key, outcome)
    except (OSError, StoreError):
        logger.exception("the outcome of a training could not be kept")
    return outcome


def going_on(run: str) -> list[Attempt]:
    """The attempts of the run that are trained here now."""
    return _slots.going_on(run)


def await_end(run: str, attempt: Attempt) -> Outcome:
    """The outcome of an attempt that is trained here, or was a moment ago; waits for its end.

    Executed by a Dask worker, one slot of which the training has already.
    """
    with contextlib.suppress(ValueError):  # called outside of a Dask task
        secede()
    forgotten = Failure("Forgotten", "the worker does not know the training any more")
    return _slots.await_end(run, attempt) or Outcome(Status.LOST, error=forgotten)


def stop(run: str, attempt: Attempt | None = None) -> int:
    """Kill the run's trainings, or the one of an attempt, with all their processes; how many."""
    return _slots.stop(run, attempt)


def stop_early(run: str, attempt: Attempt) -> None:
    """Have the training of one attempt end with what it has reported so far."""
    _slots.stop_early(run, attempt)


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
    _slots.close()


def version() -> str:
    """The version of spot-dask that is installed here, and that of Python.

    Pickled functions, such as those of a study's file, hold bytecode: that of one minor version.
    """
    return f"{spot_dask.__version__} on Python {sys.version_info.major}.{sys.version_info.minor}"


_heartbeat = Heartbeat()
_slots = Slots()
_inherited: list[Slots] = []


def _after_fork() -> None:
    """A forked process must not talk to its parent's children, nor wait for them."""
    global _heartbeat, _slots
    _inherited.append(_slots)
    _heartbeat, _slots = Heartbeat(), Slots()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(close)
