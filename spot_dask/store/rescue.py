"""A run that lost its store while it was written, saved elsewhere as its coordinator knows it.

The coordinator holds the sum of the records, the fold, in memory. Entries that add up to the same
are written to a new store: trials, evaluations with their curves, settings, imports, and the time
that the sessions worked.
"""

from __future__ import annotations

import tempfile
import time
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

from spot_dask.errors import StoreError
from spot_dask.fold import Fold
from spot_dask.outputs import STORE
from spot_dask.records import Changed, Entry, Header, Opened, Told
from spot_dask.store.journal import Journal

RANGES = "ranges"
CLOSE_SECONDS = 1e-3
"""What may lie between records of a session beside the time that it worked."""


def rescued(header: Header, fold: Fold, store: Path | str, device: int | None) -> Path:
    """Save a run to a new store beside its old one, and tell where.

    Where that cannot be, or ``device``, that of the old one's directory, is there no more, it goes
    to the current directory or the one of temporary files. Raises StoreError where none will do.
    """
    header = replace(
        header, run_id=uuid.uuid4().hex, study={**header.study, "salvaged_from": str(store)}
    )
    stem = PurePath(store).name.removesuffix(STORE)
    name = f"{stem}-rescued-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}{STORE}"
    problem: StoreError | None = None
    for folder in _folders(store, device):
        try:
            Journal.create(folder / name, header, past=dated(fold)).close()
        except StoreError as error:
            problem = problem or error
            continue
        return folder / name
    raise problem or StoreError("there is no directory to write to")


def device_of(store: Path | str) -> int | None:
    """The device of a store's directory; None for a bucket, and where it is not to be seen."""
    with suppress(OSError):
        return None if isinstance(store, str) else store.absolute().parent.stat().st_dev
    return None


def _folders(store: Path | str, device: int | None) -> Iterator[Path]:
    """Where a run can be saved, the best place first."""
    if isinstance(store, Path) and device is not None and device_of(store) == device:
        yield store.absolute().parent
    with suppress(OSError):  # the current directory is gone, too
        yield Path.cwd()
    yield Path(tempfile.gettempdir())


def dated(fold: Fold) -> Iterator[tuple[float, Entry]]:
    """Entries with times, whose records add up to a fold.

    Between two evaluations the run worked for as long as the fold tells; if more time went by, a
    new session begins in between. A batch comes after as many evaluations as it was asked on.
    """
    rows = fold.arrivals
    now = rows[0].time - rows[0].elapsed if rows else fold.last or 0.0
    yield now, _session(fold, {k: v for k, v in fold.settings.items() if k != RANGES})
    for taken in fold.imports:
        yield now, taken
    questions, worked = _Questions(fold), 0.0
    for told, row in enumerate(rows):
        begun = row.time - (row.elapsed - worked)
        if begun - now > CLOSE_SECONDS:
            now = begun
            yield now, _session(fold, {})
        for entry in questions.until(told):
            yield now, entry
        now, worked = max(now, row.time), row.elapsed
        assert row.evaluation is not None
        yield now, Told(row.evaluation)
    for entry in questions.until(len(rows)):
        yield now, entry
    for retry in fold.retries:
        if fold.trial(retry.number) is not None:
            yield now, retry
    yield now + max(0.0, fold.elapsed - worked), Changed({})


class _Questions:
    """The batches of a fold, and what became of its ranges before each."""

    def __init__(self, fold: Fold) -> None:
        self._batches = deque(fold.batches)
        self._changes = deque(fold.ranges)
        self._asked = 0

    def until(self, told: int) -> Iterator[Entry]:
        """What was asked when so many evaluations were known, and what is not given yet."""
        while self._batches and self._batches[0].told <= told:
            yield from self._changed()
            asked = self._batches.popleft().asked
            self._asked += len(asked.trials)
            yield asked
        if not self._batches:
            yield from self._changed()

    def _changed(self) -> Iterator[Entry]:
        while self._changes and self._changes[0][0] <= self._asked:
            yield Changed({RANGES: self._changes.popleft()[1]})


def _session(fold: Fold, settings: dict[str, Any]) -> Opened:
    """The beginning of a session, by the coordinator that was the last."""
    opened = fold.opened or Opened("", 0)
    return Opened(opened.host, opened.pid, settings)
