"""Starting coordinators in processes of their own, and comparing what they were promised."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from journal_writer import story

from spot_dask.records import Closed, Record
from spot_dask.store.journal import Journal

SCRIPT = Path(__file__).with_name("journal_writer.py")


@dataclass
class Writer:
    """One such process; ``acknowledged`` are the lines it has told so far."""

    process: subprocess.Popen[str]
    acknowledged: list[str]
    over: bool = False

    def go(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def read_one(self) -> None:
        assert self.process.stdout is not None
        self._take(self.process.stdout.readline())

    def read_all(self) -> None:
        """What is still to come, until the process has ended."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._take(line)
        self.process.wait()

    def _take(self, line: str) -> None:
        if line == "taken over\n":
            self.over = True
        elif line.endswith("\n"):
            self.acknowledged.append(line.strip())


@contextmanager
def writers(
    path: Path | str,
    sessions: list[int],
    count: int,
    *,
    rounds: int = 1,
    durability: str = "process",
) -> Iterator[list[Writer]]:
    """Coordinators that have loaded their code and wait to ``go``."""
    started = [
        subprocess.Popen(
            [sys.executable, SCRIPT, path, str(session), str(count), str(rounds), durability],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for session in sessions
    ]
    try:
        yield [Writer(process, []) for process in started]
    finally:
        for process in started:
            process.kill()
            process.communicate()


def written(path: Path | str) -> list[str]:
    """The records of all sessions, in the form in which they were acknowledged."""
    return [_line(r, r.entry) for r in Journal.open(path).records() if isinstance(r.entry, Closed)]


def _line(record: Record, entry: Closed) -> str:
    session, i, _ = entry.reason.split(":", 2)
    assert entry == story(int(session), int(i)), "a record that nobody wrote"
    return f"{record.seq} {record.epoch} {session}:{i}"
