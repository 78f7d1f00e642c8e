"""The tables of a run: columnar views of its journal, made anew at growing intervals.

::

    run.zarr/tables/zarr.json     group; its attribute ``latest`` names the newest generation
    run.zarr/tables/g<seq>/       a generation: the table of all records before ``seq``

A generation is written once, its group's metadata last, so that nobody ever sees half of it, and
it is a pure function of the records: the journal is the truth, and a table that is missing or
damaged is made again from it. Reading a run is reading its newest generation and the records since.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice, pairwise
from typing import Any

from spot_dask.errors import SpotDaskError, StoreCorrupt
from spot_dask.fold import Arrival
from spot_dask.records import Entry, Header, Outcome, Record, Told
from spot_dask.store.chain import Tail
from spot_dask.store.journal import Journal
from spot_dask.store.layout import TABLES, chunk_key
from spot_dask.store.objects import Backend
from spot_dask.store.table import Table, following, tabulate
from spot_dask.store.table_format import (
    array_document,
    arrays,
    assembled,
    chunk_keys,
    decode_chunk,
    encoded_chunks,
    group_document,
    parse_group,
    table_of,
)

logger = logging.getLogger(__name__)

GROUP = "zarr.json"

FEWEST_NEW = 1000
GROWTH = 0.25
PAUSE_SECONDS = 60.0
KEPT_SECONDS = 3600.0
"""How long a generation can still be read after a newer one was published."""

PART = 4096
"""Records that are held at once while they become rows of a table."""

_DAMAGE = (ValueError, KeyError, TypeError, StoreCorrupt)


@dataclass(frozen=True)
class Generation:
    """A published table: where it is, the end of the chain it covers, when it was published."""

    key: str
    through: Tail
    rows: int
    published: float
    metadata: dict[str, Any]


# ---------------------------------------------------------------- reading


def read(journal: Journal, end: int | None = None) -> Table:
    """The table of a run's records (before ``end``, if given), every byte of it checked.

    It is the newest table in the store, continued by the records that came since. Raises
    StoreCorrupt where one of those is damaged.
    """
    end = journal.count() if end is None else end
    found = _newest(journal, end)
    table, tail = found or (tabulate(journal.header, ()), journal.start)
    commits = journal.follow(tail)
    while tail.seq < end:
        fold = following(table)
        for records, tail in islice(commits, PART):
            for record in records:
                fold.take(record)
            if tail.seq >= end:
                break
        table = tabulate(journal.header, fold.rows, table)
    return table


def _newest(journal: Journal, end: int) -> tuple[Table, Tail] | None:
    """The newest intact table of records before ``end``, and the end of the chain it covers."""
    for generation in generations(journal.backend, journal.header):
        if generation.through.seq > end:
            continue  # published since
        if not journal.reaches(generation.through):
            logger.warning("%s is not a table of this journal; ignored", generation.key)
            continue
        try:
            table = load_table(journal.backend, generation.key, generation.metadata)
        except _DAMAGE as error:
            logger.warning("%s is damaged (%s); ignored", generation.key, error)
            continue
        return table, generation.through
    return None


def generations(backend: Backend, header: Header) -> Iterator[Generation]:
    """The published generations of a run, the newest first; damaged ones are left out."""
    for key in _keys(backend):
        try:
            generation = _generation(backend, key, header)
        except _DAMAGE as error:
            logger.warning("%s is damaged (%s); ignored", key, error)
            continue
        if generation is not None:
            yield generation


def problems(journal: Journal) -> Iterator[str]:
    """What is wrong with the published tables, one line each; looks at every byte of them."""
    backend = journal.backend
    for key in _keys(backend):
        try:
            generation = _generation(backend, key, journal.header)
            if generation is None:
                continue
            if not journal.reaches(generation.through):
                yield f"{key} does not belong to the journal"
            load_table(backend, key, generation.metadata)
            for name, document in generation.metadata.items():
                if backend.get(f"{key}/{name}/{GROUP}") != array_document(document):
                    yield f"{key}/{name}/{GROUP} is missing or damaged"
        except _DAMAGE as error:
            yield f"{key} is damaged: {error}"


def _keys(backend: Backend) -> list[str]:
    """Where there are generations, finished or not, the newest first."""
    names = (name for name in backend.names(TABLES) if name.startswith("g"))
    return [f"{TABLES}/{name}" for name in sorted(names, reverse=True)]


def _generation(backend: Backend, key: str, header: Header) -> Generation | None:
    """A generation, None if it was never finished; raises one of ``_DAMAGE``."""
    data = backend.get(f"{key}/{GROUP}")
    if data is None:
        return None
    attributes, metadata = parse_group(data)
    if attributes["run_id"] != header.run_id:
        raise ValueError(f"it is a table of run {attributes['run_id']}")
    through = Tail(**attributes["through"])
    return Generation(key, through, attributes["rows"], attributes["published"], metadata)


def load_table(backend: Backend, key: str, metadata: dict[str, Any]) -> Table:
    """The table below ``key``; raises ValueError naming the chunk that is missing or damaged."""
    keys = [f"{key}/{name}/{chunk}" for name in metadata for chunk in chunk_keys(metadata[name])]
    objects = dict(zip(keys, backend.get_many(keys), strict=True))
    found = {}
    for name, document in metadata.items():
        chunks = []
        for chunk in chunk_keys(document):
            where = f"{key}/{name}/{chunk}"
            data = objects[where]
            if data is None:
                raise ValueError(f"{where} is missing")
            try:
                chunks.append(decode_chunk(document, data))
            except (ValueError, RuntimeError) as error:
                raise ValueError(f"{where}: {error}") from error
        found[name] = document, assembled(document, chunks)
    return table_of(found)


# ---------------------------------------------------------------- writing


def publish(backend: Backend, header: Header, rows: Sequence[Arrival], through: Tail) -> None:
    """Write the table of all records up to ``through``, unless it is there; remove outdated ones.

    Raises StoreError; a reader then still has the tables from before.
    """
    key = f"{TABLES}/g{through.seq:010d}"
    # A table bears witness to its records: they must not be lost without it.
    backend.settle(chunk_key(through.seq - 1))
    if backend.get(f"{key}/{GROUP}") is None:
        table = tabulate(header, rows)
        attributes = {
            **about(header),
            "rows": len(table),
            "through": asdict(through),
            "published": time.time(),
        }
        write_table(backend, key, table, attributes)
    published = list(generations(backend, header))
    backend.put_any(f"{TABLES}/{GROUP}", _hint(published[0].key))
    _prune(backend, published)
    backend.sweep(TABLES)


def write_table(backend: Backend, key: str, table: Table, attributes: dict[str, Any]) -> None:
    """Write a table below ``key``, what makes it visible last."""
    prefix = f"{key}/" if key else ""
    metadata = {}

    def objects() -> Iterator[tuple[str, bytes]]:
        for name, document, values in arrays(table):
            metadata[name] = document
            yield f"{prefix}{name}/{GROUP}", array_document(document)
            chunks = encoded_chunks(document, values)
            for chunk, data in zip(chunk_keys(document), chunks, strict=True):
                yield f"{prefix}{name}/{chunk}", data

    backend.put_all(objects())
    backend.put_new(f"{prefix}{GROUP}", group_document(metadata, attributes))


def about(header: Header) -> dict[str, Any]:
    """What a table says about its run."""
    return {name: getattr(header, name) for name in ("run_id", "name", "objective", "direction")}


def _hint(key: str) -> bytes:
    """Metadata of the group of tables; what it says can be derived from their names."""
    latest = key.rpartition("/")[2]
    document = {"zarr_format": 3, "node_type": "group", "attributes": {"latest": latest}}
    return json.dumps(document, indent=1).encode()


def _prune(backend: Backend, published: Sequence[Generation]) -> None:
    """Remove the tables that nobody can still be reading.

    The newest two stay, and each older one for an hour after the one that follows it appeared.
    What is older than the newest one and was never finished goes, too: only a coordinator that was
    taken over could still be writing there, see ``Backend.remove_tree``.
    """
    kept = {generation.key for generation in published[:2]}
    for newer, older in pairwise(published):
        if time.time() - newer.published < KEPT_SECONDS:
            kept.add(older.key)
    for key in _keys(backend):
        if key < published[0].key and key not in kept:
            backend.remove_tree(key)


class Published:
    """A journal with a fold, as a Store that keeps the tables up to date.

    They are made in a thread of their own after the number of evaluations has grown by a quarter
    (at least by 1000, at most once a minute), and at the end. A table that cannot be written is a
    warning: nothing is lost by it.
    """

    def __init__(self, journal: Journal) -> None:
        assert journal.fold is not None
        self.header: Header = journal.header
        self.fold = journal.fold
        self._journal = journal
        newest = next(generations(journal.backend, journal.header), None)
        self._rows = 0 if newest is None else newest.rows
        self._new = 0
        self._began = time.monotonic()
        self._thread: threading.Thread | None = None
        self._failing = False

    def commit(self, entries: Sequence[Entry]) -> list[Record]:
        """As the journal does."""
        self._failing = True
        records = self._journal.commit(entries)
        self._failing = False
        self._new += sum(isinstance(entry, Told) for entry in entries)
        if self._due():
            self._start()
        return records

    def records(self) -> list[Record]:
        """As the journal does."""
        return self._journal.records()

    def left(self, number: int, attempt: int) -> Outcome | None:
        """As the journal says."""
        return self._journal.left(number, attempt)

    @property
    def stop_requested(self) -> bool:
        """As the journal says."""
        return self._journal.stop_requested

    def close(self) -> None:
        """Publish the last table, unless the journal cannot be written; leaves the journal open."""
        if self._thread is not None:
            self._thread.join()
        if not self._failing:
            self._publish(self.fold.rows, self._journal.tail)

    def _due(self) -> bool:
        return (
            self._new > max(FEWEST_NEW, GROWTH * self._rows)
            and time.monotonic() - self._began > PAUSE_SECONDS
            and (self._thread is None or not self._thread.is_alive())
        )

    def _start(self) -> None:
        self._rows, self._new, self._began = self._rows + self._new, 0, time.monotonic()
        found = (self.fold.rows, self._journal.tail)
        self._thread = threading.Thread(
            target=self._publish, args=found, name="spot-dask-tables", daemon=True
        )
        self._thread.start()

    def _publish(self, rows: Sequence[Arrival], through: Tail) -> None:
        try:
            publish(self._journal.backend, self.header, rows, through)
        except SpotDaskError as error:
            logger.warning("the tables of the run were not renewed: %s", error)
