"""The journal: one immutable Zarr chunk per record, chained by checksums, fenced by epochs.

Commit: record ``seq`` is created, never replaced; of two coordinators only one can create it.
Fence: who opens the journal for writing takes the next free ``seq`` with an ``open`` record of a
higher epoch. An older coordinator finds its next ``seq`` taken, and stops. No clock is involved.
Chain: every record holds the checksum of the one before it, the first one that of the header.

No record is ever deleted: a coordinator that was paused meanwhile could create it anew.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from spot_dask.errors import RunTakenOver, StoreCorrupt, StoreError
from spot_dask.records import Entry, Evaluation, Header, Opened, Outcome, Record, Told
from spot_dask.store.backend import Backend, Durability, Lock, backend_at
from spot_dask.store.chain import (
    VERSION,
    Tail,
    catch_up,
    length,
    next_object,
    read_root,
    require_head,
    scan,
    tabulated_head,
)
from spot_dask.store.curves import CURVES, SideArray, detach
from spot_dask.store.entries import entry_to_json, joined, separated
from spot_dask.store.inbox import key_of, left, outcome_of
from spot_dask.store.lock import utc
from spot_dask.store.replay import Reading
from spot_dask.store.zarr_format import (
    BLOCK,
    LOG,
    ROOT,
    Root,
    checksum,
    chunk_key,
    dump,
    encode_chunk,
    header_attributes,
    log_blocks,
    log_document,
    parse_root,
    root_document,
)

logger = logging.getLogger(__name__)

_STOP = "log/.stop"


@dataclass(frozen=True)
class _Commit:
    """A record on its way into the journal; the uuid in ``data`` tells it from any other's."""

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


class Journal:
    """A Store in a directory that any Zarr v3 reader can open.

    Made by ``create``, ``open`` (for reading) or ``resume``; of use to one thread at a time.
    """

    def __init__(self, directory: Backend, root: Root, lock: Lock | None, blocks: int) -> None:
        self.header: Header = root.header
        self._backend = directory
        self._lock = lock
        self._start = Tail(0, root.checksum, 0)
        self._tail = self._start
        self._epoch = 0
        self._blocks = blocks
        self._doubtful: _Commit | None = None
        self._newer = not root.writable

    @classmethod
    def create(
        cls,
        path: str | Path,
        header: Header,
        *,
        durability: Durability = "fsync",
        past: Iterable[tuple[float, Entry]] = (),
    ) -> Journal:
        """Start a run; raises StoreError if there is anything at ``path``.

        ``past`` holds entries that it begins with, each with the time of its recording.
        """
        directory, document = backend_at(path, durability), root_document(header)
        journal = cls(directory, parse_root(document, directory.where), None, blocks=1)
        records = journal._drafted([(time.time(), _opened({})), *past])
        last = journal._tail.seq - 1
        journal._blocks = last // BLOCK + 1
        head = {LOG: log_document(journal._blocks)}
        journal._lock = directory.create({**head, **records, ROOT: document})
        journal._lock.note(last)
        return journal

    def _drafted(self, past: Iterable[tuple[float, Entry]]) -> dict[str, bytes]:
        """The objects of the records of a run that is not there yet, in the order of writing."""
        objects: dict[str, bytes] = {}
        for then, entry in past:
            self._epoch += isinstance(entry, Opened)
            commit = self._prepare(entry_to_json(entry), then)
            for side in commit.sides:
                objects |= side.objects
            objects[commit.key] = commit.data
            self._tail = commit.tail
        return objects

    @classmethod
    def open(cls, path: str | Path) -> Journal:
        """Read a run, whoever may be writing it; raises StoreError if there is none."""
        directory = backend_at(path, "process")
        root = read_root(directory)
        if not root.writable:
            logger.warning("%s; it is opened for reading only", _newer(path, root))
        return cls(directory, root, None, log_blocks(directory.get(LOG)))

    @classmethod
    def resume(
        cls,
        path: str | Path,
        *,
        settings: Mapping[str, Any] | None = None,
        takeover: bool = False,
        durability: Durability = "fsync",
        after: Tail | None = None,
    ) -> Journal:
        """Go on writing a run; ``settings`` is what this session changes.

        What comes before ``after`` was checked already, and is not read again.

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
            journal._tail = journal._start if after is None else after
            for part in ("log", CURVES):
                directory.sweep(part)
            journal._require_first()
            journal._take_over(dict(settings or {}))
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
        commit = self._recorded(joined([entry_to_json(entry) for entry in entries]))
        for entry in entries:
            if isinstance(entry, Told):
                self._discard(entry.evaluation)
        return [Record(commit.seq, commit.epoch, commit.time, entry) for entry in entries]

    def take_in(self, reading: Reading | None = None) -> list[Evaluation]:
        """Record what trainings have left in the inbox for trials that are pending still.

        ``reading`` is what has been read of the run already.
        """
        pending = (reading or Reading(self._start)).on(self).history.pending
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
        self._require_first()
        return [record for records, _ in self.follow(self._start) for record in records]

    def follow(self, tail: Tail) -> Iterator[tuple[list[Record], Tail]]:
        """The commits from ``tail`` on, checked, each with the end of the chain after it."""
        return scan(self._backend, tail, newer=self._newer)

    def reaches(self, tail: Tail) -> bool:
        """Whether ``tail`` is, or was, the end of this journal's chain."""
        data = self._backend.get(chunk_key(tail.seq - 1))
        return data is not None and checksum(data) == tail.checksum

    def count(self) -> int:
        """The number of records there are now; looks at names only."""
        self._require_first()
        return length(self._backend)

    @property
    def start(self) -> Tail:
        """The end of the chain before its first record."""
        return self._start

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
        """
        data = self._backend.get(_STOP)
        return data is not None and data == _stop_request(self._epoch)

    def request_stop(self) -> None:
        """Ask the coordinator that writes the run now, wherever it runs, to stop."""
        epoch = self.records()[-1].epoch
        self._backend.put_any(_STOP, _stop_request(epoch))

    def close(self) -> None:
        """Release the run for other coordinators; does not write."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    # ------------------------------------------------------------ writing

    def _take_over(self, settings: dict[str, Any]) -> None:
        """Fence off every earlier writer with an ``open`` record of a higher epoch."""
        body = entry_to_json(_opened(settings))
        for _, tail in self.follow(self._tail):
            self._tail = tail
        noted = -1 if self._lock is None else self._lock.head
        require_head(self._tail, max(noted, tabulated_head(self._backend)))
        while True:
            self._epoch = self._tail.epoch + 1
            if self._put(self._prepare(body)):
                return
            self._tail = catch_up(self._backend, self._tail)

    def _recorded(self, body: dict[str, Any]) -> _Commit:
        landed = self._landed()
        if landed is not None and landed.body == body:
            return landed
        commit = self._prepare(body)
        if not self._put(commit):
            self._refuse(commit)
        return commit

    def _discard(self, evaluation: Evaluation) -> None:
        """The journal has it, so the inbox need not; if it stays there, the next session sees."""
        with contextlib.suppress(StoreError):
            self._backend.discard(key_of(evaluation.trial.number, evaluation.attempt))

    def _prepare(self, body: dict[str, Any], now: float | None = None) -> _Commit:
        """The next record, encoded."""
        tail, epoch, now = self._tail, self._epoch, time.time() if now is None else now
        bodies = separated(body)
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
        return _Commit(body, tail.seq, epoch, now, encode_chunk(dump(raw)), sides)

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

    def _arrive(self, commit: _Commit) -> None:
        self._tail = commit.tail
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
        for (record, *_), _ in self.follow(self._tail):
            if isinstance(record.entry, Opened):
                who = f"process {record.entry.pid} on {record.entry.host}"
            who += f" at {utc(record.time)}"
            break
        raise RunTakenOver(
            f"{self._backend.where} was taken over by {who}: this coordinator must stop, its "
            f"record {commit.seq} was not written"
        )

    def _require_first(self) -> None:
        """A run has its first record from creation on."""
        if next_object(self._backend, 0) is None:
            raise StoreCorrupt(f"{chunk_key(0)} of {self._backend.where} is missing")


def _stop_request(epoch: int) -> bytes:
    return json.dumps({"stop_epoch": epoch}).encode()


def _newer(path: str | Path, root: Root) -> str:
    return "{} was written by a newer spot-dask (schema {}.{})".format(path, *root.schema)


def _opened(settings: dict[str, Any]) -> Opened:
    return Opened(socket.gethostname(), os.getpid(), settings)
