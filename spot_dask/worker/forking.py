"""The processes that trials are forked from, as the supervisor sees them."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from typing import IO, Any

from spot_dask.worker.training_process import Request, Spawner
from spot_dask.worker.zygote import MESSAGE_BYTES

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 10.0
"""How long a zygote may take to fork or to bury; one that hangs is not asked again."""

NO_FORKS = "each training starts an interpreter of its own, for none can be forked: %s"


class Forked:
    """A forked process; to its supervisor what a ``subprocess.Popen`` is."""

    def __init__(self, parent: Zygote, pid: int, stdin: int, stdout: int) -> None:
        self.pid = pid
        self.stdin: IO[bytes] | None = os.fdopen(stdin, "wb")
        self.stdout: IO[bytes] | None = os.fdopen(stdout, "rb")
        self.returncode: int | Any = None
        self._parent = parent

    def wait(self) -> int:
        if self.returncode is None:
            self.returncode = self._parent.reap(self.pid)
        return int(self.returncode)


class Zygote:
    """A process that has loaded a task, or does so now, in one environment."""

    def __init__(self, request: Request, spawner: Spawner, environment: dict[str, str]) -> None:
        self.digest = request.digest
        self.environment = environment
        self.over = False
        self._ready = False
        self._trials = 0
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        module, number = "spot_dask.worker.zygote", theirs.fileno()
        with theirs:
            self._process = spawner.start(
                [sys.executable, "-P", "-m", module, str(os.getpid()), str(number)],
                stdin=subprocess.PIPE,
                pass_fds=(number,),
                start_new_session=True,
                env=environment,
            )
        self._watcher = threading.Thread(target=self._watch, args=(request,), daemon=True)
        self._watcher.start()

    def fork(self, log: int) -> Forked | None:
        """A process for one trial; None where there is none now."""
        with self._lock:
            if not self._ready or self.over:
                return None
            (their_in, stdin), (stdout, their_out) = os.pipe(), os.pipe()
            try:
                pid = self._ask(b"fork", [their_in, their_out, log])
            finally:
                os.close(their_in)
                os.close(their_out)
            if pid is None or pid < 0:
                os.close(stdin)
                os.close(stdout)
            if pid is None:
                return None
            if pid < 0:
                raise OSError(-pid, os.strerror(-pid))
            self._trials += 1
            return Forked(self, pid, stdin, stdout)

    def reap(self, pid: int) -> int:
        """Wait for the end of a process; its exit code."""
        with self._lock:
            self._trials -= 1
            code = None if self.over else self._ask(b"reap %d" % pid, [])
        # The kernel has killed it with its parent, or else we did, whose group it leads.
        return -signal.SIGKILL if code is None else code

    def close(self) -> None:
        self.over = True
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._watcher.join()

    @property
    def idle(self) -> bool:
        return self._trials == 0

    def _ask(self, order: bytes, pipes: list[int]) -> int | None:
        try:
            socket.send_fds(self._socket, [order], pipes)
            if select.select([self._socket], [], [], ANSWER_SECONDS)[0]:
                return int(self._socket.recv(MESSAGE_BYTES))
            logger.warning("no training is forked from process %d: it hangs", self._process.pid)
        except (OSError, ValueError):  # it has died
            pass
        self.over = True
        return None

    def _watch(self, request: Request) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError), self._process.stdin as stdin:
            stdin.write(request.encode(0, ""))
        answer = b""
        with contextlib.suppress(OSError):
            answer = self._socket.recv(MESSAGE_BYTES)
        self._ready = answer == b"ready"
        code = self._process.wait()
        with self._lock:
            self._socket.close()
        if self._ready:
            self.over = True
        elif not self.over:
            logger.warning(NO_FORKS, answer.decode() or f"it ended with exit code {code}")


class Zygotes:
    """The zygotes of this worker: one for each task and environment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._zygotes: list[Zygote] = []

    def fork(
        self, request: Request, spawner: Spawner, environment: dict[str, str], log: int
    ) -> Forked | None:
        """A process forked for the request; None while its parent loads, or where there is none."""
        if sys.platform != "linux":
            return None
        with self._lock:
            for zygote in [z for z in self._zygotes if z.environment == environment]:
                if zygote.idle and (zygote.over or zygote.digest != request.digest):
                    self._zygotes.remove(zygote)
                    zygote.close()
                elif zygote.digest == request.digest and not zygote.over:
                    return zygote.fork(log)
            self._zygotes.append(Zygote(request, spawner, environment))
        return None

    def close(self) -> None:
        with self._lock:
            for zygote in self._zygotes:
                zygote.close()
            self._zygotes.clear()
