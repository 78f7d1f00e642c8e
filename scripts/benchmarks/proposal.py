"""CPU seconds of one proposal, fit included, from n evaluations: spot-dask and its peers.

Ten parameters (five of them on a log scale), a noisy Rosenbrock valley, one thread. Everyone gets
the same evaluations of scrambled Sobol points, is asked for a batch and told its values; what is
timed is the whole of the next ask, with all n known and whatever the optimiser keeps between asks.
"""

from __future__ import annotations

import csv
import logging
import warnings
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks import Unavailable
from benchmarks.optimisers import Spec, cpu_seconds, names
from benchmarks.optimisers.sobol import Sobol
from benchmarks.summary import table
from spot_dask import Real, Space
from spot_dask.records import Configuration

logger = logging.getLogger(__name__)

_D = 10
_BATCH = 8  # asked and told before the timed ask
_CELLS = [(50, 8), (200, 8), (500, 8), (1000, 8), (10_000, 8), (200, 256)]  # n, q
_QUICK = [(50, 8), (200, 8)]
Seconds = dict[tuple[int, int], float]


@click.command()
@click.option("--quick", is_flag=True, help="n = 50 and 200 only, one repeat.")
@click.option("--optimiser", "texts", multiple=True, help="Default: spot and all that can attach.")
@click.option("--n", "ns", multiple=True, type=click.IntRange(_BATCH + 2), help="With --q only.")
@click.option("--q", "qs", multiple=True, type=click.IntRange(1), help="Default: the usual pairs.")
@click.option("--repeats", default=3, show_default=True, help="The minimum is shown.")
@click.option("--limit", default=60.0, show_default=True, help="CPU s; see the README.")
@click.option("--baseline", default="spot", show_default=True, help="Label to divide by.")
@click.option("--out", default="runs/benchmarks/proposal.csv", show_default=True, type=Path)
def main(
    quick: bool,
    texts: Sequence[str],
    ns: Sequence[int],
    qs: Sequence[int],
    repeats: int,
    limit: float,
    baseline: str,
    out: Path,
) -> None:
    """Time proposals and print CPU seconds and their ratio to the baseline's."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.disable(logging.INFO)
    if bool(ns) != bool(qs):
        raise click.UsageError("give both --n and --q, or neither")
    cells = list(product(ns, qs)) if ns else _QUICK if quick else _CELLS
    found: dict[str, Seconds] = {}
    for spec in map(Spec.parse, texts or names()):
        seconds = _timed(spec, cells, 1 if quick else repeats, limit)
        if seconds:
            found[spec.label] = seconds
            _save(out, found)
    head = [f"n={n} q={q}" for n, q in cells]
    rows = [[label, *(_shown(s.get(c)) for c in cells)] for label, s in found.items()]
    click.echo(table(["CPU s", *head], rows))
    base = found.get(baseline, {})
    if base:
        rows = [
            [label, *(_shown(s[c] / base[c] if c in s and c in base else None) for c in cells)]
            for label, s in found.items()
        ]
        click.echo("\n" + table([f"ratio to {baseline}", *head], rows))


def space() -> Space:
    linear = {f"x{j}": Real(0.0, 1.0, default=0.5) for j in range(_D // 2)}
    log = {f"x{j}": Real(1e-4, 1.0, scale="log", default=0.01) for j in range(_D // 2, _D)}
    return Space(linear | log)


def evaluations(n: int, seed: int) -> list[tuple[Configuration, float]]:
    """n Sobol points and their noisy values."""
    configs = Sobol(space(), seed).ask(n)
    return list(zip(configs, values(configs, np.random.default_rng(seed)), strict=True))


def values(configs: Sequence[Configuration], rng: np.random.Generator) -> list[float]:
    """Logarithms of Rosenbrock's function with noise of standard deviation 0.1."""
    u = 4.0 * space().encode(configs) - 2.0
    valley = (100 * (u[:, 1:] - u[:, :-1] ** 2) ** 2 + (1 - u[:, :-1]) ** 2).sum(axis=1)
    noisy: list[float] = (np.log1p(valley) + 0.1 * rng.standard_normal(len(u))).tolist()
    return noisy


def _timed(spec: Spec, cells: Sequence[tuple[int, int]], repeats: int, limit: float) -> Seconds:
    """Least CPU seconds by (n, q); nothing for an optimiser that is not here."""
    found: Seconds = {}
    try:
        _once(spec, 20, 1, seed=99)  # imports and first-call costs
        for n, q in sorted(cells):
            if expected(found, n, q) <= limit:
                found[n, q] = min(_once(spec, n, q, seed) for seed in range(repeats))
    except Unavailable as error:
        logger.warning("left out: %s", error)
    except Exception as error:  # a peer's failure must not end the benchmark
        logger.warning("%s failed: %s: %s", spec.label, type(error).__name__, error)
    return found


def expected(found: Seconds, n: int, q: int) -> float:
    """CPU seconds if they grew linearly from the largest smaller cell; 0 where none is known."""
    known = max((cell for cell in found if cell[0] <= n and cell[1] <= q), default=None)
    return found[known] * n * q / (known[0] * known[1]) if known else 0.0


def _once(spec: Spec, n: int, q: int, seed: int) -> float:
    optimiser: Any = spec.make(space(), seed)
    if not hasattr(optimiser, "attach"):
        raise Unavailable(f"{spec.name} cannot take evaluations it did not ask for")
    first = n - _BATCH
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optimiser.attach(evaluations(first, seed))
        asked = values(optimiser.ask(_BATCH), np.random.default_rng([seed, n]))
        optimiser.tell(list(enumerate(asked, start=first)))
        started = cpu_seconds(optimiser)
        optimiser.ask(q)
        return cpu_seconds(optimiser) - started


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _save(out: Path, found: dict[str, Seconds]) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["optimiser", "n", "q", "cpu_seconds"])
        writer.writerows(
            [label, *cell, f"{s:.6g}"] for label, row in found.items() for cell, s in row.items()
        )


if __name__ == "__main__":
    main()
