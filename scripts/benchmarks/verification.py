"""The verification problems, apart from all others, and the tally of how often they were run.

A set that is looked at often becomes a set that was tuned to. So each reading is a line of
``verification.log``: date, commit of the tuner, what was run. A run that is taken up again with the
same clean commit and the same request is the same reading.
"""

from __future__ import annotations

import datetime
import subprocess
from collections.abc import Sequence
from pathlib import Path

import spot_dask

_HERE = Path(__file__).parent
NAMES = _HERE / "verification.txt"
LOG = _HERE / "verification.log"


def names() -> list[str]:
    """The verification problems."""
    lines = NAMES.read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def apart(found: Sequence[str]) -> tuple[list[str], list[str]]:
    """Those that may be run for development, and those that are verification problems."""
    kept = set(names())
    return [n for n in found if n not in kept], [n for n in found if n in kept]


def tally(what: str, commit: str, log: Path | None = None) -> int:
    """Note a reading of ``what`` with a commit; how many readings there are by now."""
    log = log or LOG
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    line = f"{commit} | {what}"
    known = {old.partition(" | ")[2] for old in lines}
    if line not in known or commit.endswith("+changes"):
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        lines.append(f"{today} | {line}")
        with log.open("a", encoding="utf-8") as file:
            file.write(lines[-1] + "\n")
    return len(lines)


def commit(folder: Path | None = None) -> str:
    """The commit of the checkout, spot-dask's if none is given; "+changes" if it has any more.

    The tally itself is no change.
    """
    there = folder or Path(spot_dask.__file__).parent.parent

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(there), *words], capture_output=True, text=True, check=True
        ).stdout.strip()

    changed = git("status", "--porcelain", "--", ".", ":!scripts/benchmarks/verification.log")
    return git("rev-parse", "--short=10", "HEAD") + ("+changes" if changed else "")
