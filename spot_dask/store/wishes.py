"""What people ask of a run through its store, whoever runs it and whether it runs at all.

::

    log/.wishes/<time>-<id>    a configuration to try: JSON, then zstd, then crc32c, as a record
    log/.ranges/<time>-<id>    ranges to search from now on, in the same way
    log/.pause                 while it is there no training begins

Only a coordinator writes the journal. It looks here every few seconds, and once when it begins. A
wish stays until the journal has the configuration, so that no crash loses it and none doubles it.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Mapping

from spot_dask.codec import dump, load
from spot_dask.errors import StoreCorrupt
from spot_dask.records import Configuration, Value, Wish
from spot_dask.store.layout import decode_chunk, encode_chunk
from spot_dask.store.objects import Backend

logger = logging.getLogger(__name__)

WISHES = "log/.wishes"
RANGES = "log/.ranges"
PAUSE = "log/.pause"


def put_wish(backend: Backend, run_id: str, config: Configuration, folder: str = WISHES) -> None:
    """Ask for a configuration of the run's space, durably, or for ranges, as texts by name."""
    name = f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}"
    backend.put_new(f"{folder}/{name}", encode_chunk(dump({"run": run_id, "config": dict(config)})))


def wishes(backend: Backend, run_id: str, folder: str = WISHES) -> list[Wish]:
    """What the run was asked to try, the oldest first; a damaged wish is logged and left out."""
    found = []
    for name in sorted(backend.names(folder)):
        key = f"{folder}/{name}"
        data = backend.get(key)
        if data is None:
            continue  # granted meanwhile
        try:
            wish = read_wish(key, data, run_id)
        except StoreCorrupt as error:
            logger.warning("%s: it is left out", error)
            continue
        if wish is not None:
            found.append(wish)
    return found


def read_wish(key: str, data: bytes, run_id: str) -> Wish | None:
    """A wish; None where it is another run's, StoreCorrupt where it is not as it was written."""
    try:
        item = load(decode_chunk(data))
        run, config = item["run"], item["config"]
        if not isinstance(config, Mapping) or not all(
            isinstance(v, Value) for v in config.values()
        ):
            raise ValueError("it holds no configuration")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreCorrupt(f"{key} is damaged: {error}") from error
    return Wish(key.rpartition("/")[2], dict(config)) if run == run_id else None


def grant(backend: Backend, wish: Wish) -> None:
    """Remove a wish that the journal has granted; names are never used twice."""
    for folder in (WISHES, RANGES):
        backend.discard(f"{folder}/{wish.name}")


def is_paused(backend: Backend) -> bool:
    """Whether no training is to begin."""
    return backend.get(PAUSE) is not None


def pause(backend: Backend, on: bool) -> bool:
    """Pause the run or let it go on; whether that changes anything."""
    changes = is_paused(backend) != on
    if on:
        backend.put_any(PAUSE, b"paused")
    else:
        backend.discard(PAUSE)
    return changes
