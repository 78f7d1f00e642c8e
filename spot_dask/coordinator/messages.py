"""What the coordinator is told (events) and what it asks for (instructions)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from spot_dask.records import Entry, Outcome, Trial


@dataclass(frozen=True)
class Joined:
    """A worker on a host offers ``slots`` slots; one that is known has changed their number."""

    worker: str
    slots: int
    host: str = ""


@dataclass(frozen=True)
class Left:
    """A worker is gone, and with it every attempt that ran there."""

    worker: str


@dataclass(frozen=True)
class Attached:
    """An attempt that an earlier coordinator started still runs, or has a result to fetch."""

    number: int
    attempt: int
    worker: str


@dataclass(frozen=True)
class Beat:
    """A worker is alive, and these attempts (number, attempt) of our run go on there."""

    worker: str
    attempts: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Reported:
    """A running attempt has finished an epoch (counted from 1) with these metrics.

    Reports may get lost; the outcome of an attempt holds the whole curves.
    """

    number: int
    attempt: int
    epoch: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Finished:
    """An attempt at a trial ended; status LOST means through no fault of the training."""

    number: int
    attempt: int
    outcome: Outcome


@dataclass(frozen=True)
class Proposed:
    """New trials, in answer to ``Propose``."""

    trials: tuple[Trial, ...]


@dataclass(frozen=True)
class Drain:
    """Propose and start nothing more; finish what runs, then stop.

    What still runs after ``grace`` seconds is killed and stays pending.
    """

    reason: str
    grace: float = math.inf


@dataclass(frozen=True)
class Halt:
    """Stop at once; what runs is killed and stays pending for the next session."""

    reason: str


@dataclass(frozen=True)
class Detach:
    """Stop at once; what runs goes on, and the next session attaches to it."""

    reason: str


@dataclass(frozen=True)
class Tick:
    """All events so far are handled: propose if there is room."""


Event = (
    Joined | Left | Attached | Beat | Reported | Finished | Proposed | Drain | Halt | Detach | Tick
)


@dataclass(frozen=True)
class Propose:
    """Ask the tuner for q trials, given the coordinator's present history."""

    q: int


@dataclass(frozen=True)
class Commit:
    """Make this entry durable in the store."""

    entry: Entry


@dataclass(frozen=True)
class Start:
    """Start an attempt at a trial on a worker."""

    trial: Trial
    attempt: int
    worker: str


@dataclass(frozen=True)
class Stop:
    """Stop an attempt that does not count any more, if its worker can still be reached."""

    number: int
    attempt: int
    worker: str


@dataclass(frozen=True)
class StopEarly:
    """Have an attempt end now; what it has reported so far counts, as status STOPPED."""

    number: int
    attempt: int
    worker: str


@dataclass(frozen=True)
class Kill:
    """Stop every running training."""


@dataclass(frozen=True)
class Say:
    """Let the user know."""

    message: str


@dataclass(frozen=True)
class Finish:
    """The run is over; the reasons are listed at ``Coordinator``."""

    reason: str


Instruction = Propose | Commit | Start | Stop | StopEarly | Kill | Say | Finish
