"""Wall time of a run with a tracker over that of one without, both in one process, in turn.

Trainings sleep on two Dask workers and report each epoch; the runs search at random, so that both
train for the same time. The time that a run waits for its tracker at the end counts. The first run
with a tracker also imports what it needs, and MLflow makes its database: it is told apart.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import click

from benchmarks.summary import table
from spot_dask import Budget, FunctionTask, Real, Space, Study

EPOCHS, SLOTS = 20, 2
SPACE = Space({f"x{j}": Real(0.0, 1.0, default=0.5) for j in range(5)})


@click.command()
@click.option("--evaluations", default=40, show_default=True)
@click.option("--seconds", default=2.0, show_default=True, help="Of a training.")
@click.option("--repeats", default=3, show_default=True, help="Pairs of runs for each tracker.")
@click.option("--tracker", "names", multiple=True, default=["tensorboard", "mlflow", "wandb"])
def main(evaluations: int, seconds: float, repeats: int, names: tuple[str, ...]) -> None:
    """Time pairs of runs; print wall seconds, their median ratio, and CPU seconds of the process.

    CPU seconds, which a busy machine spoils less, are of the pair with the fewest: what comes once
    is not in it.
    """
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            pairs = []
            for k in range(repeats):
                store = Path(folder) / name / f"{k}.zarr"
                bare = timed(evaluations, seconds, store.with_name(f"bare{k}.zarr"), [])
                pairs.append((bare, timed(evaluations, seconds, store, [name])))
            walls = [[f"{one[0]:.1f}" for one in pair] for pair in pairs]
            ratio = median(with_it[0] / bare[0] for bare, with_it in pairs)
            cpu = [f"{min(pair[i][1] for pair in pairs):.2f}" for i in (0, 1)]
            listed = [", ".join(seconds) for seconds in zip(*walls, strict=True)]
            rows.append([name, *listed, f"{ratio:.3f}", *cpu])
    headings = ["tracker", "without, s", "with, s", "median ratio", "CPU s without", "CPU s with"]
    click.echo(table(headings, rows))


def timed(
    evaluations: int, seconds: float, store: Path, trackers: list[str]
) -> tuple[float, float]:
    """Wall and CPU seconds of a run, in this process."""

    def train(cfg: Any, trial: Any) -> float:
        for epoch in range(1, EPOCHS + 1):
            time.sleep(seconds / EPOCHS)
            trial.report(epoch, loss=cfg.x0 + 1 / epoch, accuracy=1 - cfg.x0)
        return float(cfg.x0)

    study = Study(SPACE, FunctionTask(train), search="random", confirm=0.0)
    began, worked = time.monotonic(), time.process_time()
    study.run(Budget(evaluations=evaluations), local=SLOTS, store=store, trackers=trackers)
    return time.monotonic() - began, time.process_time() - worked


if __name__ == "__main__":
    main()
