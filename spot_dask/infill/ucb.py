"""Upper confidence bounds for batches, with pure exploration [Desautels et al. 2014; Contal 2013].

Minimised is mean - beta sd, where open trials narrow the sd but leave the mean as it is (GP-BUCB).
The last share of a batch explores: the largest sd among what may still be the best, i.e. where
mean - beta sd is below the lowest mean + beta sd of an evaluated point (GP-UCB-PE).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from spot_dask.infill import Request
from spot_dask.infill.fantasies import BoolArray
from spot_dask.infill.optimise import Search, greedy
from spot_dask.surrogates import FloatArray, Posterior

STEEP = 10.0  # loss per unit of mean - beta sd above the level that may still be the best


@dataclass(frozen=True)
class UCB:
    """A batch by upper confidence bounds; the share ``explore`` of it by pure exploration."""

    beta: float = 1.8
    explore: float = 0.25
    search: Search = field(default_factory=Search)

    def __post_init__(self) -> None:
        if not (self.beta >= 0.0 and 0.0 <= self.explore < 1.0):
            raise ValueError(
                f"beta is {self.beta} and explore {self.explore}; expected >= 0 and in [0, 1)"
            )

    def propose(
        self, posterior: Posterior, request: Request, rng: np.random.Generator
    ) -> FloatArray:
        """At most q new, distinct, snapped rows (<= q x d); fewer only if no more exist."""
        rows = np.vstack((request.evaluated, request.pending))
        mean, sd = posterior.predict(request.space.features(rows))
        scale = float(max(np.ptp(mean), sd.max(initial=0.0))) or 1.0
        bound = _Bound(self.beta, scale)
        exploring = int(self.explore * request.q)
        first = replace(request, q=request.q - exploring)
        picked = greedy(bound, posterior, first, rng, self.search)
        if not exploring or len(picked) < first.q:
            return picked
        level = float((mean + self.beta * sd)[_eligible(request)].min(initial=np.inf))
        rest = replace(
            request,
            q=exploring,
            pending=np.vstack((request.pending, picked)),
            forbidden=request.forbidden.union(request.space.row_keys(picked)),
        )
        explored = greedy(_Exploration(bound, level), posterior, rest, rng, self.search)
        return np.vstack((picked, explored))


def _eligible(request: Request) -> BoolArray:
    """Which of the evaluated and pending rows the best may be, as far as constraints tell."""
    known = request.constrained
    if known is None:
        return np.ones(len(request.evaluated) + len(request.pending), dtype=np.bool_)
    return np.append(known.feasible, known.likely(request.space.features(request.pending)))


@dataclass(frozen=True)
class _Bound:
    """The bound relative to the best, in units of the spread of the objective."""

    beta: float
    scale: float

    def __call__(
        self, mean: FloatArray, sd: FloatArray, best: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        value = (best - mean + self.beta * sd) / self.scale
        by_mean = np.full_like(value, -1.0 / self.scale)
        return value, by_mean, np.full_like(value, self.beta / self.scale)


@dataclass(frozen=True)
class _Exploration:
    """The log of the sd, less a penalty where nothing can be the best."""

    bound: _Bound
    level: float

    def __call__(
        self, mean: FloatArray, sd: FloatArray, best: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        bound, by_mean, by_sd = self.bound(mean, sd, np.asarray(self.level))
        hopeless = STEEP * (bound < 0.0)
        value = np.log(sd / self.bound.scale) + hopeless * bound
        return value, hopeless * by_mean, 1.0 / sd + hopeless * by_sd
