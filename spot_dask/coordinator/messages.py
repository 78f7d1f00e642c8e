"""What the coordinator is told (events) and what it asks for (instructions)."""

from __future__ import annotations

from dataclasses import dataclass

from spot_dask.records import Entry, Outcome, Trial


@dataclass(frozen=True)
class Joined:
    """A worker offers ``slots`` slots; a worker known already has changed its number of slots."""

    worker: str
    slots: int


@dataclass(frozen=True)
class Left:
    """A worker is gone, and with it every attempt that ran there."""

    worker: str


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
    """Propose and start nothing more; finish what runs, then stop."""

    reason: str


@dataclass(frozen=True)
class Halt:
    """Stop at once; what runs is killed and stays pending for the next session."""

    reason: str


@dataclass(frozen=True)
class Tick:
    """All events so far are handled: propose if there is room."""


Event = Joined | Left | Finished | Proposed | Drain | Halt | Tick


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
class Kill:
    """Stop every running training."""


@dataclass(frozen=True)
class Finish:
    """The run is over; the reasons are listed at ``Coordinator``."""

    reason: str


Instruction = Propose | Commit | Start | Kill | Finish
