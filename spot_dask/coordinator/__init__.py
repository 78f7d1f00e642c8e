"""The coordinator: a state machine that decides what happens next in a run.

Events go in, instructions come out; both are defined here, with the settings. The state machine
does no I/O and has no clock (every event is handled at a ``now`` given in seconds), so that the
same code runs against a real cluster, a simulated one and a scripted test. Whoever drives it may
hand in several events, a ``Tick`` as the last of them, before the instructions are carried out: all
of their ``Commit`` at once and first, then the others in order. Therefore an entry is durable
before anything that follows from it, and a trial is in the journal before it is dispatched.

``Propose`` is about the history at that moment and may be answered much later; other events are
handled meanwhile, and there is one proposal at a time. What it was computed from is recorded with
its trials, so that a journal tells all that is needed to compute them again.

A trial may be attempted several times, but one attempt at a time counts. An attempt that was given
up keeps its slot until its end is known, and if it succeeds before a later one its result counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from spot_dask.early_stopping import Rule
from spot_dask.records import Configuration, Entry, Objective, Outcome, Stage, Status, Trial
from spot_dask.space import Space


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

    ``evaluations`` limits the evaluations of all sessions, failed ones included; ``seconds`` the
    wall time of this session; ``epochs`` those of all trainings, of which each has ``each`` (0: not
    known). At most ``batch`` trials are proposed together (None: as many as
    there are free slots), and a ``sync`` run waits for all of a batch before the next. ``ahead``
    lets trials be proposed before a slot is free for them. ``early_stopping`` may stop trainings by
    the ``objective`` that they report (None: never), but for the share ``spare``, drawn by chance;
    it sees the configurations as rows of the ``space``, and curves as ``Ruler`` makes them with the
    parameter ``length``. An attempt is given up when nothing was heard
    of it for ``silence`` seconds. The search has done ``enough`` where the tuner said so before. A
    session is stopped after ``give_up`` failures if no training of
    the run has ever worked. Raises ValueError where a number is out of range.
    """

    evaluations: int | None = None
    seconds: float | None = None
    epochs: int | None = None
    each: int = 0
    batch: int | None = None
    sync: bool = False
    ahead: bool = True
    retries: Retries = field(default_factory=Retries)
    silence: float = math.inf
    give_up: int = 10
    objective: Objective = field(default_factory=lambda: Objective("loss"))
    early_stopping: Rule | None = None
    spare: float = 0.0
    space: Space | None = None
    length: str | None = None
    confirm: float | None = 0.0
    only: Stage | None = None
    enough: bool = False

    def __post_init__(self) -> None:
        for name in ("evaluations", "epochs", "batch", "give_up"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; expected at least 1")
        if self.seconds is not None and not self.seconds >= 0:
            raise ValueError(f"seconds is {self.seconds}; expected a non-negative number")
        if not self.silence > 0:
            raise ValueError(f"silence is {self.silence}; expected seconds, more than 0")


@dataclass(frozen=True)
class Lease:
    """An attempt that runs on a worker, since a moment in seconds.

    ``epoch`` is the last one it has reported (0: none yet) and ``value`` the last objective
    (minimised; NaN: none yet). ``stopping``: it was told to end early.
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
    """New trials, in answer to ``Propose``; none, and why, where the search has done ``enough``."""

    trials: tuple[Trial, ...]
    enough: str | None = None


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
class Paused:
    """Begin no training, though what runs goes on; or, where it is not ``on``, go on as before."""

    on: bool


@dataclass(frozen=True)
class Wished:
    """The configurations that somebody wants to be tried next, all there are by now."""

    configs: tuple[Configuration, ...]


@dataclass(frozen=True)
class Ranged:
    """The tuner searches other ranges from now on; ``space`` holds what it has searched, too."""

    space: Space


@dataclass(frozen=True)
class Tick:
    """All events so far are handled: propose if there is room."""


Event = (
    Joined
    | Left
    | Attached
    | Beat
    | Reported
    | Finished
    | Proposed
    | Drain
    | Halt
    | Detach
    | Paused
    | Wished
    | Ranged
    | Tick
)


@dataclass(frozen=True)
class Propose:
    """Ask the tuner for q trials of a stage (None: the search), given the present history."""

    q: int
    stage: Stage | None = None


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
