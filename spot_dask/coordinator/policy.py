"""How a run is conducted: the settings of a coordinator."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Policy:
    """How a run is conducted.

    ``evaluations`` counts all evaluations of the study, failed ones and those of earlier
    sessions included; ``seconds`` is the wall time left for this session. ``batch`` is the batch
    size q: at most q trials are proposed together, and ``sync`` runs wait for all of a batch
    before the next (None: as many as there are free slots). ``ahead`` lets trials be proposed
    before a slot is free for them. A trial whose worker is lost is attempted ``attempts`` times; a
    session that adds ``give_up`` failures to a run without any success is stopped.
    """

    evaluations: int | None = None
    seconds: float | None = None
    batch: int | None = None
    sync: bool = False
    ahead: bool = True
    attempts: int = 3
    give_up: int = 10

    def __post_init__(self) -> None:
        for name in ("evaluations", "batch", "attempts", "give_up"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; expected at least 1")
        if self.seconds is not None and not self.seconds >= 0:
            raise ValueError(f"seconds is {self.seconds}; expected a non-negative number")
