"""The processes of a training, how much memory they have, and what follows where that is too much.

One thread watches all trainings of a worker. What it looks at often is cheap: a number of pages of
each known process. Only where these add up to more than the limit are shared pages told apart,
which takes the kernel some 20 ms for each GB. It looks less often where that costs more than
``SHARE`` of a core.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TypeVar

PERIOD_SECONDS = 0.25
"""How often memory is looked at, where that is cheap."""

SHARE = 0.005
"""The most of one core that looking may take, whatever the machine and the number of trainings."""

FORGET_SECONDS = 60.0
"""How long a process is known for one of none of ours; its number may be another's by then."""

PAGE = os.sysconf("SC_PAGE_SIZE")

Owner = TypeVar("Owner")

Exceeded = Callable[[int, int], object]
"""Is told bytes and number of processes of a training that has more than it may."""


@dataclass
class WatchedProcess:
    """A training: ``pid`` leads a session of its own; what it has started are its ``members``."""

    pid: int
    limit: int
    exceeded: Exceeded
    members: set[int] = field(default_factory=set)


class MemoryWatch:
    """Watches the memory of trainings, each a process with all that it has started."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: dict[int, WatchedProcess] = {}
        self._strangers: set[int] = set()
        self._forget = 0.0
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()

    def begin(self, pid: int, limit: int, exceeded: Exceeded) -> None:
        """Call ``exceeded`` once if process ``pid`` comes to have more than ``limit`` bytes."""
        with self._lock:
            self._watched[pid] = WatchedProcess(pid, limit, exceeded)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._watch, name="spot-dask-memory", daemon=True
                )
                self._thread.start()

    def end(self, pid: int) -> None:
        """Watch process ``pid`` no more."""
        with self._lock:
            self._watched.pop(pid, None)
        self._wake.set()

    def _watch(self) -> None:
        while True:
            self._wake.clear()
            with self._lock:
                watched = list(self._watched.values())
                if not watched:
                    self._thread = None
                    return
            began = time.thread_time()
            self.look(watched)
            cost = time.thread_time() - began
            # Woken by an end, it sees whether it is still needed; it looks again as late as ever.
            deadline = time.monotonic() + max(PERIOD_SECONDS, cost / SHARE)
            while (left := deadline - time.monotonic()) > 0 and self._watched:
                self._wake.wait(left)
                self._wake.clear()

    def look(self, watched: Collection[WatchedProcess]) -> None:
        """See once how much memory these trainings have."""
        self._find_members(watched)
        for training in watched:
            if sum(map(resident, training.members)) <= training.limit:
                continue
            found = [proportional(pid) for pid in training.members]
            if (used := sum(found)) > training.limit:
                with self._lock:
                    going_on = self._watched.get(training.pid) is training
                    if going_on:
                        del self._watched[training.pid]
                if going_on:
                    training.exceeded(used, sum(size > 0 for size in found))

    def _find_members(self, watched: Collection[WatchedProcess]) -> None:
        """Bring the members up to date, by the parents and sessions of processes that are new."""
        here = processes()
        if time.monotonic() >= self._forget:
            self._forget = time.monotonic() + FORGET_SECONDS
            self._strangers.clear()
            for training in watched:
                training.members.clear()
        self._strangers &= here
        owner: dict[int, WatchedProcess] = {}
        for training in watched:
            training.members &= here
            training.members.add(training.pid)
            owner.update(dict.fromkeys(training.members, training))
        self._strangers |= adopt(
            owner, {pid: kin(pid) for pid in here - self._strangers - owner.keys()}
        )
        for pid, training in owner.items():
            training.members.add(pid)


def adopt(owner: dict[int, Owner], kins: dict[int, tuple[int, ...]]) -> set[int]:
    """Add processes whose parent or session is owned to the owner's; returns the others."""
    left, before = dict(kins), len(kins) + 1
    while len(left) < before:
        before = len(left)
        for pid, kin_of in list(left.items()):
            for relative in kin_of:
                if relative in owner:
                    owner[pid] = owner[relative]
                    del left[pid]
                    break
    return set(left)


def family(pid: int) -> set[int]:
    """A process and all that it has started which still hang together, whatever their sessions."""
    owner = {pid: pid}
    adopt(owner, {other: kin(other) for other in processes() - {pid}})
    return set(owner)


def processes() -> set[int]:
    """The numbers of all processes there are."""
    return {int(name) for name in os.listdir("/proc") if name.isdecimal()}  # noqa: PTH208


def kin(pid: int) -> tuple[int, ...]:
    """The parent and the session of a process (proc_pid_stat(5)); nothing if it is gone."""
    text = _read(pid, "stat")
    fields = text.rpartition(b")")[2].split(None, 5)  # a name may hold blanks and parentheses
    return (int(fields[1]), int(fields[3])) if len(fields) > 3 else ()


def resident(pid: int) -> int:
    """Bytes of memory of a process, shared pages included; 0 if it is gone."""
    fields = _read(pid, "statm").split()
    return int(fields[1]) * PAGE if len(fields) > 1 else 0


def proportional(pid: int) -> int:
    """Bytes of memory of a process, of pages that n processes share an nth each.

    Those of ``resident`` where the kernel does not tell (proc_pid_smaps(5), ``Pss``).
    """
    for line in _read(pid, "smaps_rollup").splitlines():
        if line.startswith(b"Pss:"):
            return int(line.split()[1]) * 1024
    return resident(pid)


def _read(pid: int, name: str) -> bytes:
    try:
        file = os.open(f"/proc/{pid}/{name}", os.O_RDONLY)
    except OSError:
        return b""
    try:
        return os.read(file, 4096)
    except OSError:  # it has ended meanwhile
        return b""
    finally:
        os.close(file)
