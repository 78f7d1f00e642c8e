"""What the coordinators of a chaos run write, and how the journal is compared with it.

The i-th entry of a session is a function of both, so whatever stands in a journal can be checked
to the last bit against what its writer had to say.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from chaos.reader import Unreadable, entries
from spot_dask.errors import StoreError
from spot_dask.records import (
    Asked,
    Evaluation,
    Header,
    Opened,
    Outcome,
    Record,
    Status,
    Told,
    Trial,
)
from spot_dask.store.journal import Journal

HEADER = Header(
    run_id="chaos",
    name="chaos",
    created=0.0,
    space={},
    space_hash="",
    objective="loss",
    direction="min",
)

LARGE = 64
"""What ``curves.LARGE`` has to be set to, so that every eighth entry has an array of its own."""


Promise = tuple[int, int, int, int]
"""Number and epoch of an acknowledged record, session and entry that it holds."""


def story(session: int, i: int) -> Told:
    """The i-th entry of a session; every eighth one has long curves, and no two are alike."""
    length = 3 * LARGE if i % 8 == 7 else i * 7 % 50
    curve = tuple(math.sin(session + k) if k % 9 else math.nan for k in range(length))
    trial = Trial(i, {"session": session, "text": "x" * (i * 97 % 900)}, seed=session)
    outcome = Outcome(Status.OK, y=session + i / 7, curves={"loss": curve})
    return Told(Evaluation(trial, outcome))


def promise(record: Record) -> Promise | None:
    """What a record is; None if nobody has written such an entry."""
    if not isinstance(record.entry, Told):
        return None
    trial = record.entry.evaluation.trial
    session = trial.config.get("session")
    if not isinstance(session, int):
        return None  # damage has made another entry of it
    same = repr(record.entry) == repr(story(session, trial.number))
    return (record.seq, record.epoch, session, trial.number) if same else None


@dataclass
class Tally:
    """What was done and what came of it; the last four must be 0.

    ``others`` counts what is no kill: pauses, failed calls, power cuts and damaged objects.
    """

    kills: int = 0
    others: int = 0
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    invented: int = 0
    unreadable: int = 0

    @property
    def failures(self) -> int:
        return self.lost + self.doubled + self.invented + self.unreadable

    def add(self, other: Tally) -> None:
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    def judge(
        self, path: Path, promised: Iterable[Promise], seen: list[Promise], writing: bool = False
    ) -> None:
        """Compare the journal with what was acknowledged, and with what was ``seen`` before.

        While somebody is ``writing``, not all that he was promised is known here.
        """
        promised = list(promised)
        present = self.read(path)
        if present is None:
            return
        self.lost += len({*promised, *seen} - set(present))
        written = Counter((session, i) for _, _, session, i in present)
        self.doubled += sum(count - 1 for count in written.values())
        # An entry may be there unacknowledged only if it was on its way when its writer died.
        next_of = Counter(session for _, _, session, _ in promised)
        if not writing:
            self.invented += sum(i > next_of[session] for _, _, session, i in present)
        seen[:] = present

    def read(self, path: Path) -> list[Promise] | None:
        """What stands in the journal; None, and counted, if it cannot be read."""
        try:
            records = Journal.open(path).records()
        except StoreError as error:
            print(f"unreadable: {error}", file=sys.stderr)
            self.unreadable += 1
            return None
        present = [promise(r) for r in records if not isinstance(r.entry, Opened | Asked)]
        self.invented += present.count(None)
        self._compare(path, present)
        return [p for p in present if p is not None]

    def _compare(self, path: Path, present: list[Promise | None]) -> None:
        """Count what our own code reads of the journal otherwise; it may have grown meanwhile."""
        try:
            own = [plain(*found) for found in entries(path) if found[2]["kind"] == "tell"]
        except FileNotFoundError:  # a broken writer has another format
            return
        except Unreadable as error:
            print(f"unreadable: {error}", file=sys.stderr)
            self.unreadable += 1
            return
        self.invented += own[: len(present)] != present


def plain(seq: int, epoch: int, entry: dict[str, Any]) -> Promise | None:
    """As ``promise``, of an entry as it stands in the journal; its curves are not looked at."""
    (item,) = entry["items"]
    trial, i = item["trial"], item["trial"]["number"]
    told = story(trial["config"]["session"], i).evaluation
    same = item["outcome"]["y"] == told.outcome.y and trial["config"] == dict(told.trial.config)
    return (seq, epoch, trial["config"]["session"], i) if same else None


class Child:
    """A process that runs ``act(say)``; what it says are promises, which outlive it.

    Forked, so that a kill costs milliseconds. The parent must have no threads.
    """

    def __init__(self, act: Callable[[Callable[[Promise], None]], None]) -> None:
        self._rest = b""
        self.promised: list[Promise] = []
        self._from_child, to_parent = os.pipe()
        self.pid = os.fork()
        if self.pid:
            os.close(to_parent)
            return
        code = 1
        try:
            os.close(self._from_child)
            act(lambda words: _write_all(to_parent, (" ".join(map(str, words)) + "\n").encode()))
            code = 0
        finally:
            os._exit(code)

    def listen(self, seconds: float) -> bool:
        """Hear what it says for so long at most; False when it has ended."""
        if not select.select([self._from_child], [], [], seconds)[0]:
            return True
        data = os.read(self._from_child, 65536)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            seq, epoch, session, i = map(int, line.split())
            self.promised.append((seq, epoch, session, i))
        return bool(data)

    def heard(self) -> list[Promise]:
        """What it has said by now."""
        while select.select([self._from_child], [], [], 0)[0] and self.listen(0):
            pass
        return list(self.promised)

    @property
    def living(self) -> bool:
        """Whether it has not ended."""
        return os.waitpid(self.pid, os.WNOHANG) == (0, 0)

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def end(self, *, kill: bool = True) -> int:
        """Kill it, or let it finish; hear the rest. Its exit code, -n for signal n."""
        if kill:
            self.signal(signal.SIGKILL)
        while self.listen(3600.0):
            pass
        os.close(self._from_child)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def opened(path: Path, durability: str) -> Journal:
    return Journal.resume(path, takeover=True, durability=durability)  # type: ignore[arg-type]


def created(path: Path, durability: str = "process") -> Path:
    Journal.create(path, HEADER, durability=durability).close()  # type: ignore[arg-type]
    return path


def write(journal: Journal, session: int, count: int) -> Iterator[Promise]:
    """Append the session's entries and tell each one when it is acknowledged."""
    with contextlib.closing(journal):
        for i in range(count):
            record = journal.append(story(session, i))
            yield record.seq, record.epoch, session, i
