"""The trial's own process: ``python -m spot_dask.executors.process PARENT CRASH_LOG``.

It outlives a trial, so that torch is imported and data are loaded once for many of them, and runs
one training at a time. It speaks lines of JSON over its original stdin and stdout:

==========  ==========================================================================
in          ``{"trial", "attempt", "slot", "checkpoints", "task", "size", "cwd", "path"}``,
            followed by ``size`` bytes of the pickled task where this process does not have it;
            ``{"stop": [number, attempt]}``: that training is to end at its next report
out         ``{"ready": pid}`` once; then, for each trial, ``{"accepted": time}``,
            ``{"epoch", "metrics"}`` as often as it reports, ``{"outcome", "last"}``
==========  ==========================================================================

What the training prints goes to stderr and never into the protocol. The process ends with its
parent, at the end of its input, after ``IDLE_SECONDS`` without work, and after a training that
failed on a GPU (a CUDA context does not recover from an error).
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import json
import logging
import math
import operator
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from multiprocessing import popen_fork
from pathlib import Path
from typing import Any

import cloudpickle

from spot_dask.codec import outcome_to_json, trial_from_json
from spot_dask.errors import warn_once
from spot_dask.executors.checkpoints import Place
from spot_dask.records import Failure, Outcome, Status, Trial
from spot_dask.tasks import Config, Diverged, StoppedEarly, Task, measured, score

logger = logging.getLogger(__name__)

IDLE_SECONDS = 120.0
TRACEBACK_BYTES = 16 * 1024
MESSAGE_CHARACTERS = 500
LAST_EPOCH = 1_000_000
CHUNK_BYTES = 1 << 20
PR_SET_PDEATHSIG = 1  # linux/prctl.h

UNFIT = "UnfitWorker"
"""The error's type where a worker cannot train at all, whatever the trial."""

ELSEWHERE = (
    "%s is not on this machine: trainings that are interrupted here begin anew; "
    "give a directory that all workers share with --checkpoints"
)

JSON = dict[str, Any]


class Curves:
    """Learning curves: entry ``epoch - 1`` of a metric's curve; NaN where it was not reported."""

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {}

    def add(self, epoch: int, metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            curve = self._values.setdefault(name, [])
            curve.extend([math.nan] * (epoch - len(curve)))
            curve[epoch - 1] = value

    def latest(self) -> dict[str, float]:
        """The last value of every metric."""
        return {name: curve[-1] for name, curve in self._values.items()}

    def freeze(self) -> dict[str, tuple[float, ...]]:
        return {name: tuple(curve) for name, curve in self._values.items()}


class Running:
    """The running trial as its training sees it (the protocol ``spot_dask.tasks.Context``)."""

    def __init__(
        self,
        trial: Trial,
        attempt: int = 0,
        slot: int = 0,
        tell: Callable[[JSON], object] | None = None,
        place: Place | None = None,
        to_stop: Callable[[], bool] | None = None,
    ) -> None:
        self.number = trial.number
        self.attempt = attempt
        self.seed = trial.seed
        self.slot = slot
        self.device = ""
        self.curves = Curves()
        self.stopped = False
        self._tell = tell
        self._to_stop = to_stop
        self._place = place
        self._temporary: str | None = None

    @cached_property
    def keeps_checkpoint(self) -> bool:
        """Whether there will be a next attempt that finds it; else it is a temporary directory."""
        if self._place is not None and not self._place.is_here:
            warn_once(logger, ELSEWHERE, self._place.root)
        return self._place is not None and self._place.is_here

    @cached_property
    def checkpoint(self) -> Path:
        """A directory for what the next attempt at the trial shall find in its own."""
        if self._place is not None and self.keeps_checkpoint:
            try:
                return self._place.begin(self.number)
            except OSError as error:
                logger.warning("trial %d has no checkpoint: %s", self.number, error)
        self._temporary = tempfile.mkdtemp(prefix=temporary_prefix(os.getpid()))
        return Path(self._temporary)

    def close(self) -> None:
        """Remove what nobody will use any more."""
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def report(self, epoch: int, **metrics: float) -> None:
        """Record the metrics of a finished epoch (counted from 1); kept as learning curves.

        Raises StoppedEarly where the training is to end now.
        """
        number = operator.index(epoch)
        if not 1 <= number <= LAST_EPOCH:
            raise ValueError(f"epoch is {epoch}; expected a number counted from 1")
        values = measured(metrics)
        self.curves.add(number, values)
        if self._tell is not None:
            self._tell({"epoch": number, "metrics": values})
        if self._to_stop is not None and self._to_stop():
            self.stopped = True
            raise StoppedEarly


def temporary_prefix(pid: int) -> str:
    """How the names of a process's temporary directories begin."""
    return f"spot-dask-{pid}-"


def attempt_trial(load: Callable[[], Task], trial: Trial, running: Running) -> Outcome:
    """Run a training and say how it ended; whatever it raises is an outcome.

    Where the task cannot be loaded, which says nothing about the trial, it is LOST and ``UNFIT``.
    """
    started = time.time()
    task = None
    try:
        task = load()
        started = time.time()
        metrics = measured(task(Config(trial.config), running))
        outcome = Outcome(Status.OK, score(task, metrics), metrics)
    except BaseException as error:  # also SystemExit and KeyboardInterrupt: all of it is user code
        if isinstance(error, KeyboardInterrupt) and _ctrl_c_reaches_us():
            raise
        outcome = _raised(error) if task is not None else _unloaded(error)
        traceback.clear_frames(error.__traceback__)  # they hold the model and its data
    finally:
        running.close()
    if running.stopped:  # also where it went on, or returned what it had: that is no result
        outcome = Outcome(Status.STOPPED, metrics=running.curves.latest())
    return replace(
        outcome,
        curves=running.curves.freeze(),
        started=started,
        finished=time.time(),
        device=running.device or ("cuda" if _cuda_in_use() else "cpu"),
    )


def _raised(error: BaseException) -> Outcome:
    status = Status.MEMORY if _out_of_memory(error) else Status.FAILED
    return Outcome(status, error=failure(error))


def _unloaded(error: BaseException) -> Outcome:
    if _out_of_memory(error):
        return _raised(error)
    what = failure(error)
    return Outcome(
        Status.LOST, error=Failure(UNFIT, f"{what.type}: {what.message}", what.traceback)
    )


def _ctrl_c_reaches_us() -> bool:
    """Not in a trial's own process, nor in a thread; there only the training can raise it."""
    here = threading.current_thread() is threading.main_thread()
    return here and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN


def failure(error: BaseException) -> Failure:
    """The exception as a value: its type, one line, and the end of its traceback."""
    lines = traceback.format_exception(error)
    tail = "".join(lines).encode(errors="replace")[-TRACEBACK_BYTES:].decode(errors="ignore")
    return Failure(type(error).__name__, _one_line(error), tail)


def _one_line(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"the training called sys.exit({'' if error.code is None else repr(error.code)})"
    try:
        text = " ".join(str(error).split())
    except Exception:  # the user's own __str__
        text = ""
    return text[:MESSAGE_CHARACTERS] or f"the training raised {type(error).__name__}"


def _out_of_memory(error: BaseException) -> bool:
    """Of the machine or, in torch's words, of a device."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and (type(error).__name__ == "OutOfMemoryError" or "out of memory" in str(error))
    )


def _cuda_in_use() -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and torch.cuda.is_initialized()


class Channel:
    """The process's original stdin and stdout, out of the reach of user code."""

    def __init__(self) -> None:
        self._requests = os.dup(0)
        self._received = b""
        self._stopped: list[int] = []  # number and attempt of a training that is to end
        self._replies = os.fdopen(os.dup(1), "wb")
        self._lock = threading.Lock()  # a training may report from several threads
        with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a device, no file
            os.dup2(nothing.fileno(), 0)
        os.dup2(2, 1)
        # A data loader's worker that outlives us must not hold the pipes open: our end is how the
        # supervisor notices that we died.
        os.register_at_fork(after_in_child=self._close)

    def receive(self, timeout: float) -> tuple[JSON, bytes] | None:
        """The next request and its pickled task (empty where we have it); None when to end."""
        while (request := self._line(timeout)) is not None:
            if "stop" not in request:  # that one had ended before it was told to
                return request, self._exactly(request["size"])
        return None

    def to_stop(self, number: int, attempt: int) -> bool:
        """Whether the training that runs is to end now."""
        with self._lock:
            while (message := self._line(0.0)) is not None:
                self._stopped = message["stop"]
            return self._stopped == [number, attempt]

    def send(self, reply: JSON) -> None:
        with self._lock:
            self._replies.write(json.dumps(reply).encode() + b"\n")
            self._replies.flush()

    def _line(self, timeout: float) -> JSON | None:
        """The next line of what comes in; None where none comes in time, or ever."""
        while b"\n" not in self._received:
            ready, _, _ = select.select([self._requests], [], [], timeout)
            more = os.read(self._requests, CHUNK_BYTES) if ready else b""
            if not more:
                return None
            self._received += more
        line, _, self._received = self._received.partition(b"\n")
        message: JSON = json.loads(line)
        return message

    def _exactly(self, size: int) -> bytes:
        """So many bytes of what comes in; fewer only at its end."""
        parts, missing = [self._received], size - len(self._received)
        while missing > 0 and (part := os.read(self._requests, min(missing, CHUNK_BYTES))):
            parts.append(part)
            missing -= len(part)
        received = b"".join(parts)
        self._received = received[size:]
        return received[:size]

    def _close(self) -> None:
        os.close(self._requests)
        os.close(self._replies.fileno())


class Worker:
    """Runs the trials that come in over a channel, one after the other."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._digest = ""
        self._pickled = b""
        self._task: Task | None = None

    def serve(self) -> None:
        self._channel.send({"ready": os.getpid()})
        last = False
        while not last and (received := self._channel.receive(IDLE_SECONDS)) is not None:
            self._channel.send({"accepted": time.time()})
            outcome = self._run(*received)
            last = _cuda_in_use() and _may_have_broken_cuda(outcome)
            self._channel.send({"outcome": outcome_to_json(outcome), "last": last})

    def _run(self, request: JSON, pickled: bytes) -> Outcome:
        if request["task"] != self._digest:
            self._digest, self._pickled, self._task = request["task"], pickled, None
        trial = trial_from_json(request["trial"])
        kept, attempt, channel = request["checkpoints"], request["attempt"], self._channel
        running = Running(
            trial,
            attempt,
            request["slot"],
            channel.send,
            None if kept is None else Place(**kept),
            lambda: channel.to_stop(trial.number, attempt),
        )

        def load() -> Task:
            sys.path.extend(p for p in request["path"] if p not in sys.path)
            os.chdir(request["cwd"])
            return self._load()

        outcome = attempt_trial(load, trial, running)
        gc.collect()
        if _cuda_in_use():
            sys.modules["torch"].cuda.empty_cache()  # other slots may share the GPU
        return outcome

    def _load(self) -> Task:
        if self._task is None:
            self._task = cloudpickle.loads(self._pickled)
        return self._task


def _may_have_broken_cuda(outcome: Outcome) -> bool:
    error = outcome.error
    return error is not None and error.type != Diverged.__name__


def _end_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, however that happens."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the line above
        os._exit(1)


def _outlive_sigterm() -> None:
    """Have a child of the training go on, too: a SIGTERM to all is no more for it than for us.

    Blocked and not handled, since torch installs a handler of its own in a data loader's workers.
    Where one process ends another by SIGTERM, it has to kill it instead.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # for what it executes
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    subprocess.Popen.terminate = subprocess.Popen.kill  # type: ignore[method-assign]


def main() -> None:
    parent, crash_log = map(int, sys.argv[1:])
    _end_with(parent)
    # Ctrl-C at the terminal is for the coordinator, which drains.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Where a service manager sends SIGTERM to all, it is for the Dask worker, which lets us end.
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    popen_fork.Popen.terminate = popen_fork.Popen.kill  # type: ignore[method-assign]
    os.register_at_fork(after_in_child=_outlive_sigterm)
    faulthandler.enable(crash_log)
    channel = Channel()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    Worker(channel).serve()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads that user code left behind must not keep us


if __name__ == "__main__":
    main()
