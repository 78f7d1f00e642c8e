"""A training's process as its supervisor sees it: started, handed a request, followed, buried."""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import Pipe
from pathlib import Path

from spot_dask import clock
from spot_dask.records import Failure, Outcome, Status
from spot_dask.settings import size
from spot_dask.worker.context import ReportedCurves, Tell, temporary_prefix
from spot_dask.worker.limits import DEVICES
from spot_dask.worker.memory import MemoryWatch, family
from spot_dask.worker.pipe import (
    Accepted,
    Attempt,
    EndEarly,
    EpochReport,
    TrainingEnd,
    TrainingRequest,
    receive,
)
from spot_dask.worker.training_main import TRACEBACK_BYTES

TIMEOUT = "Timeout"
MEMORY_LIMIT = "MemoryLimit"
OUT_OF_MEMORY = "OutOfMemory"
STOPPED = Failure("Stopped", "the training was stopped")
EARLY = Failure("StoppedEarly", "the training was stopped early")

REPORT_SECONDS = 5.0
"""How long a training that is to end early may take to its next report, before it is killed.

Its process is kept if it does not take longer; a new one costs about as much, with torch.
"""

CGROUPS = Path("/sys/fs/cgroup")


class TrainingProcess:
    """A process that runs the trainings of a slot, started by a thread of ``spawner``.

    That thread has to live as long as this process: the kernel sends the parent-death signal when
    the *thread* that forked ends (prctl(2)). ``reusable``: it waits for another request. ``memory``
    watches what its trainings have.
    """

    def __init__(
        self,
        spawner: ThreadPoolExecutor,
        memory: MemoryWatch,
        slot: int,
        environment: dict[str, str],
    ) -> None:
        self._memory = memory
        self.reusable = False
        self.devices = environment.get(DEVICES)
        self._slot = slot
        self._digest = ""  # of the task that it has
        self._trains: tuple[str, Attempt] | None = None  # run and attempt
        self._lock = threading.Lock()
        self._timers: list[threading.Timer] = []  # that would kill it
        self._why: Failure | None = None  # it was killed
        self._groups = ""
        self._oom_kills: int | None = None
        # The process's faulthandler writes there when it dies of a signal; we read it afterwards.
        self._crash_log = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process is
        module, log = "spot_dask.worker.training_main", self._crash_log.fileno()
        requests, self._requests = Pipe(duplex=False)
        self._replies, replies = Pipe(duplex=False)
        try:
            self._process = spawner.submit(
                subprocess.Popen,
                [sys.executable, "-P", "-m", module, str(os.getpid()), str(log)],
                stdin=requests.fileno(),
                stdout=replies.fileno(),
                pass_fds=(log,),
                start_new_session=True,
                env=environment,
            ).result()
        except BaseException:
            self._crash_log.close()
            raise
        finally:
            requests.close()
            replies.close()

    def train(self, request: TrainingRequest, tell: Tell) -> Outcome | None:
        """Run a training; its outcome, CRASHED if the process ended first.

        ``tell`` is called with what it reports. Returns None if the process ended before it took
        the request, which says nothing about the training.
        """
        self.reusable = False
        known = request.digest == self._digest
        paths = tuple(str(Path(entry).absolute()) for entry in sys.path)
        sent = replace(request, slot=self._slot, cwd=str(Path.cwd()), path=paths)
        try:
            with self._lock:
                self._trains = request.run, request.key
                self._requests.send_bytes(pickle.dumps(replace(sent, task=b"") if known else sent))
        except BrokenPipeError:
            return None
        self._digest = request.digest
        if not isinstance(self._receive(), Accepted):
            return None
        seconds = request.conditions.limits.seconds
        if seconds is not None:
            error = Failure(TIMEOUT, f"the training took longer than {seconds:g} s")
            self._kill_after(seconds, error)
        if (limit := request.conditions.limits.memory) is not None:
            self._limit_memory(limit)
        started, curves = clock.now(), ReportedCurves()
        self._groups = groups_of(self._process.pid)
        self._oom_kills = oom_kills(self._groups)
        try:
            while (message := self._receive()) is not None:
                if isinstance(message, TrainingEnd):
                    self.reusable = not message.last
                    return message.outcome
                if isinstance(message, EpochReport):
                    curves.add(message.epoch, message.metrics)
                    tell(message.epoch, message.metrics)
            return crashed(self.obituary(), started, curves)
        finally:
            with self._lock:
                self._trains = None
            self._memory.end(self._process.pid)
            for timer in self._timers:
                timer.cancel()
            self._timers.clear()

    def stop_early(self, run: str, attempt: Attempt) -> None:
        """Have an attempt of a run, if it still runs, end at its next report or soon."""
        with self._lock, contextlib.suppress(BrokenPipeError):
            if self._trains != (run, attempt):
                return
            self._requests.send_bytes(pickle.dumps(EndEarly(run, attempt)))
            self._kill_after(REPORT_SECONDS, EARLY)

    def _kill_after(self, seconds: float, why: Failure) -> None:
        """Kill the process if the training that it runs now has not ended by then."""
        now = self._trains
        timer = threading.Timer(seconds, lambda: self._kill_if(now, why))
        timer.daemon = True
        self._timers.append(timer)
        timer.start()

    def _limit_memory(self, limit: str) -> None:
        """Kill the process if the training that it runs now comes to have more memory."""
        now = self._trains

        def kill(used: int, processes: int) -> None:
            amount = f"{used / 1e9:.3g} GB" if used >= 1e9 else f"{used / 1e6:.3g} MB"
            where = "in one process" if processes == 1 else f"in {processes} processes"
            advice = "give it more, or search what needs less"
            text = f"the training has {amount} of memory {where}, but memory is {limit}: {advice}"
            self._kill_if(now, Failure(MEMORY_LIMIT, text))

        self._memory.begin(self._process.pid, size(limit), kill)

    def _kill_if(self, trains: tuple[str, Attempt] | None, why: Failure) -> None:
        """Kill the process if it still runs this training."""
        with self._lock:
            if self._trains == trains:
                self.kill(why)

    def obituary(self) -> Failure:
        """What this process died of."""
        code = self.reap()
        if self._why is not None:
            return self._why
        if code >= 0:
            kind = "ProcessExit"
            text = f"the training's process ended with exit code {code} before the training did"
        else:
            kind = signal.Signals(-code).name
            text = f"the training's process was killed by {kind}"
        if -code == signal.SIGKILL:
            kills = oom_kills(self._groups)
            if self._oom_kills is not None and kills is not None and kills > self._oom_kills:
                kind = OUT_OF_MEMORY
                text = "the kernel killed the training's process: out of memory"
            else:
                text += " (out of memory?)"
        return Failure(kind, text, self._crash_text)

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
            for left in Path(tempfile.gettempdir()).glob(temporary_prefix(self._process.pid) + "*"):
                shutil.rmtree(left, ignore_errors=True)
            self._requests.close()
            self._replies.close()
        return self._process.returncode

    def _kill_group(self) -> None:
        """Kill the process, its group, and what it has started in groups of their own."""
        if self._process.returncode is None:
            others = family(self._process.pid) - {self._process.pid}
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            for pid in others:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)

    def _receive(self) -> Accepted | EpochReport | TrainingEnd | None:
        """What the process says next; None when it has ended, or is killed for saying nonsense."""
        try:
            return receive(self._replies)
        except ValueError as error:
            message = f"the training wrote into a pipe of spot-dask ({error})"
            self.kill(Failure("BadMessage", message))
            return None


def crashed(error: Failure, started: float, curves: ReportedCurves) -> Outcome:
    """The outcome of a training whose process did not live to tell it."""
    early = error is EARLY
    kinds = {TIMEOUT: Status.TIMEOUT, OUT_OF_MEMORY: Status.MEMORY, EARLY.type: Status.STOPPED}
    kinds[MEMORY_LIMIT] = Status.MEMORY
    return Outcome(
        kinds.get(error.type, Status.CRASHED),
        metrics=curves.latest() if early else {},
        curves=curves.freeze(),
        started=started,
        finished=clock.now(),
        error=None if early else error,
    )


def oom_kills(groups: str, root: Path = CGROUPS) -> int | None:
    """How often the kernel has killed in control groups because memory ran out.

    ``groups`` is the text of ``/proc/<pid>/cgroup``. Control groups v2 count in ``memory.events``,
    v1 in ``memory.oom_control`` (cgroups(7)). None where no count can be seen.
    """
    for line in groups.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "memory":
            file = root / "memory" / path.lstrip("/") / "memory.oom_control"
        elif controllers == "":
            file = root / path.lstrip("/") / "memory.events"
        else:
            continue
        try:
            counts = dict(entry.split() for entry in file.read_text().splitlines())
            return int(counts["oom_kill"])
        except (OSError, KeyError, ValueError):
            continue  # the other version may count
    return None


def groups_of(pid: int) -> str:
    """The text of ``/proc/<pid>/cgroup``; nothing where there is none."""
    try:
        return Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return ""
