"""The seam between the journal and where its objects are kept.

A backend is chosen by the address of a store: a path, or ``s3://bucket/run.zarr`` and the like.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from spot_dask.errors import StoreError

ROOT = "zarr.json"
"""The head of a run: what is no run yet, or no more, has none."""

WRITER = "log/.writer"
"""Where the sign of life of a run's writer is kept; no part of the Zarr hierarchy."""


MOST_BYTES = 2**27
"""What an object may have, packed or unpacked: a hostile one must not fill the memory."""

STALE_SECONDS = 3600.0
"""After so long what a crashed writer has left behind is removed."""


@dataclass(frozen=True)
class Noted:
    """The last record that a writer has noted as acknowledged; -1 if nothing is known.

    It is ``certain`` where the note was made in this very store, and what it notes is on disk. Else
    it is a hint: in a copy, made while the run was written, it may be ahead of the records.
    """

    head: int = -1
    certain: bool = False


class Lock(Protocol):
    """A writer's sign of life, held until it is released or its process dies. Advisory only."""

    @property
    def noted(self) -> Noted:
        """What an earlier writer had noted when the lock was taken."""
        ...

    def note(self, head: int) -> None:
        """Note the last acknowledged record, so that its removal by hand can be noticed."""
        ...

    def release(self) -> None: ...


class Backend(Protocol):
    """Objects of one run, by keys with slashes; each is created once, whole or not at all.

    Every method raises StoreError in one line where the storage fails.
    """

    where: str
    """The address, as a user would type it."""

    def seen(self) -> str:
        """What a user would see there: "nothing", "a directory" and so on."""
        ...

    def get(self, key: str) -> bytes | None:
        """The object's bytes, None if there is no such object."""
        ...

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """``get`` of every key; they need not have been read at one moment."""
        ...

    def names(self, key: str) -> list[str]:
        """Names directly below a key, without hidden ones."""
        ...

    def put_new(self, key: str, data: bytes) -> bool:
        """Create the object durably; False, and nothing changed, if there is another one.

        After a StoreError the object may have been created all the same: see ``settle``.
        """
        ...

    def put_any(self, key: str, data: bytes) -> None:
        """Create or replace an object; for hints only, which can be derived again."""
        ...

    def discard(self, key: str) -> None:
        """Remove an object, if it is there; never one of the journal."""
        ...

    def put_all(self, objects: Iterable[tuple[str, bytes]]) -> None:
        """Create or replace objects that nobody reads yet: all durable at the end, not before."""
        ...

    def remove_tree(self, key: str) -> None:
        """Remove all below a key, unless another writer could then still complete what is there."""
        ...

    def settle(self, key: str) -> None:
        """Make an existing object durable whose creation was reported as failed."""
        ...

    def sweep(self, key: str) -> None:
        """Remove what crashed writers left below a key more than an hour ago."""
        ...

    def create(self, objects: Iterable[tuple[str, bytes]]) -> Lock:
        """Put a complete run where there is nothing, locked; the last object is its head.

        Raises StoreError if there is anything, also if another writer comes first.
        """
        ...

    def lock(self, *, takeover: bool) -> Lock:
        """Sign as the writer; raises StoreError if there is another, unless taking over."""
        ...

    def is_held(self) -> bool:
        """Whether a writer is alive, as far as can be seen from here."""
        ...

    def noted(self) -> Noted:
        """What a writer has noted last."""
        ...

    def require_same(self, keys: Sequence[str]) -> None:
        """Raise StoreGone unless this is the run that was locked, and these objects are there.

        It may look only now and then where looking takes long.
        """
        ...


def refuse_existing(backend: Backend) -> None:
    """Raise StoreError where there is anything already."""
    seen = backend.seen()
    if seen != "nothing":
        raise StoreError(
            f"{backend.where} is already there ({seen}): a new run needs a path of its own, "
            f"`spot-dask resume {backend.where}` continues a run"
        )
