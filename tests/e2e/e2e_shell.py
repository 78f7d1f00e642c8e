"""Studies and processes for end-to-end tests: everything real, nothing slow."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

STUDY = '''
"""A quadratic with a mild trap, about 50 ms a training."""
import time

from spot_dask import Budget, Categorical, Design, FunctionTask, Real, Space, Study


def train(cfg):
    time.sleep({seconds})
    {body}
    return (cfg.x - 0.3) ** 2 + (0.1 if cfg.kind == "a" else 0.0)


study = Study(
    name="quadratic",
    space=Space(
        x=Real({low}, 1.0, default=0.9),
        kind=Categorical(["a", "b"], default="a"),
    ),
    task=FunctionTask(train),
    design=Design(initial=6),
    budget=Budget(evaluations=12),
    seed=1,
)
'''


HELD = (
    "import os, pathlib\n"
    "    with open({log!r}, 'a') as file:\n"
    "        file.write(f'{{trial.number}} {{os.getpid()}}\\n')\n"
    "    while pathlib.Path({hold!r}).exists() and trial.number >= 4: time.sleep(0.05)"
)


@dataclass
class Shell:
    """Runs spot-dask as a user does, in a directory of its own; reports are written on demand."""

    home: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def study(
        self, name: str = "study.py", *, seconds: float = 0.05, low: float = 0.0, body: str = "pass"
    ) -> Path:
        path = self.home / name
        path.write_text(STUDY.format(seconds=seconds, low=low, body=body))
        return path

    def held_study(self, log: Path, hold: Path) -> Path:
        """A study whose trainings note number and process in a file when they begin; all but the
        first four go on as long as the other file is there."""
        study = self.study(body=HELD.format(log=str(log), hold=str(hold)))
        study.write_text(study.read_text().replace("def train(cfg)", "def train(cfg, trial)"))
        return study

    def spot(self, *args: str | Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """spot-dask with these arguments, to its end."""
        return subprocess.run(
            self._command(*args),
            cwd=self.home,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def json(self, *args: str | Path) -> dict[str, Any]:
        """The one JSON document that spot-dask prints with ``--json``."""
        done = self.spot(*args, "--json")
        assert done.returncode == 0, done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def begin(self, *args: str | Path) -> subprocess.Popen[str]:
        """spot-dask with these arguments, left running."""
        return self.start(self._command(*args))

    def start(self, command: list[str], log: Path | None = None) -> subprocess.Popen[str]:
        """A process that is killed in the end; it writes to pipes, or to a log."""
        with contextlib.ExitStack() as stack:
            output = stack.enter_context(log.open("w")) if log else subprocess.PIPE
            process = subprocess.Popen(
                command,
                cwd=self.home,
                env=self._environment(),
                stdout=output,
                stderr=output,
                text=True,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def close(self) -> None:
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate(timeout=30)

    def _environment(self) -> dict[str, str]:
        return {"SPOT_DASK_REPORT": "false", **os.environ}  # a report takes as long as the run

    def _command(self, *args: str | Path) -> list[str]:
        return [str(Path(sys.executable).with_name("spot-dask")), *map(str, args)]


class Cluster:
    """A scheduler and two workers, started as processes of their own.

    A test may end a worker: before the next test there are two again.
    """

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        file = shell.home / "scheduler.json"
        self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", file)
        wait_until(lambda: file.exists() and "tcp://" in file.read_text())
        (self.address,) = re.findall(r"tcp://[\d.:]+", file.read_text())[:1]
        self.workers: list[subprocess.Popen[str]] = []

    def two_workers(self) -> None:
        self.workers = [worker for worker in self.workers if worker.poll() is None]
        while len(self.workers) < 2:
            options = ["--nthreads", "1", "--memory-limit", "0", "--local-directory"]
            self.workers.append(self._start("worker", self.address, *options, self._shell.home))

    def _start(self, *words: str | Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "dask", *map(str, words)]
        log = self._shell.home / f"{len(self._shell.started)}.log"
        return self._shell.start([*command, "--dashboard-address", "127.0.0.1:0"], log)


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Poll until the condition holds; a test that waits too long fails here."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
