"""Do one thing with a run and tell, as JSON, what it took; in a process of its own, for its memory.

``replay`` reads the whole journal, ``resume`` does what ``spot-dask resume`` does where nothing is
left to train (which brings the tables up to date), ``frame`` makes a DataFrame by the tables.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import click

from benchmarks.storages import study
from spot_dask import Budget
from spot_dask.run import Run


def _replay(path: str) -> int:
    return len(Run.open(path).history.evaluations)


def _resume(path: str) -> int:
    return len(study().resume(path, Budget(evaluations=_told(path)), local=0).tabulated)


def _frame(path: str) -> int:
    return len(Run.open(path).to_dataframe())


def _told(path: str) -> int:
    """How many evaluations there are; the last part of the run's name."""
    return int(Path(path).stem)


def _memory(what: str) -> float:
    """Resident memory in MB: ``VmRSS`` now, ``VmHWM`` at most."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) / 1e3
    raise OSError(f"no {what} in /proc/self/status")


def main(what: str, path: str) -> None:
    """Measure; exits with an error where not all evaluations are there."""
    act = {"replay": _replay, "resume": _resume, "frame": _frame}[what]
    if what == "frame":
        import pandas  # noqa: F401 - not to be timed
    before, began = _memory("VmRSS"), (time.perf_counter(), time.process_time())
    found = act(path)
    seconds, cpu = time.perf_counter() - began[0], time.process_time() - began[1]
    if found != _told(path):
        raise SystemExit(f"{path}: {found} evaluations")
    peak = _memory("VmHWM")
    click.echo(json.dumps({"seconds": seconds, "cpu": cpu, "added": peak - before, "peak": peak}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
