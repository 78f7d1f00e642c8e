"""Regret of spot-dask and its peers at equal evaluations: run what is missing, then summarise.

Development is with ``--set``, ``--problem`` and ``--race``: there the problems of ``--verify`` are
left out.
"""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import click

from benchmarks import Unavailable, problems, verification
from benchmarks.data import VARIABLE
from benchmarks.optimisers import Informable, Spec, names
from benchmarks.race import race
from benchmarks.results import Cell, Results, missing
from benchmarks.score import Regrets
from benchmarks.sets import SETS
from benchmarks.simulation import Mode, Point, run
from benchmarks.summary import REFERENCE, regrets_of, summary, unit_of

logger = logging.getLogger(__name__)

_REFERENCE_SEEDS = 20
_QUICK = ["spot", "random", "sobol", "optuna_tpe", "optuna_gp"]


@click.command()
@click.option("--quick", is_flag=True, help="Set quick, 3 seeds, the cheap peers: minutes.")
@click.option("--full", is_flag=True, help="Set full, 10 seeds, q = 1, 8, 32, all peers: hours.")
@click.option("--verify", is_flag=True, help="The verification problems, tallied; 10 seeds.")
@click.option("--race", "racing", is_flag=True, help="Seed by seed, dropping who is behind.")
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
@click.option("--out", type=Path, help="Default: runs/benchmarks/quality.csv or verification.csv.")
@click.option("--data", type=click.Path(file_okay=False), help="Folder with the data of suites.")
@click.option("--only-summary", is_flag=True, help="Run nothing; summarise what was asked for.")
def main(
    quick: bool,
    full: bool,
    verify: bool,
    racing: bool,
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
    out: Path | None,
    data: str | None,
    only_summary: bool,
) -> None:
    """Run what is missing in --out and print the scores."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.disable(logging.INFO)  # peers that set levels of their own report every trial
    if verify and (quick or full or racing or sets or patterns):
        raise click.UsageError("--verify has problems of its own, and nothing is chosen on them")
    if racing and len(qs) > 1:
        raise click.UsageError("--race needs one --q")
    if data:
        os.environ[VARIABLE] = data
    if not sets and not verify:
        sets = ["full"] if full else ["development"] if racing else ["quick"]
        sets = [] if patterns and not quick else sets
    found = verification.names() if verify else _developed(sets, patterns)
    texts = texts or (names() if full or verify else _QUICK)
    specs = {spec.label: spec for spec in map(Spec.parse, [REFERENCE, *texts])}
    modes = [Mode(q, sync, budget) for q in qs or ([1, 8, 32] if full else [8])]
    count = seeds or (10 if full or verify else 3)
    span = range(first_seed, first_seed + count)
    results = Results(out or Path(f"runs/benchmarks/{'verification' if verify else 'quality'}.csv"))
    work = Work(found, specs, modes, results, time.monotonic() + 60 * minutes)
    if verify:
        asked = f"{' '.join(texts)} | {', '.join(map(str, modes))} | seeds {span[0]}-{span[-1]}"
        readings = verification.tally(asked, verification.commit())
        click.echo(f"The verification problems have been read {readings} times.\n")
    if racing and not only_summary:
        left = race(
            [label for label in specs if label != REFERENCE], span, work.advance, click.echo
        )
        click.echo(f"left: {', '.join(left)}\n")
    elif not only_summary:
        work.run(_cells(found, list(specs), modes, span))
    done = work.done(_cells(found, list(specs), modes, span))
    if after is not None:
        done = {c: [p for p in points if p.evaluations <= after] for c, points in done.items()}
    click.echo(summary(done, baseline))


def _developed(sets: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """The problems of sets and patterns, but for those of verification."""
    wanted = [n for p in [*(p for s in sets for p in SETS[s]), *patterns] for n in
              problems.matching(p)]  # fmt: skip
    found, kept = verification.apart(list(dict.fromkeys(wanted)))
    if kept:
        logger.warning("left out, for they are kept for verification: %s", ", ".join(kept))
    return found


@dataclass(frozen=True)
class Work:
    """What is to be run on which problems, where results are kept, and until when."""

    problems: Sequence[str]
    specs: Mapping[str, Spec]
    modes: Sequence[Mode]
    results: Results
    end: float

    def run(self, cells: Sequence[Cell]) -> None:
        """Run the missing cells; what is unavailable or fails is said once and left out."""
        left_out: set[str] = set()
        todo = missing(cells, self.results.runs())
        for i, cell in enumerate(todo):
            if time.monotonic() > self.end:
                logger.warning("out of time: %d of %d runs are left", len(todo) - i, len(todo))
                return
            try:
                self.results.add(cell, _ran(cell, self.specs[cell.optimiser]))
            except Unavailable as error:
                if str(error) not in left_out:
                    logger.warning("left out: %s", error)
                left_out.add(str(error))
            except Exception as error:  # a peer's failure must not end the night's benchmark
                logger.warning("%s failed: %s: %s", cell, type(error).__name__, error)

    def done(self, cells: Sequence[Cell]) -> dict[Cell, list[Point]]:
        """The finished ones of the cells."""
        runs = self.results.runs()
        return {cell: runs[cell] for cell in cells if cell in runs}

    def advance(
        self, labels: Sequence[str], seeds: range
    ) -> tuple[dict[str, Regrets], dict[str, float]]:
        """Run seeds of variants; the regrets that they have, and the unit. One mode only."""
        cells = _cells(self.problems, [REFERENCE, *labels], self.modes, seeds)
        self.run(cells)
        runs = self.done(cells)
        return {label: regrets_of(runs, label) for label in labels}, unit_of(runs)


def _ran(cell: Cell, spec: Spec) -> list[Point]:
    problem = problems.find(cell.problem)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optimiser = spec.make(problem.space, cell.seed, cell.mode.budget)
        if problem.earlier is not None and isinstance(optimiser, Informable):
            optimiser.inform(problem.earlier(cell.seed))
        return run(optimiser, problem, cell.mode, cell.seed)


def _cells(
    found: Sequence[str], labels: Sequence[str], modes: Sequence[Mode], seeds: range
) -> list[Cell]:
    """Seeds outermost, so that what is finished at any moment is balanced."""
    reference = [
        Cell(p, REFERENCE, mode, seed)
        for p, mode, seed in product(found, modes, range(_REFERENCE_SEEDS))
    ]
    others = [
        Cell(p, label, mode, seed) for seed, mode, p, label in product(seeds, modes, found, labels)
    ]
    return list(dict.fromkeys(reference + others))


if __name__ == "__main__":
    main()
