"""The outcome of an attempt from its Dask task."""

from __future__ import annotations

import asyncio

from distributed import Future

from spot_dask.codec import outcome_from_json
from spot_dask.records import Failure, Outcome, Status

GATHER_SECONDS = 60.0
"""How long a finished training's (small) result may take to arrive."""

FORGOTTEN = Outcome(
    Status.LOST, error=Failure("Cancelled", "the scheduler does not know the task any more")
)


def fetch(future: Future) -> Outcome:
    """The outcome a finished task returned; LOST where Dask has none to give."""
    try:
        return outcome_from_json(future.result(timeout=GATHER_SECONDS))
    except (Exception, asyncio.CancelledError) as error:  # the worker died with the result
        return _lost(error)


def _lost(error: BaseException) -> Outcome:
    message = str(error).strip() or "no message"
    failure = Failure(type(error).__name__, message.splitlines()[0])
    return Outcome(Status.LOST, error=failure)
