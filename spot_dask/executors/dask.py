"""Trials on a Dask cluster, embedded in this process or reached by address.

A trial is one Dask task, pinned to the worker whose slot the coordinator chose, under a key of
its own for every attempt. The task supervises the training, which runs in another process, and
returns whatever happens; so Dask neither retries nor moves it, and a worker that dies takes
down nothing but what ran there.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import cloudpickle
from distributed import Client, Future
from distributed.scheduler import KilledWorker, NoValidWorkerError, NoWorkerError

from spot_dask.coordinator import Attached, Beat, Event, Finished, Left, Reported
from spot_dask.errors import ClusterError
from spot_dask.executors.cluster import CONNECT_SECONDS
from spot_dask.executors.page import open_page
from spot_dask.executors.workers import ANSWER_SECONDS, Members, ask
from spot_dask.records import Failure, Outcome, Status, Trial
from spot_dask.tasks import Task
from spot_dask.worker import supervisor
from spot_dask.worker.heartbeat import task_key, topic
from spot_dask.worker.limits import Conditions
from spot_dask.worker.pipe import Attempt
from spot_dask.worker.training_main import UNFIT

logger = logging.getLogger(__name__)


DASKS_OWN = (KilledWorker, NoValidWorkerError, NoWorkerError)
"""What the scheduler raises in a task's name."""

GATHER_SECONDS = 60.0
"""How long a finished training's (small) result may take to arrive."""

FORGOTTEN = Outcome(
    Status.LOST, error=Failure("Cancelled", "the scheduler does not know the task any more")
)


class _Cut(NamedTuple):
    """An attempt that cannot be followed any more, since the client has lost its connection."""

    number: int
    attempt: int
    worker: str


class DaskExecutor:
    """Runs a task's trials on the workers of a Dask cluster.

    A worker offers as many slots as it advertises of the resource ``GPU``, or else as it has
    threads. What runs is published on the scheduler, so that it goes on without its coordinator
    and the next one of the run attaches to it; workers tell ``keep`` what comes of it, lest the
    scheduler be gone by then. ``owned``: the client (and an embedded cluster) ends with us.
    """

    def __init__(
        self,
        client: Client,
        task: Task,
        run_id: str,
        *,
        owned: bool,
        conditions: Conditions | None = None,
        keep: supervisor.Keep | None = None,
    ) -> None:
        self._client = client
        self._conditions = conditions or Conditions()
        self._task = cloudpickle.dumps(task)
        self._run_id = run_id
        self._owned = owned
        self._events: queue.SimpleQueue[Event | _Cut | BaseException | None] = queue.SimpleQueue()
        self._futures: dict[str, tuple[str, Future]] = {}  # key -> (worker, future)
        # An embedded cluster ends with this process: nobody could attach to what runs there.
        self._publishes = client.cluster is None or not owned
        self._members = Members(client, self._conditions.limits, owned=not self._publishes)
        self._keep = keep if self._publishes else None
        self._published = Published(client, run_id)
        self._settled: list[str] = []  # keys whose ends were handed out by the last wait()
        self._cut: list[_Cut] = []
        self._comm = client.scheduler_comm
        self._subscribe()
        self.page = open_page(client, run_id)
        self._attached: list[Event] = list(self._attach()) if self._publishes else []

    concurrent = True

    def now(self) -> float:
        return time.time()

    def start(self, trial: Trial, attempt: int, worker: str) -> None:
        key = self._published.key(trial.number, attempt)
        future = self._client.submit(
            supervisor.run_trial,
            self._task,
            trial,
            attempt,
            self._run_id,
            self._conditions,
            self._keep,
            key=key,
            pure=False,
            workers=[worker],
            allow_other_workers=False,
            retries=0,
            resources=self._members.resources(worker),
        )
        self._follow(trial.number, attempt, worker, future)
        if self._publishes:
            self._published.add(key, worker, future)

    def defer(self, work: Callable[[], Event]) -> None:
        def run() -> None:
            try:
                self._events.put(work())
            except BaseException as error:  # the coordinator's to see
                self._events.put(error)

        # A daemon: a run that ends need not wait for a proposal that nobody wants any more.
        threading.Thread(target=run, name="spot-dask-proposal", daemon=True).start()

    def listen(self, hear: Callable[[Event], object]) -> None:
        """Nothing happens in the thread that waits."""

    def wait(self, seconds: float) -> list[Event]:
        self._check_connection()
        self._settle()  # what was handed out is in the store by now
        if not self._futures:
            self._members.refuse_none_fit()
        events, self._attached = self._attached, []
        events += self._regain()
        events += self._members.changes()
        events += self._arrived(0 if events else seconds)
        for event in events:
            self._forget(event)
        return events

    def _arrived(self, seconds: float) -> list[Event]:
        """What has been put into the queue; waits up to ``seconds`` for the first."""
        events: list[Event] = []
        try:
            item = self._events.get(timeout=seconds)
            while True:
                if isinstance(item, BaseException):
                    raise item
                if isinstance(item, _Cut):
                    self._cut.append(item)
                elif item is not None:
                    events += [*self._refused(item), item]
                item = self._events.get_nowait()
        except queue.Empty:
            return events

    def _refused(self, event: Event) -> list[Event]:
        """A worker that cannot even load the task gets no more trials, before any is retried."""
        if not isinstance(event, Finished):
            return []
        error = event.outcome.error
        if error is None or error.type != UNFIT:
            return []
        return self._members.refuse(event.outcome.worker, error.message)

    def stop(self, number: int, attempt: int, worker: str) -> None:
        which = (self._run_id, (number, attempt))
        ask(self._client, supervisor.stop, *which, workers=[worker])

    def stop_early(self, number: int, attempt: int, worker: str) -> None:
        which = (self._run_id, (number, attempt))
        ask(self._client, supervisor.stop_early, *which, workers=[worker])

    def kill(self) -> None:
        workers = {worker for worker, _ in self._futures.values()}
        if here := sorted(worker for worker in workers if worker in self._members):
            ask(self._client, supervisor.stop, self._run_id, workers=here).join(ANSWER_SECONDS)
        self._settled += self._futures
        self._settle()
        self._futures.clear()

    def close(self) -> None:
        running = self._client.status == "running"
        self._settle()
        self._published.close(reachable=running)
        if running:
            self._client.unsubscribe_topic("all")
            self._client.unsubscribe_topic(topic(self._run_id))
        self._futures.clear()
        if self._owned:
            cluster = self._client.cluster
            self._client.close()
            if cluster is not None:
                cluster.close()
                supervisor.close()  # the embedded worker's processes are this process's children

    def _follow(self, number: int, attempt: int, worker: str, future: Future) -> None:
        self._futures[self._published.key(number, attempt)] = (worker, future)
        future.add_done_callback(lambda f: self._on_done(f, number, attempt, worker))

    # ------------------------------------------------------------ what outlives a coordinator

    def _attach(self) -> Iterator[Event]:
        """Follow what an earlier coordinator has left: what is published, and what just runs."""
        here = self._client.scheduler_info(n_workers=-1)["workers"]
        known = list(self._published.known())
        for item in known:
            future = self._published.future(item)
            if item.worker in here:
                yield Attached(item.number, item.attempt, item.worker)
                self._follow(item.number, item.attempt, item.worker, future)
            elif self._client.who_has([future])[future.key]:
                # Its worker has left, and has handed the result over to another one.
                yield Attached(item.number, item.attempt, item.worker)
                outcome = replace(fetch(future), worker=item.worker)
                yield from (Finished(item.number, item.attempt, outcome), Left(item.worker))
            else:
                self._published.drop([self._published.key(item.number, item.attempt)])
        for number, attempt, worker in self._unpublished({(k.number, k.attempt) for k in known}):
            yield Attached(number, attempt, worker)
            self._await(number, attempt, worker)

    def _unpublished(self, known: set[Attempt]) -> list[_Cut]:
        """Attempts that go on, with their workers, though Dask has forgotten their tasks.

        It has where their coordinator was gone before it had published them.
        """
        answers: dict[str, Any] = {}
        ask(self._client, supervisor.going_on, self._run_id, answers=answers).join(ANSWER_SECONDS)
        told = ((w, attempts) for w, attempts in answers.items() if isinstance(attempts, list))
        return [
            _Cut(n, a, worker) for worker, found in told for n, a in found if (n, a) not in known
        ]

    def _await(self, number: int, attempt: int, worker: str) -> None:
        """Follow such an attempt by a task of its own."""
        future = self._client.submit(
            supervisor.await_end,
            self._run_id,
            (number, attempt),
            key=f"{self._published.key(number, attempt)}:awaited",
            pure=False,
            workers=[worker],
            allow_other_workers=False,
            retries=0,
        )
        self._follow(number, attempt, worker, future)
        self._published.add(self._published.key(number, attempt), worker, future)

    def _settle(self) -> None:
        """Let the scheduler forget what has ended."""
        settled, self._settled = self._settled, []
        if self._publishes:
            self._published.drop(settled)

    # ------------------------------------------------------------ what happens on the cluster

    def _on_news(self, event: tuple[float, Any]) -> None:
        """Runs in the client's event loop for every heartbeat, and whatever trainings report."""
        _, message = event
        for report in message.get("reports", ()):
            self._events.put(Reported(*message["attempt"], *report))
        if "attempts" in message:
            attempts = tuple((int(n), int(a)) for n, a in message["attempts"])
            self._events.put(Beat(message["worker"], attempts))

    def _on_done(self, future: Future, number: int, attempt: int, worker: str) -> None:
        """Runs in a thread of the client: fetch the result at once, before its worker can die."""
        if future.cancelled():  # nobody but the client itself does that, where its connection broke
            self._events.put(_Cut(number, attempt, worker))
            return
        outcome = replace(fetch(future), worker=worker)
        self._events.put(Finished(number, attempt, outcome))

    def _on_membership(self, event: tuple[float, Any]) -> None:
        """Runs in the client's event loop for every change of the cluster's membership."""
        _, message = event
        if not isinstance(message, dict):
            return
        if message.get("action") == "remove-worker":
            self._events.put(Left(message["worker"]))
        elif message.get("action") in ("add-worker", supervisor.DRAINING):
            self._members.look_again()
            self._events.put(None)  # wake up the waiting coordinator

    def _check_connection(self) -> None:
        deadline = time.monotonic() + CONNECT_SECONDS
        while self._client.status != "running":
            if self._client.status == "closed" or time.monotonic() > deadline:
                raise ClusterError(
                    "the Dask scheduler is gone; every finished training is in the store: "
                    "start a scheduler and continue with 'spot-dask resume'"
                )
            time.sleep(0.1)

    def _regain(self) -> list[Event]:
        """After a lost connection: hear again what happens, and follow again what runs still.

        The client connects again by itself, but forgets its futures and what it listened to.
        """
        if self._client.scheduler_comm is not self._comm:
            self._comm = self._client.scheduler_comm
            self._members.look_again()
            self._subscribe()
        cut, self._cut = self._cut, []
        cut = [c for c in cut if self._published.key(c.number, c.attempt) in self._futures]
        try:
            known = {(k.number, k.attempt): k for k in self._published.known()} if cut else {}
            hidden = {c for c in cut if (c.number, c.attempt) not in known}
            going_on = set(self._unpublished(set(known))) if hidden else set()
            for number, attempt, worker in cut:
                if (number, attempt) in known:
                    future = self._published.future(known[number, attempt])
                    self._follow(number, attempt, worker, future)
            for number, attempt, worker in hidden & going_on:
                self._await(number, attempt, worker)
        except (OSError, TimeoutError, asyncio.CancelledError) as error:
            logger.warning("the scheduler does not tell what it knows (%r); asking again", error)
            self._cut += cut
            return []
        return [Finished(n, a, replace(FORGOTTEN, worker=w)) for n, a, w in hidden - going_on]

    def _subscribe(self) -> None:
        self._client.subscribe_topic("all", self._on_membership)
        self._client.subscribe_topic(topic(self._run_id), self._on_news)

    def _forget(self, event: Event) -> None:
        """Drop the futures of what has ended, so that the scheduler can forget the tasks."""
        match event:
            case Finished(number, attempt):
                key = self._published.key(number, attempt)
                self._futures.pop(key, None)
                self._settled.append(key)
            case Left(worker):
                self._members.leave(worker)
                for key in [k for k, (w, _) in self._futures.items() if w == worker]:
                    del self._futures[key]
                    self._settled.append(key)


@dataclass(frozen=True)
class Known:
    """A task of the run that the scheduler keeps."""

    number: int
    attempt: int
    worker: str
    name: str


class Published:
    """The published tasks of a run. What takes a round trip is done in a thread of its own."""

    def __init__(self, client: Client, run_id: str) -> None:
        self._client = client
        self._pattern = re.compile(rf"spot:{re.escape(run_id)}:(\d+):a(\d+)@(.+)")
        self._run_id = run_id
        self._names: dict[str, str] = {}  # key -> name
        self._errands = ThreadPoolExecutor(1, "spot-dask-errands")

    def key(self, number: int, attempt: int) -> str:
        """The key of an attempt's task."""
        return task_key(self._run_id, number, attempt)

    def known(self) -> Iterator[Known]:
        """What the scheduler keeps of the run now."""
        for name in self._client.list_datasets():
            found = self._pattern.fullmatch(str(name))
            if found is not None:
                number, attempt, worker = int(found[1]), int(found[2]), found[3]
                self._names[self.key(number, attempt)] = name
                yield Known(number, attempt, worker, name)

    def future(self, known: Known) -> Future:
        """The task itself."""
        (future,) = self._client.get_dataset(known.name)
        return future

    def add(self, key: str, worker: str, future: Future) -> None:
        """Have the scheduler keep a task, and its result, also without us."""
        self._errands.submit(self._publish, key, f"{key}@{worker}", future)

    def drop(self, keys: Iterable[str]) -> None:
        """Let the scheduler forget what has ended."""
        for key in keys:
            self._errands.submit(self._unpublish, key)

    def close(self, *, reachable: bool) -> None:
        """Finish what is under way, if the scheduler is there to hear of it."""
        self._errands.shutdown(wait=reachable, cancel_futures=not reachable)

    def _publish(self, key: str, name: str, future: Future) -> None:
        try:
            self._client.publish_dataset([future], name=name, override=True)
            self._names[key] = name
        except Exception as error:
            logger.warning("trial %s would not outlive this coordinator: %r", key, error)

    def _unpublish(self, key: str) -> None:
        name = self._names.pop(key, None)
        try:
            if name is not None:
                self._client.unpublish_dataset(name)
        except Exception as error:
            logger.warning("the scheduler goes on keeping %s: %r", name, error)


def fetch(future: Future) -> Outcome:
    """The outcome a finished task returned; LOST where Dask has none to give.

    The supervisor of a training never raises. So what a task has raised is due to its worker,
    which could not even unpickle the call: then the error's type is ``UNFIT``.
    """
    try:
        outcome: Outcome = future.result(timeout=GATHER_SECONDS)
        return outcome
    except DASKS_OWN as error:
        return _lost(type(error).__name__, error)
    except (Exception, asyncio.CancelledError) as error:
        if future.status == "error":
            cause = error.__cause__ or error
            return _lost(UNFIT, cause, f"{type(cause).__name__}: ")
        return _lost(type(error).__name__, error)  # the worker died with the result


def _lost(kind: str, error: BaseException, before: str = "") -> Outcome:
    message = str(error).strip() or "no message"
    return Outcome(Status.LOST, error=Failure(kind, before + message.splitlines()[0]))
