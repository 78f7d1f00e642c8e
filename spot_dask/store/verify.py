"""Checking every byte of a run, and saving what is intact of a damaged one.

Reading a run stops at the first thing that is wrong; this goes on and tells all of it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from spot_dask.codec import dump, load, separated
from spot_dask.errors import StoreCorrupt
from spot_dask.fold import Fold
from spot_dask.records import Asked, Entry, Header, Retried, Told, Trial, widened
from spot_dask.settings import Settings
from spot_dask.store import curves, tables
from spot_dask.store.backend import backend_at
from spot_dask.store.chain import (
    NO_ENTRY,
    Link,
    Tail,
    gaps,
    numbers,
    read_entry,
    read_link,
    read_records,
    read_root,
    short,
    tabulated_head,
)
from spot_dask.store.inbox import INBOX, read_item
from spot_dask.store.journal import Journal
from spot_dask.store.layout import LOG, chunk_key, decode_chunk, log_blocks, parse_root
from spot_dask.store.objects import Backend
from spot_dask.store.table import unfit
from spot_dask.store.wishes import RANGES, WISHES, read_wish


@dataclass(frozen=True)
class Verification:
    """What was checked (``size`` in bytes), and what is wrong, one line each.

    ``short`` is a line on what a copy lacks that was made while the run was written: no damage.
    """

    records: int
    objects: int
    size: int
    problems: tuple[str, ...]
    short: str = ""


def verify(path: str | Path) -> Verification:
    """Check every object of the run at ``path``; raises StoreError if there is no run."""
    check = _Check(backend_at(path, "process"))
    check.root()
    check.log()
    check.meaning()
    check.curves()
    check.inbox()
    check.wishes()
    check.tables()
    problems = tuple(check.problems)
    return Verification(check.records, check.objects, check.size, problems, check.short)


@dataclass
class _Check:
    """The check so far. ``tail`` is None where the record before is missing or damaged."""

    backend: Backend
    tail: Tail | None = None
    journal: Journal | None = None
    newer: bool = False
    short: str = ""
    copied: int | None = None
    objects: int = 0
    size: int = 0
    records: int = 0
    fold: Fold = field(default_factory=Fold)
    problems: list[str] = field(default_factory=list)

    def root(self) -> None:
        with self._noted():
            self.objects += 1
            root = read_root(self.backend)
            self.tail = Tail(0, root.checksum, 0)
            self.newer = not root.writable
            self.journal = Journal(self.backend, root, None, blocks=1)

    def log(self) -> None:
        with self._noted():
            log_blocks(self._get(LOG))
        present: set[int] = set()
        with self._noted():
            for seq in numbers(self.backend):
                present.add(seq)
        noted, end = self.backend.noted(), max(present, default=-1) + 1
        head = max(noted.head, tabulated_head(self.backend))
        if noted.certain or not present:
            self.problems.extend(gaps(present, max(noted.head + 1, end, 1)))
        else:
            self.problems.extend(gaps(present, end))
            self.short = short(self.backend.where, head, end)
            self.copied = end if noted.head >= 0 or self.short else None
        for seq in sorted(present):
            if seq - 1 not in present:
                self.tail = self.tail if seq == 0 else None
            with self._noted():
                self._record(seq)

    def _record(self, seq: int) -> None:
        before, self.tail = self.tail, None
        data = self._get(chunk_key(seq))
        if data is None:
            raise StoreCorrupt(f"{chunk_key(seq)} is missing")
        link = read_link(chunk_key(seq), data)
        self.tail = link.tail
        # After a gap nothing is known of the record before, but the place is.
        link.follow(before or Tail(seq, link.previous, link.epoch - (link.body["kind"] == "open")))
        records = read_records(self.backend, link, newer=self.newer)
        self.records += 1
        for record in () if self.problems else records:
            self.fold.take(record)

    def meaning(self) -> None:
        """Whether what is intact as bytes can be: header, settings, configurations."""
        if self.journal is not None:
            header, fold = self.journal.header, Fold() if self.problems else self.fold
            self.problems.extend(unfit(widened(header, fold.settings), fold))
            try:
                Settings(**Settings.restored({**header.settings, **fold.settings}))
            except ValueError as error:
                self.problems.append(f"the run's settings: {error}")

    def curves(self) -> None:
        names = [name for name in self.backend.names(curves.CURVES) if name != "zarr.json"]
        if names and self._get(curves.GROUP) != curves.GROUP_DOCUMENT:
            self.problems.append(f"{curves.GROUP} is missing or damaged")
        for name in names:
            with self._noted():
                length = len(curves.decode(name, self._get(curves.chunk_of(name))))
                if self._get(curves.metadata_of(name)) != curves.metadata(length):
                    raise StoreCorrupt(f"{curves.metadata_of(name)} is missing or damaged")

    def inbox(self) -> None:
        for name in self.backend.names(INBOX):
            with self._noted():
                read_item(f"{INBOX}/{name}", self._get(f"{INBOX}/{name}") or b"")

    def wishes(self) -> None:
        for folder in (WISHES, RANGES):
            for name in self.backend.names(folder):
                key = f"{folder}/{name}"
                with self._noted():
                    read_wish(key, self._get(key) or b"", "")

    def tables(self) -> None:
        if self.journal is not None:
            with self._noted():
                rows = None if self.problems else self.fold.rows
                header = widened(self.journal.header, self.fold.settings)
                found = tables.problems(self.journal, rows, header, self.copied)
                self.problems.extend(found)

    def _get(self, key: str) -> bytes | None:
        data = self.backend.get(key)
        if data is not None:
            self.objects += 1
            self.size += len(data)
        return data

    @contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except (StoreCorrupt, ValueError) as error:
            self.problems.append(str(error))


def intact_links(backend: Backend) -> Iterator[Link]:
    """The records that are whole and in their place, and that no neighbour speaks against.

    A record names the one before it, so one that was replaced by a record of another run fits
    neither side. Where a neighbour is missing there is nobody to speak against it.
    """
    links: dict[int, Link] = {}
    for seq in sorted(numbers(backend)):
        try:
            link = read_link(chunk_key(seq), backend.get(chunk_key(seq)) or b"")
        except StoreCorrupt:
            continue
        if link.seq == seq:
            links[seq] = link
    for against in (2, 1):
        fits = {(a, a + 1): links[a + 1].previous == links[a].checksum
                for a in links if a + 1 in links}  # fmt: skip
        for seq in list(links):
            said = [fits[pair] for pair in ((seq - 1, seq), (seq, seq + 1)) if pair in fits]
            if len(said) >= against and not any(said):
                del links[seq]
    yield from links.values()


Dated = tuple[float, Entry]


@dataclass
class Salvaged:
    """What was saved: how many records, and line by line what was not, or not as it was."""

    kept: int = 0
    losses: list[str] = field(default_factory=list)


def salvage(path: str | Path, target: str | Path) -> Salvaged:
    """Write the intact records of the run at ``path`` to a new run at ``target``.

    Raises StoreError if there is something at ``target``, StoreCorrupt if nothing can be saved.
    """
    backend, saved = backend_at(path, "process"), Salvaged()
    header = _header(backend, saved)
    past = list(_consistent(_entries(backend, saved), saved))
    saved.kept = len(past)
    numbered = list(_renumbered(past, saved))
    study = {**header.study, "salvaged_from": backend.where}
    # A run of its own: its trials may have other numbers than those of the damaged one.
    header = replace(header, run_id=uuid.uuid4().hex, study=study)
    Journal.create(target, header, past=numbered).close()
    return saved


def _header(backend: Backend, saved: Salvaged) -> Header:
    """The header, or its copy in the first record."""
    try:
        return read_root(backend).header
    except StoreCorrupt as error:
        saved.losses.append(f"{error}; its copy in the first record is used")
        data = backend.get(chunk_key(0)) or b""
        try:
            attributes = load(decode_chunk(data))["header"]
            document = {"zarr_format": 3, "node_type": "group"}
            document["attributes"] = {"spot_dask": attributes}
            return parse_root(dump(document).encode(), backend.where).header
        except (ValueError, KeyError, TypeError) as damage:
            raise StoreCorrupt(f"{error}; so is its copy in {chunk_key(0)}") from damage


def _entries(backend: Backend, saved: Salvaged) -> Iterator[Dated]:
    """What the intact records say, in their order."""
    links = {link.seq: link for link in intact_links(backend)}
    end = max([*numbers(backend), backend.noted().head]) + 1
    saved.losses += [f"{gap}: dropped" for gap in gaps(links, end, "missing or damaged")]
    for seq in sorted(links):
        for body in separated(links[seq].body):
            try:
                entry = read_entry(backend, body)
            except NO_ENTRY as error:
                entry = _without_curves(backend, body)
                kept = "dropped" if entry is None else "kept without curves"
                saved.losses.append(f"{chunk_key(seq)} is damaged: {error}: {kept}")
            if entry is not None:
                yield links[seq].time, entry


def _without_curves(backend: Backend, body: dict[str, Any]) -> Entry | None:
    """An entry whose curves cannot be read; None if more than these is wrong."""
    try:
        (item,) = body["items"]
        del item["outcome"]["curves_in"]
        return read_entry(backend, body)
    except NO_ENTRY:
        return None


def _consistent(entries: Iterable[Dated], saved: Salvaged) -> Iterator[Dated]:
    """Entries that a fold accepts: a result whose question was lost brings it along."""
    fold = Fold()
    for time, entry in entries:
        match entry:
            case Told(evaluation) if not fold.knows(evaluation.trial.number):
                question = Asked((evaluation.trial,))
                fold.add(question)
                yield time, question
            case Retried(number) if not fold.knows(number):
                saved.losses.append(f"a retry of trial {number}, which is not known: dropped")
                continue
        try:
            fold.add(entry)
        except StoreCorrupt as error:
            saved.losses.append(f"{error}: dropped")
            continue
        yield time, entry


def _renumbered(past: list[Dated], saved: Salvaged) -> Iterator[Dated]:
    """Trials numbered from 0 without a gap, as those of every run."""
    known = {t.number for _, e in past if isinstance(e, Asked) for t in e.trials}
    new = {number: i for i, number in enumerate(sorted(known))}
    moved = [number for number in new if new[number] != number]
    if moved:
        saved.losses.append(f"trials {moved[0]} to {moved[-1]} have smaller numbers now")

    def renumber(trial: Trial) -> Trial:
        return replace(trial, number=new[trial.number])

    for time, entry in past:
        match entry:
            case Asked(trials):
                yield time, Asked(tuple(map(renumber, trials)))
            case Told(evaluation):
                yield time, Told(replace(evaluation, trial=renumber(evaluation.trial)))
            case Retried(number):
                yield time, replace(entry, number=new[number])
            case _:
                yield time, entry
