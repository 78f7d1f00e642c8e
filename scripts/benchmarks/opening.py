"""Open a run and tell, as JSON, what that took; a process of its own, for its memory."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import click

from spot_dask.run import Run


def _open(path: str) -> dict[str, Any]:
    """Replay a run, and make a DataFrame of it."""
    before = _resident()
    began = time.perf_counter(), time.process_time()
    run = Run.open(path)
    evaluations = len(run.history.evaluations)
    seconds, cpu = time.perf_counter() - began[0], time.process_time() - began[1]
    found = {"evaluations": evaluations, "seconds": seconds, "cpu": cpu}
    found |= {"added": _resident() - before, "peak": _peak()}
    began = time.perf_counter(), time.process_time()
    assert len(Run.open(path).to_dataframe()) == evaluations
    found["frame"] = time.perf_counter() - began[0]
    return found


def _resident() -> float:
    """Resident memory now, in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1e3
    raise OSError("no VmRSS in /proc/self/status")


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


if __name__ == "__main__":
    click.echo(json.dumps(_open(sys.argv[1])))
