"""Scores of paired runs, with bootstrap intervals over problems, then seeds.

r       regret of a run, normalised (see ``problems``)
rand    mean of random search's r on the problem, over its seeds: the unit of regret
rel     geometric mean over problems of max(mean r / rand, 0.01); 0.5 is half of random's regret
ratio   geometric mean over problems of one optimiser's max(mean r, 0.01 rand) over the baseline's
wins    share of pairs (problem, seed) in which r is lower than the baseline's; a tie is half
rank    mean over problems of the rank by mean r; ties share their ranks
collapses   runs whose r is above half of rand

``ratio`` and ``wins`` take the seeds that both have run, problem by problem.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

FloatArray = npt.NDArray[np.float64]
Regrets = Mapping[str, Mapping[int, float]]
"""Of one optimiser: regret by problem and seed."""

FLOOR = 0.01
_DRAWS = 1000


@dataclass(frozen=True)
class Interval:
    """An estimate and its bootstrap interval, of 95 % unless another level is asked for."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def relative(regrets: Regrets, unit: Mapping[str, float]) -> Interval:
    """``rel`` over the problems that have a unit (mean regret of random search)."""
    rows = [
        np.array(list(regrets[p].values()))[None] / unit[p] for p in sorted(regrets) if p in unit
    ]
    return _bootstrap(rows, lambda means: _geometric(np.maximum(means[..., 0], FLOOR)))


def ratio(
    one: Regrets, baseline: Regrets, unit: Mapping[str, float], level: float = 0.95
) -> Interval:
    """``ratio`` of one optimiser's regret to the baseline's; below 1 is better."""

    def statistic(means: FloatArray) -> FloatArray:
        floored = np.maximum(means, FLOOR)
        return _geometric(floored[..., 0] / floored[..., 1])

    pairs = [pair / unit[p] for p, pair in _pairs(one, baseline).items() if p in unit]
    return _bootstrap(pairs, statistic, level)


def wins(one: Regrets, baseline: Regrets) -> Interval:
    """``wins`` of one optimiser against the baseline; 0.5 is neither."""
    pairs = _pairs(one, baseline).values()
    won = [np.array([(a < b) + 0.5 * (a == b), np.ones_like(a)]) for a, b in pairs]
    sizes = [pair.shape[1] for pair in won]
    weighted = [row * size for row, size in zip(won, sizes, strict=True)]
    return _bootstrap(weighted, lambda means: means[..., 0].sum(-1) / means[..., 1].sum(-1))


def collapses(regrets: Regrets, unit: Mapping[str, float]) -> tuple[int, int]:
    """How many runs end above half of random's mean regret, and how many runs there are."""
    ends = [r / unit[p] for p in regrets if p in unit for r in regrets[p].values()]
    return sum(r > 0.5 for r in ends), len(ends)


def ranks(regrets: Mapping[str, Regrets]) -> dict[str, float]:
    """``rank`` of each optimiser over the problems that all of them have run."""
    labels = list(regrets)
    shared = sorted(set.intersection(*(set(regrets[label]) for label in labels)))
    if not shared:
        return dict.fromkeys(labels, float("nan"))
    means = [[np.mean(list(regrets[label][p].values())) for label in labels] for p in shared]
    mean_ranks = np.mean([rankdata(row) for row in means], axis=0)
    return dict(zip(labels, mean_ranks.tolist(), strict=True))


def _pairs(one: Regrets, other: Regrets) -> dict[str, FloatArray]:
    """Per problem 2 x seeds: the regrets of both for the seeds that both have run."""
    found = {}
    for p in sorted(set(one) & set(other)):
        seeds = sorted(set(one[p]) & set(other[p]))
        if seeds:
            found[p] = np.array([[r[p][s] for s in seeds] for r in (one, other)])
    return found


def _bootstrap(
    rows: list[FloatArray], statistic: Callable[[FloatArray], FloatArray], level: float = 0.95
) -> Interval:
    """Problems are drawn with replacement, then the seeds (columns) of each drawn problem.

    ``statistic`` takes means over seeds (... x problems x rows of each problem) and gives (...).
    """
    if not rows:
        return Interval(float("nan"), float("nan"), float("nan"))
    rng = np.random.default_rng(0)
    picked = rng.integers(len(rows), size=(_DRAWS, len(rows)))
    means = np.empty((*picked.shape, len(rows[0])))
    for i, row in enumerate(rows):
        places = picked == i
        seeds = rng.integers(row.shape[1], size=(int(places.sum()), row.shape[1]))
        means[places] = row[:, seeds].mean(axis=-1).T
    whole = np.array([row.mean(axis=1) for row in rows])
    low, high = np.quantile(statistic(means), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(statistic(whole)), float(low), float(high))


def _geometric(values: FloatArray) -> FloatArray:
    """The geometric mean over the last axis."""
    return np.asarray(np.exp(np.mean(np.log(values), axis=-1)))
