"""Nominal against observed: how often what is stated of a run is true.

Studies with known truth are searched, confirmed on fresh seeds and judged, at least 200 of them a
cell (scenario x budget). What is confirmed does not depend on how its configuration was found, so
searches are a cheap stand-in for the tuner whose choice is as biased (``noisy.cheap_search``), and
each is confirmed several times on other seeds. ``--real`` runs the tuner itself instead.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from benchmarks import csv_rows
from benchmarks.claims import CONFIRMED, MODELLED, NOMINAL, confirmed_claims, model_claims
from benchmarks.noisy import (
    SCENARIOS,
    Scenario,
    Searched,
    Trainer,
    cheap_search,
    confirmed,
    real_search,
)
from benchmarks.problems import stream
from benchmarks.summary import table
from spot_dask.inference import evidence, infer
from spot_dask.inference.confirmed import confirmation

OFF = 0.02
"""By so much a share may differ from its nominal value without being marked."""

_EVERY_BUDGET = [
    "sum, small noise", "sum, large noise", "product, small noise", "product, large noise",
    "default is best", "pure noise", "bad default", "skewed noise",
]  # fmt: skip
_QUICK = ["sum, large noise", "product, small noise", "default is best", "6 configurations"]
_FEWER = 40  # the one budget of the other scenarios


@dataclass(frozen=True)
class Share:
    """How often a claim held in a cell, with its Monte Carlo standard error; searches counted."""

    scenario: str
    budget: int
    search: str
    claim: str
    nominal: float
    observed: float
    error: float
    searches: int

    @property
    def mark(self) -> str:
        """``-`` where the claim holds too seldom, ``+`` too often; doubled where by no chance."""
        gap = self.observed - self.nominal
        if abs(gap) <= OFF:
            return ""
        return ("-" if gap < 0 else "+") * (2 if abs(gap) > 2 * self.error else 1)

    def __str__(self) -> str:
        return f"{100 * self.observed:.1f} {self.mark}".strip()


@click.command()
@click.option("--quick", is_flag=True, help="Four cells, 12 searches each.")
@click.option("--scenario", "names", multiple=True, help="Default: all.")
@click.option("--budget", "budgets", multiple=True, type=int, help="Default: 20, 40 and 80.")
@click.option("--searches", default=200, show_default=True, help="Of each cell.")
@click.option("--confirmations", default=3, show_default=True, help="Of each search.")
@click.option("--real", is_flag=True, help="Search with the tuner itself.")
@click.option("--out", default="runs/benchmarks/coverage.csv", show_default=True, type=Path)
def main(
    quick: bool,
    names: Sequence[str],
    budgets: Sequence[int],
    searches: int,
    confirmations: int,
    real: bool,
    out: Path,
) -> None:
    """Run the cells that are not in --out yet; print nominal and observed shares."""
    logging.getLogger("spot_dask").setLevel(logging.CRITICAL)
    if quick:
        names, budgets, searches = names or _QUICK, budgets or [_FEWER], 12
    kind = "tuner" if real else "stand-in"
    wanted = list(_cells(names or list(SCENARIOS), budgets))
    done = {(s.scenario, s.budget, s.search, s.searches) for s in csv_rows.load(Share, out)}
    for name, budget in wanted:
        if (name, budget, kind, searches) not in done:
            csv_rows.append(out, cell(SCENARIOS[name], budget, searches, confirmations, real))
            click.echo(f"{name}, {budget} evaluations: done", err=True)
    found = [
        s
        for s in csv_rows.load(Share, out)
        if (s.scenario, s.budget) in wanted and (s.search, s.searches) == (kind, searches)
    ]
    click.echo(summary(found))


def _cells(names: Sequence[str], budgets: Sequence[int]) -> Iterator[tuple[str, int]]:
    for name in names:
        usual = (20, 40, 80) if name in _EVERY_BUDGET else (_FEWER,)
        for budget in budgets or usual:
            yield name, budget


def cell(
    scenario: Scenario, budget: int, searches: int, confirmations: int = 3, real: bool = False
) -> list[Share]:
    """The shares of all claims over so many searches."""
    runs = [judged(scenario, budget, run, confirmations, real) for run in range(searches)]
    found: list[Share] = []
    for claim, nominal in NOMINAL.items():
        shares = np.array([run[claim] for run in runs if claim in run])
        if len(shares):
            mean = float(shares.mean())
            # With a share of 1 the sample's own error would be 0.
            least = math.sqrt(nominal * (1 - nominal) / (len(shares) * confirmations))
            error = float(shares.std()) / math.sqrt(len(shares))
            error = max(error, least) if claim in CONFIRMED else error
            kind = "tuner" if real else "stand-in"
            found.append(Share(scenario.name, budget, kind, claim, nominal, mean, error, len(runs)))
    return found


def judged(
    scenario: Scenario, budget: int, run: int, confirmations: int = 3, real: bool = False
) -> dict[str, float]:
    """How often each claim held in one search with so many confirmations, each on other seeds."""
    train = Trainer(scenario, run)
    searched = (real_search if real else cheap_search)(scenario, budget, train)
    holds = _by_model(scenario, searched, run)
    several: dict[str, list[float]] = {}
    for k in range(confirmations):
        history = confirmed(searched, scenario.space, train, 1000 * k)
        found = confirmation(history, searched.best, scenario.space.default, 1.0)
        if found is not None and found.stated:
            for claim, held in confirmed_claims(scenario, found, scenario.space.default).items():
                several.setdefault(claim, []).append(held)
    return {**holds, **{claim: float(np.mean(held)) for claim, held in several.items()}}


def _by_model(scenario: Scenario, searched: Searched, run: int) -> dict[str, float]:
    inference = infer(evidence(scenario.space, searched.history, 1.0), 1.0, seed=run)
    if inference is None:
        return {}
    rng = stream(scenario.name, run, "elsewhere")
    return model_claims(scenario, inference, searched.best, rng)


def summary(found: Sequence[Share]) -> str:
    """Two tables of cells, what is confirmed and what the model says, and one over noisy cells."""
    parts = [
        "Observed shares in %; - too seldom, + too often by more than 2 points, doubled where that "
        "is more than two Monte Carlo errors.",
        *(_by_cell(found, claims) for claims in (CONFIRMED, MODELLED)),
        _over_all(found),
    ]
    return "\n\n".join(parts)


def _by_cell(found: Sequence[Share], claims: Sequence[str]) -> str:
    cells: dict[tuple[str, int], dict[str, Share]] = {}
    for share in found:
        cells.setdefault((share.scenario, share.budget), {})[share.claim] = share
    rows = [
        [name, str(budget), *(str(shares.get(claim, "")) for claim in claims)]
        for (name, budget), shares in cells.items()
    ]
    nominal = ["nominal", "", *(f"{100 * NOMINAL[claim]:.1f}" for claim in claims)]
    errors = [s.error for s in found if s.claim in claims]
    about = ["MC error", "", f"about {100 * float(np.median(errors)):.1f}" if errors else ""]
    about += [""] * (len(claims) - 1)
    return table(["scenario", "n", *claims], [nominal, about, *rows])


def _over_all(found: Sequence[Share]) -> str:
    return table(OVER_ALL, over_all(found))


OVER_ALL = [
    "claim", "nominal", "observed", "MC error", "cells", "too low", "too high", "lowest",
]  # fmt: skip


def over_all(found: Sequence[Share]) -> list[list[str]]:
    """Each claim over all cells with noise, in %: the columns are ``OVER_ALL``."""
    rows = []
    found = [s for s in found if SCENARIOS[s.scenario].noise.sd > 0]
    for claim, nominal in NOMINAL.items():
        mine = [s for s in found if s.claim == claim]
        if not mine:
            continue
        error = math.sqrt(sum(s.error**2 for s in mine)) / len(mine)
        least = min(mine, key=lambda s: s.observed)
        low = sum(s.mark.startswith("-") for s in mine)
        high = sum(s.mark.startswith("+") for s in mine)
        mean = float(np.mean([s.observed for s in mine]))
        shown = [f"{100 * value:.1f}" for value in (nominal, mean, error)]
        worst = f"{100 * least.observed:.1f} ({least.scenario}, {least.budget})"
        rows.append([claim, *shown, str(len(mine)), str(low), str(high), worst])
    return rows


if __name__ == "__main__":
    main()
