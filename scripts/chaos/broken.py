"""Writers that each leave out one thing: a test that none of them fails tests nothing."""

from __future__ import annotations

import contextlib
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from spot_dask.outputs import PARTIAL
from spot_dask.settings import Durability
from spot_dask.store import chain, journal, lock
from spot_dask.store.files import Directory
from spot_dask.store.layout import CHUNKS

_ALL = "log/all"
_FRAME = struct.Struct("<II")


def _nothing(*args: Any) -> None:
    """Instead of something that a correct writer does."""


@contextmanager
def no_fsync() -> Iterator[None]:
    """Neither data nor names are synced."""
    real = Directory.__init__

    def init(self: Directory, root: Path, durability: Durability) -> None:
        real(self, root, "process")

    with patch.object(Directory, "__init__", init):
        yield


@contextmanager
def no_directory_fsync() -> Iterator[None]:
    """Data is synced, names are not."""
    with patch.object(Directory, "sync", _nothing):
        yield


@contextmanager
def rename() -> Iterator[None]:
    """A record is renamed to its place and replaces what is there."""

    def replace(self: Directory, temporary: str, final: str) -> None:
        os.replace(temporary, final)  # noqa: PTH105 - counted as a system call

    with patch.object(Directory, "_link", replace):
        yield


@contextmanager
def check_then_write() -> Iterator[None]:
    """A record is renamed to its place if there was nothing a moment ago."""

    def replace(self: Directory, temporary: str, final: str) -> None:
        if Path(final).exists():
            raise FileExistsError
        time.sleep(0.001)  # or the race is at times lost to nobody in a whole scenario
        os.replace(temporary, final)  # noqa: PTH105

    with patch.object(Directory, "_link", replace):
        yield


@contextmanager
def in_place() -> Iterator[None]:
    """A record is written under its own name at once."""

    def put_new(self: Directory, key: str, data: bytes) -> bool:
        with self._reported("write", key):
            try:
                self._write(f"{self._made(key)}/{key.rpartition('/')[2]}", data)
            except FileExistsError:
                return False
            return True

    with patch.object(Directory, "put_new", put_new):
        yield


@contextmanager
def append() -> Iterator[None]:
    """All records in one file, one after the other, each with its name and length before it."""

    def get(self: Directory, key: str) -> bytes | None:
        return _frames(self).get(key) if key.startswith(CHUNKS) else _get(self, key)

    def names(self: Directory, key: str) -> list[str]:
        if not key.startswith(CHUNKS):
            return _names(self, key)
        inside = [k.removeprefix(f"{key}/") for k in _frames(self) if k.startswith(f"{key}/")]
        return list(dict.fromkeys(name.partition("/")[0] for name in inside))

    def put_new(self: Directory, key: str, data: bytes) -> bool:
        if not key.startswith(CHUNKS):
            return _put_new(self, key, data)
        if key in _frames(self):
            return False
        with self._reported("write", key):
            _add_frame(self, key, data)
        return True

    with (
        patch.object(Directory, "get", get),
        patch.object(Directory, "names", names),
        patch.object(Directory, "put_new", put_new),
        patch.object(Directory, "require_same", _nothing),
    ):
        yield


_get, _names, _put_new = Directory.get, Directory.names, Directory.put_new


def _frames(directory: Directory) -> dict[str, bytes]:
    rest, found = _get(directory, _ALL) or b"", {}
    while len(rest) >= _FRAME.size:
        n, size = _FRAME.unpack_from(rest)
        body, rest = rest[_FRAME.size :][: n + size], rest[_FRAME.size + n + size :]
        if len(body) == n + size:
            found[body[:n].decode(errors="replace")] = body[n:]
    return found


def _add_frame(directory: Directory, key: str, data: bytes) -> None:
    path = directory.root / _ALL
    path.parent.mkdir(exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        os.write(descriptor, _FRAME.pack(len(key), len(data)) + key.encode() + data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def early_acknowledgement() -> Iterator[None]:
    """A record is acknowledged when it is encoded, and written with the next one."""
    put_new = Directory.put_new
    late: dict[str, Callable[[], bool]] = {}

    def behind(self: Directory, key: str, data: bytes) -> bool:
        if not key.startswith(CHUNKS) or self.root.name.endswith(PARTIAL):  # it is created
            return put_new(self, key, data)
        for key_before in list(late):
            late.pop(key_before)()
        late[key] = lambda: put_new(self, key, data)
        return True

    with (
        patch.object(Directory, "put_new", behind),
        patch.object(Directory, "require_same", _nothing),
    ):
        yield


@contextmanager
def blind_retry() -> Iterator[None]:
    """What failed is written again, without looking whether it is there."""

    def never(self: journal.Journal, *args: Any) -> None:
        self._doubtful = None
        for _, tail in self.follow(self.tail):
            self.tail = tail

    with patch.object(journal.Journal, "_landed", never):
        yield


@contextmanager
def no_fence() -> Iterator[None]:
    """Who finds its place taken goes on behind."""

    def go_on(self: journal.Journal, commit: Any) -> None:
        for _, tail in self.follow(self.tail):
            self.tail = tail
        self._epoch = self.tail.epoch
        commit = self._prepare(commit.entries)
        if not self._put(commit):
            self._refuse(commit)

    with patch.object(journal.Journal, "_refuse", go_on):
        yield


@contextmanager
def no_checksum() -> Iterator[None]:
    """Bytes are believed."""

    def believe(data: bytes) -> str:
        from numcodecs import zstd

        with contextlib.suppress(RuntimeError):
            return bytes(zstd.decompress(data[:-4]))[8:].decode(errors="replace")
        raise ValueError("it cannot be decompressed")

    with (
        patch.object(chain, "decode_chunk", believe),
        patch.object(chain.Link, "follow", lambda self, tail: replace(self.tail, seq=tail.seq + 1)),
    ):
        yield


@contextmanager
def believed_hint() -> Iterator[None]:
    """What a copy says of the last record is taken for what is there."""
    real = lock.noted

    with patch.object(lock, "noted", lambda path: replace(real(path), certain=True)):
        yield


WRITERS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "correct": nullcontext,
    "no fsync": no_fsync,
    "no directory fsync": no_directory_fsync,
    "rename": rename,
    "check then write": check_then_write,
    "in place": in_place,
    "append": append,
    "early acknowledgement": early_acknowledgement,
    "blind retry": blind_retry,
    "no fence": no_fence,
    "no checksum": no_checksum,
    "believed hint": believed_hint,
}
"""Name -> what breaks the writer; ``correct`` breaks nothing."""

FOUND_BY = {
    "no fsync": "power cuts",
    "no directory fsync": "power cuts",
    "rename": "pauses",
    "check then write": "takeovers of sixty",
    "in place": "kills at every step",
    "append": "kills at every step",
    "early acknowledgement": "kills at random",
    "blind retry": "failing disks",
    "no fence": "pauses",
    "no checksum": "damage",
    "believed hint": "copies",
}
"""Broken writer -> the scenario that must find it."""
