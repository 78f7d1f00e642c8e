"""The lock of a run in a directory: who writes it, and the last record that was acknowledged.

The lock is the kernel's, on an open file, and ends with the process that has it. It is only a
help: what keeps two coordinators apart are the epochs of the journal. What the file says is a hint,
for it is copied with the store, at another moment than the records.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import socket
import stat
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spot_dask.codec import load
from spot_dask.errors import StoreError
from spot_dask.outputs import PARTIAL
from spot_dask.store.objects import Noted

logger = logging.getLogger(__name__)

_LINE = 1024
_LONGEST = 8192
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
_UNSUPPORTED = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
_open = os.open  # the tests that count what writes do not count what reads
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class WriterLock:
    """A held lock: the descriptor of the lock file, locked by the kernel until it is closed.

    The file says who holds it and the last record that was acknowledged; ``noted`` is what it said
    when the lock was taken.
    """

    descriptor: int
    holder: str
    noted: Noted

    @classmethod
    def acquire(
        cls, path: Path, place: Path, synced: bool, *, takeover: bool = False
    ) -> WriterLock:
        """Take the lock at ``path``, to be at ``place``, of a run that is ``synced`` or not.

        Raises StoreError if another holds it, unless taking over.
        """
        who = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "since": time.time(),
            "path": str(place.parent.resolve() / place.name),
            "boot": "" if synced else _boot(),
        }
        before = noted(path)
        return cls(_acquire(path, who, before.head, takeover=takeover), _signature(who), before)

    def note(self, head: int) -> None:
        """Note the last acknowledged record, so that its removal by hand can be noticed."""
        with contextlib.suppress(OSError):  # the record is durable; the note is only a help
            _sign(self.descriptor, self.holder, head)

    def release(self) -> None:
        os.close(self.descriptor)


def noted(path: Path) -> Noted:
    """The last record acknowledged, as its writer has noted at ``path``.

    It is certain where this is the very file that was noted in, and neither a copy nor the other
    name of one (a hard link), unless the system was started anew since and records were not synced.
    """
    try:
        with open(path, "rb", opener=_regular) as file:
            found, said = os.fstat(file.fileno()), load(file.read(_LONGEST))
        same = found.st_nlink == 1 and said.get("inode") == found.st_ino
        return Noted(int(said["head"]), same and said["boot"] in ("", _boot()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return Noted()


def is_held(path: Path) -> bool:
    """Whether a process of this machine holds the lock; only looks, so it disturbs nobody."""
    try:
        found = path.stat()
        locks = Path("/proc/locks").read_text()
        held = (line.split() for line in locks.splitlines() if " FLOCK " in line)
        if not any(fields[-3].rpartition(":")[2] == str(found.st_ino) for fields in held):
            return False
        with open(path, "rb", opener=_regular) as file:
            return not _is_elsewhere(file.fileno(), path)
    except OSError:  # no lock was ever taken, or this system does not list its locks
        return False


def utc(seconds: float) -> str:
    """Seconds since the epoch as people read them."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def _boot() -> str:
    """What tells this start of the system from any other."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return "unknown"


def _regular(path: str, flags: int) -> int:
    """Open a file, without waiting for anybody; raises OSError where it is a FIFO or a device."""
    descriptor = _open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is no regular file")


def _acquire(path: Path, who: Mapping[str, Any], head: int, *, takeover: bool) -> int:
    while True:
        descriptor = os.open(path, _FLAGS, _mode(path))
        if not _lock(descriptor):
            other, elsewhere = _holder(descriptor), _is_elsewhere(descriptor, path)
            os.close(descriptor)
            if not (takeover or elsewhere):
                raise StoreError(
                    f"{path.parent.parent} is being written by {other}: stop that one first, "
                    "or take over (--takeover)"
                )
            return _replace(path, who, head)
        if not _is_still_at(descriptor, path):
            os.close(descriptor)  # someone took over between our opening and locking
            continue
        if os.fstat(descriptor).st_nlink > 1:  # what is noted here must not be read in a copy
            replaced = _replace(path, who, head)
            os.close(descriptor)
            return replaced
        _sign(descriptor, _signature(who), head)
        return descriptor


def _replace(path: Path, who: Mapping[str, Any], head: int) -> int:
    """Put a new lock, held by us, in place of one that another coordinator holds."""
    temporary = path.with_name(f".{uuid.uuid4().hex}{PARTIAL}")
    descriptor = os.open(temporary, _FLAGS | os.O_EXCL, _mode(path))
    _lock(descriptor)
    _sign(descriptor, _signature(who), head)
    temporary.replace(path)
    return descriptor


def _mode(path: Path) -> int:
    """What a lock file may allow: as the files beside it."""
    return 0o600 if path.parent.stat().st_mode & 0o077 == 0 else 0o666


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


def _is_elsewhere(descriptor: int, path: Path) -> bool:
    """Whether the lock was taken under another name, to which ``path`` is a hard link."""
    if os.fstat(descriptor).st_nlink == 1:
        return False
    try:
        there = Path(_said(descriptor)["path"])
        return there != path.parent.resolve() / path.name and there.samefile(path)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _signature(who: Mapping[str, Any]) -> str:
    return json.dumps(who)


def _sign(descriptor: int, holder: str, head: int) -> None:
    """Write the holder, an object in JSON, with the head as its last member."""
    # Padded, so that what a shorter line leaves of a longer one is no part of it.
    line = f'{holder[:-1]}, "inode": {os.fstat(descriptor).st_ino}, "head": {head}}}'
    os.pwrite(descriptor, line.ljust(_LINE).encode(), 0)


def _said(descriptor: int) -> Any:
    return json.loads(os.pread(descriptor, _LONGEST, 0))


def _holder(descriptor: int) -> str:
    try:
        holder = _said(descriptor)
        return f"process {holder['pid']} on {holder['host']} since {utc(holder['since'])}"
    except (ValueError, KeyError, TypeError):  # it has the lock, but has not signed yet
        return "another process"
