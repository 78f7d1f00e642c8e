"""What it costs to keep evaluations: commits, opening, disk and memory.

A commit makes one or eight finished evaluations durable; CPU is user and system time of the
process with all its threads, the median over commits. A run is opened in a process of its own;
``peak MB`` is its resident memory at most, ``+MB`` how much of it came after the imports.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import click

from benchmarks import Unavailable
from benchmarks.storages import CONTENDERS, Contender, SpotJournal, evaluation, opened
from benchmarks.summary import table

BASELINE = "zarr append per column"
WAYS = {"replay": "replay", "resume": "resume, tables made", "frame": "DataFrame by tables"}
"""What a run is opened for, see ``benchmarks.opening``; in this order."""
QUICK_SIZES, FULL_SIZES = (100,), (1_000, 10_000, 100_000)


@dataclass(frozen=True)
class Cost:
    """Of one contender's commits of q evaluations: milliseconds each, bytes per evaluation."""

    cpu: float
    wall: float
    size: float


Key = tuple[str, bool, int]


@click.command()
@click.option("--quick", is_flag=True, help="5 commits and 100 evaluations: under a minute.")
@click.option("--commits", type=click.IntRange(1), help="Default: 200.")
@click.option("--size", "sizes", multiple=True, type=click.IntRange(1), help="Evaluations opened.")
@click.option("--folder", type=click.Path(path_type=Path), help="On the disk to be measured.")
def main(quick: bool, commits: int | None, sizes: Sequence[int], folder: Path | None) -> None:
    """Measure stores and print what they cost and the ratios to per-column appends."""
    commits = commits or (5 if quick else 200)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        costs = _commits(Path(scratch), commits)
        click.echo(_commit_table(costs) + "\n")
        read = [_opening(Path(scratch), n) for n in sizes or (QUICK_SIZES if quick else FULL_SIZES)]
        click.echo(_open_table(read))


# ---------------------------------------------------------------- commits


def _commits(scratch: Path, commits: int) -> dict[Key, Cost]:
    costs: dict[Key, Cost] = {}
    for contender in CONTENDERS:
        for q in (1, 8):
            try:
                cost = _timed(contender, scratch / "store", commits, q)
            except Unavailable as error:
                click.echo(str(error), err=True)
                break
            finally:
                shutil.rmtree(scratch / "store", ignore_errors=True)
            costs[contender.name, contender.synced, q] = cost
    return costs


def _timed(contender: Contender, path: Path, commits: int, q: int) -> Cost:
    storage = opened(contender, path)
    if isinstance(storage, SpotJournal):
        storage.ask([evaluation(number) for number in range(q * (commits + 1))])
    batches = [[evaluation(q * i + k) for k in range(q)] for i in range(commits + 1)]
    storage.commit(batches[0])  # the first one imports and prepares
    before = disk(path)
    cpu, wall = [], []
    for batch in batches[1:]:
        began = time.process_time(), time.perf_counter()
        storage.commit(batch)
        cpu.append(time.process_time() - began[0])
        wall.append(time.perf_counter() - began[1])
    storage.close()
    return Cost(1e3 * median(cpu), 1e3 * median(wall), (disk(path) - before) / (q * commits))


def disk(path: Path) -> int:
    """Bytes of all files below a path, in whole blocks as the disk keeps them."""
    return sum(512 * p.stat().st_blocks for p in path.rglob("*") if p.is_file())


def _commit_table(costs: dict[Key, Cost]) -> str:
    head = ["per commit", "q", "durable", "CPU ms", "wall ms", "kB/evaluation", "CPU ratio"]
    rows = []
    for (name, synced, q), cost in sorted(costs.items(), key=lambda item: (item[0][2], item[0][1])):
        base = costs[BASELINE, synced, q]
        durable = "power loss" if synced else "kill"
        numbers = [f"{v:.3g}" for v in (cost.cpu, cost.wall, cost.size / 1e3)]
        rows.append([name, str(q), durable, *numbers, f"1/{base.cpu / cost.cpu:.3g}"])
    return table(head, rows) + f"\n\nCPU ratio: to {BASELINE} of the same durability and q."


# ---------------------------------------------------------------- opening


def _opening(scratch: Path, n: int) -> dict[str, Any]:
    path = scratch / f"{n}.zarr"
    began = time.perf_counter()
    storage = SpotJournal(path, synced=False)
    for first in range(0, n, 8):
        batch = [evaluation(number) for number in range(first, min(first + 8, n))]
        storage.ask(batch)
        storage.commit(batch)
    storage.close()
    written = time.perf_counter() - began
    found: dict[str, Any] = {"n": n, "written": written, "disk": disk(path)}
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    for what in WAYS:
        command = [sys.executable, "-m", "benchmarks.opening", what, str(path)]
        done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
        found[what] = json.loads(done.stdout)
    shutil.rmtree(path)
    return found


def _open_table(read: Sequence[dict[str, Any]]) -> str:
    head = ["evaluations", "opened for", "s", "CPU s", "CPU us each", "+MB", "peak MB"]
    rows = [
        [
            str(r["n"]),
            WAYS[what],
            *(f"{v:.3g}" for v in (r[what]["seconds"], r[what]["cpu"])),
            *(f"{v:.3g}" for v in (1e6 * r[what]["cpu"] / r["n"], r[what]["added"])),
            f"{r[what]['peak']:.3g}",
        ]
        for r in read
        for what in WAYS
    ]
    sizes = [f"{r['n']} written in {r['written']:.3g} s, {r['disk'] / 1e6:.3g} MB" for r in read]
    return table(head, rows) + "\n\n" + "; ".join(sizes) + "."


if __name__ == "__main__":
    main()
