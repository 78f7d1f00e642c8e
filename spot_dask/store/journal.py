"""The journal: one immutable Zarr chunk per record, chained by checksums, fenced by epochs.

Commit: record ``seq`` is created, never replaced; of two coordinators only one can create it.
Fence: who opens the journal for writing takes the next free ``seq`` with an ``open`` record of a
higher epoch. An older coordinator finds its next ``seq`` taken, and stops. No clock is involved.
Chain: every record holds the checksum of the one before it, the first one that of the header.

No record is ever deleted: a coordinator that was paused meanwhile could create it anew. For the
same reason records are not merged into larger objects, also not those of a run that has ended.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from spot_dask import clock
from spot_dask.codec import dump, entry_to_json, joined
from spot_dask.errors import RunTakenOver, StoreCorrupt, StoreError
from spot_dask.fold import Fold
from spot_dask.records import Entry, Evaluation, Header, Opened, Outcome, Record, Told, Wish
from spot_dask.settings import Durability
from spot_dask.store.backend import backend_at
from spot_dask.store.chain import (
    VERSION,
    Tail,
    length,
    read_root,
    require_head,
    scan,
    short,
    tables_ahead,
    tabulated_head,
)
from spot_dask.store.curves import CURVES, SideArray, detach
from spot_dask.store.inbox import key_of, left, outcome_of
from spot_dask.store.layout import (
    BLOCK,
    LOG,
    Root,
    checksum,
    chunk_key,
    encode_chunk,
    header_attributes,
    log_blocks,
    log_document,
    parse_root,
    root_document,
)
from spot_dask.store.lock import utc
from spot_dask.store.objects import ROOT, Backend, Lock
from spot_dask.store.wishes import RANGES, grant, is_paused, wishes

logger = logging.getLogger(__name__)

_STOP = "log/.stop"


@dataclass(frozen=True)
class _Commit:
    """A record on its way into the journal; the uuid in ``data`` tells it from any other's."""

    entries: Sequence[Entry]
    body: dict[str, Any]
    seq: int
    epoch: int
    time: float
    data: bytes
    sides: Sequence[SideArray]

    @property
    def key(self) -> str:
        return chunk_key(self.seq)

    @property
    def tail(self) -> Tail:
        """The end of the chain once this record is in."""
        return Tail(self.seq + 1, checksum(self.data), self.epoch)

    @property
    def records(self) -> list[Record]:
        return [Record(self.seq, self.epoch, self.time, entry) for entry in self.entries]


class Journal:
    """A Store in a directory that any Zarr v3 reader can open.

    Made by ``create``, ``open`` (for reading) or ``resume``; of use to one thread at a time.
    ``fold``, if there is one, is the sum of the records before ``tail``: what was read so far, and
    what was written since.
    """

    def __init__(
        self,
        directory: Backend,
        root: Root,
        lock: Lock | None,
        blocks: int,
        fold: Fold | None = None,
    ) -> None:
        self.header: Header = root.header
        self.fold = fold
        self._backend = directory
        self._lock = lock
        self.start = Tail(0, root.checksum, 0)
        """The end of the chain before its first record."""
        self.tail = self.start
        self._epoch = 0
        self._blocks = blocks
        self._doubtful: _Commit | None = None
        self._newer = not root.writable
        self.gone = False
        """Whether the store was found to be another one than that which was opened for writing."""

    @classmethod
    def create(
        cls,
        path: str | Path,
        header: Header,
        *,
        durability: Durability = "fsync",
        past: Iterable[tuple[float, Entry]] = (),
        fold: Fold | None = None,
    ) -> Journal:
        """Start a run; raises StoreError if there is anything at ``path``.

        ``past`` holds entries that it begins with, each with the time of its recording; ``fold``,
        an empty one, is kept up to date with what is written.
        """
        directory, document = backend_at(path, durability), root_document(header)
        journal = cls(directory, parse_root(document, directory.where), None, 1, fold)
        records = journal._drafted([(clock.now(), _opened({})), *past])
        last = journal.tail.seq - 1
        journal._blocks = last // BLOCK + 1
        head = {LOG: log_document(journal._blocks)}
        journal._lock = directory.create({**head, **records, ROOT: document}.items())
        journal._lock.note(last)
        return journal

    def _drafted(self, past: Iterable[tuple[float, Entry]]) -> dict[str, bytes]:
        """The objects of the records of a run that is not there yet, in the order of writing."""
        objects: dict[str, bytes] = {}
        for then, entry in past:
            self._epoch += isinstance(entry, Opened)
            commit = self._prepare([entry], then)
            for side in commit.sides:
                objects |= side.objects
            objects[commit.key] = commit.data
            self._advance(commit.records, commit.tail)
        return objects

    @classmethod
    def open(cls, path: str | Path) -> Journal:
        """Read a run, whoever may be writing it; raises StoreError if there is none."""
        directory = backend_at(path, "process")
        root = read_root(directory)
        if not root.writable:
            logger.warning("%s; it is opened for reading only", _newer(path, root))
        return cls(directory, root, None, log_blocks(directory.get(LOG)), Fold())

    @classmethod
    def resume(
        cls,
        path: str | Path,
        *,
        settings: Mapping[str, Any] | None = None,
        takeover: bool = False,
        durability: Durability = "fsync",
        before: Journal | None = None,
    ) -> Journal:
        """Go on writing a run; ``settings`` is what this session changes.

        ``before`` is the run as it was opened for reading: what was read of it is not read again,
        and its fold goes on here, as a copy.

        Raises StoreError if another coordinator is writing it, unless ``takeover``: then that one
        gets RunTakenOver at its next append.
        """
        directory = backend_at(path, durability)
        root = read_root(directory)
        if not root.writable:
            raise StoreError(
                f"{_newer(path, root)}; it can be read, upgrade spot-dask to resume it"
            )
        lock = directory.lock(takeover=takeover)
        try:
            journal = cls(directory, root, lock, log_blocks(directory.get(LOG)))
            if before is not None and before.fold is not None:
                journal.fold, journal.tail = before.fold.copy(), before.tail
            for part in ("log", CURVES):
                directory.sweep(part)
            journal._take_over(dict(settings or {}), told=before is not None)
        except BaseException:
            lock.release()
            raise
        return journal

    def append(self, entry: Entry) -> Record:
        """Commit one entry."""
        (record,) = self.commit([entry])
        return record

    def commit(self, entries: Sequence[Entry]) -> list[Record]:
        """Make the entries durable as one record, all or none, then return them as recorded.

        Raises RunTakenOver or StoreError, and then nothing is acknowledged; after a StoreError the
        same entries may be committed again, they are recorded once.
        """
        if self._lock is None:
            raise StoreError(f"{self._backend.where} is not open for writing: resume the run first")
        commit = self._recorded(entries)
        for entry in entries:
            if isinstance(entry, Told):
                self._discard(entry.evaluation)
        return commit.records

    def take_in(self) -> list[Evaluation]:
        """Record what trainings have left in the inbox for trials that are pending still."""
        fold = Fold.of(self.records()) if self.fold is None else self.fold
        pending = fold.history.pending
        taken = []
        for evaluation in left(self._backend, self.header.run_id, pending):
            self.append(Told(evaluation))
            taken.append(evaluation)
        return taken

    def left(self, number: int, attempt: int) -> Outcome | None:
        """What this attempt has left in the inbox, if anything."""
        return outcome_of(self._backend, self.header.run_id, number, attempt)

    def records(self) -> list[Record]:
        """All entries in order, every byte checked; raises StoreCorrupt naming what is wrong."""
        records = [record for records, _ in self.follow(self.start) for record in records]
        self._require_first(len(records))
        return records

    def read(self, end: int | None = None) -> None:
        """Have ``fold`` and ``tail`` take in the new records, before ``end`` if that is given.

        Raises StoreCorrupt naming what is wrong.
        """
        for records, tail in self.follow(self.tail):
            if end is not None and tail.seq > end:
                break
            self._advance(records, tail)

    def follow(self, tail: Tail) -> Iterator[tuple[list[Record], Tail]]:
        """The commits from ``tail`` on, checked, each with the end of the chain after it."""
        return scan(self._backend, tail, newer=self._newer)

    def reaches(self, tail: Tail) -> bool:
        """Whether ``tail`` is, or was, the end of this journal's chain."""
        data = self._backend.get(chunk_key(tail.seq - 1))
        return data is not None and len(data) >= 4 and checksum(data) == tail.checksum

    def count(self) -> int:
        """The number of records there are now; looks at names only."""
        count = length(self._backend)
        self._require_first(count)
        return count

    def short(self) -> str:
        """A line on what is known to be missing at the end, as in a copy; empty if nothing is."""
        # First: whoever writes the run notes a record when it is there.
        head = max(self._backend.noted().head, tabulated_head(self._backend))
        return short(self._backend.where, head, length(self._backend))

    @property
    def backend(self) -> Backend:
        """Where the run is kept."""
        return self._backend

    @property
    def being_written(self) -> bool:
        """Whether a coordinator has the run open for writing now, as far as can be seen here."""
        return self._backend.is_held()

    @property
    def stop_requested(self) -> bool:
        """Whether somebody has asked this coordinator to stop; a request to an earlier one is none.

        The request is advice, as the lock is: a file beside the records, replaced by the next.
        Raises StoreGone where the run is not there any more.
        """
        self._require_same()
        data = self._backend.get(_STOP)
        return data is not None and data == _stop_request(self._epoch)

    def request_stop(self) -> None:
        """Ask the coordinator that writes the run now, wherever it runs, to stop."""
        self.read()
        self._backend.put_any(_STOP, _stop_request(self.tail.epoch))

    @property
    def paused(self) -> bool:
        """Whether somebody wants no training to begin, in this session or a later one."""
        return is_paused(self._backend)

    def wishes(self) -> list[Wish]:
        """What somebody wants to be tried, the oldest first."""
        return wishes(self._backend, self.header.run_id)

    def range_wishes(self) -> list[Wish]:
        """What somebody wants to be searched from now on, the oldest first."""
        return wishes(self._backend, self.header.run_id, RANGES)

    def grant(self, wish: Wish) -> None:
        """Remove a wish whose configuration is in the journal; the next session does it else."""
        with contextlib.suppress(StoreError):
            grant(self._backend, wish)

    def close(self) -> None:
        """Release the run for other coordinators; does not write."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    # ------------------------------------------------------------ writing

    def _take_over(self, settings: dict[str, Any], told: bool) -> None:
        """Fence off every earlier writer with an ``open`` record of a higher epoch.

        What a copy lacks is a warning, unless the user was ``told`` before.
        """
        assert self._lock is not None
        self.read()
        self._require_first(self.tail.seq)
        noted, ahead = self._lock.noted, tables_ahead(self._backend, self.tail.seq)
        require_head(noted, self.tail.seq)
        head = max(noted.head, tabulated_head(self._backend))
        if (lacks := short(self._backend.where, head, self.tail.seq)) and not told:
            logger.warning("%s", lacks)
        while True:
            self._epoch = self.tail.epoch + 1
            if self._put(self._prepare([_opened(settings)])):
                break
            self.read()
        for key in ahead:  # they would be taken for tables of the records to come
            self._backend.remove_tree(key)

    def _require_same(self) -> None:
        """Raise StoreGone unless the run is there still, with its last record."""
        try:
            self._backend.require_same([LOG, chunk_key(self.tail.seq - 1)])
        except StoreError:
            self.gone = self._lock is not None
            raise

    def _recorded(self, entries: Sequence[Entry]) -> _Commit:
        self._require_same()
        commit = self._prepare(entries)
        landed = self._landed()
        if landed is not None and landed.body == commit.body:
            return landed
        if landed is not None:
            commit = self._prepare(entries)
        if not self._put(commit):
            self._refuse(commit)
        return commit

    def _discard(self, evaluation: Evaluation) -> None:
        """The journal has it, so the inbox need not; if it stays there, the next session sees."""
        with contextlib.suppress(StoreError):
            self._backend.discard(key_of(evaluation.trial.number, evaluation.attempt))

    def _prepare(self, entries: Sequence[Entry], now: float | None = None) -> _Commit:
        """The next record, encoded."""
        tail, epoch, now = self.tail, self._epoch, clock.now() if now is None else now
        bodies = [entry_to_json(entry) for entry in entries]
        slim = [detach(each, len(bodies)) for each in bodies]
        raw = {
            "v": VERSION,
            "seq": tail.seq,
            "epoch": epoch,
            "commit": uuid.uuid4().hex,
            "prev_crc": tail.checksum,
            "ts": now,
            **joined([each for each, _ in slim]),
        }
        if tail.seq == 0:  # a second copy, in case the first is damaged
            raw["header"] = header_attributes(self.header)
        sides = [side for _, side in slim if side is not None]
        return _Commit(
            entries, joined(bodies), tail.seq, epoch, now, encode_chunk(dump(raw)), sides
        )

    def _put(self, commit: _Commit) -> bool:
        """Create the record; False if another one is there."""
        self._grow(commit.seq // BLOCK + 1)
        for side in commit.sides:
            for key, data in side.objects.items():
                self._ensure(key, data)
        self._doubtful = commit
        created = self._backend.put_new(commit.key, commit.data) or self._settled(commit)
        self._doubtful = None
        if created:
            self._arrive(commit)
        return created

    def _advance(self, records: Sequence[Record], tail: Tail) -> None:
        self.tail = tail
        if self.fold is not None:
            for record in records:
                self.fold.take(record)

    def _arrive(self, commit: _Commit) -> None:
        self._advance(commit.records, commit.tail)
        if self._lock is not None:
            self._lock.note(commit.seq)

    def _landed(self) -> _Commit | None:
        """The record of a failed append, if it is in the journal after all."""
        commit = self._doubtful
        if commit is None or not self._settled(commit):
            self._doubtful = None
            return None
        self._doubtful = None
        self._arrive(commit)
        return commit

    def _settled(self, commit: _Commit) -> bool:
        """Whether the record is ours (its acknowledgement was lost); it is durable then."""
        if self._backend.get(commit.key) != commit.data:
            return False
        self._backend.settle(commit.key)
        return True

    def _ensure(self, key: str, data: bytes) -> None:
        """Have an object whose name tells its content, whoever has created it."""
        if not self._backend.put_new(key, data):
            if self._backend.get(key) != data:
                raise StoreCorrupt(f"{key} of {self._backend.where} is not what was written")
            self._backend.settle(key)

    def _grow(self, blocks: int) -> None:
        """Let other readers see a new block; never shrinks what a later coordinator has grown."""
        if blocks <= self._blocks:
            return
        known = log_blocks(self._backend.get(LOG))
        if known < blocks:
            self._backend.put_any(LOG, log_document(blocks))
        self._blocks = max(known, blocks)

    def _refuse(self, commit: _Commit) -> NoReturn:
        """Our next record is another's: tell who took over."""
        who = "another coordinator"
        for (record, *_), _ in self.follow(self.tail):
            if isinstance(record.entry, Opened):
                who = f"process {record.entry.pid} on {record.entry.host}"
            who += f" at {utc(record.time)}"
            break
        raise RunTakenOver(
            f"{self._backend.where} was taken over by {who}: this coordinator must stop, its "
            f"record {commit.seq} was not written"
        )

    def _require_first(self, count: int) -> None:
        """A run has its first record from creation on."""
        if count == 0:
            raise StoreCorrupt(f"{chunk_key(0)} of {self._backend.where} is missing")


def _stop_request(epoch: int) -> bytes:
    return json.dumps({"stop_epoch": epoch}).encode()


def _newer(path: str | Path, root: Root) -> str:
    return "{} was written by a newer spot-dask (schema {}.{})".format(path, *root.schema)


def _opened(settings: dict[str, Any]) -> Opened:
    return Opened(socket.gethostname(), os.getpid(), settings)
