"""The processes of a cluster, kept running as a service manager does, some cut off at will."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from chaos.trainings import LABEL, marked


@dataclass
class Namespace:
    """A network namespace with one link to this machine's; ``net`` makes its addresses unique."""

    name: str
    net: int

    @property
    def outside(self) -> str:
        return f"10.213.{self.net}.1"

    @property
    def inside(self) -> str:
        return f"10.213.{self.net}.2"

    def create(self) -> bool:
        """Whether this machine lets us."""
        ours, theirs = f"{self.name}o", f"{self.name}i"
        inside = ("netns", "exec", self.name, "ip")
        steps = [
            ("netns", "add", self.name),
            ("link", "add", ours, "type", "veth", "peer", "name", theirs),
            ("link", "set", theirs, "netns", self.name),
            ("addr", "add", f"{self.outside}/30", "dev", ours),
            ("link", "set", ours, "up"),
            (*inside, "addr", "add", f"{self.inside}/30", "dev", theirs),
            (*inside, "link", "set", theirs, "up"),
            (*inside, "link", "set", "lo", "up"),
        ]
        if all(_ip(*step) for step in steps):
            return True
        self.delete()
        return False

    def cut(self, *, off: bool) -> None:
        """Take the link away, or give it back."""
        _ip("link", "set", f"{self.name}o", "down" if off else "up")

    def delete(self) -> None:
        _ip("link", "delete", f"{self.name}o")
        _ip("netns", "delete", self.name)


def _ip(*words: str) -> bool:
    try:
        return subprocess.run(["ip", *words], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@dataclass
class Service:
    """A process that is started again when it ends. ``command`` is asked for at every start.

    ``parts`` are what can be hurt in it: a plain ``dask worker`` is a nanny with a worker below.
    """

    label: str
    command: Callable[[], Sequence[str]]
    folder: Path
    environment: dict[str, str]
    namespace: Namespace | None = None
    process: subprocess.Popen[bytes] | None = None
    codes: list[int] = field(default_factory=list)
    _again: float = 0.0

    def tend(self, chance: random.Random) -> None:
        """Start it if it does not run and its pause is over."""
        if self.process is not None and (code := self.process.poll()) is not None:
            self.codes.append(code)
            self.process = None
            self._again = time.monotonic() + chance.uniform(0.0, 1.5)
        if self.process is None and time.monotonic() >= self._again:
            self.start()

    def start(self) -> None:
        words = [str(word) for word in self.command()]
        if self.namespace is not None:
            words = ["ip", "netns", "exec", self.namespace.name, *words]
        with (self.folder / f"{self.label}.log").open("ab") as log:
            log.write(f"--- {time.time():.2f} {' '.join(words)}\n".encode())
            log.flush()
            self.process = subprocess.Popen(
                words,
                cwd=self.folder,
                env=self.environment | {LABEL: self.label},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int | None:
        """The process, if it runs."""
        return None if self.process is None or self.process.poll() is not None else self.process.pid

    def worker(self) -> int | None:
        """The worker below a nanny, if there is one now."""
        return next((p for p in children(self.pid) if "spawn_main" in command_line(p)), None)

    def trainings(self, name: str) -> list[int]:
        """The processes that it trains in."""
        return [
            pid
            for pid in marked(name)
            if "spot_dask.worker.training_main" in command_line(pid) and label_of(pid) == self.label
        ]

    def end(self, number: int) -> None:
        if self.pid is not None:
            send(self.pid, number)

    def destroy(self) -> None:
        """Kill it if it has not ended by itself, and wait until it is gone."""
        self.end(KILL)
        if self.process is not None:
            self.process.wait()


def send(pid: int, number: int) -> bool:
    """Whether the process was there to get the signal."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)
        return True
    return False


def children(pid: int | None) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            if entry.name.isdigit():
                stat = (entry / "stat").read_text()
                if int(stat.rpartition(")")[2].split()[1]) == pid:
                    found.append(int(entry.name))
    return found


def command_line(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


def label_of(pid: int) -> str:
    with suppress(OSError):
        for item in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            if item.startswith(f"{LABEL}=".encode()):
                return item.partition(b"=")[2].decode()
    return ""


def spot_dask(*words: str) -> list[str]:
    """The command line of spot-dask with this interpreter."""
    return [sys.executable, "-c", "from spot_dask.cli import main; main()", *words]


KILL, TERM, STOP, CONT = signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP, signal.SIGCONT
