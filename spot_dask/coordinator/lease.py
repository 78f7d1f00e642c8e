"""What the coordinator waits for: attempts that run, and proposals."""

from __future__ import annotations

import math
from dataclasses import dataclass

from spot_dask.records import Trial


@dataclass(frozen=True)
class Lease:
    """An attempt that runs on a worker since a moment in seconds.

    ``epoch`` is the latest one it has reported (0: none yet) and ``value`` the latest objective
    (minimised; NaN while it has reported none). ``stopping``: it was told to end early.
    """

    trial: Trial
    attempt: int
    worker: str
    since: float
    epoch: int = 0
    value: float = math.nan
    stopping: bool = False


@dataclass(frozen=True)
class Question:
    """A proposal that is awaited: of q trials, from so many evaluations, since (seconds)."""

    q: int
    known: int
    since: float
