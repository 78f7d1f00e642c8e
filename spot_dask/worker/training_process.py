"""A trial's process as the supervisor sees it: started, handed a trial, followed, buried."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from spot_dask.codec import JSON, outcome_to_json
from spot_dask.records import Failure, Outcome, Status
from spot_dask.worker.context import Curves, temporary_prefix
from spot_dask.worker.heartbeat import Attempt
from spot_dask.worker.limits import DEVICES, Conditions, Limits
from spot_dask.worker.training_main import TRACEBACK_BYTES

TIMEOUT = "Timeout"
OUT_OF_MEMORY = "OutOfMemory"
STOPPED = Failure("Stopped", "the training was stopped")
EARLY = Failure("StoppedEarly", "the training was stopped early")

REPORT_SECONDS = 5.0
"""How long a training that is to end early may take to its next report, before it is killed.

Its process is kept if it does not take longer; a new one costs about as much, with torch.
"""

CGROUPS = Path("/sys/fs/cgroup")

Tell = Callable[[int, dict[str, float]], object]
"""Is told an epoch and its metrics."""


@dataclass(frozen=True)
class Request:
    """What a process is asked to run; ``digest`` is the identity of the task."""

    task: bytes
    trial: JSON
    attempt: int
    run: str
    conditions: Conditions = field(default_factory=Conditions)
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
        place = self.conditions.place
        head = {
            "trial": self.trial,
            "attempt": self.attempt,
            "slot": slot,
            "checkpoints": None if place is None else asdict(place),
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

    def __init__(self, spawner: Spawner, slot: int, environment: dict[str, str]) -> None:
        self.reusable = False
        self.devices = environment.get(DEVICES)
        self._why: Failure | None = None
        self._lock = threading.Lock()
        self._attempt: Attempt | None = None  # what it trains
        self._digest = ""  # of the task it has loaded
        self._timers: list[threading.Timer] = []  # that would kill it
        self._slot = slot
        self._groups = ""
        self._oom_kills: int | None = None
        # The child's faulthandler writes there when it dies of a signal; we read it afterwards.
        self._crash_log = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the child lives
        module, log = "spot_dask.worker.training_main", self._crash_log.fileno()
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
            with self._lock:
                self._attempt = request.attempt_key
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
        if limits.seconds is not None:
            error = Failure(TIMEOUT, f"the training took longer than {limits.seconds:g} s")
            self._kill_after(limits.seconds, error)
        try:
            return self._follow(tell)
        finally:
            with self._lock:
                self._attempt = None
            for timer in self._timers:
                timer.cancel()
            self._timers.clear()

    def stop_early(self, attempt: Attempt) -> None:
        """Have the attempt, if it still runs, end at its next report or soon."""
        assert self._process.stdin is not None
        with self._lock, contextlib.suppress(BrokenPipeError):
            if self._attempt != attempt:
                return
            self._process.stdin.write(json.dumps({"stop": attempt}).encode() + b"\n")
            self._process.stdin.flush()
        self._kill_after(REPORT_SECONDS, EARLY)

    def _kill_after(self, seconds: float, why: Failure) -> None:
        """Kill the process if the training that it runs now has not ended by then."""
        attempt = self._attempt

        def kill() -> None:
            with self._lock:
                if self._attempt == attempt:
                    self.kill(why)

        timer = threading.Timer(seconds, kill)
        timer.daemon = True
        self._timers.append(timer)
        timer.start()

    def _follow(self, tell: Tell) -> JSON:
        started, curves = time.time(), Curves()
        self._groups = groups_of(self._process.pid)
        self._oom_kills = oom_kills(self._groups)
        for message in self._messages():
            if "outcome" in message:
                self.reusable = not message["last"]
                outcome: JSON = message["outcome"]
                return outcome
            curves.add(message["epoch"], message["metrics"])
            tell(message["epoch"], message["metrics"])
        return outcome_to_json(crashed(self.obituary(), started, curves))

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
        kills = oom_kills(self._groups)
        counted = self._oom_kills is not None and kills is not None and kills > self._oom_kills
        if -code == signal.SIGKILL and counted:
            message = "the kernel killed the training's process: out of memory"
            return Failure(OUT_OF_MEMORY, message, self._crash_text)
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
            for left in Path(tempfile.gettempdir()).glob(temporary_prefix(self._process.pid) + "*"):
                shutil.rmtree(left, ignore_errors=True)
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


def crashed(error: Failure, started: float, curves: Curves) -> Outcome:
    """The outcome of a training whose process did not live to tell it."""
    if error is EARLY:
        return Outcome(
            Status.STOPPED,
            metrics=curves.latest(),
            curves=curves.freeze(),
            started=started,
            finished=time.time(),
        )
    return Outcome(
        {TIMEOUT: Status.TIMEOUT, OUT_OF_MEMORY: Status.MEMORY}.get(error.type, Status.CRASHED),
        curves=curves.freeze(),
        started=started,
        finished=time.time(),
        error=error,
    )


def oom_kills(groups: str, root: Path = CGROUPS) -> int | None:
    """The count for the groups that ``/proc/<pid>/cgroup`` tells; None where it cannot be seen.

    Control groups v2 count in ``memory.events``, v1 in ``memory.oom_control`` (cgroups(7)).
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
    """What ``/proc/<pid>/cgroup`` tells; nothing where there is none."""
    try:
        return Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return ""
