"""Trials on a Dask cluster, embedded in this process or reached by address.

A trial is one Dask task, pinned to the worker whose slot the coordinator chose, under a key of
its own for every attempt. The task supervises the training, which runs in another process, and
returns whatever happens; so Dask neither retries nor moves it, and a worker that dies takes
down nothing but what ran there.

Until the end of an attempt is in the store, its task is *published*: the scheduler keeps it, with
its result, as ``spot:RUN:TRIAL:aATTEMPT@WORKER``, also without a coordinator. The next coordinator
of the run finds it there.
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
from dataclasses import replace
from typing import Any, NamedTuple

from distributed import Client, Future
from distributed.scheduler import KilledWorker, NoValidWorkerError, NoWorkerError

from spot_dask import by_value, clock
from spot_dask.coordinator import Attached, Beat, Event, Finished, Left, Reported
from spot_dask.errors import ClusterError
from spot_dask.executors.cluster import CONNECT_SECONDS
from spot_dask.executors.page import open_page
from spot_dask.executors.workers import ANSWER_SECONDS, Workers, ask
from spot_dask.records import Failure, Outcome, Status, Trial
from spot_dask.secrets import masked
from spot_dask.tasks import Task
from spot_dask.worker import supervisor
from spot_dask.worker.heartbeat import task_key, topic
from spot_dask.worker.limits import Conditions
from spot_dask.worker.training_main import UNFIT

logger = logging.getLogger(__name__)

GATHER_SECONDS = 60.0
"""How long a finished training's (small) result may take to arrive."""

FORGOTTEN = Outcome(
    Status.LOST, error=Failure("Cancelled", "the scheduler does not know the task any more")
)


class PlacedAttempt(NamedTuple):
    """An attempt at a trial, and the address of the worker that was chosen for it."""

    number: int
    attempt: int
    worker: str


class DaskExecutor:
    """Runs a task's trials on the workers of a Dask cluster.

    A worker offers as many slots as it advertises of the resource ``GPU``, or else as it has
    threads. What runs is published on the scheduler, so that it goes on without its coordinator
    and the next one of the run attaches to it; workers call ``keep`` with its outcome, lest the
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
        self._task = by_value.dumps(task)
        self._run_id = run_id
        self._owned = owned
        # Events, attempts whose futures broke with the connection, errors to be raised, wake-ups.
        self._queue: queue.SimpleQueue[Event | PlacedAttempt | BaseException | None] = (
            queue.SimpleQueue()
        )
        self._futures: dict[PlacedAttempt, Future] = {}
        # An embedded cluster ends with this process: nobody could attach to what runs there.
        self._publishes = client.cluster is None or not owned
        self._published: set[PlacedAttempt] = set()
        self._errands = ThreadPoolExecutor(1, "spot-dask-errands")  # for round trips
        self._workers = Workers(client, self._conditions.limits, owned=not self._publishes)
        self._keep = keep if self._publishes else None
        self._settled: list[PlacedAttempt] = []  # their ends were handed out by the last wait()
        self._cut: list[PlacedAttempt] = []
        self._comm = client.scheduler_comm
        self._subscribe()
        self.page = open_page(client, run_id)
        self._attached: list[Event] = list(self._attach()) if self._publishes else []

    concurrent = True

    def now(self) -> float:
        return clock.now()

    def start(self, trial: Trial, attempt: int, worker: str) -> None:
        self._submit(
            PlacedAttempt(trial.number, attempt, worker),
            self._key(trial.number, attempt),
            supervisor.run_trial,
            self._task,
            trial,
            attempt,
            self._run_id,
            self._conditions,
            self._keep,
            resources=self._workers.resources(worker),
        )

    def defer(self, work: Callable[[], Event]) -> None:
        def run() -> None:
            try:
                self._queue.put(work())
            except BaseException as error:  # the coordinator's to see
                self._queue.put(error)

        # A daemon: a run that ends need not wait for a proposal that nobody wants any more.
        threading.Thread(target=run, name="spot-dask-proposal", daemon=True).start()

    def listen(self, hear: Callable[[Event], object]) -> None:
        """Nothing happens in the thread that waits."""

    def wait(self, seconds: float) -> list[Event]:
        self._check_connection()
        self._settle()  # what was handed out is in the store by now
        if not self._futures:
            self._workers.refuse_none_fit()
        events, self._attached = self._attached, []
        events += self._regain()
        events += self._workers.changes()
        gone = {event.worker for event in events if isinstance(event, Left)}
        for event in self._arrived(0 if events else seconds):
            # The scheduler tells of a worker that has left, and no longer lists it.
            if not isinstance(event, Left) or (
                event.worker not in gone and self._knows(event.worker)
            ):
                events.append(event)
        for event in events:
            match event:
                case Finished(number, attempt, outcome):
                    self._forget([PlacedAttempt(number, attempt, outcome.worker)])
                case Left(worker):
                    self._workers.leave(worker)
                    self._forget([placed for placed in self._futures if placed.worker == worker])
        return events

    def _knows(self, worker: str) -> bool:
        """Whether it has joined, or trains what an earlier coordinator has left."""
        return worker in self._workers or any(p.worker == worker for p in self._futures)

    def _arrived(self, seconds: float) -> list[Event]:
        """What has been put into the queue; waits up to ``seconds`` for the first."""
        events: list[Event] = []
        try:
            item = self._queue.get(timeout=seconds)
            while True:
                if isinstance(item, BaseException):
                    raise item
                if isinstance(item, PlacedAttempt):
                    self._cut.append(item)
                elif isinstance(item, Finished):
                    error = item.outcome.error
                    if error is not None and error.type == UNFIT:
                        # Its worker gets no more trials, before this one is retried.
                        events += self._workers.refuse(item.outcome.worker, error.message)
                    events.append(item)
                elif item is not None:
                    events.append(item)
                item = self._queue.get_nowait()
        except queue.Empty:
            return events

    def stop(self, number: int, attempt: int, worker: str) -> None:
        ask(self._client, supervisor.stop, self._run_id, (number, attempt), workers=[worker])

    def stop_early(self, number: int, attempt: int, worker: str) -> None:
        ask(self._client, supervisor.stop_early, self._run_id, (number, attempt), workers=[worker])

    def kill(self) -> None:
        workers = {placed.worker for placed in self._futures}
        if here := sorted(worker for worker in workers if worker in self._workers):
            ask(self._client, supervisor.stop, self._run_id, workers=here).join(ANSWER_SECONDS)
        self._forget(list(self._futures))
        self._settle()

    def close(self) -> None:
        running = self._client.status == "running"
        self._settle()
        self._errands.shutdown(wait=running, cancel_futures=not running)
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

    def _key(self, number: int, attempt: int) -> str:
        return task_key(self._run_id, number, attempt)

    def _submit(self, placed: PlacedAttempt, key: str, *call: Any, **options: Any) -> None:
        """Have the worker of an attempt call a function that returns the attempt's outcome."""
        future = self._client.submit(
            *call,
            key=key,
            pure=False,
            workers=[placed.worker],
            allow_other_workers=False,
            retries=0,
            **options,
        )
        self._follow(placed, future)
        if self._publishes:
            self._errands.submit(self._publish, placed, future)

    def _follow(self, placed: PlacedAttempt, future: Future) -> None:
        self._futures[placed] = future
        future.add_done_callback(lambda done: self._on_done(done, placed))

    def _forget(self, over: Iterable[PlacedAttempt]) -> None:
        """Drop the futures of what is over, so that the scheduler can forget the tasks."""
        for placed in over:
            self._futures.pop(placed, None)
            self._settled.append(placed)

    def _settle(self) -> None:
        """Let the scheduler forget what has ended."""
        settled, self._settled = self._settled, []
        if self._publishes:
            for placed in settled:
                self._errands.submit(self._unpublish, placed)

    # ------------------------------------------------------------ what outlives a coordinator

    def _name(self, placed: PlacedAttempt) -> str:
        return f"{self._key(placed.number, placed.attempt)}@{placed.worker}"

    def _publish(self, placed: PlacedAttempt, future: Future) -> None:
        """Have the scheduler keep a task, and its result, also without us; an errand."""
        try:
            self._client.publish_dataset([future], name=self._name(placed), override=True)
            self._published.add(placed)
        except Exception as error:  # Dask's, of no common kind; it costs but a training, if at all
            kind, lost = type(error).__name__, "would be lost with this process"
            logger.warning("trial %d %s: it is not published (%s)", placed.number, lost, kind)

    def _unpublish(self, placed: PlacedAttempt) -> None:
        """Let the scheduler forget a task; an errand."""
        try:
            if placed in self._published:
                self._published.discard(placed)
                self._client.unpublish_dataset(self._name(placed))
        except Exception as error:  # Dask's, of no common kind; it costs but some memory
            logger.info("the scheduler goes on keeping %s: %r", self._name(placed), error)

    def _kept(self) -> set[PlacedAttempt]:
        """The attempts of the run whose tasks the scheduler keeps."""
        pattern = re.compile(rf"spot:{re.escape(self._run_id)}:(\d+):a(\d+)@(.+)")
        found = [pattern.fullmatch(str(name)) for name in self._client.list_datasets()]
        kept = {PlacedAttempt(int(f[1]), int(f[2]), f[3]) for f in found if f is not None}
        self._published |= kept
        return kept

    def _task_of(self, placed: PlacedAttempt) -> Future:
        (future,) = self._client.get_dataset(self._name(placed))
        return future

    def _going_on(self) -> set[PlacedAttempt]:
        """The attempts that are trained on some worker, whether the scheduler knows it or not."""
        answers: dict[str, Any] = {}
        ask(self._client, supervisor.going_on, self._run_id, answers=answers).join(ANSWER_SECONDS)
        told = ((worker, answer) for worker, answer in answers.items() if isinstance(answer, list))
        return {PlacedAttempt(n, a, worker) for worker, attempts in told for n, a in attempts}

    def _attach(self) -> Iterator[Event]:
        """Follow what an earlier coordinator has left: what is published, and what just runs.

        Dask has forgotten tasks whose coordinator was gone before it had published them.
        """
        here = self._client.scheduler_info(n_workers=-1)["workers"]
        kept = self._kept()
        for placed in sorted(kept):
            future = self._task_of(placed)
            if placed.worker in here:
                yield Attached(*placed)
                self._follow(placed, future)
            elif self._client.who_has([future])[future.key]:
                # Its worker has left, and has handed the result over to another one.
                yield Attached(*placed)
                outcome = replace(fetch(future), worker=placed.worker)
                yield from (Finished(placed.number, placed.attempt, outcome), Left(placed.worker))
            else:
                self._errands.submit(self._unpublish, placed)
        for placed in sorted(self._going_on() - kept):
            yield Attached(*placed)
            self._await(placed)

    def _await(self, placed: PlacedAttempt) -> None:
        """Follow an attempt whose task Dask has forgotten, by a task of its own."""
        attempt = (placed.number, placed.attempt)
        key = f"{self._key(*attempt)}:awaited"
        self._submit(placed, key, supervisor.await_end, self._run_id, attempt)

    # ------------------------------------------------------------ what happens on the cluster

    def _on_news(self, event: tuple[float, Any]) -> None:
        """Runs in the client's event loop for every heartbeat, and whatever trainings report."""
        _, message = event
        for report in message.get("reports", ()):
            self._queue.put(Reported(*message["attempt"], *report))
        if "attempts" in message:
            attempts = tuple((int(n), int(a)) for n, a in message["attempts"])
            self._queue.put(Beat(message["worker"], attempts))

    def _on_done(self, future: Future, placed: PlacedAttempt) -> None:
        """Runs in a thread of the client: fetch the result at once, before its worker can die."""
        if future.cancelled():  # nobody but the client itself does that, where its connection broke
            self._queue.put(placed)
        else:
            outcome = replace(fetch(future), worker=placed.worker)
            self._queue.put(Finished(placed.number, placed.attempt, outcome))

    def _on_membership(self, event: tuple[float, Any]) -> None:
        """Runs in the client's event loop for every change of the cluster's membership."""
        _, message = event
        if not isinstance(message, dict):
            return
        if message.get("action") == "remove-worker":
            self._workers.look_again()
            self._queue.put(Left(message["worker"]))
        elif message.get("action") in ("add-worker", supervisor.DRAINING):
            self._workers.look_again()
            self._queue.put(None)  # wake up the waiting coordinator

    def _subscribe(self) -> None:
        self._client.subscribe_topic("all", self._on_membership)
        self._client.subscribe_topic(topic(self._run_id), self._on_news)

    def _check_connection(self) -> None:
        """Wait for a lost connection to come back; ClusterError if it does not in time."""
        deadline = time.monotonic() + CONNECT_SECONDS
        while self._client.status != "running":
            if self._client.status == "closed" or time.monotonic() > deadline:
                raise ClusterError("the Dask scheduler is gone; start one")
            time.sleep(0.1)

    def _regain(self) -> Iterable[Event]:
        """After a lost connection: hear again what happens, and follow again what runs still.

        The client connects again by itself, but forgets its futures and what it listened to.
        """
        if self._client.scheduler_comm is not self._comm:
            self._comm = self._client.scheduler_comm
            self._workers.look_again()
            self._subscribe()
        cut = [placed for placed in self._cut if placed in self._futures]
        try:
            kept = self._kept() if cut else set()
            hidden = set(cut) - kept
            going_on = self._going_on() & hidden if hidden else set()
            for placed in cut:
                if placed in kept:
                    self._follow(placed, self._task_of(placed))
            for placed in going_on:
                self._await(placed)
        except (OSError, TimeoutError, asyncio.CancelledError) as error:
            logger.warning("the scheduler does not tell what it knows (%r); asking again", error)
            return []
        self._cut = []
        gone = [(placed, replace(FORGOTTEN, worker=placed.worker)) for placed in hidden - going_on]
        return [Finished(placed.number, placed.attempt, outcome) for placed, outcome in gone]


def fetch(future: Future) -> Outcome:
    """The outcome a finished task returned; LOST where Dask has none to give.

    The supervisor of a training returns whatever happens. So what a task has raised is due to its
    worker, which could not even unpickle the call: then the error's type is ``UNFIT``.
    """
    try:
        outcome: Outcome = future.result(timeout=GATHER_SECONDS)
        return outcome
    except (Exception, asyncio.CancelledError) as error:  # the task's or Dask's, of any kind
        kind, message = type(error).__name__, str(error).strip()
        daskes = isinstance(error, KilledWorker | NoValidWorkerError | NoWorkerError)
        if future.status == "error" and not daskes:
            cause = error.__cause__ or error
            kind, message = UNFIT, f"{type(cause).__name__}: {str(cause).strip() or 'no message'}"
        first = (message or "no message").splitlines()[0]
        return Outcome(Status.LOST, error=Failure(kind, masked(first)))
