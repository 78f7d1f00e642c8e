"""Regret of spot-dask and its peers at equal evaluations: run what is missing, then summarise."""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import click

from benchmarks import Unavailable, problems
from benchmarks.optimisers import Informable, Spec, names
from benchmarks.problems import lcbench
from benchmarks.results import Cell, Results, missing
from benchmarks.sets import SETS
from benchmarks.simulation import Mode, run
from benchmarks.summary import REFERENCE, summary

logger = logging.getLogger(__name__)

_REFERENCE_SEEDS = 20
_QUICK = ["spot", "random", "sobol", "optuna_tpe", "optuna_gp"]


@click.command()
@click.option("--quick", is_flag=True, help="Set quick, 3 seeds, the cheap peers: minutes.")
@click.option("--full", is_flag=True, help="Set full, 10 seeds, q = 1, 8, 32, all peers: hours.")
@click.option("--set", "sets", multiple=True, type=click.Choice(sorted(SETS)))
@click.option("--problem", "patterns", multiple=True, help="suite/name or a pattern of them.")
@click.option("--optimiser", "texts", multiple=True, help="[label=]name[:option=value,...]")
@click.option("--q", "qs", multiple=True, type=click.IntRange(1), help="Batch sizes; default 8.")
@click.option("--sync/--async", default=True, show_default=True)
@click.option("--budget", default=64, show_default=True, type=click.IntRange(1))
@click.option("--after", type=click.IntRange(1), help="Judge after so many, not at the end.")
@click.option("--seeds", type=click.IntRange(1), help="Number of seeds; default 3.")
@click.option("--first-seed", default=0, show_default=True)
@click.option("--minutes", default=float("inf"), help="Start no run after so many.")
@click.option("--baseline", default="optuna_gp", show_default=True, help="Label to compare with.")
@click.option("--out", default="runs/benchmarks/quality.csv", show_default=True, type=Path)
@click.option("--data", type=click.Path(file_okay=False), help="Folder with lcbench/model.onnx.")
@click.option("--only-summary", is_flag=True, help="Run nothing; summarise what was asked for.")
def main(
    quick: bool,
    full: bool,
    sets: Sequence[str],
    patterns: Sequence[str],
    texts: Sequence[str],
    qs: Sequence[int],
    sync: bool,
    budget: int,
    after: int | None,
    seeds: int | None,
    first_seed: int,
    minutes: float,
    baseline: str,
    out: Path,
    data: str | None,
    only_summary: bool,
) -> None:
    """Run what is missing in --out and print the scores."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.disable(logging.INFO)  # peers that set levels of their own report every trial
    if data:
        os.environ[lcbench.DATA] = data
    sets = sets or (["full"] if full else [] if patterns and not quick else ["quick"])
    found = [n for s in sets for p in SETS[s] for n in problems.matching(p)]
    found += [n for p in patterns for n in problems.matching(p)]
    texts = texts or (names() if full else _QUICK)
    specs = {spec.label: spec for spec in map(Spec.parse, [REFERENCE, *texts])}
    modes = [Mode(q, sync, budget) for q in qs or ([1, 8, 32] if full else [8])]
    count = seeds or (10 if full else 3)
    cells = list(_cells(list(dict.fromkeys(found)), list(specs), modes, first_seed, count))
    results = Results(out)
    if not only_summary:
        _run(cells, specs, results, time.monotonic() + 60 * minutes)
    done = {cell: points for cell, points in results.runs().items() if cell in set(cells)}
    if after is not None:
        done = {c: [p for p in points if p.evaluations <= after] for c, points in done.items()}
    click.echo(summary({cell: done[cell] for cell in cells if cell in done}, baseline))


def _cells(
    found: Sequence[str], labels: Sequence[str], modes: Sequence[Mode], first: int, count: int
) -> Sequence[Cell]:
    """Seeds outermost, so that what is finished at any moment is balanced."""
    reference = [
        Cell(p, REFERENCE, mode, seed)
        for p, mode, seed in product(found, modes, range(_REFERENCE_SEEDS))
    ]
    others = [
        Cell(p, label, mode, seed)
        for seed, mode, p, label in product(range(first, first + count), modes, found, labels)
    ]
    return list(dict.fromkeys(reference + others))


def _run(cells: Sequence[Cell], specs: dict[str, Spec], results: Results, end: float) -> None:
    """Run the missing cells; what is unavailable or fails is said once and left out."""
    left_out: set[str] = set()
    todo = missing(cells, results.runs())
    for i, cell in enumerate(todo):
        if time.monotonic() > end:
            logger.warning("out of time: %d of %d runs are left", len(todo) - i, len(todo))
            return
        try:
            problem = problems.find(cell.problem)
            optimiser = specs[cell.optimiser].make(problem.space, cell.seed)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if problem.earlier is not None and isinstance(optimiser, Informable):
                    optimiser.inform(problem.earlier(cell.seed))
                results.add(cell, run(optimiser, problem, cell.mode, cell.seed))
        except Unavailable as error:
            if str(error) not in left_out:
                logger.warning("left out: %s", error)
            left_out.add(str(error))
        except Exception as error:  # a peer's failure must not end the night's benchmark
            logger.warning("%s failed: %s: %s", cell, type(error).__name__, error)


if __name__ == "__main__":
    main()
