"""The process of a training: ``python -m spot_dask.worker.training_main PARENT CRASH_LOG``.

It outlives a training, so that torch is imported and data are loaded once for many of them, and
runs one at a time. It speaks the messages of ``pipe`` over its original stdin and stdout; what the
training prints goes to stderr. The process ends with its parent, at the end of its input, after
``IDLE_SECONDS`` without work, and after a training that failed on a GPU (a CUDA context does not
recover from an error).
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import popen_fork
from multiprocessing.connection import Connection

import cloudpickle

from spot_dask import by_value, clock
from spot_dask.records import Failure, Outcome, Status, Trial
from spot_dask.secrets import masked
from spot_dask.tasks import Config, Diverged, Task, measured, score
from spot_dask.worker.context import RunningTrial
from spot_dask.worker.limits import DEVICES
from spot_dask.worker.pipe import (
    Accepted,
    EndEarly,
    EpochReport,
    TrainingEnd,
    TrainingRequest,
)

IDLE_SECONDS = 120.0
TRACEBACK_BYTES = 16 * 1024
MESSAGE_CHARACTERS = 500
PR_SET_PDEATHSIG = 1  # linux/prctl.h

NO_MEMORY = ("out of memory", "can't allocate memory")
"""What torch says where a device, or the machine, has no more."""

UNFIT = "UnfitWorker"
"""The type of the failure where a worker cannot train at all, whatever the trial."""


def attempt_trial(load: Callable[[], Task], trial: Trial, running: RunningTrial) -> Outcome:
    """Run a training and say how it ended; whatever it raises is an outcome.

    Where the task cannot be loaded, which says nothing about the trial, it is LOST and ``UNFIT``.
    """
    started = clock.now()
    task = None
    by_value.install()
    try:
        task = load()
        started = clock.now()
        metrics = measured(task(Config(trial.config), running))
        outcome = Outcome(Status.OK, score(task, metrics), metrics)
        if not running.stopped:
            running.publish()  # before anyone hears of the result
    except BaseException as error:  # also SystemExit and KeyboardInterrupt: all of it is user code
        # Only Python's own handler raises it, in the main thread. A run has a handler of its own
        # and a training's process has none: there the training itself has raised it.
        main = threading.current_thread() is threading.main_thread()
        pressed = main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if pressed and isinstance(error, KeyboardInterrupt):
            raise
        what = failure(error)
        if _out_of_memory(error):
            outcome = Outcome(Status.MEMORY, error=what)
        elif task is not None:
            outcome = Outcome(Status.FAILED, error=what)
        else:
            unfit = Failure(UNFIT, f"{what.type}: {what.message}", what.traceback)
            outcome = Outcome(Status.LOST, error=unfit)
        traceback.clear_frames(error.__traceback__)  # they hold the model and its data
    finally:
        running.close()
    if running.stopped:  # also where it went on, or returned what it had: that is no result
        outcome = Outcome(Status.STOPPED, metrics=running.curves.latest())
    return replace(
        outcome,
        curves=running.curves.freeze(),
        started=started,
        finished=clock.now(),
        device=str(running.device) or ("cuda" if cuda_in_use() else "cpu"),
    )


def _out_of_memory(error: BaseException) -> bool:
    """Of the machine or, in torch's words, of a device."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and (type(error).__name__ == "OutOfMemoryError" or any(m in str(error) for m in NO_MEMORY))
    )


def failure(error: BaseException) -> Failure:
    """The exception as a value: its type, one line, the end of its traceback; without secrets."""
    lines = masked("".join(traceback.format_exception(error)))
    tail = lines.encode(errors="replace")[-TRACEBACK_BYTES:].decode(errors="ignore")
    if isinstance(error, SystemExit):
        text = f"the training called sys.exit({'' if error.code is None else repr(error.code)})"
    else:
        try:
            text = " ".join(masked(str(error)).split())[:MESSAGE_CHARACTERS]
        except Exception:  # the user's own __str__
            text = ""
    name = type(error).__name__
    return Failure(name, text or f"the training raised {name}", tail)


def cuda_in_use() -> bool:
    """Whether this process has initialised CUDA through torch."""
    torch = sys.modules.get("torch")
    return torch is not None and torch.cuda.is_initialized()


class Channel:
    """The process's original stdin and stdout, out of the reach of user code."""

    def __init__(self) -> None:
        self._requests = Connection(os.dup(0), writable=False)
        self._replies = Connection(os.dup(1), readable=False)
        self._to_end: EndEarly | None = None  # what came last, of the training that runs now
        self._lock = threading.Lock()  # a training may report from several threads
        with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a device, no file
            os.dup2(nothing.fileno(), 0)
        os.dup2(2, 1)
        # A data loader's worker that outlives us must not hold the pipes open: our end is how the
        # supervisor notices that we died.
        os.register_at_fork(after_in_child=self.close)

    def receive(self, timeout: float) -> TrainingRequest | None:
        """The next request; None where none comes within so many seconds, or ever."""
        with contextlib.suppress(EOFError):
            while self._requests.poll(timeout):
                message = self._requests.recv()
                if isinstance(message, TrainingRequest):  # else: to end what has ended by itself
                    self._to_end = None
                    return message
        return None

    def to_stop(self, request: TrainingRequest) -> bool:
        """Whether the training of a request, which runs now, is to end."""
        with self._lock:
            while self._requests.poll():  # no request comes while a training runs
                self._to_end = self._requests.recv()
            return self._to_end == EndEarly(request.run, request.key)

    def send(self, message: object) -> None:
        with self._lock:
            self._replies.send_bytes(pickle.dumps(message))

    def close(self) -> None:
        self._requests.close()
        self._replies.close()


class LoadedTask:
    """The task that this process trains, kept from request to request."""

    def __init__(self) -> None:
        self._digest = ""
        self._pickled = b""
        self._task: Task | None = None

    def of(self, request: TrainingRequest) -> Task:
        """The task of a request, loaded where the request tells; raises what loading raises."""
        if request.digest != self._digest:
            self._digest, self._pickled, self._task = request.digest, request.task, None
            by_value.forget()
        sys.path.extend(entry for entry in request.path if entry not in sys.path)
        os.chdir(request.cwd)
        if self._task is None:
            self._task = cloudpickle.loads(self._pickled)
            self._pickled = b""
            gc.unfreeze()
            gc.collect()
            gc.freeze()  # no later collection has to go through it, and no fork copies it for that
        return self._task


def serve(channel: Channel) -> None:
    """Run the trainings that are requested over a channel, one after the other."""
    loaded, last = LoadedTask(), False
    while not last and (request := channel.receive(IDLE_SECONDS)) is not None:
        channel.send(Accepted())
        outcome = _train(request, loaded, channel)
        broken = outcome.error is not None and outcome.error.type != Diverged.__name__
        last = broken and cuda_in_use()
        channel.send(TrainingEnd(outcome, last))


def _train(request: TrainingRequest, loaded: LoadedTask, channel: Channel) -> Outcome:
    running = RunningTrial(
        request.trial,
        request.attempt,
        request.slot,
        lambda epoch, metrics: channel.send(EpochReport(epoch, metrics)),
        request.conditions.place,
        lambda: channel.to_stop(request),
        request.conditions.artifacts,
    )

    def load() -> Task:
        share_gpu(request.conditions.limits.gpus)
        return loaded.of(request)

    outcome = attempt_trial(load, request.trial, running)
    gc.collect()
    if cuda_in_use():
        sys.modules["torch"].cuda.empty_cache()  # other slots may share the GPU
    return outcome


def share_gpu(gpus: float | None) -> None:
    """Hold this process to its share of a GPU's memory, as far as torch allocates it.

    Then whether a configuration has memory enough does not depend on what runs beside it. An
    earlier training here, of another run, may have had another share. Other processes, such as a
    program that the training starts, are not held to it; nor is CUDA's own context.
    """
    share = 1.0 if gpus is None else min(gpus, 1.0)
    if share == _gpu_share[0] or not os.environ.get(DEVICES):
        return
    import torch  # late: what trains without torch need not wait for it

    if torch.cuda.is_available():
        for device in range(torch.cuda.device_count()):
            torch.cuda.set_per_process_memory_fraction(share, device)
        _gpu_share[0] = share


_gpu_share = [1.0]


def _outlive_sigterm() -> None:
    """Have a child of the training go on, too: a SIGTERM to all is no more for it than for us.

    Blocked and not handled, since torch installs a handler of its own in a data loader's workers.
    Where one process ends another by SIGTERM, it has to kill it instead.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # first: one may come any moment
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # for what it executes
    subprocess.Popen.terminate = subprocess.Popen.kill  # type: ignore[method-assign]


def main() -> None:
    parent, crash_log = map(int, sys.argv[1:])
    if sys.platform == "linux":  # have the kernel kill us when our parent ends, however it ends
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the line above
        os._exit(1)
    # Ctrl-C at the terminal is for the coordinator, which drains.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Where a service manager sends SIGTERM to all, it is for the Dask worker, which lets us end.
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    popen_fork.Popen.terminate = popen_fork.Popen.kill  # type: ignore[method-assign]
    os.register_at_fork(after_in_child=_outlive_sigterm)
    faulthandler.enable(crash_log)
    channel = Channel()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    serve(channel)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads that user code left behind must not keep us


if __name__ == "__main__":
    main()
elif __name__ == "__mp_main__":  # a process that a training has started otherwise than by a fork
    _outlive_sigterm()
