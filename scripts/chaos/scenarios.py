"""What happens to coordinators: each scenario does it some times over and tallies the outcome."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from chaos.power import Disk
from chaos.story import (
    HEADER,
    Child,
    Promise,
    Tally,
    created,
    opened,
    promise,
    story,
    write,
)
from chaos.system_calls import intercepted
from spot_dask.errors import RunTakenOver, StoreError
from spot_dask.records import Asked
from spot_dask.store.inbox import Inbox
from spot_dask.store.journal import Journal

SESSIONS = 12
"""How many coordinators one store sees, one after the other, before the next store is begun."""

COPIES = 10
"""How many copies are made of one store."""

COPIERS = {
    "cp": "cp -r {0} {1}",
    "cp -al": "cp -al {0} {1}",
    "tar": "mkdir {1} && tar -C {0} -cf - . | tar -C {1} -xf -",
    "rsync": "rsync -a {0}/ {1}",
}
"""How programs copy a store; -l makes hard links, not copies."""

MANY = 60
"""Coordinators at once."""


def kills_at_random(folder: Path, times: int, chance: random.Random) -> Tally:
    """A coordinator is killed at any moment, while it writes and others read; the next goes on."""
    tally = Tally()
    for first in range(0, times, SESSIONS):
        path, promised, seen = created(folder / f"{first}"), [], []
        for session in range(min(SESSIONS, times - first)):
            child = _writer(path, session, 10**6, chance.choice(("fsync", "process")))
            if chance.random() < 0.8:
                child.listen(10.0)
            if chance.random() < 0.3:
                tally.judge(path, promised, seen, writing=True)
            _wait(child, chance.uniform(0, 0.02))
            child.end()
            tally.kills += 1
            promised += child.promised
            tally.judge(path, promised, seen)
        tally.acknowledged += len(promised)
        shutil.rmtree(path)
    return tally


def kills_at_every_step(folder: Path, times: int, chance: random.Random) -> Tally:
    """A coordinator dies before, in the middle of and after each of its system calls, once each."""
    tally, steps = Tally(), list[tuple[int, int]]()
    while tally.kills < times:
        path, promised, seen = created(folder / f"{tally.kills}"), [], []
        for session in range(SESSIONS):
            if not steps:
                steps = _steps(folder / "counted", chance)
            step, when = steps.pop()
            durability = chance.choice(("fsync", "process"))
            child = Child(lambda say: _die(path, session, durability, step, when, say))  # noqa: B023
            tally.kills += child.end(kill=False) == -signal.SIGKILL
            promised += child.promised
            tally.judge(path, promised, seen)
        tally.acknowledged += len(promised)
        shutil.rmtree(path)
    return tally


def takeovers(folder: Path, times: int, chance: random.Random) -> Tally:
    """Sixty coordinators at once take over from each other; half of them are killed meanwhile."""
    tally = Tally()
    while tally.kills < times:
        path = created(folder / f"{tally.kills}")
        children = [Child(_rivals(path, 1000 * n)) for n in range(MANY)]
        for child in chance.sample(children, min(MANY // 2, times - tally.kills)):
            _wait(child, chance.uniform(0, 0.02))
            child.end()
            children.remove(child)
            tally.kills += 1
            tally.acknowledged += len(child.promised)
            children.append(_Ended(child))  # type: ignore[arg-type]
        for child in children:
            child.end(kill=False)
        living = [p for child in children if not isinstance(child, _Ended) for p in child.promised]
        dead = [p for child in children if isinstance(child, _Ended) for p in child.promised]
        tally.acknowledged += len(living)
        tally.judge(path, [*living, *dead], [])
        shutil.rmtree(path)
    return tally


def pauses(folder: Path, times: int, chance: random.Random) -> Tally:
    """A coordinator is stopped, another takes over, and the first one is woken up again."""
    tally = Tally()
    for first in range(0, times, SESSIONS):
        path, promised, seen = created(folder / f"{first}"), [], []
        for session in range(min(SESSIONS, times - first)):
            child = _writer(path, session, 10**6, "process")
            child.listen(10.0)
            _wait(child, chance.uniform(0, 0.01))
            child.signal(signal.SIGSTOP)
            other = write(opened(path, "process"), 1000 + session, 5)
            promised += [next(other) for _ in range(3)]
            child.signal(signal.SIGCONT)
            promised += list(other)
            if not _ends(child, 3.0):  # it should have stopped by itself
                tally.invented += 1
            promised += child.promised
            tally.others += 1
            tally.judge(path, promised, seen)
            if tally.failures:  # it may have written thousands, and so would the next one
                return tally
        tally.acknowledged += len(promised)
        shutil.rmtree(path)
    return tally


def failing_disks(folder: Path, times: int, chance: random.Random) -> Tally:
    """Every system call in turn fails, before or after it did its work; what failed is retried."""
    tally, step = Tally(), 0
    for number in range(times):
        path, promised = created(folder / f"{number}"), []
        error, after = chance.choice((errno.ENOSPC, errno.EIO)), bool(number % 2)
        failed = False

        def fail(n: int, name: str, real: Callable[..., Any], args: tuple[Any, ...]) -> Any:
            nonlocal failed
            if n != step or failed:  # noqa: B023
                return real(*args)
            failed = True
            if after:  # noqa: B023
                real(*args)
            raise OSError(error, os.strerror(error))  # noqa: B023

        journal = opened(path, "fsync")
        with intercepted(fail):
            for i in range(9):
                record = _insist(journal, i)
                promised.append((record.seq, record.epoch, 0, i))
        journal.close()
        step = step + after if failed else 0
        tally.others += failed
        tally.acknowledged += len(promised)
        tally.judge(path, promised, [])
        shutil.rmtree(path)
    return tally


def power_cuts(folder: Path, times: int, chance: random.Random) -> Tally:
    """The power fails at every step, and the disk keeps any legal part of what was not synced."""
    tally, number = Tally(), 0
    while tally.others < times:
        number += 1
        path, promised = created(folder / f"{number}", "fsync"), list[Promise]()
        disk = Disk(path)

        def cut(n: int, name: str, real: Callable[..., Any], args: tuple[Any, ...]) -> Any:
            result = disk.hook(n, name, real, args)  # noqa: B023
            if tally.others < times:
                left = folder / "left"
                disk.cut(left, chance)  # noqa: B023
                tally.others += 1
                tally.judge(left, promised, [])  # noqa: B023
                shutil.rmtree(left)
            return result

        with intercepted(cut):
            for words in write(opened(path, "fsync"), 0, 9):
                promised.append(words)
        tally.acknowledged += len(promised)
        shutil.rmtree(path)
    return tally


def late_results(folder: Path, times: int, chance: random.Random) -> Tally:
    """Workers leave results, and coordinators take them in, and all are killed at any moment."""
    tally = Tally()
    for first in range(0, times, SESSIONS):
        path, promised = created(folder / f"{first}"), list[Promise]()
        journal = opened(path, "process")
        journal.append(Asked([story(0, i).evaluation.trial for i in range(200)]))
        journal.close()
        inbox = Inbox(str(path.absolute()), HEADER.run_id)
        for turn in range(min(SESSIONS, times - first)):
            act = _taker(path) if turn % 2 else _worker(inbox, chance.randrange(190))
            child = Child(act)
            child.listen(10.0)
            _wait(child, chance.uniform(0, 0.02))
            child.end()
            tally.kills += 1
            promised += child.promised
        journal = opened(path, "process")
        with suppress(StoreError):
            journal.take_in()
        journal.close()
        present = tally.read(path) or []
        told = [i for *_, i in present]
        expected = {i for *_, i in promised}
        tally.acknowledged += len(expected)
        tally.lost += len(expected - set(told))
        tally.doubled += len(told) - len(set(told))
        shutil.rmtree(path)
    return tally


def damage(folder: Path, times: int, chance: random.Random) -> Tally:
    """Any byte of any object is changed, any object cut short, removed or swapped with another."""
    tally, path = Tally(), created(folder / "damaged")
    promised = list(write(opened(path, "process"), 0, 9))
    intact = tally.read(path)
    objects = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
    for _ in range(times):
        place = chance.choice(objects)
        before = place.read_bytes()
        tally.others += 1
        _spoil(place, chance)
        with suppress(StoreError):
            journal = Journal.open(path)
            if journal.header != HEADER or [promise(r) for r in journal.records()[2:]] != intact:
                # What is returned is not what was written.
                tally.invented += 1
        place.write_bytes(before)
    tally.acknowledged = len(promised)
    return tally


def copies(folder: Path, times: int, chance: random.Random) -> Tally:
    """A run is copied while it is written, and each copy goes on."""
    tally = Tally()
    for first in range(0, times, COPIES):
        path = created(folder / f"{first}")
        child = _writer(path, 0, 10**6, "process", pause=0.005)
        child.listen(10.0)
        for number in range(first, min(first + COPIES, times)):
            name = chance.choice([n for n in COPIERS if shutil.which(n.split()[0])])
            promised, copy = child.heard(), folder / f"copy-{number}"
            _wait(child, chance.uniform(0, 0.02))
            command = COPIERS[name].format(path, copy)  # a temporary file may vanish meanwhile
            subprocess.run(command, shell=True, stderr=subprocess.DEVNULL, check=False)
            promised += list(write(opened(copy, "process"), 1000 + number, 3))
            tally.judge(copy, promised, [], writing=True)
            tally.others += 1
            tally.acknowledged += len(promised)
            shutil.rmtree(copy)
        if not child.living:  # what is done to its copies must not end it
            tally.lost += 1
        child.end()
        shutil.rmtree(path)
    return tally


def attempt(name: str, folder: Path, times: int, chance: random.Random) -> Tally:
    """What comes of a scenario; a store with which it cannot go on counts as unreadable."""
    try:
        return SCENARIOS[name][0](folder, times, chance)
    except StoreError as error:
        print(f"unusable: {error}", file=sys.stderr)
        return Tally(unreadable=1)


SCENARIOS: dict[str, tuple[Callable[[Path, int, random.Random], Tally], int, int]] = {
    "kills at random": (kills_at_random, 1000, 24),
    "kills at every step": (kills_at_every_step, 900, 30),
    "takeovers of sixty": (takeovers, 300, 30),
    "late results": (late_results, 300, 12),
    "pauses": (pauses, 200, 6),
    "failing disks": (failing_disks, 300, 16),
    "power cuts": (power_cuts, 2000, 60),
    "damage": (damage, 4000, 200),
    "copies": (copies, 400, 15),
}
"""Name -> the scenario, how many times at full size, how many in the test suite."""


class _Ended:
    """A child that was killed already."""

    def __init__(self, child: Child) -> None:
        self.promised = child.promised

    def end(self, *, kill: bool = True) -> int:
        return 0


def _writer(path: Path, session: int, entries: int, durability: str, pause: float = 0.0) -> Child:
    def act(say: Callable[[Promise], None]) -> None:
        with suppress(RunTakenOver):
            for words in write(opened(path, durability), session, entries):
                say(words)
                time.sleep(pause)

    return Child(act)


def _rivals(path: Path, first: int) -> Callable[[Callable[[Promise], None]], None]:
    def act(say: Callable[[Promise], None]) -> None:
        for session in range(first, first + 2):
            with suppress(RunTakenOver):
                for words in write(opened(path, "process"), session, 3):
                    say(words)

    return act


def _worker(inbox: Inbox, first: int) -> Callable[[Callable[[Promise], None]], None]:
    def act(say: Callable[[Promise], None]) -> None:
        for i in range(first, 200):
            if inbox.leave(i, 0, story(0, i).evaluation.outcome):
                say((0, 0, 0, i))

    return act


def _taker(path: Path) -> Callable[[Callable[[Promise], None]], None]:
    def act(say: Callable[[Promise], None]) -> None:
        opened(path, "process").take_in()

    return act


def _steps(path: Path, chance: random.Random) -> list[tuple[int, int]]:
    """Each system call of a coordinator that writes nine entries, with when to die at it.

    To be taken from the end, where those are that leave half of what was to be written.
    """
    steps: list[tuple[int, int]] = []

    def hook(n: int, name: str, real: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        steps.extend((n, when) for when in range(3 if name == "write" else 2))
        return real(*args)

    journal = created(path)
    with intercepted(hook):
        for _ in write(opened(journal, "fsync"), 0, 9):
            pass
    shutil.rmtree(path)
    chance.shuffle(steps)
    return sorted(steps, key=lambda step: step[1] == 2)


def _die(
    path: Path,
    session: int,
    durability: str,
    step: int,
    when: int,
    say: Callable[[Promise], None],
) -> None:
    """Write nine entries, but die at a step: before, after or in the middle of the call."""

    def hook(n: int, name: str, real: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        if n != step:
            return real(*args)
        if when == 1:
            real(*args)
        elif when == 2 and name == "write":
            real(args[0], args[1][: len(args[1]) // 2])
        os.kill(os.getpid(), signal.SIGKILL)

    with intercepted(hook):
        for words in write(opened(path, durability), session, 9):
            say(words)


def _insist(journal: Journal, i: int) -> Any:
    """Append an entry, again and again until it is acknowledged."""
    for _ in range(9):
        with suppress(StoreError):
            return journal.append(story(0, i))
    raise StoreError("the disk works again, the journal does not")


def _ends(child: Child, seconds: float) -> bool:
    """Whether the child ends within that time by itself; it has ended afterwards."""
    until = time.monotonic() + seconds
    alive = True
    while alive and time.monotonic() < until:
        alive = child.listen(0.1)
    child.end(kill=alive)
    return not alive


def _wait(child: Child, seconds: float) -> None:
    until = time.monotonic() + seconds
    while (rest := until - time.monotonic()) > 0 and child.listen(rest):
        pass


def _spoil(place: Path, chance: random.Random) -> None:
    data = bytearray(place.read_bytes())
    match chance.randrange(8):
        case 0:
            del data[chance.randrange(len(data)) :]
        case 1:
            others = [p for p in place.parent.iterdir() if p.is_file() and p != place]
            data = bytearray(chance.choice(others).read_bytes()) if others else data[:-1]
        case _:
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    place.write_bytes(data)
