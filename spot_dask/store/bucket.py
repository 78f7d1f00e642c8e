"""Objects in an object store: S3, Google Cloud Storage or Azure, through obstore.

An object is created on the condition that there is none (``If-None-Match: *`` on S3), so of two
writers exactly one creates it. A service that ignores the condition is found out before a run is
written, and refused. An acknowledged object is as durable as the service makes it.

Where an answer is lost the request is repeated: an object that is there then and holds our bytes,
which have a uuid of their own, is ours. Credentials come from the environment, as obstore reads
it; they are no part of an address and of no message.

::

    log/.writer/<uuid>   who writes: renewed every BEAT_SECONDS, removed when the writer closes
    log/.probe           what the condition is tried on
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

from spot_dask.buckets import Raced, asked, objects_at, reason
from spot_dask.errors import StoreCorrupt, StoreError, StoreGone
from spot_dask.store.lock import utc
from spot_dask.store.objects import (
    MOST_BYTES,
    ROOT,
    STALE_SECONDS,
    WRITER,
    Backend,
    Noted,
    refuse_existing,
)

if TYPE_CHECKING:
    from obstore.store import ObjectStore

BEAT_SECONDS = 15.0
ALIVE_SECONDS = 60.0
"""A writer that has not renewed its sign for so long is taken for dead."""

OPENING_SECONDS = 5.0
PATIENCE_SECONDS = 60.0
"""For how long a failing request is repeated: while a run is opened, and once it is written."""

LOOK_SECONDS = 10.0
"""How often a writer looks whether the run is still there."""

PROBE = "log/.probe"
_AT_ONCE = 32

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Bucket(Backend):
    """Objects of one run below the prefix of ``store``; a Backend."""

    def __init__(self, where: str, store: ObjectStore) -> None:
        self.where = where
        self.store = store
        self._patience = OPENING_SECONDS
        self._root: str | None = None  # the version of the run's head, once it is locked
        self._look = 0.0  # when to look again whether it is still there

    def seen(self) -> str:
        listing = self._asked("read", "", lambda: _obstore().list_with_delimiter(self.store))
        return (
            "a prefix with objects"
            if listing["objects"] or listing["common_prefixes"]
            else "nothing"
        )

    def get(self, key: str) -> bytes | None:
        def read() -> bytes | None:
            try:
                found = _obstore().get(self.store, key)
                if found.meta["size"] > MOST_BYTES:
                    raise StoreCorrupt(f"{key} of {self.where} is too large for an object of a run")
                return bytes(found.bytes())
            except FileNotFoundError:
                return None

        return self._asked("read", key, read)

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(self.get, keys))

    def names(self, key: str) -> list[str]:
        listing = self._listing(key)
        paths = [*listing["common_prefixes"], *(each["path"] for each in listing["objects"])]
        names = [path.rpartition("/")[2] for path in paths]
        return [name for name in names if not name.startswith(".")]

    def put_new(self, key: str, data: bytes) -> bool:
        def create() -> bool:
            if self._created(key, data):
                return True
            there = self.get(key)
            if there is None:
                raise Raced  # two creations at once were both refused
            return there == data

        return self._asked("write", key, create)

    def put_any(self, key: str, data: bytes) -> None:
        self._asked("write", key, lambda: _obstore().put(self.store, key, data))

    def put_all(self, objects: Iterable[tuple[str, bytes]]) -> None:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for _ in pool.map(lambda each: self.put_any(*each), objects):
                pass

    def remove_tree(self, key: str) -> None:
        """Not within an hour after something was written there."""
        tree = self._asked(
            "read", key, lambda: [*chain.from_iterable(_obstore().list(self.store, key))]
        )
        oldest = self._newest() - timedelta(seconds=STALE_SECONDS)
        if all(each["last_modified"] < oldest for each in tree):
            for each in tree:
                self.discard(each["path"])

    def settle(self, key: str) -> None:
        """Nothing is left to do: what can be read is durable."""

    def sweep(self, key: str) -> None:
        newest = self._newest()
        for each in self._signs():
            if newest - each["last_modified"] > timedelta(seconds=STALE_SECONDS):
                self.discard(each["path"])

    def create(self, objects: Iterable[tuple[str, bytes]]) -> WriterSign:
        """Of two writers one creates the first record; what a crash leaves behind is no run."""
        refuse_existing(self)
        self._probe()
        sign = WriterSign(self)
        try:
            for key, data in objects:
                if not self.put_new(key, data):
                    refuse_existing(self)
            self._note_version()
        except BaseException:
            sign.release()
            raise
        self._patience = PATIENCE_SECONDS
        return sign

    def lock(self, *, takeover: bool) -> WriterSign:
        self._probe()
        sign = WriterSign(self)
        try:
            if not takeover:
                self._refuse_second(sign)
            self._note_version()
        except BaseException:
            sign.release()
            raise
        self._patience = PATIENCE_SECONDS
        return sign

    def is_held(self) -> bool:
        """Whether a writer has renewed its sign lately, by this machine's clock."""
        return any(_alive(each, datetime.now(UTC)) for each in self._signs())

    def noted(self) -> Noted:
        """Nothing: a note would cost a request with every record."""
        return Noted()

    def require_same(self, keys: Sequence[str]) -> None:
        """Looks every ``LOOK_SECONDS``, at the head only; who cannot look knows nothing."""
        if self._root is None or time.monotonic() < self._look:
            return
        self._look = time.monotonic() + LOOK_SECONDS
        try:
            version = self._version()
        except Exception as error:
            logger.info("cannot look at %s of %s: %s", ROOT, self.where, reason(error))
            return
        if version != self._root:
            what = "was removed" if version is None else "is another one"
            gone = f"{self.where} is not the run any more that was written"
            raise StoreGone(f"{gone}: its {ROOT} {what}")

    def discard(self, key: str) -> None:
        try:
            _obstore().delete(self.store, key)
        except FileNotFoundError:
            pass
        except Exception as error:
            logger.warning("cannot remove %s of %s: %s", key, self.where, reason(error))

    def renew(self, key: str, data: bytes) -> None:
        """Replace an object, without patience; a failure is logged."""
        try:
            _obstore().put(self.store, key, data)
        except Exception as error:
            logger.info("cannot renew %s of %s: %s", key, self.where, reason(error))

    # ------------------------------------------------------------ who writes

    def _refuse_second(self, mine: WriterSign) -> None:
        """Raise StoreError if there is another writer alive, by the clock of the service."""
        signs = self._signs()
        now = next(each["last_modified"] for each in signs if each["path"] == mine.key)
        for each in signs:
            if each["path"] != mine.key and _alive(each, now):
                age = (now - each["last_modified"]).total_seconds()
                raise StoreError(
                    f"{self.where} is being written by {self._holder(each['path'])}, which gave a "
                    f"sign of life {age:.0f} s ago: stop that one first, wait until "
                    f"{ALIVE_SECONDS:.0f} s have passed if it was killed, or take over"
                )

    def _holder(self, key: str) -> str:
        try:
            holder = json.loads(self.get(key) or b"")
            return f"process {holder['pid']} on {holder['host']} since {utc(holder['since'])}"
        except (ValueError, KeyError, TypeError):  # it has gone meanwhile
            return "another process"

    def _signs(self) -> Sequence[Any]:
        return list(self._listing(WRITER)["objects"])

    def _newest(self) -> datetime:
        return max((each["last_modified"] for each in self._signs()), default=datetime.now(UTC))

    # ------------------------------------------------------------ requests

    def _version(self) -> str | None:
        """The tag of the run's head, None if there is none; raises what obstore raises."""
        try:
            return str(_obstore().head(self.store, ROOT)["e_tag"])
        except FileNotFoundError:
            return None

    def _note_version(self) -> None:
        """Note which run it is that is written from now on."""
        self._root = self._asked("read", ROOT, self._version)
        self._look = time.monotonic() + LOOK_SECONDS

    def _listing(self, key: str) -> Any:
        return self._asked("read", key, lambda: _obstore().list_with_delimiter(self.store, key))

    def _created(self, key: str, data: bytes) -> bool:
        """Whether the service says that it has created the object just now."""
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        try:
            _obstore().put(self.store, key, data, mode="create")
        except (AlreadyExistsError, PreconditionError):
            return False
        return True

    def _probe(self) -> None:
        """Raise StoreError unless the service refuses to create what is there."""
        from obstore.exceptions import NotSupportedError

        self.put_any(PROBE, b"")
        try:
            ignored = self._asked("write", PROBE, lambda: self._created(PROBE, b""))
        except (NotSupportedError, NotImplementedError):
            ignored = True
        if ignored:
            raise StoreError(
                f"{self.where}: this service creates an object although there is one "
                "(it ignores If-None-Match), so two coordinators could overwrite each other; "
                "keep the run on a service with conditional writes, or on a disk"
            )

    def _asked(self, doing: str, key: str, request: Callable[[], T]) -> T:
        return asked(f"{doing} {key or 'anything'} of {self.where}", self._patience, request)


class WriterSign:
    """A writer's sign of life, renewed by a thread until it is released."""

    def __init__(self, bucket: Bucket) -> None:
        self.key = f"{WRITER}/{uuid.uuid4().hex}"
        self._bucket = bucket
        self._over = threading.Event()
        who = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.time()}
        self._data = json.dumps(who).encode()
        bucket.put_any(self.key, self._data)
        self._thread = threading.Thread(target=self._renew, name=self.key, daemon=True)
        self._thread.start()

    @property
    def noted(self) -> Noted:
        """See ``Bucket.noted``."""
        return Noted()

    def note(self, head: int) -> None:
        """See ``Bucket.noted``."""

    def release(self) -> None:
        """Remove the sign; another writer need not wait."""
        self._over.set()
        self._thread.join()
        self._bucket.discard(self.key)

    def _renew(self) -> None:
        while not self._over.wait(BEAT_SECONDS):
            self._bucket.renew(self.key, self._data)


def bucket_at(url: str) -> Bucket:
    """The bucket and prefix of a checked address ``scheme://bucket/prefix``."""
    return Bucket(url, objects_at(url))


def _obstore() -> Any:
    import obstore

    return obstore


def _alive(sign: Any, now: datetime) -> bool:
    return bool(now - sign["last_modified"] < timedelta(seconds=ALIVE_SECONDS))
