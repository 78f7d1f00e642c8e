"""The evaluation store: an append-only journal of everything that happened in a run.

An entry is durable when ``commit`` returns, and only then may anyone act on it. Replaying the
entries gives the history, so resuming a run is replaying it and going on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from spot_dask.records import Entry, Outcome, Record, Wish


class Store(Protocol):
    """Where a session keeps its entries; writing is for one coordinator at a time."""

    def commit(self, entries: Sequence[Entry]) -> list[Record]:
        """Make the entries durable at once, all or none, then return them as recorded.

        Raises RunTakenOver if another coordinator has opened the store since, and StoreError if
        they could not be written; in both cases nothing is acknowledged.
        """
        ...

    def left(self, number: int, attempt: int) -> Outcome | None:
        """The outcome that a training has left in the store, if it has; None if it has not."""
        ...

    @property
    def stop_requested(self) -> bool:
        """Whether somebody has asked this coordinator, through the store, to stop."""
        ...

    @property
    def paused(self) -> bool:
        """Whether somebody wants no training to begin."""
        ...

    def wishes(self) -> Sequence[Wish]:
        """What somebody wants to be tried, the oldest first."""
        ...

    def range_wishes(self) -> Sequence[Wish]:
        """What ranges somebody wants to be searched from now on, the oldest first."""
        ...

    def grant(self, wish: Wish) -> None:
        """The journal has this configuration now: the wish is no more."""
        ...
