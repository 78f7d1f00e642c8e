"""The workers: which slots are free, and which hosts kill trial after trial.

A slot is taken from the start of an attempt until its end is known, also if the attempt has been
given up meanwhile: what nobody waits for any more still uses its machine.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field

STREAK = 3
"""Bad ends in a row, of different trials, without which a host is never suspected."""

CHANCE = 1e-3
"""A host is suspected when a streak as long as its own had at most this probability elsewhere."""

QUARANTINE_SECONDS = 600.0
"""How long a host gets no trials, at first; twice as long each time after."""

Attempt = tuple[int, int]
"""Trial number and attempt."""


@dataclass
class Worker:
    """A worker; ``free`` of its slots can be used now."""

    name: str
    host: str
    slots: int = 0
    taken: set[Attempt] = field(default_factory=set)
    silent: bool = False
    alone: bool = False  # its one attempt has it for itself
    free: int = 0


@dataclass
class Host:
    """How trials end on a host; no trials before ``until`` (seconds)."""

    ends: int = 0
    bad: int = 0
    streak: set[int] = field(default_factory=set)
    times: int = 0
    until: float = -math.inf


class Fleet:
    """All workers that are there; ``slots`` they have, ``free`` of them can be used now."""

    def __init__(self) -> None:
        self.free = 0
        self.slots = 0
        self._workers: dict[str, Worker] = {}
        self._hosts: dict[str, Host] = {}
        self._emptiest: list[tuple[int, str]] = []  # heap of (-free, name), also outdated ones
        self._reserved: str | None = None
        self._ends = self._bad = 0
        self._release = math.inf  # when the first quarantine ends

    def __len__(self) -> int:
        return len(self._workers)

    def __contains__(self, name: str) -> bool:
        return name in self._workers

    def join(self, name: str, slots: int, host: str) -> None:
        worker = self._worker(name)
        self.slots += slots - worker.slots
        worker.slots, worker.host, worker.silent = slots, host or name, False
        self._hosts.setdefault(worker.host, Host())
        self._count(worker)

    def leave(self, name: str) -> None:
        worker = self._workers.pop(name, None)
        if worker is not None:
            self.free -= worker.free
            self.slots -= worker.slots
        if name == self._reserved:
            self._reserved = None

    def take(self, name: str, attempt: Attempt, *, alone: bool = False) -> None:
        """A slot of the worker (which may not have joined yet) is taken by an attempt."""
        worker = self._worker(name)
        worker.taken.add(attempt)
        worker.alone = worker.alone or alone
        if name == self._reserved:
            self._reserved = None
        self._count(worker)

    def give(self, name: str, attempt: Attempt) -> None:
        """An attempt has ended there; its slot is free."""
        worker = self._workers.get(name)
        if worker is not None and attempt in worker.taken:
            worker.taken.discard(attempt)
            worker.alone = False
            self._count(worker)

    def hear(self, name: str, *, alive: bool) -> None:
        """A worker has been heard of, or not for too long: then nothing is started there."""
        worker = self._workers.get(name)
        if worker is not None and worker.silent is alive:
            worker.silent = not alive
            self._count(worker)

    def taken(self, name: str) -> frozenset[Attempt]:
        """The attempts that have slots of a worker."""
        worker = self._workers.get(name)
        return frozenset() if worker is None else frozenset(worker.taken)

    def emptiest(self) -> str | None:
        """The worker with the most free slots; None if there is no free slot."""
        while self._emptiest:
            free, name = self._emptiest[0]
            worker = self._workers.get(name)
            if worker is not None and worker.free == -free:
                return name
            heapq.heappop(self._emptiest)
        return None

    def vacant(self) -> str | None:
        """A worker on which nothing runs. Where there is none, one is kept from now on."""
        if self._reserved is not None and not self._usable(self._workers[self._reserved]):
            self.unreserve()
        name = self._reserved or self.emptiest()
        if name is None:
            return None
        worker = self._workers[name]
        if not worker.taken:
            return name
        self._reserved = name
        self._count(worker)
        return None

    def unreserve(self) -> None:
        """Nothing waits for a vacant worker any more."""
        name, self._reserved = self._reserved, None
        if name is not None:
            self._count(self._workers[name])

    # ------------------------------------------------------------ quarantine

    def ended(self, name: str, number: int, *, bad: bool, now: float) -> str | None:
        """Note how an attempt ended on a worker; the host's name if that puts it in quarantine."""
        worker = self._workers.get(name)
        if worker is None:
            return None
        host = self._hosts.setdefault(worker.host, Host())
        host.ends, self._ends = host.ends + 1, self._ends + 1
        if not bad:
            host.streak, host.times = set(), 0
            return None
        host.bad, self._bad = host.bad + 1, self._bad + 1
        host.streak.add(number)
        # The share of bad ends on the other hosts explains a streak by chance, or does not.
        share = (self._bad - host.bad + 1) / (self._ends - host.ends + 2)
        chance = len(host.streak) * math.log(share)
        if now < host.until or len(host.streak) < STREAK or chance >= math.log(CHANCE):
            return None
        if not any(
            w.slots and w.host != worker.host and self._hosts[w.host].until <= now
            for w in self._workers.values()
        ):
            return None  # nobody else could train meanwhile
        host.until = now + QUARANTINE_SECONDS * 2**host.times
        host.times += 1
        self._release = min(self._release, host.until)
        self._recount()
        return worker.host

    def release(self, now: float) -> None:
        """End the quarantines that are over."""
        if now < self._release:
            return
        for host in self._hosts.values():
            if host.until <= now:
                host.until = -math.inf  # the streak stays: one more bad end, and it is back
        waiting = (h.until for h in self._hosts.values() if h.until > now)
        self._release = min(waiting, default=math.inf)
        self._recount()

    # ------------------------------------------------------------ counting

    def _worker(self, name: str) -> Worker:
        if name not in self._workers:
            self._workers[name] = Worker(name, name)
            self._hosts.setdefault(name, Host())
        return self._workers[name]

    def _usable(self, worker: Worker) -> bool:
        quarantined = self._hosts[worker.host].until > -math.inf
        return not (worker.silent or worker.alone or quarantined)

    def _count(self, worker: Worker) -> None:
        """Bring the free slots up to date after a worker has changed."""
        if not self._usable(worker) or worker.name == self._reserved:
            free = 0
        else:
            free = max(0, worker.slots - len(worker.taken))
        self.free += free - worker.free
        worker.free = free
        if free:
            heapq.heappush(self._emptiest, (-free, worker.name))
        if len(self._emptiest) > 64 + 4 * len(self._workers):
            self._emptiest = [(-w.free, w.name) for w in self._workers.values() if w.free]
            heapq.heapify(self._emptiest)

    def _recount(self) -> None:
        for worker in self._workers.values():
            self._count(worker)
