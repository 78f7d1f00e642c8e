"""The evaluation store: an append-only journal of everything that happened in a run.

An entry is durable when ``commit`` returns, and only then may anyone act on it. Replaying the
entries gives the history, so resuming a run is replaying it and going on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from spot_dask.records import Asked, Closed, Entry, Imported, Opened, Outcome, Retried, Told

__all__ = [
    "Asked",
    "Closed",
    "Entry",
    "Header",
    "Imported",
    "Opened",
    "Record",
    "Retried",
    "Store",
    "Told",
]


@dataclass(frozen=True)
class Header:
    """What a store says about its run; written once, at creation.

    ``space`` is ``Space.to_json()`` and ``settings`` the resolved configuration of the study;
    ``study`` tells how to load it again (file, name, overrides, source text); ``created`` is in
    seconds since the epoch (UTC).
    """

    run_id: str
    name: str
    created: float
    space: dict[str, Any]
    space_hash: str
    objective: str
    direction: str
    settings: dict[str, Any] = field(default_factory=dict)
    study: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Record:
    """An entry as it stands in the journal: position, epoch of its writer, time of writing.

    Entries that were committed at once have all three in common.
    """

    seq: int
    epoch: int
    time: float
    entry: Entry


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
