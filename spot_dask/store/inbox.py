"""The inbox: what trainings have left in the store while no coordinator was there to hear it.

::

    log/.inbox/<trial>.<attempt>    one outcome: JSON, then zstd, then crc32c, as a record

A worker that can reach the store leaves every outcome there before it reports it. The
coordinator removes it once it is in the journal; what a killed coordinator never heard of is
taken in when the run is resumed. An outcome is recorded once: its trial is pending until then.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from spot_dask.codec import dump, from_json, load, to_json
from spot_dask.errors import StoreCorrupt, StoreError
from spot_dask.records import Evaluation, Outcome, Status, Trial
from spot_dask.store.backend import backend_at
from spot_dask.store.layout import decode_chunk, encode_chunk, parse_root
from spot_dask.store.objects import ROOT, Backend

logger = logging.getLogger(__name__)

INBOX = "log/.inbox"
KEPT = (Status.OK, Status.FAILED, Status.STOPPED)
"""What a training says itself, or was decided about it. One killed is better run again."""

JSON = dict[str, Any]


@dataclass(frozen=True)
class Inbox:
    """Where the trials of a run leave their outcomes; travels to the workers.

    ``path`` is the store's address (absolute, if a path), which a worker may or may not reach.
    """

    path: str
    run_id: str

    def leave(self, number: int, attempt: int, outcome: Outcome) -> bool:
        """Keep an outcome durably; whether it is kept now.

        False where the store is not here or cannot be written; then only the coordinator, if it
        lives, hears of the outcome. The first outcome of an attempt stays.
        """
        if outcome.status not in KEPT:
            return False
        told = to_json(outcome)
        item = {"run": self.run_id, "trial": number, "attempt": attempt, "outcome": told}
        try:
            backend = backend_at(self.path, "fsync")
            root = backend.get(ROOT)
            if root is None or parse_root(root, self.path).header.run_id != self.run_id:
                return False
            backend.put_new(key_of(number, attempt), encode_chunk(dump(item)))
        except StoreError as error:
            logger.info("trial %d leaves no result in the store: %s", number, error)
            return False
        return True


def key_of(number: int, attempt: int) -> str:
    return f"{INBOX}/{number}.{attempt}"


def read_item(key: str, data: bytes) -> JSON:
    """An object of the inbox; raises StoreCorrupt where any byte is not as written."""
    try:
        item = load(decode_chunk(data))
        if key_of(item["trial"], item["attempt"]) != key:
            raise ValueError("it belongs elsewhere")
        from_json(Outcome, item["outcome"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreCorrupt(f"{key} is damaged: {error}") from error
    return dict(item)


def left(backend: Backend, run_id: str, pending: Iterable[Trial]) -> Iterator[Evaluation]:
    """The evaluations of pending trials in the inbox, at most one of each trial.

    Removes what no pending trial waits for; a damaged object stays where it is and is logged.
    """
    waiting = {trial.number: trial for trial in pending}
    for name in sorted(backend.names(INBOX)):
        key = f"{INBOX}/{name}"
        try:
            item = read_item(key, backend.get(key) or b"")
        except StoreCorrupt as error:
            logger.warning("%s: its training is run again", error)
            continue
        trial = waiting.pop(item["trial"], None) if item["run"] == run_id else None
        if trial is None:
            backend.discard(key)
        else:
            outcome = from_json(Outcome, item["outcome"])
            yield Evaluation(trial, outcome, item["attempt"])


def outcome_of(backend: Backend, run_id: str, number: int, attempt: int) -> Outcome | None:
    """The outcome that an attempt has left; None, and logged, where it cannot be read."""
    key = key_of(number, attempt)
    try:
        data = backend.get(key)
        item = None if data is None else read_item(key, data)
    except StoreError as error:
        logger.warning("%s: its training is run again", error)
        return None
    return from_json(Outcome, item["outcome"]) if item and item["run"] == run_id else None
