"""A copy of a run as it is at one moment, also of one that is being written.

What ``cp -r`` makes of a living run can be resumed, too, but may lack what came while it was made.
This one is checked record by record, has a table of all of them, and appears at once or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from spot_dask.buckets import is_address
from spot_dask.errors import StoreError
from spot_dask.records import widened
from spot_dask.store import tables
from spot_dask.store.backend import backend_at
from spot_dask.store.curves import CURVES, GROUP, chunk_of, metadata_of
from spot_dask.store.inbox import INBOX
from spot_dask.store.journal import Journal
from spot_dask.store.layout import BLOCK, LOG, chunk_key, log_document
from spot_dask.store.objects import ROOT, Backend
from spot_dask.store.wishes import PAUSE, RANGES, WISHES

BESIDE = (INBOX, WISHES, RANGES)
"""What is kept beside the records: results nobody has heard of, and what people ask of the run."""


@dataclass(frozen=True)
class Backup:
    """What was copied: records, evaluations among them."""

    records: int
    evaluations: int


def backup(path: str | Path, target: str | Path) -> Backup:
    """Copy the run at ``path``, whoever writes it, to ``target``; either may be in a bucket.

    The copy is the same run, and can be resumed. Raises StoreError if there is something at
    ``target``, StoreCorrupt if anything is damaged.
    """
    journal, new = Journal.open(path), backend_at(target, "fsync")
    if _is_within(new.where, journal.backend.where):
        raise StoreError(f"{target} is inside {path}: give the copy a place of its own")
    end = journal.count()
    journal.read(end)
    assert journal.fold is not None
    lock = new.create(_objects(journal.backend, end))
    try:
        lock.note(end - 1)
        fold, header = journal.fold, widened(journal.header, journal.fold.settings)
        tables.publish(new, header, fold.rows, journal.tail)
    finally:
        lock.release()
    return Backup(end, fold.told)


def _is_within(inner: str, outer: str) -> bool:
    """Whether a place is inside another one, both paths or both addresses."""
    if is_address(inner) or is_address(outer):
        return inner.startswith(f"{outer.rstrip('/')}/")
    return Path(inner).resolve().is_relative_to(Path(outer).resolve())


def _objects(backend: Backend, end: int) -> Iterator[tuple[str, bytes]]:
    """The objects of a run with ``end`` records, its head last."""
    yield LOG, log_document((end - 1) // BLOCK + 1)
    keys = [chunk_key(seq) for seq in range(end)]
    for name in sorted({*backend.names(CURVES)} - {GROUP.rpartition("/")[2]}):
        keys += [chunk_of(name), metadata_of(name)]
    for folder in BESIDE:
        keys += [f"{folder}/{name}" for name in backend.names(folder)]
    for key in (*keys, GROUP, PAUSE, ROOT):
        data = backend.get(key)
        if data is not None:  # it may be gone by now: a result that was taken in, a wish granted
            yield key, data
