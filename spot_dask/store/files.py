"""Objects in a directory of a POSIX file system: created once, whole or not at all.

An object is written to a temporary file, synced, and *linked* to its name, which fails if the
name is taken; so of two writers exactly one creates it, and a crash leaves at most a stray
temporary file. Renaming would replace what another writer has put there.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import shutil
import socket
import stat
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spot_dask.codec import load
from spot_dask.errors import StoreCorrupt, StoreError, StoreFull
from spot_dask.outputs import PARTIAL
from spot_dask.settings import Durability, check
from spot_dask.store.objects import MOST_BYTES, STALE_SECONDS, WRITER, Backend, refuse_existing

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
_NO_FILE = frozenset({errno.ENXIO, errno.ELOOP, errno.ENODEV})  # a socket, links in a circle
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
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

    def create(self, objects: Mapping[str, bytes]) -> WriterLock:
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
        with self._reported("write", WRITER):
            return WriterLock.acquire(self.root / WRITER, takeover=takeover)

    def is_held(self) -> bool:
        return is_held(self.root / WRITER)

    def noted_head(self) -> int:
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
            if error.errno in _NO_FILE:
                raise StoreCorrupt(f"{key} of {self.root}: {error.strerror}") from error
            kind = StoreFull if error.errno in _NO_SPACE else StoreError
            raise kind(failure(f"cannot {doing} {key} of {self.root}", error)) from error


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


logger = logging.getLogger(__name__)

_LINE = 512
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
_UNSUPPORTED = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})


@dataclass(frozen=True)
class WriterLock:
    """A held lock: the descriptor of the lock file, locked by the kernel until it is closed.

    The file says who holds it and the last record that was acknowledged; ``head`` is what it said
    when the lock was taken, -1 if nothing.
    """

    descriptor: int
    holder: str
    head: int

    @classmethod
    def acquire(cls, path: Path, *, takeover: bool) -> WriterLock:
        """Take the lock at ``path``; raises StoreError if another holds it, unless taking over."""
        who = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.time()}
        holder, head = json.dumps(who), noted_head(path)
        return cls(_acquire(path, holder, head, takeover=takeover), holder, head)

    def note(self, head: int) -> None:
        """Note the last acknowledged record, so that its removal by hand can be noticed."""
        with contextlib.suppress(OSError):  # the record is durable; the note is only a help
            _sign(self.descriptor, self.holder, head)

    def release(self) -> None:
        os.close(self.descriptor)


def noted_head(path: Path) -> int:
    """The last record acknowledged, as its writer noted at ``path``; -1 if nothing is known."""
    try:
        return int(load(read_object(str(path)))["head"])
    except (OSError, ValueError, KeyError, TypeError, StoreCorrupt):
        return -1


def is_held(path: Path) -> bool:
    """Whether a process of this machine holds the lock; only looks, so it disturbs nobody."""
    try:
        inode = path.stat().st_ino
        locks = Path("/proc/locks").read_text()
    except OSError:  # no lock was ever taken, or this system does not list its locks
        return False
    held = (line.split() for line in locks.splitlines() if " FLOCK " in line)
    return any(fields[-3].rpartition(":")[2] == str(inode) for fields in held)


def utc(seconds: float) -> str:
    """Seconds since the epoch as people read them."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def _acquire(path: Path, holder: str, head: int, *, takeover: bool) -> int:
    while True:
        descriptor = os.open(path, _FLAGS, 0o666)
        if not _lock(descriptor):
            other = _holder(descriptor)
            os.close(descriptor)
            if not takeover:
                raise StoreError(
                    f"{path.parent.parent} is being written by {other}: stop that one first, "
                    "or take over (--takeover)"
                )
            return _replace(path, holder, head)
        if _is_still_at(descriptor, path):
            _sign(descriptor, holder, head)
            return descriptor
        os.close(descriptor)  # someone took over between our opening and locking


def _replace(path: Path, holder: str, head: int) -> int:
    """Put a new lock, held by us, in place of one that another coordinator holds."""
    temporary = path.with_name(f".{uuid.uuid4().hex}.partial")
    descriptor = os.open(temporary, _FLAGS | os.O_EXCL, 0o666)
    _lock(descriptor)
    _sign(descriptor, holder, head)
    temporary.replace(path)
    return descriptor


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        logger.warning(
            "the file system cannot lock files (%s): a second coordinator will not be refused, "
            "it will take the run over",
            error.strerror,
        )
    return True


def _is_still_at(descriptor: int, path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False


def _sign(descriptor: int, holder: str, head: int) -> None:
    """Write the holder, an object in JSON, with the head as its last member."""
    # Padded, so that what a shorter line leaves of a longer one is no part of it.
    line = f'{holder[:-1]}, "head": {head}}}'
    os.pwrite(descriptor, line.ljust(_LINE).encode(), 0)


def _holder(descriptor: int) -> str:
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {holder['pid']} on {holder['host']} since {utc(holder['since'])}"
    except (ValueError, KeyError, TypeError):  # it has the lock, but has not signed yet
        return "another process"
