"""Scores of paired runs, with bootstrap intervals over problems, then seeds.

r       regret of a run, normalised (see ``problems``)
rand    mean of random search's r on the problem, over its seeds: the unit of regret
rel     geometric mean over problems of max(mean r / rand, 0.01); 0.5 is half of random's regret
ratio   geometric mean over problems of one optimiser's max(mean r, 0.01 rand) over the baseline's
wins    share of pairs (problem, seed) in which r is lower than the baseline's; a tie is half
rank    mean over problems of the rank by mean r; ties share their ranks

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
    """An estimate and its 95 % bootstrap interval."""

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

    def statistic(samples: list[FloatArray]) -> float:
        return _geometric([max(float(s.mean()), FLOOR) for s in samples])

    return _bootstrap(rows, statistic)


def ratio(one: Regrets, baseline: Regrets, unit: Mapping[str, float]) -> Interval:
    """``ratio`` of one optimiser's regret to the baseline's; below 1 is better."""

    def statistic(samples: list[FloatArray]) -> float:
        means = [np.maximum(s.mean(axis=1), FLOOR) for s in samples]
        return _geometric([float(m[0] / m[1]) for m in means])

    pairs = [pair / unit[p] for p, pair in _pairs(one, baseline).items() if p in unit]
    return _bootstrap(pairs, statistic)


def wins(one: Regrets, baseline: Regrets) -> Interval:
    """``wins`` of one optimiser against the baseline; 0.5 is neither."""

    def statistic(samples: list[FloatArray]) -> float:
        both = np.concatenate(samples, axis=1)
        return float(np.mean((both[0] < both[1]) + 0.5 * (both[0] == both[1])))

    return _bootstrap(list(_pairs(one, baseline).values()), statistic)


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


def _bootstrap(rows: list[FloatArray], statistic: Callable[[list[FloatArray]], float]) -> Interval:
    """Problems are drawn with replacement, then the seeds (columns) of each drawn problem."""
    if not rows:
        return Interval(float("nan"), float("nan"), float("nan"))
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(_DRAWS):
        picked = [rows[i] for i in rng.integers(len(rows), size=len(rows))]
        draws.append(statistic([r[:, rng.integers(r.shape[1], size=r.shape[1])] for r in picked]))
    low, high = np.quantile(draws, [0.025, 0.975])
    return Interval(statistic(rows), float(low), float(high))


def _geometric(values: list[float]) -> float:
    return float(np.exp(np.mean(np.log(values))))
