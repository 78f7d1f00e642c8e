"""How a run is conducted: the settings of a coordinator."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields

from spot_dask.early_stopping import Rule
from spot_dask.records import Objective, Status


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
