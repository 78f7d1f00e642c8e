"""The journal as a chain: every object checked by itself and against the one before it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import index
from typing import Any

from spot_dask.codec import UnknownKind, entry_from_json, load, number_from_json, separated
from spot_dask.errors import StoreCorrupt, StoreError
from spot_dask.records import Entry, Record
from spot_dask.store.curves import attach
from spot_dask.store.layout import (
    BLOCK,
    CHUNKS,
    TABLES,
    Root,
    block_key,
    checksum,
    chunk_key,
    decode_chunk,
    parse_root,
)
from spot_dask.store.objects import ROOT, Backend, Noted

VERSION = 1
MOST_TOLD = 100
AHEAD = 64
"""Records read in one go, so that those of an object store arrive together."""
NO_ENTRY = (ValueError, KeyError, TypeError, AttributeError)
"""What is raised where JSON is not what it should be."""

_PLACE = ("v", "seq", "epoch", "prev_crc")


@dataclass(frozen=True)
class Tail:
    """The end of the chain: the next record's number, the last one's checksum and epoch."""

    seq: int
    checksum: int
    epoch: int


@dataclass(frozen=True)
class Link:
    """What one object of the log says, checked by itself: its place in the chain and its body."""

    key: str
    seq: int
    epoch: int
    previous: int
    checksum: int
    time: float
    body: dict[str, Any]

    @property
    def tail(self) -> Tail:
        """The end of the chain where this is its last object."""
        return Tail(self.seq + 1, self.checksum, self.epoch)

    def follow(self, tail: Tail) -> Tail:
        """The end of the chain after this object; raises StoreCorrupt if it does not follow."""
        if self.seq != tail.seq:
            raise StoreCorrupt(f"{self.key} holds record {self.seq} instead of its own")
        if self.previous != tail.checksum:
            raise StoreCorrupt(
                f"{self.key} does not follow the record before it: one of them was replaced"
            )
        if self.epoch < tail.epoch or (self.epoch > tail.epoch) != (self.body["kind"] == "open"):
            raise StoreCorrupt(
                f"{self.key} was written in epoch {self.epoch}, when {tail.epoch} was open"
            )
        return self.tail


def read_root(backend: Backend) -> Root:
    """The head of a run; StoreError where there is no run, StoreCorrupt where it lacks its head."""
    seen = backend.seen()
    there = seen in ("a directory", "a prefix with objects")
    data = backend.get(ROOT) if there else None
    if data is None and there and backend.get(chunk_key(0)) is not None:
        raise StoreCorrupt(f"{ROOT} of {backend.where} is missing, its records are there")
    if data is None:
        raise StoreError(
            f"no run at {backend.where}: there is {seen}, expected the store of a spot-dask run "
            f"with its {ROOT}"
        )
    return parse_root(data, backend.where)


def read_link(key: str, data: bytes) -> Link:
    """Check an object of the log by itself; raises StoreCorrupt."""
    try:
        raw = load(decode_chunk(data))
        version, seq, epoch, previous = map(index, (raw[name] for name in _PLACE))
        body = {"kind": raw["kind"], "items": list(raw["items"])}
        then = number_from_json(raw["ts"])
        link = Link(key, seq, epoch, previous, checksum(data), then, body)
    except NO_ENTRY as error:
        raise StoreCorrupt(f"{key} is damaged: {error}") from error
    if version != VERSION:
        raise StoreCorrupt(f"{key} is a record of version {version}, expected {VERSION}")
    return link


def scan(
    backend: Backend, tail: Tail, *, newer: bool = False
) -> Iterator[tuple[list[Record], Tail]]:
    """The commits from ``tail`` on: the records of each, and the end of the chain after it.

    Raises StoreCorrupt at the first that is damaged, missing or out of place. In a run of a
    ``newer`` minor version entries of a kind that is not known here are left out.
    """
    for data in _objects(backend, tail.seq):
        link = read_link(chunk_key(tail.seq), data)
        records = read_records(backend, link, newer=newer)
        tail = link.follow(tail)
        yield records, tail


def tabulated_head(backend: Backend) -> int:
    """The last record of which a table was made, by the tables' names; -1 if there is none."""
    return max((through for _, through in _tables(backend)), default=0) - 1


def tables_ahead(backend: Backend, end: int) -> list[str]:
    """The keys of tables of more records than the ``end`` that there are."""
    return [f"{TABLES}/{name}" for name, through in _tables(backend) if through > end]


def _tables(backend: Backend) -> Iterator[tuple[str, int]]:
    """The tables by their names, and of how many records each is."""
    for name in backend.names(TABLES):
        if name.startswith("g") and name[1:].isascii() and name[1:].isdigit():
            yield name, int(name[1:])


def require_head(noted: Noted, end: int) -> None:
    """Raise StoreCorrupt if the journal surely lacks a record that had been acknowledged there.

    ``end`` is the number of its records.
    """
    if noted.certain and noted.head >= end:
        raise StoreCorrupt(
            f"{chunk_key(end)} is missing: record {noted.head} had been acknowledged, the journal "
            f"ends with {end - 1}"
        )


def short(where: str, head: int, end: int) -> str:
    """A line on what a copy lacks whose journal has ``end`` records; empty if it lacks nothing.

    ``head`` is the last record that is spoken of there.
    """
    if head < end:
        return ""
    lost = f"record {head}, which is" if head == end else f"records {end} to {head}, which are"
    return (
        f"{where} ends with record {end - 1} and lacks {lost} noted there, as a copy does that was "
        "made while the run was written; what is there is whole, and the run can go on from it"
    )


def read_records(backend: Backend, link: Link, *, newer: bool = False) -> list[Record]:
    """What was committed at once; raises StoreCorrupt where one of the entries is none."""
    try:
        entries = [read_entry(backend, body, newer=newer) for body in separated(link.body)]
    except NO_ENTRY as error:
        raise StoreCorrupt(f"{link.key} is damaged: {error}") from error
    return [Record(link.seq, link.epoch, link.time, e) for e in entries if e is not None]


def read_entry(backend: Backend, body: dict[str, Any], *, newer: bool = False) -> Entry | None:
    """An entry; raises ValueError, KeyError, TypeError or AttributeError where it is none."""
    try:
        return entry_from_json(attach(body, backend.get))
    except UnknownKind:
        if newer:
            return None
        raise


def _objects(backend: Backend, seq: int) -> Iterator[bytes]:
    """The objects from record ``seq`` on, read in batches of twice the size each."""
    size = 1
    while True:
        for data in backend.get_many([chunk_key(seq + i) for i in range(size)]):
            if data is None:
                break
            yield data
            seq += 1
        else:
            size = min(2 * size, AHEAD)
            continue
        # The end, or a record that came while the ones after it were read.
        late = next_object(backend, seq)
        if late is None:
            return
        yield late
        seq += 1


def next_object(backend: Backend, seq: int) -> bytes | None:
    """Record ``seq``, None at the end; raises StoreCorrupt if later ones exist without it."""
    data = backend.get(chunk_key(seq))
    if data is None and max(numbers(backend), default=-1) >= seq:
        # Created in order: if a later one was there, this one is, unless it was removed.
        data = backend.get(chunk_key(seq))
        if data is None:
            raise StoreCorrupt(f"{chunk_key(seq)} is missing, but there are later records")
    return data


def numbers(backend: Backend) -> Iterator[int]:
    """The numbers of all objects of the log; raises StoreCorrupt at the end for what is none."""
    strange: StoreCorrupt | None = None
    for block in backend.names(CHUNKS):
        try:
            number = _number(CHUNKS, block)
        except StoreCorrupt as error:
            strange = error
            continue
        key = block_key(number)
        for name in backend.names(key):
            try:
                yield number * BLOCK + _number(key, name, BLOCK)
            except StoreCorrupt as error:
                strange = error
    if strange is not None:
        raise strange


def gaps(present: Iterable[int], end: int, what: str = "missing") -> Iterator[str]:
    """What is missing of records 0 .. ``end`` - 1, one line each; of a long gap the first ones."""
    following = 0
    for seq in (*sorted({n for n in present if n < end}), end):
        for lost in range(following, min(seq, following + MOST_TOLD)):
            yield f"{chunk_key(lost)} is {what}"
        if seq > following + MOST_TOLD:
            yield f"all records from {following} to {seq - 1} are {what}"
        following = seq + 1


def length(backend: Backend) -> int:
    """The number of records; looks at the names of the blocks and of the last one's objects."""
    block = max((_number(CHUNKS, name) for name in backend.names(CHUNKS)), default=0)
    key = block_key(block)
    last = max((_number(key, name, BLOCK) for name in backend.names(key)), default=-1)
    return block * BLOCK + last + 1


def _number(parent: str, name: str, end: int | None = None) -> int:
    """The number an object is named by."""
    if name.isascii() and name.isdigit() and str(int(name)) == name:
        number = int(name)
        if end is None or number < end:
            return number
    raise StoreCorrupt(f"{parent}/{name} is no record: remove it if it came here by mistake")
