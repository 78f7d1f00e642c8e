"""Objects in a directory of a POSIX file system: created once, whole or not at all.

An object is written to a temporary file, synced, and *linked* to its name, which fails if the
name is taken; so of two writers exactly one creates it, and a crash leaves at most a stray
temporary file. Renaming would replace what another writer has put there.

A new run can be read by its owner only, as it holds the study's source and texts of errors. Files
in one that others may enter (after ``chmod``, or from an older version) follow the umask.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from spot_dask.errors import StoreCorrupt, StoreError, StoreFull, StoreGone
from spot_dask.outputs import PARTIAL
from spot_dask.settings import Durability, check
from spot_dask.store.lock import WriterLock, is_held, noted
from spot_dask.store.objects import (
    MOST_BYTES,
    ROOT,
    STALE_SECONDS,
    WRITER,
    Backend,
    Noted,
    refuse_existing,
)

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
_NO_FILE = frozenset({errno.ENXIO, errno.ELOOP, errno.ENODEV})  # a socket, links in a circle
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_PRIVATE = 0o700
_open = os.open  # the tests that count what writes do not count what reads
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


class Directory(Backend):
    """A tree of objects below ``root``; keys are relative paths with slashes."""

    def __init__(self, root: Path, durability: Durability) -> None:
        check("durability", durability)
        self.root = root.absolute()  # the process may change its directory
        self._durability = durability
        self._sync = durability == "fsync"
        self.where = self._base = str(self.root)
        self._ready = {self._base}  # directories that exist, durably
        self._written: tuple[int, int] | None = None  # the head of the run that is locked here

    def seen(self) -> str:
        return what_is_at(self.root)

    def get(self, key: str) -> bytes | None:
        with self._reported("read", key):
            try:
                return read_object(f"{self._base}/{key}")
            except FileNotFoundError:
                return None

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        return [self.get(key) for key in keys]

    def names(self, key: str) -> list[str]:
        with self._reported("read", key):
            try:
                names = [entry.name for entry in (self.root / key).iterdir()]
            except FileNotFoundError:
                return []
            return [name for name in names if not name.startswith(".")]

    def put_new(self, key: str, data: bytes) -> bool:
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
        with self._reported("write", key):
            folder = self._made(key)
            with _temporary(folder) as temporary:
                self._write(temporary, data)
                Path(temporary).replace(self.root / key)
            self.sync(folder)

    def put_all(self, objects: Iterable[tuple[str, bytes]]) -> None:
        self._put_all(objects, Directory.put_any)

    def _put_all(
        self,
        objects: Iterable[tuple[str, bytes]],
        put: Callable[[Directory, str, bytes], object],
    ) -> None:
        quick, paths = Directory(self.root, "process"), set()
        for key, data in objects:
            put(quick, key, data)
            final = self.root / key
            paths |= {final, *final.parents} - {*self.root.parents}
        with self._reported("write", "objects"):
            for path in paths if self._sync else ():
                self.sync(path)
        self._ready |= quick._ready

    def discard(self, key: str) -> None:
        with self._reported("remove", key), contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self._base}/{key}")  # noqa: PTH108 - see ``put_new``

    def settle(self, key: str) -> None:
        final = self.root / key
        with self._reported("write", key):
            self.sync(final)
            self.sync(final.parent)

    def remove_tree(self, key: str) -> None:
        """From the first moment on nothing can be written there."""
        path = self.root / key
        trash = path.with_name(f".{uuid.uuid4().hex}{PARTIAL}")
        with self._reported("remove", key):
            path.rename(trash)
            shutil.rmtree(trash)

    def sweep(self, key: str) -> None:
        oldest = time.time() - STALE_SECONDS
        with self._reported("write", key):
            for path in (self.root / key).rglob(f".*{PARTIAL}"):
                with contextlib.suppress(FileNotFoundError):
                    if path.stat().st_mtime < oldest:
                        shutil.rmtree(path) if path.is_dir() else path.unlink()

    def create(self, objects: Iterable[tuple[str, bytes]]) -> WriterLock:
        staging = Directory(
            self.root.with_name(f".{self.root.name}.{uuid.uuid4().hex}{PARTIAL}"), self._durability
        )
        refuse_existing(self)
        make_directories(self.root.parent, self._durability)
        try:
            try:
                staging.root.mkdir(_PRIVATE)
            except OSError as error:
                raise StoreError(failure(f"cannot create {self.root}", error)) from error
            staging._put_all(objects, Directory.put_new)
            lock = WriterLock.acquire(staging.root / WRITER, self.root / WRITER, self._sync)
        except BaseException:
            shutil.rmtree(staging.root, ignore_errors=True)
            raise
        try:
            staging.root.rename(self.root)
            self.sync(self.root.parent)
            self._written = _identity(self.root / ROOT)
        except OSError as error:
            lock.release()
            if staging.root.exists():
                shutil.rmtree(staging.root, ignore_errors=True)
                refuse_existing(self)
            raise StoreError(failure(f"cannot create {self.root}", error)) from error
        return lock

    def lock(self, *, takeover: bool) -> WriterLock:
        with self._reported("write", WRITER):
            path = self.root / WRITER
            lock = WriterLock.acquire(path, path, self._sync, takeover=takeover)
            self._written = _identity(self.root / ROOT)
            return lock

    def is_held(self) -> bool:
        return is_held(self.root / WRITER)

    def noted(self) -> Noted:
        return noted(self.root / WRITER)

    def require_same(self, keys: Sequence[str]) -> None:
        if self._written is None:
            return
        gone = f"{self.root} is not the run any more that was written"
        with self._reported("read", ROOT):
            for key in (ROOT, *keys):
                try:
                    found = _identity(f"{self._base}/{key}")
                except (FileNotFoundError, NotADirectoryError):
                    what = key if self.root.exists() else "it"
                    raise StoreGone(f"{gone}: {what} was removed or moved") from None
                except OSError as error:
                    if error.errno != errno.ESTALE:
                        raise
                    raise StoreGone(f"{gone}: {error.strerror}") from None
                if key == ROOT and found != self._written:
                    raise StoreGone(f"{gone}: its {ROOT} is another one")
        if not os.access(f"{self._base}/log", os.W_OK):
            raise StoreError(f"{self.root} cannot be written any more: check the permissions")

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
            Path(folder).mkdir(0o777 & self._bits, exist_ok=True)
            self.sync(parent)
            self._ready.add(folder)
        return folder

    @cached_property
    def _bits(self) -> int:
        """What new files and directories may allow, beside what the umask forbids."""
        return _PRIVATE if self.root.stat().st_mode & 0o077 == 0 else 0o777

    def _write(self, path: str, data: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o666 & self._bits)
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
            if error.errno in _NO_FILE:
                raise StoreCorrupt(f"{key} of {self.root}: {error.strerror}") from error
            kind = StoreFull if error.errno in _NO_SPACE else StoreError
            raise kind(failure(f"cannot {doing} {key} of {self.root}", error)) from error


def _identity(path: Path | str) -> tuple[int, int]:
    """What tells a file from any other one that takes its name; raises OSError."""
    found = os.stat(path)  # noqa: PTH116 - see ``put_new``
    return found.st_dev, found.st_ino


def read_object(path: str) -> bytes:
    """The bytes of a file, also behind a symbolic link.

    Raises StoreCorrupt, and waits for nobody, where it is a FIFO, a device or a socket, or larger
    than any object of a run.
    """
    descriptor = _open(path, _READ)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise StoreCorrupt(f"{path} is no regular file")
        if found.st_size > MOST_BYTES:
            raise StoreCorrupt(
                f"{path} has {found.st_size:,} bytes, expected {MOST_BYTES:,} at most"
            )
        with open(descriptor, "rb", buffering=0, closefd=False) as file:
            return file.readall()
    finally:
        os.close(descriptor)


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
