"""The trial's own process: ``python -m spot_dask.worker.training_main PARENT CRASH_LOG``.

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
import os
import select
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing import popen_fork
from typing import NoReturn

import cloudpickle

from spot_dask.codec import JSON, outcome_to_json, trial_from_json
from spot_dask.records import Failure, Outcome, Status, Trial
from spot_dask.tasks import Config, Diverged, Task, measured, score
from spot_dask.worker.checkpoints import Place
from spot_dask.worker.context import Running

IDLE_SECONDS = 120.0
TRACEBACK_BYTES = 16 * 1024
MESSAGE_CHARACTERS = 500
CHUNK_BYTES = 1 << 20
PR_SET_PDEATHSIG = 1  # linux/prctl.h

UNFIT = "UnfitWorker"
"""The error's type where a worker cannot train at all, whatever the trial."""


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
        device=running.device or ("cuda" if cuda_in_use() else "cpu"),
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


def cuda_in_use() -> bool:
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
        os.register_at_fork(after_in_child=self.close)

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

    def close(self) -> None:
        os.close(self._requests)
        os.close(self._replies.fileno())


@dataclass
class Loaded:
    """A pickled task, identified by its digest, and the task itself once it is loaded."""

    digest: str = ""
    pickled: bytes = b""
    task: Task | None = None

    def load(self, cwd: str, path: list[str]) -> Task:
        sys.path.extend(p for p in path if p not in sys.path)
        os.chdir(cwd)
        if self.task is None:
            self.task = cloudpickle.loads(self.pickled)
            gc.unfreeze()
            gc.collect()
            gc.freeze()  # no later collection has to go through it, and no fork copies it for that
        return self.task


class Worker:
    """Runs the trials that come in over a channel, one after the other."""

    def __init__(self, channel: Channel, loaded: Loaded) -> None:
        self._channel = channel
        self._loaded = loaded

    def serve(self) -> None:
        self._channel.send({"ready": os.getpid()})
        last = False
        while not last and (received := self._channel.receive(IDLE_SECONDS)) is not None:
            self._channel.send({"accepted": time.time()})
            outcome = self._run(*received)
            last = cuda_in_use() and _may_have_broken_cuda(outcome)
            self._channel.send({"outcome": outcome_to_json(outcome), "last": last})

    def _run(self, request: JSON, pickled: bytes) -> Outcome:
        if request["task"] != self._loaded.digest:
            self._loaded = Loaded(request["task"], pickled)
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
            return self._loaded.load(request["cwd"], request["path"])

        outcome = attempt_trial(load, trial, running)
        gc.collect()
        if cuda_in_use():
            sys.modules["torch"].cuda.empty_cache()  # other slots may share the GPU
        return outcome


def _may_have_broken_cuda(outcome: Outcome) -> bool:
    error = outcome.error
    return error is not None and error.type != Diverged.__name__


def end_with(parent: int) -> None:
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


def outlive_signals() -> None:
    # Ctrl-C at the terminal is for the coordinator, which drains.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Where a service manager sends SIGTERM to all, it is for the Dask worker, which lets us end.
    signal.signal(signal.SIGTERM, lambda number, frame: None)


def serve(crash_log: int, loaded: Loaded) -> NoReturn:
    """Run the trials that come in over stdin, and end."""
    popen_fork.Popen.terminate = popen_fork.Popen.kill  # type: ignore[method-assign]
    os.register_at_fork(after_in_child=_outlive_sigterm)
    faulthandler.enable(crash_log)
    channel = Channel()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    Worker(channel, loaded).serve()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads that user code left behind must not keep us


def main() -> None:
    parent, crash_log = map(int, sys.argv[1:])
    end_with(parent)
    outlive_signals()
    serve(crash_log, Loaded())


if __name__ == "__main__":
    main()
