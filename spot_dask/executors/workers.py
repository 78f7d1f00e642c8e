"""The workers of a cluster: which of them can train, and how many trials each takes."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from distributed import Client
from distributed.comm import CommClosedError

from spot_dask.coordinator import Event, Joined, Left
from spot_dask.errors import ClusterError, warn_once
from spot_dask.worker import supervisor
from spot_dask.worker.limits import Limits

logger = logging.getLogger(__name__)

LOOK_SECONDS = 30.0
"""How often the workers known here are compared with those the scheduler knows."""

ANSWER_SECONDS = 10.0
"""How long workers may take to answer; one that hangs is not waited for."""

PATIENCE_SECONDS = 0.2
"""How often it is asked, while workers are to answer, whether there are other ones by now."""

REFUSED_SECONDS = 600.0
"""How long a worker that could not load the task gets no trials; a file system may come back."""


RESTARTS, RESTART_SECONDS = 3, 300.0
"""A worker that its nanny has started again so often within so many seconds gets no trials."""


class Nannies:
    """What Dask's nannies do to the workers of a ``dask worker``.

    They look at the memory of the worker itself, which trains nothing: at 80 % of its
    ``memory_limit`` it is paused, at 95 % killed and started again, for ever where the limit is
    less than what any worker takes (https://distributed.dask.org/en/stable/worker-memory.html).
    """

    def __init__(self) -> None:
        self._started: dict[str, dict[str, float]] = {}  # by nanny: when a directory was first seen

    def complaint(self, worker: str, info: Mapping[str, Any]) -> str | None:
        """What is wrong with a worker that is killed again and again; None with any other."""
        nanny = info.get("nanny")
        if nanny is None:
            return None
        now, started = time.monotonic(), self._started.setdefault(nanny, {})
        started.setdefault(str(info.get("local_directory")), now)  # a new one at each start
        self._started[nanny] = {d: t for d, t in started.items() if now - t < RESTART_SECONDS}
        if len(self._started[nanny]) <= RESTARTS:
            return None
        limit, why = int(info.get("memory_limit") or 0), "its log tells why"
        if limit:
            why = (
                f"its memory_limit of {limit / 1e6:.0f} MB is that of the worker, not of its "
                "trainings; start it with --memory-limit 0, or as 'spot-dask worker'"
            )
        return f"the worker {worker} is started again and again by its nanny: {why}"

    @staticmethod
    def paused(worker: str, info: Mapping[str, Any]) -> str | None:
        """What is wrong with a worker that Dask has paused for its memory; None with any other."""
        limit = int(info.get("memory_limit") or 0)
        used = int((info.get("metrics") or {}).get("memory") or 0)
        if info["status"] != "paused" or used < limit / 2 or not limit:
            return None
        return (
            f"the worker {worker} is paused by Dask, since its own memory comes near its "
            f"memory_limit of {limit / 1e6:.0f} MB; start it with --memory-limit 0, or as "
            "'spot-dask worker'"
        )


class Workers:
    """The workers of a cluster as a run sees them. ``owned``: the cluster is the run's own.

    A worker without our version of spot-dask has no slots, and one that could not load the study's
    task has none for a while.
    """

    def __init__(self, client: Client, limits: Limits, *, owned: bool) -> None:
        self._client = client
        self._limits = limits
        self._owned = owned
        self._slots: dict[str, int] = {}
        self._gpus: dict[str, int] = {}  # of workers that advertise any
        self._complaints: dict[str, str | None] = {}  # None: a worker that is fit
        self._refused: dict[str, float] = {}  # when; in order
        self._nannies = Nannies()
        self._next_look = 0.0

    def __contains__(self, worker: str) -> bool:
        return worker in self._slots

    def look_again(self) -> None:
        """Have the next ``changes`` ask the scheduler, since something may have changed."""
        self._next_look = 0.0

    def changes(self) -> list[Event]:
        """Events that bring the workers known here up to those the scheduler knows, if it is time.

        Raises ClusterError if a trial asks for more GPUs than any worker has.
        """
        if time.monotonic() < self._next_look:
            return []
        self._next_look = time.monotonic() + LOOK_SECONDS
        try:
            workers = self._client.scheduler_info(n_workers=-1)["workers"]
        except (OSError, TimeoutError, asyncio.CancelledError) as error:
            logger.warning("the scheduler does not tell its workers (%r); asking again", error)
            return []
        gpus = {a: int(i["resources"].get("GPU", 0)) for a, i in workers.items()}
        self._gpus = {address: n for address, n in gpus.items() if n}
        if self._limits.gpus and self._client.cluster is None and workers and not self._slots:
            refuse_too_few(self._limits, list(gpus.values()))
        self._judge(workers.keys())
        self._look_at_nannies(workers)
        slots = {}
        for address, info in workers.items():
            fit = info["status"] == "running" and self._complaints.get(address, "?") is None
            threads, here = int(info["nthreads"]), gpus[address]
            if not self._owned and self._limits.gpus != 0 and (self._limits.gpus or here):
                threads = min(threads, self._limits.slots(here))
            slots[address] = threads if fit else 0
        joined = [Joined(a, n, _host_of(a)) for a, n in slots.items() if self._slots.get(a) != n]
        left = [Left(a) for a in self._slots if a not in slots]
        self._slots = slots
        return [*left, *joined]

    def _judge(self, workers: Sequence[str]) -> None:
        """Ask workers that are new here for their spot-dask; forgive one that was refused."""
        self._complaints = {a: c for a, c in self._complaints.items() if a in workers}
        self._refused = {a: since for a, since in self._refused.items() if a in workers}
        if self._refused:
            # One at a time: a trial that fails to start there is retried where trials do start.
            worker, since = next(iter(self._refused.items()))
            if time.monotonic() - since >= REFUSED_SECONDS:
                del self._refused[worker], self._complaints[worker]
        new = [address for address in workers if address not in self._complaints]
        answers: dict[str, Any] = {}
        if new:
            asking = ask(self._client, supervisor.version, workers=new, answers=answers)
            deadline = time.monotonic() + ANSWER_SECONDS
            # One that has left, as is told meanwhile, would not be heard of.
            while asking.is_alive() and self._next_look and time.monotonic() < deadline:
                asking.join(PATIENCE_SECONDS)
        # One that died meanwhile has not answered, whatever it has.
        heard = {a: w for a, w in answers.items() if not isinstance(w, CommClosedError)}
        for address, answer in heard.items():
            self._complain(address, unfit(f"worker {address}", answer))
        fit = [address for address in heard if self._complaints[address] is None]
        if fit and not self._owned:
            ask(self._client, supervisor.prepare, workers=fit)

    def _look_at_nannies(self, workers: Mapping[str, Mapping[str, Any]]) -> None:
        """Refuse workers that their nannies kill again and again; name those that Dask pauses."""
        for worker, info in workers.items():
            if (paused := self._nannies.paused(worker, info)) is not None:
                warn_once(logger, f"{paused}; it gets no trials meanwhile")
            complaint = self._nannies.complaint(worker, info)
            if complaint is not None and self._complaints.get(worker) is None:
                warn_once(logger, f"{complaint}; it gets no trials")
                self._complaints[worker] = complaint

    def leave(self, worker: str) -> None:
        """The worker is gone."""
        self._slots.pop(worker, None)

    def refuse(self, worker: str, why: str) -> list[Event]:
        """Events that take the slots of a worker that cannot train."""
        if self._complaints.get(worker) is not None or worker not in self._slots:
            return []
        complaint = f"the study's task cannot be loaded in a training's process: {why}"
        if not self._owned:
            complaint = f"the worker {worker} cannot load the study's task ({why}); put that right"
        self._complain(worker, complaint, f" for {REFUSED_SECONDS / 60:.0f} minutes")
        self._slots[worker] = 0
        self._refused[worker] = time.monotonic()
        return [Joined(worker, 0, _host_of(worker))]

    def refuse_none_fit(self) -> None:
        """Raise ClusterError if there are workers but none that can train."""
        complaints = list(self._complaints.values())
        if complaints and all(complaints):
            raise ClusterError(str(complaints[0]))

    def resources(self, worker: str) -> dict[str, float] | None:
        """What Dask is to count; a little less, as shares such as 1/49 do not add up exactly."""
        each = 1.0 if self._limits.gpus is None else self._limits.gpus
        return {"GPU": each * (1 - 1e-9)} if each and worker in self._gpus else None

    def _complain(self, worker: str, complaint: str | None, how_long: str = "") -> None:
        self._complaints[worker] = complaint
        if complaint is not None:
            logger.warning("%s; it gets no trials%s", complaint, how_long)


def ask(
    client: Client, *call: Any, answers: dict[str, Any] | None = None, **options: Any
) -> threading.Thread:
    """Have workers call a function, in a thread; what each says or raises goes to answers."""

    def run() -> None:
        try:
            said = client.run(*call, on_error="return", **options)
        except Exception as error:  # Dask's, of no common kind: there is no answer
            logger.info("workers could not be reached: %r", error)
        else:
            (answers if answers is not None else {}).update(said)

    thread = threading.Thread(target=run, name="spot-dask-request", daemon=True)
    thread.start()
    return thread


def unfit(who: str, answer: str | Exception) -> str | None:
    """What is wrong with a version of spot-dask, or with the failure to tell it; None: nothing."""
    ours = supervisor.version()
    if answer == ours:
        return None
    lacks = isinstance(answer, Exception)
    has = f"cannot import spot_dask ({answer!r})" if lacks else f"has spot-dask {answer}"
    return f"the {who} {has}; install spot-dask {ours}, as here, in its environment"


def refuse_too_few(limits: Limits, gpus: Sequence[int]) -> None:
    """Raise ClusterError if no worker, of so many GPUs each, could ever run a trial."""
    if not any(limits.slots(n) for n in gpus):
        raise ClusterError(
            f"a trial asks for {limits.gpus:g} GPUs, but no worker has more than {max(gpus)}; "
            "lower gpus in the study, or start workers with --resources GPU=N"
        )


def _host_of(address: str) -> str:
    """The host of a worker's address; an address without one stands for itself."""
    return address.partition("://")[2].rpartition(":")[0] or address
