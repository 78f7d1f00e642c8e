"""spot-dask run in a real pseudo-terminal: what a user sees, and what is left in the end."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyte
import pytest
from e2e_shell import Shell

pytestmark = [pytest.mark.e2e, pytest.mark.dask]

WIDTH, HEIGHT = 60, 20

TALKS = (
    "import os, sys, pathlib\n"
    "    print(f'on stdout from {trial.number}')\n"
    "    os.write(2, f'past Python from {trial.number}\\n'.encode())\n"
    "    print('\\rhalf\\rwhole', file=sys.stderr, flush=True)\n"
    "    trial.report(1, loss=cfg.x)\n"
    "    while pathlib.Path(HOLD).exists() and trial.number >= 4: time.sleep(0.05)"
)


class Terminal:
    """A terminal of sixty columns in which a command runs."""

    def __init__(self, command: list[str], home: Path) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
        self._screen = pyte.HistoryScreen(WIDTH, HEIGHT, history=10_000)
        self._stream = pyte.ByteStream(self._screen)
        self.process = subprocess.Popen(
            command,
            cwd=home,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm-256color"},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)

    def read(self, seconds: float = 0.1) -> bool:
        """Take in what was written; False at the end."""
        if select.select([self._ours], [], [], seconds)[0]:
            try:
                self._stream.feed(os.read(self._ours, 1 << 16))
            except OSError:  # the last process that had the terminal has ended
                return False
        return True

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert self.read(), "\n".join(self.visible)
            assert time.monotonic() < deadline, "\n".join(self.visible)

    def watch(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.read():
            pass

    def to_the_end(self) -> int:
        deadline = time.monotonic() + 60
        while self.read():
            assert time.monotonic() < deadline
        return self.process.wait(timeout=30)

    def press_ctrl_c(self) -> None:
        os.write(self._ours, b"\x03")

    @property
    def visible(self) -> list[str]:
        return [line.rstrip() for line in self._screen.display]

    @property
    def everything(self) -> list[str]:
        """Also what has been scrolled out of sight."""
        gone = ["".join(line[i].data for i in range(WIDTH)) for line in self._screen.history.top]
        return [line.rstrip() for line in gone] + self.visible

    @property
    def cursor_is_hidden(self) -> bool:
        return bool(self._screen.cursor.hidden)

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(timeout=30)
        os.close(self._ours)


@pytest.fixture
def hold(shell: Shell) -> Path:
    path = shell.home / "hold"
    path.touch()
    return path


@pytest.fixture
def terminal(shell: Shell, hold: Path) -> Iterator[Terminal]:
    """A run, two trainings at a time, that stands still from trial 4 on as long as it is held."""
    study = shell.study(body=TALKS.replace("HOLD", repr(str(hold))))
    study.write_text(study.read_text().replace("def train(cfg)", "def train(cfg, trial)"))
    spot = str(Path(sys.executable).with_name("spot-dask"))
    terminal = Terminal(
        [spot, "run", str(study), "--local", "2", "--store", "run.zarr", "--no-report"], shell.home
    )
    yield terminal
    terminal.close()


SLOW_FRAMES = """
import os, threading, time
from spot_dask.cli import progress
from spot_dask.cli.progress import Goal, Screen, Update, watch
from spot_dask.records import History

whole = Screen.__rich_console__

def slow(self, *given):
    time.sleep(0.01)
    yield from whole(self, *given)

def write():
    for number in range(100):
        os.write(2, f"past Python from {number}\\n".encode())
        time.sleep(0.01)

Screen.__rich_console__, progress.FRAME_SECONDS = slow, 0.01
with watch("rich", Goal("loss", "minimize", 12, None)) as watcher:
    threading.Thread(target=write).start()
    for number in range(100):
        news = Update(History(), None, (), 2, 1, float(number), 0.0)
        watcher(news)
        message = f"message {number}"
        watcher(Update(History(), None, (), 2, 1, float(number), 0.0, message=message))
"""


def test_frames_drawn_by_several_threads_leave_nothing(shell: Shell) -> None:
    terminal = Terminal([sys.executable, "-c", SLOW_FRAMES], shell.home)
    try:
        assert terminal.to_the_end() == 0
    finally:
        terminal.close()
    lines = terminal.everything
    written = [f"{what} {n}" for n in range(100) for what in ("past Python from", "message")]
    assert sorted(line for line in lines if line) == sorted(written)


def is_live(line: str) -> bool:
    """Whether a line belongs to the live screen."""
    return line.startswith(("━", "best: loss", "Ctrl-C:")) or "slots busy" in line


def test_a_screen_stands_below_all_that_is_written(terminal: Terminal, hold: Path) -> None:
    def stands_still() -> bool:
        both = [line for line in terminal.visible if line.startswith(("  trial 4 ", "  trial 5 "))]
        return len(both) == 2 and all("epoch 1" in line for line in both)

    terminal.until(stands_still)
    live = [line for line in terminal.visible if line][-7:]
    assert "  4/12  " in live[0]
    assert live[1].startswith("best: loss ")
    assert live[2].startswith("  x=")
    assert live[3] == "2 of 2 slots busy on 1 worker"
    assert live[6] == "Ctrl-C: finish running and stop"
    assert not any(is_live(line) for line in terminal.everything[:-HEIGHT])
    hold.unlink()
    assert terminal.to_the_end() == 0
    lines = terminal.everything
    assert not any(is_live(line) for line in lines)  # nothing of a frame is left anywhere
    assert lines[0] == "store run.zarr"
    for number in range(12):
        assert lines.count(f"on stdout from {number}") == 1
        assert lines.count(f"past Python from {number}") == 1
    assert lines.count("whole") == 12
    assert not terminal.cursor_is_hidden


def test_ctrl_c_leaves_the_terminal_clean(terminal: Terminal, hold: Path) -> None:
    terminal.until(lambda: "epoch 1" in " ".join(terminal.visible[-4:]))
    terminal.press_ctrl_c()
    terminal.until(lambda: "finishing what runs; Ctrl-C again: stop it" in terminal.visible)
    hold.unlink()
    assert terminal.to_the_end() == 130
    assert [line for line in terminal.everything if is_live(line)] == []
    assert not terminal.cursor_is_hidden


def test_the_third_ctrl_c_leaves_a_cursor(terminal: Terminal) -> None:
    # The trainings that are held: what runs before would end at the first signal, and the run too.
    terminal.until(lambda: "epoch 1" in " ".join(terminal.visible[-4:]))
    assert not terminal.cursor_is_hidden
    for _ in range(3):
        terminal.press_ctrl_c()
        terminal.watch(0.3)  # signals that come together count as one
    # A shell says 130 of both: the third may come when the run has ended, and Python with it.
    assert terminal.to_the_end() in (130, -signal.SIGINT)
    assert not terminal.cursor_is_hidden
