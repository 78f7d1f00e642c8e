"""A coordinator in a process of its own, for tests that kill, stop and race it.

Waits for a line on standard input, then opens the run and appends the entries of ``story``;
tells every acknowledged record on standard output, as soon as it is acknowledged.
"""

from __future__ import annotations

import os
import sys

from spot_dask.errors import RunTakenOver
from spot_dask.records import Closed
from spot_dask.store.journal import Journal


def story(session: int, i: int) -> Closed:
    """The i-th entry of a session: its content tells where it belongs, its size varies."""
    return Closed(f"{session}:{i}:" + "x" * (i * 997 % 6000))


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def write(path: str, session: int, count: int, durability: str) -> None:
    journal = Journal.resume(path, takeover=True, durability=durability)  # type: ignore[arg-type]
    try:
        for i in range(count):
            record = journal.append(story(session, i))
            say(record.seq, record.epoch, f"{session}:{i}")
    except RunTakenOver:
        say("taken over")
    finally:
        journal.close()


def main() -> None:
    path, session, count, rounds, durability = sys.argv[1:]
    say("ready")
    sys.stdin.readline()
    for turn in range(int(rounds)):
        write(path, int(session) + turn, int(count), durability)


if __name__ == "__main__":
    main()
