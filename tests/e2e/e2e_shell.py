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

from e2e_warm import DASK, SPOT_DASK, Forked, Warm

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


Process = subprocess.Popen[str] | Forked


@dataclass
class Shell:
    """Runs spot-dask as a user does, in a directory of its own; reports are written on demand.

    Commands are forked from the warm process where there is one.
    """

    home: Path
    warm: Warm | None = None
    started: list[Process] = field(default_factory=list)

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
        process = self.begin(*args)
        out, err = process.communicate(timeout=timeout)
        assert process.returncode is not None
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def json(self, *args: str | Path) -> dict[str, Any]:
        """The one JSON document that spot-dask prints with ``--json``."""
        done = self.spot(*args, "--json")
        assert done.returncode == 0, done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def begin(self, *args: str | Path) -> Process:
        """spot-dask with these arguments, left running."""
        return self._command([SPOT_DASK, *map(str, args)])

    def dask(self, *args: str | Path, log: Path) -> Process:
        """Dask's own command line with these arguments, left running."""
        return self._command([DASK, *map(str, args)], log)

    def _command(self, words: list[str], log: Path | None = None) -> Process:
        environment = self._environment()
        if self.warm is not None and self.warm.serves(environment):
            forked = self.warm.start(words, self.home, environment, log)
            self.started.append(forked)
            return forked
        script = str(Path(sys.executable).with_name(SPOT_DASK))
        program = [script] if words[0] == SPOT_DASK else [sys.executable, "-m", DASK]
        return self.start([*program, *words[1:]], log)

    def start(self, command: list[str], log: Path | None = None) -> subprocess.Popen[str]:
        """A new interpreter or another program; it writes to pipes, or to a log."""
        with contextlib.ExitStack() as stack:
            output = stack.enter_context(log.open("w")) if log else subprocess.PIPE
            process = subprocess.Popen(
                command,
                cwd=self.home,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                text=True,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def close(self) -> None:
        """Kill what still runs, with all that is in its session."""
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate(timeout=30)

    def _environment(self) -> dict[str, str]:
        return {"SPOT_DASK_REPORT": "false", **os.environ}  # a report takes as long as the run


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
        self.workers: list[Process] = []

    def two_workers(self) -> None:
        self.workers = [worker for worker in self.workers if worker.poll() is None]
        while len(self.workers) < 2:
            options = ["--no-nanny", "--nthreads", "1", "--memory-limit", "0"]
            self.workers.append(
                self._start("worker", self.address, *options, "--local-directory", self._shell.home)
            )

    def _start(self, *words: str | Path) -> Process:
        log = self._shell.home / f"{len(self._shell.started)}.log"
        return self._shell.dask(*words, "--dashboard-address", "127.0.0.1:0", log=log)


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Poll until the condition holds; a test that waits too long fails here."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
