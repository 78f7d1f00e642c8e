"""The conditions under which a worker runs a training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from spot_dask.errors import did_you_mean
from spot_dask.executors.checkpoints import Place
from spot_dask.executors.limits import Limits

Isolation = Literal["warm", "process", "thread"]
"""Where a training runs: in a process that has run others, in a new one, in the worker's own."""


@dataclass(frozen=True)
class Conditions:
    """What a training may use, where it runs, and where its checkpoints are kept (None: nowhere).

    In a thread of its worker nothing can be taken from it: it cannot be stopped, except early at
    its next report, and its crash is that of the worker with all that runs there.
    """

    limits: Limits = field(default_factory=Limits)
    isolation: Isolation = "warm"
    place: Place | None = None

    def __post_init__(self) -> None:
        known = get_args(Isolation)
        if self.isolation not in known:
            raise ValueError(
                f"isolation is {self.isolation!r}; expected one of {', '.join(known)}"
                f"{did_you_mean(self.isolation, known)}"
            )
        if self.isolation == "thread" and (self.limits.seconds is not None or self.limits.gpus):
            what = "timeout" if self.limits.seconds is not None else "GPUs of its own"
            raise ValueError(
                f"a training in a thread of its worker can have no {what}; "
                "expected isolation 'warm' or 'process'"
            )
