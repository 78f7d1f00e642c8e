"""The vocabulary of the coordinator: its settings, events and instructions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from spot_dask.early_stopping import Rule
from spot_dask.records import Entry, Objective, Outcome, Status, Trial


@dataclass(frozen=True)
class Retries:
    """How often a trial is attempted again, by the status its attempts ended with.

    Each kind of end has a budget of its own: a machine that is taken away says nothing about the
    training. A trial that ran out of memory is tried again alone on its worker.
    """

    lost: int = 3
    memory: int = 1
    timeout: int = 0
    crashed: int = 0
    failed: int = 0

    def __post_init__(self) -> None:
        for item in fields(self):
            if getattr(self, item.name) < 0:
                raise ValueError(f"retries: {item.name} is {getattr(self, item.name)}; expected 0+")

    def of(self, status: Status) -> int:
        """The budget of an end with this status."""
        return int(getattr(self, status.value, 0))


@dataclass(frozen=True)
class Policy:
    """How a run is conducted.

    ``evaluations`` counts all evaluations of the study, failed ones and those of earlier
    sessions included; ``seconds`` is the wall time left for this session. ``batch`` is the batch
    size q: at most q trials are proposed together, and ``sync`` runs wait for all of a batch
    before the next (None: as many as there are free slots). ``ahead`` lets trials be proposed
    before a slot is free for them. ``objective`` is looked for in what trainings report, and
    ``early_stopping`` may stop one because of it (None: never). An attempt not heard of for
    ``silence`` seconds is given up. A session that adds ``give_up`` failures to a run in which no
    training worked is stopped.
    """

    evaluations: int | None = None
    seconds: float | None = None
    batch: int | None = None
    sync: bool = False
    ahead: bool = True
    retries: Retries = field(default_factory=Retries)
    silence: float = math.inf
    give_up: int = 10
    objective: Objective = field(default_factory=lambda: Objective("loss"))
    early_stopping: Rule | None = None

    def __post_init__(self) -> None:
        for name in ("evaluations", "batch", "give_up"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; expected at least 1")
        if self.seconds is not None and not self.seconds >= 0:
            raise ValueError(f"seconds is {self.seconds}; expected a non-negative number")
        if not self.silence > 0:
            raise ValueError(f"silence is {self.silence}; expected seconds, more than 0")


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
