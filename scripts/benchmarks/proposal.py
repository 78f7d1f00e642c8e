"""CPU seconds of one proposal, fit included, from n evaluations: spot-dask and its peers.

Ten parameters (five of them on a log scale), a noisy Rosenbrock valley, one thread. Everyone gets
the same evaluations of scrambled Sobol points; what is timed is the first ask.
"""

from __future__ import annotations

import csv
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from statistics import median
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
Key = tuple[str, int, int]


@click.command()
@click.option("--quick", is_flag=True, help="n = 50, 200 and q = 1, 8 only, one repeat.")
@click.option("--optimiser", "texts", multiple=True, help="Default: spot and all that can attach.")
@click.option("--n", "ns", multiple=True, type=click.IntRange(2))
@click.option("--q", "qs", multiple=True, type=click.IntRange(1))
@click.option("--repeats", default=3, show_default=True, help="The median is shown.")
@click.option("--limit", default=60.0, show_default=True, help="CPU s; nothing larger is tried.")
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
    ns = ns or ([50, 200] if quick else [50, 200, 500, 1000])
    qs = qs or ([1, 8] if quick else [1, 8, 32])
    specs = list(map(Spec.parse, texts or names()))
    found: dict[Key, float] = {}
    for spec in specs:
        found |= _timed(spec, sorted(ns), sorted(qs), 1 if quick else repeats, limit)
    labels = list(dict.fromkeys(key[0] for key in found))
    head = ["CPU s", *(f"n={n} q={q}" for n in ns for q in qs)]
    seconds = [[found.get((label, n, q)) for n in ns for q in qs] for label in labels]
    click.echo(table(head, [[s, *map(_shown, r)] for s, r in zip(labels, seconds, strict=True)]))
    if baseline in labels:
        base = seconds[labels.index(baseline)]
        rows = [
            [s, *(_shown(v / b if v and b else None) for v, b in zip(r, base, strict=True))]
            for s, r in zip(labels, seconds, strict=True)
        ]
        click.echo("\n" + table([f"ratio to {baseline}", *head[1:]], rows))
    _save(out, found)


def space() -> Space:
    linear = {f"x{j}": Real(0.0, 1.0, default=0.5) for j in range(_D // 2)}
    log = {f"x{j}": Real(1e-4, 1.0, scale="log", default=0.01) for j in range(_D // 2, _D)}
    return Space(linear | log)


def evaluations(n: int, seed: int) -> list[tuple[Configuration, float]]:
    """n Sobol points and their noisy values."""
    where, rng = space(), np.random.default_rng(seed)
    configs = Sobol(where, seed).ask(n)
    u = 4.0 * where.encode(configs) - 2.0
    valley = (100 * (u[:, 1:] - u[:, :-1] ** 2) ** 2 + (1 - u[:, :-1]) ** 2).sum(axis=1)
    y = np.log1p(valley) + 0.1 * rng.standard_normal(n)
    return list(zip(configs, y.tolist(), strict=True))


def _timed(
    spec: Spec, ns: Sequence[int], qs: Sequence[int], repeats: int, limit: float
) -> dict[Key, float]:
    """Median CPU seconds by (label, n, q); nothing for an optimiser that is not here."""
    found: dict[Key, float] = {}
    too_large: set[tuple[int, int]] = set()
    try:
        _once(spec, 20, 1, seed=99)  # imports and first-call costs
        for n in ns:
            for q in qs:
                if any(n >= a and q >= b for a, b in too_large):
                    continue
                times = [_once(spec, n, q, seed) for seed in range(repeats)]
                found[spec.label, n, q] = median(times)
                if found[spec.label, n, q] > limit:
                    too_large.add((n, q))
    except Unavailable as error:
        logger.warning("left out: %s", error)
    except Exception as error:  # a peer's failure must not end the benchmark
        logger.warning("%s failed: %s: %s", spec.label, type(error).__name__, error)
    return found


def _once(spec: Spec, n: int, q: int, seed: int) -> float:
    optimiser: Any = spec.make(space(), seed)
    if not hasattr(optimiser, "attach"):
        raise Unavailable(f"{spec.name} cannot take evaluations it did not ask for")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optimiser.attach(evaluations(n, seed))
        started = cpu_seconds(optimiser)
        optimiser.ask(q)
        return cpu_seconds(optimiser) - started


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _save(out: Path, found: dict[Key, float]) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["optimiser", "n", "q", "cpu_seconds"])
        writer.writerows([*key, f"{seconds:.6g}"] for key, seconds in found.items())


if __name__ == "__main__":
    main()
