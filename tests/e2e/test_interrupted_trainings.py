"""Whatever ends a training early: its next attempt goes on where it was, and nothing is left."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from e2e_shell import Shell, wait_until

from spot_dask import Run

pytestmark = [pytest.mark.e2e, pytest.mark.dask]

BODY = """
    from spot_dask import replacing
    saved = trial.checkpoint / "epoch"
    begun = int(saved.read_text()) if saved.exists() else 0
    for epoch in range(begun + 1, 6):
        with replacing(saved) as file:
            file.write(str(epoch).encode())
        with open({log!r}, "a") as log:
            log.write(f"{{trial.number}} {{begun}} {{epoch}} {{os.getpid()}}\\n")
        while epoch == 3 and trial.number == 2 and pathlib.Path({hold!r}).exists():
            time.sleep(0.05)
"""


class Held:
    """A study whose trial 2 stays in its third epoch as long as a file is there."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        self.log, self.hold = shell.home / "log", shell.home / "hold"
        self.store = shell.home / "run.zarr"
        self.hold.touch()
        body = f"import os, pathlib{BODY.format(log=str(self.log), hold=str(self.hold))}"
        self.study = shell.study(body=body)
        text = self.study.read_text().replace("def train(cfg)", "def train(cfg, trial)")
        self.study.write_text(text.replace("evaluations=12", "evaluations=6"))

    def begin(self, *options: str | Path) -> subprocess.Popen[str]:
        process = self.shell.begin("run", self.study, "--store", self.store, *options)
        wait_until(lambda: any(line[:3] == [2, 0, 3] for line in self.lines()))
        return process

    def lines(self) -> list[list[int]]:
        text = self.log.read_text() if self.log.exists() else ""
        return [[int(word) for word in line.split()] for line in text.splitlines()]

    def check(self) -> None:
        """Trial 2 went on after its third epoch, all are done, and nothing is left behind."""
        assert [line[1:3] for line in self.lines() if line[0] == 2] == [
            [0, 1], [0, 2], [0, 3], [3, 4], [3, 5]
        ]  # fmt: skip
        assert len(Run.open(self.store).history.ok) == 6
        assert not any(p.name.endswith(".checkpoints") for p in self.shell.home.iterdir())
        assert not any((self.shell.home / "kept").glob("*"))
        left = [pid for *_, pid in self.lines() if Path(f"/proc/{pid}/exe").exists()]
        assert left == []


@pytest.fixture
def held(shell: Shell) -> Held:
    return Held(shell)


def killed(run: subprocess.Popen[str]) -> None:
    run.kill()


def stopped_by_two_signals(run: subprocess.Popen[str]) -> None:
    run.send_signal(signal.SIGINT)
    run.send_signal(signal.SIGTERM)  # the kernel would make one of two alike


@pytest.mark.parametrize(
    ("end", "options"),
    [
        (killed, ["--checkpoints", "kept", "--isolation", "process"]),
        (stopped_by_two_signals, []),
    ],
)
def test_a_run_that_ended_goes_on_within_its_trainings(
    end: Callable[[subprocess.Popen[str]], None], options: list[str], held: Held
) -> None:
    run = held.begin("--local", "1", *options)
    end(run)
    run.wait(timeout=60)
    folder = held.shell.home / ("kept" if options else "run.zarr.checkpoints")
    (root,) = folder.iterdir()
    assert [path.name for path in root.iterdir()] == ["2"]
    held.hold.unlink()
    resumed = held.shell.spot("resume", held.store, "--local", "1")
    assert resumed.returncode == 0, resumed.stderr
    held.check()


def worker(shell: Shell, file: Path) -> subprocess.Popen[str]:
    return shell.begin(
        "worker", file, "--slots", "1", "--grace", "1s", "--local-directory", shell.home
    )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_training_lost_with_its_worker_goes_on_elsewhere(
    number: signal.Signals, shell: Shell, held: Held
) -> None:
    file = shell.home / "scheduler.json"
    shell.begin(
        "scheduler", "--host", "127.0.0.1", "--port", "0", "--dashboard", "127.0.0.1:0",
        "--scheduler-file", file,
    )  # fmt: skip
    wait_until(file.exists)
    first = worker(shell, file)
    run = held.begin("--scheduler", file)
    os.kill(first.pid, number)
    first.wait(timeout=60)
    held.hold.unlink()
    worker(shell, file)
    _, told = run.communicate(timeout=120)
    assert run.returncode == 0, told
    wait_until(lambda: not any(p.name.endswith(".checkpoints") for p in shell.home.iterdir()))
    for process in shell.started:
        process.terminate()
        process.wait(timeout=60)
    held.check()
