"""A process that trials are forked from: ``python -m spot_dask.worker.zygote PARENT SOCKET``.

It loads a task once, which imports torch and the user's modules, and then forks a process for each
trial. A request with the task comes in on stdin; over the socket it tells ``ready``, or why nothing
can be forked from it, and then answers numbers:

=========================================  =================================================
``fork`` with stdin, stdout and crash log  the pid, once that leads a session; ``-errno``
``reap PID``                               the exit code, -n for signal n
=========================================  =================================================

A trial's pid is not given to another process before its supervisor asks to reap it. The process
dies with its parent, its trials with it; without trials it ends after ``IDLE_SECONDS``.
"""

from __future__ import annotations

import ctypes
import json
import os
import pickle
import random
import select
import signal
import socket
import sys
import traceback
import warnings
from pathlib import Path
from typing import NoReturn

import numpy as np

from spot_dask.worker import training_main
from spot_dask.worker.training_main import IDLE_SECONDS, Loaded

MESSAGE_BYTES = 256
FORK_SAFE = {"jemalloc_bg_thd"}  # of pyarrow; it has handlers for forks
GPU_DEVICES = ("/dev/nvidia", "/dev/kfd")  # what the drivers of CUDA and ROCm open


class Generators:
    """The global random generators, as a new interpreter would have them.

    What loading a task has seeded, every trial finds as that left it; what it left alone differs
    from trial to trial. torch's starts from a fixed seed in any interpreter.
    """

    def __init__(self) -> None:
        self._python = random.getstate()
        self._numpy = np.random.get_state(legacy=False)  # noqa: NPY002 - the one that users seed

    def remember(self) -> None:
        """Note what has been seeded since."""
        numpy = np.random.get_state(legacy=False)  # noqa: NPY002
        python = random.getstate()
        self._numpy_seeded = pickle.dumps(numpy) != pickle.dumps(self._numpy)
        self._python_seeded = python != self._python
        self._python = python

    def in_child(self) -> None:
        if self._python_seeded:  # Python seeds its own anew in every forked process
            random.setstate(self._python)
        if not self._numpy_seeded:
            np.random.seed()  # noqa: NPY002


class Zygote:
    """Forks trials and buries them, one request after the other."""

    def __init__(self, orders: socket.socket, loaded: Loaded, generators: Generators) -> None:
        self._orders = orders
        self._loaded = loaded
        self._generators = generators
        self._trials: set[int] = set()

    def serve(self) -> None:
        while select.select([self._orders], [], [], None if self._trials else IDLE_SECONDS)[0]:
            order, pipes, _, _ = socket.recv_fds(self._orders, MESSAGE_BYTES, 3)
            if not order:
                return
            if order == b"fork":
                answer = self._fork(pipes)
            else:
                pid = int(order.removeprefix(b"reap "))
                answer = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                self._trials.discard(pid)
            self._orders.send(str(answer).encode())

    def _fork(self, pipes: list[int]) -> int:
        zygote = os.getpid()
        prepared, preparing = os.pipe()
        try:
            # Python counts the threads of other libraries, too, and the one there may be can fork.
            with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
                pid = os.fork()
        except OSError as error:
            pid = -(error.errno or 1)
        if pid == 0:
            self._train(zygote, pipes, preparing)
        for end in (*pipes, preparing):
            os.close(end)
        os.read(prepared, 1)  # until it leads a session, whose number it can be killed by
        os.close(prepared)
        if pid > 0:
            self._trials.add(pid)
        return pid

    def _train(self, zygote: int, pipes: list[int], preparing: int) -> NoReturn:
        try:
            training_main.end_with(zygote)
            os.setsid()
            os.close(preparing)
            self._orders.close()
            for number, end in enumerate(pipes[:2]):
                os.dup2(end, number)
                os.close(end)
            os.set_inheritable(pipes[2], False)
            self._generators.in_child()
            training_main.serve(pipes[2], self._loaded)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)


def obstacle() -> str | None:
    """Why no process can be forked from this one, if so."""
    if training_main.cuda_in_use() or any(_opened(GPU_DEVICES)):
        return "loading the task initialised the GPU"
    # BLAS libraries end their threads when a process forks, which is why one is forked first: by
    # the C library, for Python would warn of the threads.
    library = ctypes.PyDLL(None)
    pid = library.fork()
    if pid == 0:
        library._exit(0)
    os.waitpid(pid, 0)
    others = [name for name in _threads() if name not in FORK_SAFE]
    return f"loading the task left {len(others)} threads running" if others else None


def _threads() -> list[str]:
    """The names, as the kernel knows them, of all threads but this one."""
    tasks = Path("/proc/self/task").iterdir()
    return [(t / "comm").read_text().strip() for t in tasks if t.name != str(os.getpid())]


def _opened(names: tuple[str, ...]) -> list[str]:
    links = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            links.append(str(entry.readlink()))
        except OSError:  # that of the listing itself
            continue
    return [link for link in links if link.startswith(names)]


def main() -> None:
    parent, number = map(int, sys.argv[1:])
    training_main.end_with(parent)
    training_main.outlive_signals()
    orders = socket.socket(fileno=number)
    orders.set_inheritable(False)
    generators = Generators()
    request = json.loads(sys.stdin.buffer.readline())
    loaded = Loaded(request["task"], sys.stdin.buffer.read())
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a device, no file
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    try:
        loaded.load(request["cwd"], request["path"])
    except BaseException:  # a trial will meet it again, and tell
        loaded.task = None
    generators.remember()
    why = obstacle()
    sys.stdout.flush()
    sys.stderr.flush()
    orders.send((why or "ready").encode())
    if why is None:
        Zygote(orders, loaded, generators).serve()
    os.killpg(os.getpgrp(), signal.SIGKILL)  # with what loading the task has started


if __name__ == "__main__":
    main()
