"""The coordinator's side of where trials run; ``spot_dask.worker`` is the other side.

An executor turns the coordinator's instructions into running trainings and reports what
happens as events. It holds no policy: retries, refill and stopping are the coordinator's.
``service`` runs the scheduler and the workers that ``spot-dask`` starts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from spot_dask.coordinator import Event
from spot_dask.progress import ProgressPage
from spot_dask.records import Trial


class Executor(Protocol):
    """A place with slots in which trials run.

    ``concurrent`` tells that they run beside this process: it can propose meanwhile, and workers
    tell by heartbeats that they are alive.
    """

    @property
    def concurrent(self) -> bool: ...

    @property
    def page(self) -> ProgressPage | None:
        """Where others can see how the run stands; None if nowhere."""
        ...

    def now(self) -> float:
        """The executor's clock, in seconds since the epoch (UTC) or since the simulation began."""
        ...

    def start(self, trial: Trial, attempt: int, worker: str) -> None:
        """Start an attempt on a worker; returns at once."""
        ...

    def defer(self, work: Callable[[], Event]) -> None:
        """Have this done beside the trainings; what it returns is an event of a later ``wait``.

        Returns at once. What it raises is raised by that ``wait``.
        """
        ...

    def listen(self, hear: Callable[[Event], object]) -> None:
        """Have events heard at once that happen in the very thread that waits, during ``wait``."""
        ...

    def wait(self, seconds: float) -> list[Event]:
        """The events since the last call, in order; waits up to ``seconds`` for the first.

        Raises ClusterError when the cluster is gone for good.
        """
        ...

    def stop(self, number: int, attempt: int, worker: str) -> None:
        """Stop an attempt, if its worker can be reached; returns at once."""
        ...

    def stop_early(self, number: int, attempt: int, worker: str) -> None:
        """Have an attempt end at once, with all it has reported; returns at once."""
        ...

    def kill(self) -> None:
        """Stop every running training; their ends need not be reported any more."""
        ...

    def close(self) -> None:
        """Give everything back that this executor started."""
        ...
