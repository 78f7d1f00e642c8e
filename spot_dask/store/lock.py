"""The writer's lock: tells a second coordinator in a friendly way that there is a first.

Advisory only. What keeps two coordinators apart is the epoch in the journal; the lock gives the
kernel's word on whether the first is still alive, also after it was killed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import socket
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from spot_dask.errors import StoreError

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
        return int(json.loads(path.read_bytes())["head"])
    except (OSError, ValueError, KeyError, TypeError):
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
                    f"{_run(path)} is being written by {other}: stop that one first, "
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


def _run(lock: Path) -> Path:
    return lock.parent.parent
