"""Saving what is intact of a damaged run into a new one; the damaged one is only read."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from spot_dask.errors import StoreCorrupt
from spot_dask.fold import Fold
from spot_dask.records import Asked, Entry, Header, Retried, Told, Trial
from spot_dask.store.backend import Backend, backend_at
from spot_dask.store.chain import numbers, read_entry, read_root
from spot_dask.store.entries import separated
from spot_dask.store.journal import Journal
from spot_dask.store.verify import intact_links
from spot_dask.store.zarr_format import chunk_key, decode_chunk, dump, load, parse_root

Dated = tuple[float, Entry]
_NO_ENTRY = (ValueError, KeyError, TypeError, AttributeError)


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
    for seq in range(max([*numbers(backend), backend.noted_head()]) + 1):
        if seq not in links:
            saved.losses.append(f"{chunk_key(seq)} is missing or damaged: dropped")
            continue
        for body in separated(links[seq].body):
            try:
                entry = read_entry(backend, body)
            except _NO_ENTRY as error:
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
    except _NO_ENTRY:
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
        fold.add(entry)
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
