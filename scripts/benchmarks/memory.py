"""A store in memory: for tests, and for studies whose evaluations need not outlive the process."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any

from spot_dask.codec import dump, entry_from_json, entry_to_json, load
from spot_dask.errors import RunTakenOver
from spot_dask.records import Entry, Header, Opened, Record, Wish


class MemoryStore:
    """A Store that behaves as a journal does, save that nothing is durable."""

    def __init__(self, header: Header) -> None:
        self.header = header
        self._log: list[Record] = []
        self._epoch = self._stop_at = 0
        self.wished: list[Wish] = []
        self._take_over({})

    def resume(self, settings: Mapping[str, Any] | None = None) -> MemoryStore:
        """The same records for a new coordinator; this one's next append raises RunTakenOver."""
        store = MemoryStore.__new__(MemoryStore)
        store.header = self.header
        store._log = self._log
        store._epoch = self._log[-1].epoch
        store._stop_at = self._stop_at
        store.wished = self.wished
        store._take_over(dict(settings or {}))
        return store

    def append(self, entry: Entry) -> Record:
        """Commit one entry."""
        (record,) = self.commit([entry])
        return record

    def commit(self, entries: Sequence[Entry]) -> list[Record]:
        """The entries as recorded: what JSON keeps of them, as in a journal."""
        kept = [entry_from_json(load(dump(entry_to_json(entry)))) for entry in entries]
        if self._log and self._log[-1].epoch > self._epoch:
            raise RunTakenOver("another coordinator has resumed this store: this one must stop")
        seq, now = self._log[-1].seq + 1 if self._log else 0, time.time()
        records = [Record(seq, self._epoch, now, entry) for entry in kept]
        self._log += records
        return records

    def records(self) -> list[Record]:
        return list(self._log)

    def left(self, number: int, attempt: int) -> None:
        """No training can leave anything here."""

    @property
    def stop_requested(self) -> bool:
        return self._stop_at == self._epoch

    paused = False
    """Nobody pauses it unless a test does."""

    def wishes(self) -> list[Wish]:
        """What tests have wished for."""
        return list(self.wished)

    def range_wishes(self) -> list[Wish]:
        """Nobody changes its ranges."""
        return []

    def grant(self, wish: Wish) -> None:
        self.wished.remove(wish)

    def request_stop(self) -> None:
        """Ask the coordinator that writes the run now to stop."""
        self._stop_at = self._log[-1].epoch

    def close(self) -> None:
        """Nothing to release."""

    def _take_over(self, settings: dict[str, Any]) -> None:
        self._epoch += 1
        self.append(Opened(socket.gethostname(), os.getpid(), settings))
