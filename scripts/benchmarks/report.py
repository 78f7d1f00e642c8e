"""What a report costs: CPU seconds, wall seconds and memory, by evaluations and parameters.

Each report is made in a process of its own from made-up evaluations of a smooth function with
noise, a tenth of them failed, eight confirmations among them. The clock counts from the records to
the files (page, JSON, Markdown): the fit of the search's model and of the model of inference, all
statistics and all figures. Imports are not counted; ``peak MB`` is the resident memory at most.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

from benchmarks.summary import table
from spot_dask.fold import Fold
from spot_dask.records import (
    Asked,
    Entry,
    Evaluation,
    Failure,
    Header,
    Opened,
    Origin,
    Outcome,
    Record,
    Status,
    Told,
    Trial,
)
from spot_dask.report import ReportContext, sections, write
from spot_dask.space import Real, Space
from spot_dask.tuner import Tuner

SIZES = ((40, 6), (200, 10), (1000, 20))
"""Evaluations and parameters; the first is the baseline."""

SEEDS = 4  # of the confirmation


@click.command()
@click.option("--size", "sizes", type=(int, int), multiple=True, help="Evaluations, parameters.")
@click.option("--limit", type=(float, float), help="CPU seconds and MB that none may exceed.")
@click.option("--one", type=(int, int), hidden=True)
def main(
    sizes: Sequence[tuple[int, int]],
    limit: tuple[float, float] | None,
    one: tuple[int, int] | None,
) -> None:
    """Measure reports and print what they cost, and the ratio to the first."""
    if one is not None:
        click.echo(json.dumps(cost(*one)))
        return
    rows, found = [], []
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    for n, d in sizes or SIZES:
        command = [sys.executable, "-m", "benchmarks.report", "--one", str(n), str(d)]
        done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
        found.append(json.loads(done.stdout))
        ratio = found[-1]["cpu"] / found[0]["cpu"]
        shown = [f"{found[-1][key]:.3g}" for key in ("cpu", "wall", "peak", "page")]
        rows.append([f"{n} x {d}", *shown, f"{ratio:.2g}"])
    head = ["evaluations x parameters", "CPU s", "wall s", "peak MB", "page kB", "CPU ratio"]
    click.echo(table(head, rows))
    if limit is not None and any(f["cpu"] > limit[0] or f["peak"] > limit[1] for f in found):
        raise SystemExit(1)


def cost(n: int, d: int) -> dict[str, float]:
    """CPU and wall seconds, peak MB and kB of the page of one report, in this process."""
    space = Space({f"x{i}": Real(0.0, 1.0, default=0.5) for i in range(d)})
    header, fold = study(space, n)
    sections.found()  # imports what they draw with
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        began = time.process_time(), time.perf_counter()
        tuner = Tuner(space)
        model = tuner.model(fold.history)
        write(ReportContext(header, fold, model, tuner.recommend(fold.history, model)), path)
        cpu, wall = time.process_time() - began[0], time.perf_counter() - began[1]
        page = path.stat().st_size / 1e3
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return {"cpu": cpu, "wall": wall, "peak": peak, "page": page}


def study(space: Space, n: int) -> tuple[Header, Fold]:
    """A run of n evaluations, of which a tenth failed and the last confirm the best."""
    rng = np.random.default_rng(0)
    searched = n - 2 * SEEDS
    X = space.snap(rng.random((searched, space.d)))
    X[searched // 4 :, :3] = 0.3 + 0.2 * X[searched // 4 :, :3]  # where a search would go
    configs = [space.default, *space.decode(space.snap(X))[1:]]
    values = [objective(c) + 0.02 * rng.normal() for c in configs]
    trials = [
        Trial(i, c, 1, 0, Origin.DEFAULT if i == 0 else _origin(i, searched))
        for i, c in enumerate(configs)
    ]
    failed = set(rng.choice(np.arange(1, searched), searched // 10, replace=False).tolist())
    best = configs[min((i for i in range(searched) if i not in failed), key=values.__getitem__)]
    for r in range(SEEDS):
        for config in (space.default, best):
            trials.append(Trial(len(trials), config, 100 + r, r, Origin.CONFIRM))
            values.append(objective(config) + 0.02 * rng.normal())
    entries: list[tuple[float, Entry]] = [(0.0, Opened("host", 1))]
    for trial, value in zip(trials, values, strict=True):
        begun, ended = 10.0 * trial.number, 10.0 * trial.number + 35.0
        bad = trial.number in failed
        outcome = Outcome(
            Status.FAILED if bad else Status.OK,
            float("nan") if bad else value,
            metrics={} if bad else {"loss": value, "test_loss": value + 0.1},
            curves={} if bad else {"loss": tuple(value + 1 / (1 + k) for k in range(20))},
            started=begun,
            finished=ended,
            worker=f"worker-{trial.number % 4}",
            error=Failure("RuntimeError", "out of memory") if bad else None,
        )
        entries += [(begun, Asked([trial])), (ended, Told(Evaluation(trial, outcome)))]
    entries.sort(key=lambda entry: entry[0])
    records = [Record(i, 1, at, entry) for i, (at, entry) in enumerate(entries)]
    header = Header("0" * 16, "benchmark", 0.0, space.to_json(), space.hash, "loss", "min")
    return header, Fold.of(records)


def objective(config: dict[str, float]) -> float:
    """Three parameters matter, the others do not."""
    x, y, z = (config[f"x{i}"] for i in range(3))
    return 1 + (x - 0.3) ** 2 + 0.5 * (y - 0.4) ** 2 + 0.3 * x * z


def _origin(number: int, n: int) -> Origin:
    return Origin.DESIGN if number < n // 4 else Origin.INFILL


if __name__ == "__main__":
    main()
