"""CPU that grows with a run: per evaluation while it goes on, and for reading it again.

A run of evaluations that cost nothing is driven in this process, with the lines that a log shows.
Its CPU per evaluation is told by fifths of the run; the baseline is its first fifth. Reading is
compared with the least that can be done with the same files: opening each and parsing its JSON.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.summary import table
from spot_dask import Budget, FunctionTask, Real, Space, Study
from spot_dask.cli.progress import Plain
from spot_dask.progress import Update
from spot_dask.records import Asked, Closed, Evaluation, Header, Outcome, Status, Told, Trial
from spot_dask.run import Run
from spot_dask.store.journal import Journal
from spot_dask.store.layout import decode_chunk

FIFTHS = 5
POINTS = 30
SPACE = Space({f"x{j}": Real(0.0, 1.0, default=0.5) for j in range(4)})


@click.command()
@click.option("--evaluations", default=2500, show_default=True, help="Of a run that goes on.")
@click.option("--search", "searches", multiple=True, default=["random", "spot"], show_default=True)
@click.option("--read", default=10_000, show_default=True, help="Evaluations that are read again.")
def main(evaluations: int, searches: tuple[str, ...], read: int) -> None:
    """Measure both and print CPU milliseconds and ratios to the baselines of the same run."""
    with tempfile.TemporaryDirectory() as folder:
        rows = [_grown(Path(folder) / f"{s}.zarr", s, evaluations) for s in searches]
        head = ["search", *(f"fifth {i + 1}" for i in range(FIFTHS)), "last to first"]
        click.echo(table(head, rows) + "\n\nCPU ms per evaluation.\n")
        click.echo(_read(Path(folder) / "read.zarr", read))


def _grown(path: Path, search: str, evaluations: int) -> list[str]:
    study = Study(
        SPACE, FunctionTask(lambda config: sum(config.values())), durability="process",
        budget=Budget(evaluations=evaluations), search=search,
    )  # fmt: skip
    marks = [time.process_time()]
    lines = Plain(study.goal, lambda line: None)

    def watch(update: Update) -> None:
        if update.last is not None:
            marks.append(time.process_time())
        lines(update)

    study.run(local=0, store=path, watcher=watch)
    ends = [round(i * (len(marks) - 1) / FIFTHS) for i in range(FIFTHS + 1)]
    parts = [1e3 * (marks[b] - marks[a]) / (b - a) for a, b in pairwise(ends)]
    return [search, *(f"{part:.3g}" for part in parts), f"{parts[-1] / parts[0]:.3g}"]


def _read(path: Path, n: int) -> str:
    import pandas  # noqa: F401 - not to be timed

    _written(path, n)
    files = [p for p in (path / "log" / "c").rglob("*") if p.is_file()]
    least = _cpu(lambda: [json.loads(decode_chunk(p.read_bytes())) for p in files])
    run = Run.open(path)
    replay = _cpu(lambda: run.history)
    frame = _cpu(run.to_dataframe)
    rows = [
        [what, f"{cpu:.3g}", f"{1e6 * cpu / n:.3g}", f"{cpu / least:.3g}"]
        for what, cpu in (("files, checksums, zstd, JSON", least), ("replay", replay),
                          ("DataFrame after that, no table", frame))
    ]  # fmt: skip
    head = [f"{n} evaluations, {len(files)} files", "CPU s", "us each", "to the first"]
    return table(head, rows)


def _written(path: Path, n: int) -> None:
    """A store of n evaluations with two curves of ``POINTS`` values each, and no table."""
    rng = np.random.default_rng(0)
    entries: list[tuple[float, Any]] = []
    for number, config in enumerate(SPACE.decode(SPACE.snap(rng.random((n, SPACE.d))))):
        trial = Trial(number, config, seed=number)
        loss, accuracy = (tuple(map(float, rng.random(POINTS))) for _ in range(2))
        outcome = Outcome(
            Status.OK, loss[-1], {"loss": loss[-1], "accuracy": accuracy[-1]},
            {"loss": loss, "accuracy": accuracy}, 1.7e9 + number, 1.7e9 + number + 20, "w", "cpu",
        )  # fmt: skip
        entries += [(1.7e9, Asked([trial], number, 1)), (1.7e9, Told(Evaluation(trial, outcome)))]
    settings = {"seed": 0, "budget": {"evaluations": n, "wall": None}}
    header = Header("f00d", "growth", 1.7e9, SPACE.to_json(), SPACE.hash, "loss", "min", settings)
    past = [*entries, (1.7e9, Closed("budget"))]
    Journal.create(path, header, durability="process", past=past).close()


def _cpu(act: Callable[[], Any]) -> float:
    """CPU seconds of a call, which is made once: what was read is kept."""
    began = time.process_time()
    act()
    return time.process_time() - began


if __name__ == "__main__":
    main()
