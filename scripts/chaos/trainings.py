"""Trainings that write down when they live, and what became of them by these notes alone.

Every training appends lines to one file: that it starts, a sign of life ten times a second, and
that it ends. Together with the faults that were injected, and the records that stand in the store's
journal (read by code of our own), they tell whether a training was lost, doubled, or run
again for nothing.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos.reader import texts

MARK = "SPOT_CHAOS_RUN"
"""Variable in the environment of every process of a chaos run; its value names the run."""

LOG, LABEL = "SPOT_CHAOS_LOG", "SPOT_CHAOS_LABEL"
"""Variables: the file of the notes; the service that a process belongs to."""

STUDY = """
import math
import os
import time

from spot_dask import Budget, Design, FunctionTask, Real, Space, Study


def note(what, trial):
    line = f"{what} {trial.number} {trial.attempt} {os.getpid()} {label} {time.time()}\\n"
    os.write(log, line.encode())


def train(cfg, trial):
    global log, label
    log = os.open(os.environ["SPOT_CHAOS_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    label = os.environ["SPOT_CHAOS_LABEL"]
    note("start", trial)
    ends = time.monotonic() + SECONDS * math.exp(0.5 * math.sin(12.9898 * trial.number))
    while time.monotonic() < ends:
        time.sleep(0.1)
        note("alive", trial)
    note("end", trial)
    os.close(log)
    return (cfg.x - 0.3) ** 2 + abs(cfg.y)


study = Study(
    name="chaos",
    space=Space(x=Real(0.0, 1.0, default=0.9), y=Real(-1.0, 1.0, default=0.5)),
    task=FunctionTask(train),
    design=Design(initial=8),
    budget=Budget(evaluations=EVALUATIONS),
    seed=1,
)
"""


def study(evaluations: int, seconds: float) -> str:
    """The text of a study of so many trainings of about so many seconds."""
    return STUDY.replace("EVALUATIONS", str(evaluations)).replace("SECONDS", str(seconds))


@dataclass(frozen=True)
class Fault:
    """What was done to a service (``label``) or to a single training (``pid``), and when.

    ``ended`` is when a stopped or cut off service was given back. ``lethal`` tells that trainings
    there may have died of it.
    """

    kind: str
    label: str
    began: float
    ended: float
    lethal: bool
    pid: int | None = None


@dataclass
class Training:
    """One process's attempt at a trial; seconds since the epoch; ``ended`` may be None."""

    number: int
    attempt: int
    pid: int
    label: str
    started: float
    last: float
    ended: float | None = None


def trainings(log: Path) -> list[Training]:
    """What the notes tell, in the order of the starts."""
    found: dict[tuple[str, ...], Training] = {}
    started: list[Training] = []
    for line in log.read_text().splitlines() if log.exists() else ():
        what, number, attempt, pid, label, moment = line.split()
        if what == "start":
            training = Training(
                int(number), int(attempt), int(pid), label, float(moment), float(moment)
            )
            found[number, attempt, pid] = training
            started.append(training)
            continue
        training = found[number, attempt, pid]
        training.last = float(moment)
        if what == "end":
            training.ended = float(moment)
    return started


def present(store: Path) -> dict[int, str]:
    """Number and text of the records that are there; none while there is no journal.

    Raises Unreadable if it is not what its format says.
    """
    try:
        return dict(texts(store))
    except FileNotFoundError:
        return {}


@dataclass(frozen=True)
class Told:
    """An evaluation as a record tells it."""

    number: int
    attempt: int
    status: str


def evaluations(texts: Iterable[str]) -> Iterator[Told]:
    """The records that are evaluations."""
    for text in texts:
        record: dict[str, Any] = json.loads(text)
        for entry in record["items"] if record["kind"] == "batch" else [record]:
            if entry["kind"] in ("tell", "fail"):
                (item,) = entry["items"]
                yield Told(item["trial"]["number"], item["attempt"], item["outcome"]["status"])


@dataclass
class Verdict:
    """What came of a run; from ``missing`` on, all must be 0.

    ``unheard`` counts trainings that had ended and were trained again since whoever knew it was
    killed in the same moment; ``missing`` evaluations are those that the budget lacks or has
    too many, ``invented`` ones have no training that ended.
    """

    started: int = 0
    evaluated: int = 0
    again: int = 0
    unheard: int = 0
    missing: int = 0
    lost: int = 0
    doubled: int = 0
    invented: int = 0
    rerun_alive: int = 0
    orphans: int = 0
    remarks: list[str] = field(default_factory=list)

    @property
    def failures(self) -> int:
        return (
            self.missing
            + self.lost
            + self.doubled
            + self.invented
            + self.rerun_alive
            + self.orphans
        )


def judge(
    began: list[Training],
    faults: list[Fault],
    seen: dict[int, str],
    final: dict[int, str],
    budget: int,
) -> Verdict:
    """Compare notes, faults, records ``seen`` along the way and the ``final`` records."""
    told = list(evaluations(final[n] for n in sorted(final)))
    numbers = Counter(one.number for one in told)
    verdict = Verdict(started=len(began), evaluated=len(told))
    verdict.missing = abs(budget - len(numbers))
    verdict.lost = sum(final.get(n) != text for n, text in seen.items())
    verdict.doubled = sum(count - 1 for count in numbers.values())
    ended = {(t.number, t.attempt) for t in began if t.ended is not None}
    verdict.invented = sum(
        one.status == "ok" and (one.number, one.attempt) not in ended for one in told
    )
    attempts: defaultdict[int, list[Training]] = defaultdict(list)
    for training in began:
        attempts[training.number].append(training)
    for several in attempts.values():
        for i, earlier in enumerate(several[:-1]):
            _compare(earlier, several[i + 1 :], faults, verdict)
    return verdict


def _compare(
    earlier: Training, others: list[Training], faults: list[Fault], verdict: Verdict
) -> None:
    """Judge that a training was followed by others of the same trial."""
    verdict.again += 1
    later = others[0]
    mine = [f for f in faults if _concerns(f, earlier)]
    known = [f for f in mine if f.lethal and earlier.started - 1 <= f.ended + 1]
    causes = [f for f in known if f.began <= later.started]
    overlap = earlier.last > later.started
    what = (
        f"trial {earlier.number}: attempt {earlier.attempt} on {earlier.label} "
        f"({earlier.started:.2f} to {earlier.last:.2f}, "
        f"{'ended' if earlier.ended else 'cut off'}), "
        f"attempt {later.attempt} on {later.label} at {later.started:.2f}"
    )
    if overlap and not any(_unreachable(f, later.started) for f in mine):
        verdict.rerun_alive += 1
        verdict.remarks.append(f"still alive: {what}")
    elif not causes:
        verdict.rerun_alive += 1
        verdict.remarks.append(f"without a cause: {what}")
    elif earlier.ended is not None and earlier.ended < later.started:
        verdict.unheard += 1
        verdict.remarks.append(f"unheard: {what}")


def _concerns(fault: Fault, training: Training) -> bool:
    if fault.pid is not None:
        return fault.pid == training.pid
    return fault.label in (training.label, "scheduler")


def _unreachable(fault: Fault, moment: float) -> bool:
    """Whether nobody could have stopped what ran there, then or a moment ago."""
    return fault.ended > fault.began and fault.began <= moment <= fault.ended + 5.0


def marked(name: str) -> list[int]:
    """The processes of this machine that bear a run's mark."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                environment = (entry / "environ").read_bytes()
                if f"{MARK}={name}".encode() in environment.split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue  # it has ended meanwhile
    return found


def orphans(name: str, seconds: float) -> list[int]:
    """Processes that are still there when so many seconds were given to end."""
    deadline = time.monotonic() + seconds
    while (left := marked(name)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left
