"""Processes that are forked from one that has imported what commands import.

Most of the work of a short command is its imports: three seconds of a core for a `spot-dask run`.
A forked process has its own number, session, pipes, working directory and environment, and ends as
the command ends; only the interpreter and its imports are not new.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

IMPORTED = (
    "spot_dask.cli.check", "spot_dask.cli.progress", "spot_dask.cli.run", "spot_dask.cli.stores",
    "spot_dask.cli.worker", "spot_dask.executors.cluster", "spot_dask.executors.dask",
    "spot_dask.executors.page", "spot_dask.executors.service", "spot_dask.study_file",
    "distributed.cli.dask_scheduler", "distributed.cli.dask_worker",
    "distributed.dashboard.scheduler", "distributed.dashboard.worker", "zarr.api.synchronous",
)  # fmt: skip

SPOT_DASK, DASK = "spot-dask", "dask"
"""What a process may become: the script, or ``python -m dask``."""


class Forked:
    """A process of the warm one; of ``subprocess.Popen`` it has what the tests use."""

    def __init__(self, pid: int, told: socket.socket, args: list[str], pipes: list[IO[str]]):
        self.pid, self.args, self._told, self._pipes = pid, args, told, pipes
        self.stdout, self.stderr = pipes or (None, None)
        self.returncode: int | None = None
        self._texts: dict[IO[str], str] = {}
        self._readers: list[threading.Thread] = []

    def poll(self) -> int | None:
        """The exit code as ``subprocess`` tells it, None while the process runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(timeout=0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once the process has ended."""
        if self.returncode is None:
            if not select.select([self._told], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = int(self._told.recv(64))
            self._told.close()
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it writes from now on to stdout and stderr, once it and its pipes have ended."""
        deadline = None if timeout is None else time.monotonic() + timeout
        if not self._readers:
            self._readers = [
                threading.Thread(target=self._read, args=[pipe], daemon=True)
                for pipe in self._pipes
            ]
            for reader in self._readers:
                reader.start()
        for reader in self._readers:
            reader.join(None if deadline is None else max(deadline - time.monotonic(), 0.0))
            if reader.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
        self.wait(None if deadline is None else max(deadline - time.monotonic(), 0.0))
        out, err = [self._texts[pipe] for pipe in self._pipes] or ("", "")
        return out, err

    def _read(self, pipe: IO[str]) -> None:
        with pipe:
            self._texts[pipe] = pipe.read()

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Warm:
    """The process that has imported; made when the first process is asked of it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._environment = _early(os.environ)

    def serves(self, environment: dict[str, str]) -> bool:
        """Whether a process with this environment would have imported the same."""
        return _early(environment) == self._environment

    def start(
        self, args: list[str], cwd: Path, environment: dict[str, str], log: Path | None
    ) -> Forked:
        """A process that becomes ``args[0]`` with the other words, and leads a session.

        Its stdout and stderr are pipes, or both the log.
        """
        if self._process is None:
            self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, __file__, str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                )
        told, tell = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pipes: list[IO[str]] = []
        if log is None:
            ends = [os.pipe(), os.pipe()]
            pipes = [os.fdopen(read) for read, _ in ends]
            written = [write for _, write in ends]
        else:
            opened = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            written = [opened, os.dup(opened)]
        request = {"args": args, "cwd": str(cwd), "environment": environment}
        with tell:
            socket.send_fds(self._socket, [json.dumps(request).encode()], [tell.fileno(), *written])
            for fd in written:
                os.close(fd)
        return Forked(int(told.recv(64)), told, args, pipes)

    def close(self) -> None:
        if self._process is not None:
            self._socket.close()
            self._process.wait(timeout=30)


def _early(environment: Mapping[str, str]) -> dict[str, str]:
    """What is read when the interpreter starts and when Dask is imported."""
    return {k: v for k, v in environment.items() if k.startswith(("PYTHON", "DASK_"))}


def _serve(requests: socket.socket) -> None:
    """Fork a process for every request until the tests have ended; tell each one's exit code."""
    woken, wake = os.pipe2(os.O_NONBLOCK)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    running: dict[int, socket.socket] = {}
    while True:
        ready = select.select([requests, woken], [], [])[0]
        if woken in ready:
            os.read(woken, 512)
            while running:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    break
                with running.pop(pid) as tell:
                    tell.send(b"%d" % os.waitstatus_to_exitcode(status))
        if requests in ready:
            message, fds, *_ = socket.recv_fds(requests, 1 << 20, 3)
            if not message:
                return
            tell, *written = fds
            if not (pid := os.fork()):
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for other in (requests, *running.values()):
                    other.close()
                os.close(woken)
                os.close(wake)
                _become(json.loads(message), tell, written)
            running[pid] = socket.socket(fileno=tell)
            for fd in written:
                os.close(fd)


def _become(request: dict[str, Any], tell: int, written: list[int]) -> None:
    """Be a process of its own that runs a command; ends with SystemExit as the command does."""
    os.setsid()
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    for fd, number in zip(written, (1, 2), strict=True):
        os.dup2(fd, number)
        os.close(fd)
    os.write(tell, b"%d" % os.getpid())
    os.close(tell)
    what, *words = request["args"]
    if what == DASK:
        sys.path[0] = request["cwd"]
        sys.argv = [what, *words]
        runpy.run_module("dask", run_name="__main__")
        sys.exit()
    script = Path(sys.executable).with_name(SPOT_DASK)
    sys.path[0], sys.argv = str(script.parent), [str(script), *words]
    sys.exit(importlib.import_module("spot_dask.cli").main())


if __name__ == "__main__":
    for module in IMPORTED:
        importlib.import_module(module)
    _serve(socket.socket(fileno=int(sys.argv[1])))
