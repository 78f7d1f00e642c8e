"""The outcome of an attempt from its Dask task."""

from __future__ import annotations

import asyncio

from distributed import Future
from distributed.scheduler import KilledWorker, NoValidWorkerError, NoWorkerError

from spot_dask.codec import outcome_from_json
from spot_dask.executors.process import UNFIT
from spot_dask.records import Failure, Outcome, Status

DASKS_OWN = (KilledWorker, NoValidWorkerError, NoWorkerError)
"""What the scheduler raises in a task's name."""

GATHER_SECONDS = 60.0
"""How long a finished training's (small) result may take to arrive."""

FORGOTTEN = Outcome(
    Status.LOST, error=Failure("Cancelled", "the scheduler does not know the task any more")
)


def fetch(future: Future) -> Outcome:
    """The outcome a finished task returned; LOST where Dask has none to give.

    The supervisor of a training never raises. So what a task has raised is due to its worker,
    which could not even unpickle the call: then the error's type is ``UNFIT``.
    """
    try:
        return outcome_from_json(future.result(timeout=GATHER_SECONDS))
    except DASKS_OWN as error:
        return _lost(type(error).__name__, error)
    except (Exception, asyncio.CancelledError) as error:
        if future.status == "error":
            cause = error.__cause__ or error
            return _lost(UNFIT, cause, f"{type(cause).__name__}: ")
        return _lost(type(error).__name__, error)  # the worker died with the result


def _lost(kind: str, error: BaseException, before: str = "") -> Outcome:
    message = str(error).strip() or "no message"
    return Outcome(Status.LOST, error=Failure(kind, before + message.splitlines()[0]))
