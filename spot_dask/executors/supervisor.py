"""The worker's side of a trial: run it in a process of its own and say how it ended.

``run_trial`` is what a Dask worker executes. It blocks on a pipe and holds no GIL meanwhile, so the
worker's heartbeats go on. The processes are kept warm, one for each slot; slots are numbered from
0 and a trial gets the smallest free one. They die with this process, however it ends; processes
that a training has started itself are killed with it where this process lives on.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import logging
import os
import queue
import signal
import site
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dask.system import cpu_count

import spot_dask
from spot_dask.codec import JSON, outcome_to_json
from spot_dask.executors.heartbeat import Attempt, Heartbeat, dask_worker
from spot_dask.executors.limits import Limits, visible_gpus
from spot_dask.executors.process import TRACEBACK_BYTES, Curves, failure
from spot_dask.executors.reports import parcels
from spot_dask.records import Failure, Outcome, Status

logger = logging.getLogger(__name__)

DEVICES = "CUDA_VISIBLE_DEVICES"
TIMEOUT = "Timeout"
STOPPED = Failure("Stopped", "the training was stopped")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

Keep = Callable[[int, int, JSON], object]
"""Remembers trial number, attempt and outcome where a later coordinator finds them."""

Tell = Callable[[int, dict[str, float]], object]
"""Is told an epoch and its metrics."""


def run_trial(
    task: bytes,
    trial_json: str,
    attempt: int,
    run: str = "",
    gpus: float | None = None,
    seconds: float | None = None,
    keep: Keep | None = None,
) -> JSON:
    """Run one trial of a pickled task; its outcome as JSON. Never raises an Exception.

    ``run`` names the run it belongs to, whose trials can be stopped together; ``gpus`` and
    ``seconds`` are its ``Limits``; ``keep`` is told trial number, attempt and outcome before anyone
    else, so that no result is lost with a coordinator. The outcome is CRASHED where the training's
    process died, could not be started or was stopped.
    """
    started = time.time()
    try:
        request = Request(task, json.loads(trial_json), attempt, run, Limits(gpus, seconds))
        with _heartbeat.of(run, request.attempt_key):
            reports = parcels(run, request.attempt_key)
            outcome = _pool.run(request, reports.add)
            reports.flush()
    except Exception as error:  # a Dask task that raises would be Dask's to judge
        logger.exception("the supervisor of a training failed")
        return outcome_to_json(_crashed(failure(error), started, Curves()))
    try:
        if keep is not None:
            keep(*request.attempt_key, outcome)
    except Exception:
        logger.exception("the outcome of a training could not be kept")
    return outcome


def stop(run: str, keep: Collection[Attempt] = ()) -> int:
    """Kill the run's trainings that go on now, with all their processes; how many there were.

    Those of the attempts in ``keep`` (trial number, attempt) go on.
    """
    return _pool.stop(run, lambda attempt: attempt not in keep)


def stop_attempt(run: str, attempt: Attempt) -> int:
    """Kill the training of one attempt; how many there were."""
    return _pool.stop(run, lambda other: other == attempt)


def close() -> None:
    """Kill the trainings that run now and end the warm processes that wait for work."""
    _pool.close()


def version() -> str:
    """The version of spot-dask that is installed here."""
    return spot_dask.__version__


@dataclass(frozen=True)
class Request:
    """What a process is asked to run; ``digest`` is the identity of the task."""

    task: bytes
    trial: JSON
    attempt: int
    run: str
    limits: Limits = field(default_factory=Limits)
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", hashlib.sha256(self.task).hexdigest())

    @property
    def attempt_key(self) -> Attempt:
        """Trial number and attempt."""
        return self.trial["number"], self.attempt

    def encode(self, slot: int, known: str) -> bytes:
        """The request on the wire, with the task unless the process knows it already."""
        task = b"" if known == self.digest else self.task
        head = {
            "trial": self.trial,
            "attempt": self.attempt,
            "slot": slot,
            "task": self.digest,
            "size": len(task),
            "cwd": str(Path.cwd()),
            "path": [str(Path(entry).absolute()) for entry in sys.path],
        }
        return json.dumps(head).encode() + b"\n" + task


class Spawner:
    """Starts processes, all of them from one thread that lives as long as this process.

    The kernel sends the parent-death signal when the *thread* that forked ends (prctl(2)), and the
    threads that run trials come and go.
    """

    def __init__(self) -> None:
        self._orders: queue.SimpleQueue[
            tuple[list[str], dict[str, Any], Future[subprocess.Popen[bytes]]]
        ] = queue.SimpleQueue()
        threading.Thread(target=self._serve, name="spot-dask-spawner", daemon=True).start()

    def start(self, command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        """``subprocess.Popen(command, **options)``, in that thread."""
        process: Future[subprocess.Popen[bytes]] = Future()
        self._orders.put((command, options, process))
        return process.result()

    def _serve(self) -> None:
        while True:
            command, options, process = self._orders.get()
            try:
                process.set_result(subprocess.Popen(command, **options))
            except Exception as error:
                process.set_exception(error)


class Child:
    """A trial's process as its supervisor sees it.

    ``reusable`` tells that it waits for another trial.
    """

    def __init__(self, slot: int, spawner: Spawner, environment: dict[str, str]) -> None:
        self.reusable = False
        self.devices = environment.get(DEVICES)
        self._why: Failure | None = None
        self._slot = slot
        self._digest = ""
        # The child's faulthandler writes there when it dies of a signal; we read it afterwards.
        self._crash_log = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the child lives
        log = self._crash_log.fileno()
        module = "spot_dask.executors.process"
        try:
            self._process = spawner.start(
                [sys.executable, "-P", "-m", module, str(os.getpid()), str(log)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=(log,),
                start_new_session=True,
                env=environment,
            )
        except BaseException:
            self._crash_log.close()
            raise

    def take(self, request: Request) -> bool:
        """Hand the request over; False if the process ended before it took it."""
        self.reusable = False
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(request.encode(self._slot, self._digest))
            self._process.stdin.flush()
        except BrokenPipeError:
            return False
        self._digest = request.digest
        return any("accepted" in message for message in self._messages())

    def follow(self, limits: Limits, tell: Tell) -> JSON:
        """Wait for the end of the training; its outcome, CRASHED if the process ended first.

        ``tell`` is called with what it reports.
        """
        if limits.seconds is None:
            return self._follow(tell)
        error = Failure(TIMEOUT, f"the training took longer than {limits.seconds:g} s")
        timer = threading.Timer(limits.seconds, self.kill, [error])
        timer.daemon = True
        timer.start()
        try:
            return self._follow(tell)
        finally:
            timer.cancel()

    def _follow(self, tell: Tell) -> JSON:
        started, curves = time.time(), Curves()
        for message in self._messages():
            if "outcome" in message:
                self.reusable = not message["last"]
                outcome: JSON = message["outcome"]
                return outcome
            curves.add(message["epoch"], message["metrics"])
            tell(message["epoch"], message["metrics"])
        return outcome_to_json(_crashed(self.obituary(), started, curves))

    def obituary(self) -> Failure:
        """What this process died of."""
        code = self.reap()
        if self._why is not None:
            return self._why
        if code >= 0:
            return Failure(
                "ProcessExit",
                f"the training's process ended with exit code {code} before the training did",
                self._crash_text,
            )
        name = signal.Signals(-code).name
        hint = " (out of memory?)" if -code == signal.SIGKILL else ""
        message = f"the training's process was killed by {name}{hint}"
        return Failure(name, message, self._crash_text)

    def kill(self, why: Failure = STOPPED) -> None:
        """Kill the process and all it started; whoever waits for it is told why."""
        self._why = self._why or why
        self._kill_group()

    def reap(self) -> int:
        """Make sure that nothing of the process is left; its exit code, -n for signal n."""
        if self._process.returncode is None:
            # Also when the process itself is dead already: a data loader's worker may not be. Its
            # number cannot have been given to another group, for it is still a zombie.
            self._kill_group()
            self._process.wait()
            log = os.pread(self._crash_log.fileno(), TRACEBACK_BYTES, 0)
            self._crash_text = log.decode(errors="replace")
            self._crash_log.close()
            for pipe in (self._process.stdin, self._process.stdout):
                assert pipe is not None
                with contextlib.suppress(BrokenPipeError):  # the rest of an unread request
                    pipe.close()
        return self._process.returncode

    def _kill_group(self) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _messages(self) -> Iterator[JSON]:
        """What the process says until it ends; a line cut off by its death is dropped."""
        assert self._process.stdout is not None
        while (line := self._process.stdout.readline()).endswith(b"\n"):
            yield json.loads(line)


@dataclass
class Place:
    """What runs in a slot; the process is None while it is being started."""

    run: str
    attempt: Attempt
    child: Child | None
    stopped: bool = False


class Pool:
    """The processes of this worker: at most one for each slot."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: dict[int, Child] = {}
        self._running: dict[int, Place] = {}  # by slot
        self._spawner: Spawner | None = None

    def run(self, request: Request, tell: Tell) -> JSON:
        """Run a trial in the smallest free slot; blocks until it has ended."""
        with self._lock:
            slot = next(n for n in range(len(self._running) + 1) if n not in self._running)
            warm = self._idle.pop(slot, None)
            place = self._running[slot] = Place(request.run, request.attempt_key, warm)
        try:
            return self._run_in(slot, place, request, tell)
        finally:
            self._release(slot)

    def stop(self, run: str, which: Callable[[Attempt], bool]) -> int:
        with self._lock:
            places = [p for p in self._running.values() if p.run == run and which(p.attempt)]
            for place in places:
                place.stopped = True
            children = [place.child for place in places]
        for child in children:
            if child is not None:
                child.kill()
        return len(children)

    def close(self) -> None:
        with self._lock:
            runs = {place.run for place in self._running.values()}
        for run in runs:
            self.stop(run, lambda attempt: True)
        with self._lock:
            idle = list(self._idle.values())
            self._idle.clear()
        for child in idle:
            child.reap()

    def _run_in(self, slot: int, place: Place, request: Request, tell: Tell) -> JSON:
        started = time.time()
        child = place.child
        environment = _environment(slot, request.limits)
        if child is None or child.devices != environment.get(DEVICES) or not child.take(request):
            if child is not None:
                child.reap()  # it ended while it waited: that is nothing to do with this trial
            child = self._start(slot, place, environment)
            if not child.take(request):
                return outcome_to_json(_crashed(child.obituary(), started, Curves()))
        return child.follow(request.limits, tell)

    def _start(self, slot: int, place: Place, environment: dict[str, str]) -> Child:
        with self._lock:
            self._spawner = self._spawner or Spawner()
        child = Child(slot, self._spawner, environment)
        with self._lock:
            place.child = child
            stopped = place.stopped
        if stopped:  # while the process was being started
            child.kill()
        return child

    def _release(self, slot: int) -> None:
        with self._lock:
            child = self._running.pop(slot).child
            if child is not None and child.reusable:
                self._idle[slot] = child
                return
        if child is not None:
            child.reap()


def _crashed(error: Failure, started: float, curves: Curves) -> Outcome:
    return Outcome(
        Status.TIMEOUT if error.type == TIMEOUT else Status.CRASHED,
        curves=curves.freeze(),
        started=started,
        finished=time.time(),
        error=error,
    )


def _environment(slot: int, limits: Limits) -> dict[str, str]:
    """The environment of a trial's process; what the user has set stays as it is.

    The process sees the GPUs of its slot and no others.

    A Dask nanny sets one thread for everything in its worker, unless the user says otherwise; that
    is kept too, since only the user knows how many workers share the machine.
    """
    environment = dict(os.environ)
    visible = visible_gpus()
    if visible or limits.gpus is not None:
        environment[DEVICES] = ",".join(limits.devices(slot, visible))
    # torch takes the largest of these numbers, so one that the user has set is that of all.
    chosen = [environment[name] for name in THREAD_VARIABLES if name in environment]
    threads = chosen[0] if chosen else str(max(1, cpu_count() // _slots()))
    for name in THREAD_VARIABLES:
        environment.setdefault(name, threads)
    root = str(Path(spot_dask.__file__).resolve().parents[1])
    if root not in [*site.getsitepackages(), site.getusersitepackages()]:
        paths = [root, environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return environment


def _slots() -> int:
    """How many trials the Dask worker that runs this thread's task takes at a time; else 1."""
    worker = dask_worker()
    if worker is None:
        return 1
    state = worker.state
    return max(1, int(state.total_resources.get("GPU", state.nthreads)))


_heartbeat = Heartbeat()
_pool = Pool()
_inherited: list[Pool] = []


def _after_fork() -> None:
    """A forked process must not talk to its parent's children, nor wait for them."""
    global _heartbeat, _pool
    _inherited.append(_pool)
    _heartbeat, _pool = Heartbeat(), Pool()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(close)
