"""Objects in a directory of a POSIX file system: created once, whole or not at all.

An object is written to a temporary file, synced, and *linked* to its name, which fails if the
name is taken; so of two writers exactly one creates it, and a crash leaves at most a stray
temporary file. Renaming would replace what another writer has put there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import get_args

from spot_dask.errors import StoreCorrupt, StoreError, StoreFull
from spot_dask.store.backend import STALE_SECONDS, WRITER, Durability, refuse_existing
from spot_dask.store.lock import WriterLock, is_held, noted_head

PARTIAL = ".partial"

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


class Directory:
    """A tree of objects below ``root``; keys are relative paths with slashes."""

    def __init__(self, root: Path, durability: Durability) -> None:
        if durability not in get_args(Durability):
            known = " or ".join(map(repr, get_args(Durability)))
            raise ValueError(f"durability {durability!r}: expected {known}")
        self.root = root.absolute()  # the process may change its directory
        self._durability = durability
        self._sync = durability == "fsync"
        self._base = str(self.root)
        self._ready = {self._base}  # directories that exist, durably

    @property
    def where(self) -> str:
        return str(self.root)

    def seen(self) -> str:
        """What a user would see there."""
        return what_is_at(self.root)

    def get(self, key: str) -> bytes | None:
        """The object's bytes, None if there is no such object."""
        with self._reported("read", key):
            try:
                with open(f"{self._base}/{key}", "rb", buffering=0) as file:  # noqa: PTH123
                    return file.readall()
            except FileNotFoundError:
                return None

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """``get`` of every key."""
        return [self.get(key) for key in keys]

    def names(self, key: str) -> list[str]:
        """Names directly below a key, without hidden files (temporary ones among them)."""
        with self._reported("read", key):
            try:
                names = [entry.name for entry in (self.root / key).iterdir()]
            except FileNotFoundError:
                return []
            return [name for name in names if not name.startswith(".")]

    def put_new(self, key: str, data: bytes) -> bool:
        """Create the object durably; False, and nothing changed, if there is one already.

        Raises StoreError; the object may then have been created all the same: see ``settle``.
        """
        # Paths are texts here: as Path they would take as long as what is done with them.
        with self._reported("write", key):
            folder = self._made(key)
            with _temporary(folder) as temporary:
                self._write(temporary, data)
                try:
                    self._link(temporary, f"{self._base}/{key}")
                except FileExistsError:
                    return False
            self.sync(folder)
            return True

    def put_any(self, key: str, data: bytes) -> None:
        """Create or replace an object; for hints only, which can be derived again."""
        with self._reported("write", key):
            folder = self._made(key)
            with _temporary(folder) as temporary:
                self._write(temporary, data)
                Path(temporary).replace(self.root / key)
            self.sync(folder)

    def put_all(self, objects: Iterable[tuple[str, bytes]]) -> None:
        """Create or replace objects that nobody reads yet: all durable at the end, not before."""
        quick, paths = Directory(self.root, "process"), set()
        for key, data in objects:
            quick.put_any(key, data)
            final = self.root / key
            paths |= {final, *final.parents} - {*self.root.parents}
        with self._reported("write", "objects"):
            for path in paths if self._sync else ():
                self.sync(path)
        self._ready |= quick._ready

    def discard(self, key: str) -> None:
        """Remove an object, if it is there; never one of the journal."""
        with self._reported("remove", key), contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self._base}/{key}")  # noqa: PTH108 - see ``put_new``

    def settle(self, key: str) -> None:
        """Make an existing object durable whose creation was reported as failed."""
        final = self.root / key
        with self._reported("write", key):
            self.sync(final)
            self.sync(final.parent)

    def remove_tree(self, key: str) -> None:
        """Remove all below a key; from the first moment on nothing can be written there."""
        path = self.root / key
        trash = path.with_name(f".{uuid.uuid4().hex}{PARTIAL}")
        with self._reported("remove", key):
            path.rename(trash)
            shutil.rmtree(trash)

    def sweep(self, key: str) -> None:
        """Remove temporary objects that a crash left below a key more than an hour ago."""
        oldest = time.time() - STALE_SECONDS
        with self._reported("write", key):
            for path in (self.root / key).rglob(f".*{PARTIAL}"):
                with contextlib.suppress(FileNotFoundError):
                    if path.stat().st_mtime < oldest:
                        shutil.rmtree(path) if path.is_dir() else path.unlink()

    def create(self, objects: Mapping[str, bytes]) -> WriterLock:
        """Put a complete run at ``root``: of two writers that create it one comes second."""
        staging = Directory(
            self.root.with_name(f".{self.root.name}.{uuid.uuid4().hex}{PARTIAL}"), self._durability
        )
        refuse_existing(self)
        make_directories(self.root.parent, self._durability)
        try:
            make_directories(staging.root, self._durability)
            for key, data in objects.items():
                staging.put_new(key, data)
            lock = staging.lock(takeover=False)
        except BaseException:
            shutil.rmtree(staging.root, ignore_errors=True)
            raise
        try:
            staging.root.rename(self.root)
            self.sync(self.root.parent)
        except OSError as error:
            lock.release()
            if staging.root.exists():
                shutil.rmtree(staging.root, ignore_errors=True)
                refuse_existing(self)
            raise StoreError(failure(f"cannot create {self.root}", error)) from error
        return lock

    def lock(self, *, takeover: bool) -> WriterLock:
        """Sign as the writer; raises StoreError if another is alive, unless taking over."""
        with self._reported("write", WRITER):
            return WriterLock.acquire(self.root / WRITER, takeover=takeover)

    def is_held(self) -> bool:
        """Whether a writer on this machine is alive."""
        return is_held(self.root / WRITER)

    def noted_head(self) -> int:
        """The last acknowledged record, as its writer has noted."""
        return noted_head(self.root / WRITER)

    def sync(self, path: Path | str) -> None:
        """Bring a file or directory to disk, through a new descriptor."""
        if self._sync:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _made(self, key: str) -> str:
        """An object's directory, created durably, also where a crashed writer has made it."""
        # The root is never made here: a run that was removed must not come back without its head.
        folder = f"{self._base}/{key}".rpartition("/")[0]
        if folder not in self._ready:
            parent = self._made(key.rpartition("/")[0])
            Path(folder).mkdir(exist_ok=True)
            self.sync(parent)
            self._ready.add(folder)
        return folder

    def _write(self, path: str, data: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o666)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            if self._sync:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _link(self, temporary: str, final: str) -> None:
        try:
            os.link(temporary, final)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            raise StoreError(
                f"the file system of {self.root} has no hard links ({error.strerror}), which the "
                "store needs to survive crashes: put the run on another file system"
            ) from error

    @contextlib.contextmanager
    def _reported(self, doing: str, key: str) -> Iterator[None]:
        try:
            yield
        except (NotADirectoryError, IsADirectoryError) as error:
            raise StoreCorrupt(f"{key} of {self.root}: {error.strerror}") from error
        except OSError as error:
            kind = StoreFull if error.errno in _NO_SPACE else StoreError
            raise kind(failure(f"cannot {doing} {key} of {self.root}", error)) from error


def make_directories(path: Path, durability: Durability) -> None:
    """Create a directory and its missing parents, durably."""
    try:
        for directory in reversed([p for p in (path, *path.parents) if not p.exists()]):
            directory.mkdir(exist_ok=True)
            Directory(directory.parent, durability).sync(directory.parent)
    except OSError as error:
        raise StoreError(failure(f"cannot create {path}", error)) from error


def what_is_at(path: Path) -> str:
    """What a user would see there."""
    try:
        if path.is_dir():
            return "a directory" if any(path.iterdir()) else "an empty directory"
        return "a file" if path.exists() or path.is_symlink() else "nothing"
    except OSError as error:
        raise StoreError(failure(f"cannot read {path}", error)) from error


def failure(doing: str, error: OSError) -> str:
    """One line: what failed, why, and what to do about it."""
    if error.errno in _NO_SPACE:
        advice = "free some space and try again"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        advice = "check the permissions, or put the run elsewhere"
    else:
        advice = "check the file system"
    return f"{doing}: {error.strerror or error}; {advice}"


@contextlib.contextmanager
def _temporary(folder: str) -> Iterator[str]:
    """A new name for a temporary file, which is removed at the end."""
    path = f"{folder}/.{uuid.uuid4().hex}{PARTIAL}"
    try:
        yield path
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108
