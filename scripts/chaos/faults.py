"""What can happen to the processes of a cluster; chance picks what, to whom and when."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from chaos.services import CONT, KILL, STOP, TERM, Service, send
from chaos.trainings import Fault

SHORT, LONG = (1.0, 5.0), (20.0, 24.0)
"""Seconds of a pause or a partition that trainings survive, and of one they cannot be expected to.

Between them lies ``TCP_SECONDS``, after which Dask takes a connection for dead.
"""

TCP_SECONDS = 12

WEIGHTS: dict[str, float] = {
    "worker killed": 3,
    "worker terminated": 2,
    "worker stopped": 3,
    "nanny killed": 2,
    "nanny terminated": 2,
    "nanny stopped": 1,
    "training killed": 2,
    "training terminated": 1,
    "training stopped": 2,
    "coordinator killed": 5,
    "coordinator terminated": 2,
    "coordinator stopped": 2,
    "coordinator cut off": 2,
    "coordinator cut off for long": 1,
    "scheduler killed": 1,
    "scheduler terminated": 0.5,
    "scheduler stopped": 2,
    "worker cut off": 2,
    "worker cut off for long": 1,
}
"""Kind of fault -> how often it is picked, relative to the others."""


TARGETS = ("worker", "nanny", "training", "coordinator", "scheduler")


@dataclass
class Cluster:
    """The services of a run by their part in it."""

    scheduler: Service
    coordinator: Service
    workers: Sequence[Service]  # spot-dask worker
    nannies: Sequence[Service]  # plain dask worker, with a nanny

    def __iter__(self) -> Iterator[Service]:
        return iter([self.scheduler, *self.workers, *self.nannies, self.coordinator])


@dataclass
class Mischief:
    """Does faults and remembers them; ``tend`` gives back what was stopped or cut off."""

    run: str
    cluster: Cluster
    chance: random.Random
    targets: Sequence[str] = TARGETS
    done: list[Fault] = field(default_factory=list)
    _pending: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _hurt: set[str] = field(default_factory=set)
    _told: set[int] = field(default_factory=set)  # processes that were told to end

    def possible(self) -> dict[str, float]:
        """The kinds that this machine allows."""
        cut = any(service.namespace is not None for service in self.cluster)
        return {
            kind: weight
            for kind, weight in WEIGHTS.items()
            if (cut or "cut off" not in kind) and kind.startswith(tuple(self.targets))
        }

    def strike(self) -> None:
        """One fault, if whoever was picked is there and not in trouble already."""
        kinds = self.possible()
        (kind,) = self.chance.choices(list(kinds), list(kinds.values()))
        target, _, what = kind.partition(" ")
        service = self._pick(target, what)
        if service is None or service.pid is None or service.label in self._hurt:
            return
        if what.startswith("cut off"):
            self._cut_off(kind, service, LONG if what.endswith("long") else SHORT)
            return
        pid = self._process(target, service)
        if pid is not None:
            self._signal(kind, target, what, service, pid)

    def tend(self, *, at_once: bool = False) -> None:
        """Give back what was stopped or cut off for long enough."""
        now = time.time()
        for item in list(self._pending):
            moment, index, restore = item
            if now >= moment or at_once:
                restore()
                self._pending.remove(item)
                self.done[index] = replace(self.done[index], ended=time.time())
                self._hurt.discard(self.done[index].label)

    def _pick(self, target: str, what: str) -> Service | None:
        match target:
            case "scheduler":
                return self.cluster.scheduler
            case "coordinator":
                return self.cluster.coordinator
            case "nanny":
                return self.chance.choice(self.cluster.nannies)
        workers = [*self.cluster.workers, *self.cluster.nannies]
        if what.startswith("cut off"):
            workers = [worker for worker in workers if worker.namespace is not None]
        return self.chance.choice(workers)

    def _process(self, target: str, service: Service) -> int | None:
        if target == "training":
            running = service.trainings(self.run)
            return self.chance.choice(running) if running else None
        if target == "worker" and service in self.cluster.nannies:
            return service.worker()
        return service.pid

    def _signal(self, kind: str, target: str, what: str, service: Service, pid: int) -> None:
        number = {"killed": KILL, "terminated": TERM, "stopped": STOP}[what]
        if number == TERM and pid in self._told:
            return  # told twice, a coordinator stops its trainings, as it should
        began = time.time()
        if not send(pid, number):
            return
        self._told |= {pid} if number == TERM else set()
        # A training that is told to end goes on, and who coordinates it is no reason to end.
        lethal = what != "stopped" and target != "coordinator" and kind != "training terminated"
        only = pid if target == "training" else None
        self.done.append(Fault(kind, service.label, began, began, lethal, only))
        if what == "stopped":
            self._later(SHORT, lambda: send(pid, CONT), service)

    def _cut_off(self, kind: str, service: Service, seconds: tuple[float, float]) -> None:
        namespace = service.namespace
        if namespace is None:
            return
        namespace.cut(off=True)
        lethal = seconds is LONG and service is not self.cluster.coordinator
        self.done.append(Fault(kind, service.label, time.time(), float("inf"), lethal))
        self._later(seconds, lambda: namespace.cut(off=False), service)

    def _later(
        self, seconds: tuple[float, float], restore: Callable[[], object], service: Service
    ) -> None:
        index, moment = len(self.done) - 1, time.time() + self.chance.uniform(*seconds)
        self.done[index] = replace(self.done[index], ended=float("inf"))
        self._hurt.add(service.label)
        self._pending.append((moment, index, lambda: (restore(), None)[1]))
