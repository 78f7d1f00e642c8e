"""The evaluation store: an append-only journal of everything that happened in a run.

An entry is durable when ``commit`` returns, and only then may anyone act on it. Replaying the
entries gives the history, so resuming a run is replaying it and going on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from spot_dask.records import Entry, Header, Outcome, Record


class Store(Protocol):
    """Where entries are kept. Reading needs no lock; writing is for one coordinator at a time."""

    header: Header

    def commit(self, entries: Sequence[Entry]) -> list[Record]:
        """Make the entries durable at once, all or none, then return them as recorded.

        Raises RunTakenOver if another coordinator has opened the store since, and StoreError if
        they could not be written; in both cases nothing is acknowledged.
        """
        ...

    def records(self) -> list[Record]:
        """All entries in order, every byte checked; raises StoreCorrupt naming what is wrong."""
        ...

    def left(self, number: int, attempt: int) -> Outcome | None:
        """What a training has left in the store for who has not heard of its end."""
        ...

    @property
    def stop_requested(self) -> bool:
        """Whether somebody has asked this coordinator, through the store, to stop."""
        ...

    def close(self) -> None:
        """Release the store; does not write."""
        ...
