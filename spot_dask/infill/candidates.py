"""Candidates for the next evaluation, and which of them are new.

A configuration is new if its key is not forbidden and if it keeps ``APART`` from every known row
along some continuous parameter or differs from it in a discrete one: a surrogate learns nothing
from two points that close. d row columns, k known rows, m candidates; all rows are snapped.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist
from scipy.stats import qmc

from spot_dask.infill import Request
from spot_dask.space import Space
from spot_dask.surrogates import FloatArray

APART = 1e-4  # in the unit cube, maximum norm
ENUMERABLE = 10_000  # up to here every configuration is a candidate
LISTABLE = 100_000  # up to here a space can be listed when random draws find nothing new
DRAWS = 8
OVERDRAWN = 6  # times that evenly spread rows are drawn where predicates exclude most
RADII = (0.005, 0.2)  # of the clouds around the best rows


@dataclass(frozen=True)
class KnownRows:
    """The rows (k x d) that are evaluated, pending or picked, and further keys not to propose."""

    space: Space
    rows: FloatArray
    forbidden: frozenset[bytes]

    @classmethod
    def of(cls, request: Request) -> KnownRows:
        rows = np.vstack((request.evaluated, request.pending))
        return cls(request.space, rows, request.forbidden)

    def with_row(self, row: FloatArray) -> KnownRows:
        """What is known once this row (d) is picked, too."""
        return replace(self, rows=np.vstack((self.rows, row)))

    def new(self, rows: FloatArray) -> FloatArray:
        """The new ones among snapped rows (m x d) that the space allows, each once, in order."""
        rows = rows[self.space.allowed(rows)]
        seen = set(self.forbidden)
        keep = []
        for i, key in enumerate(self.space.row_keys(rows)):
            if key not in seen:
                seen.add(key)
                keep.append(i)
        fresh = rows[keep]
        apart: FloatArray = fresh[self.apart(fresh, self.rows)]
        return apart

    def apart(self, rows: FloatArray, others: FloatArray) -> npt.NDArray[np.bool_]:
        """Which rows (m x d) keep their distance from all of the others (k x d): m booleans."""
        if not (len(rows) and len(others)):
            return np.ones(len(rows), dtype=np.bool_)
        # So heavy that any difference in a discrete parameter is far apart.
        weights = np.where(self.space.continuous, 1.0, 1e9)
        gaps = cdist(rows * weights, others * weights, "chebyshev").min(axis=1)
        apart: npt.NDArray[np.bool_] = gaps >= APART
        return apart


def make_pool(
    known: KnownRows, best: FloatArray, size: int, rng: np.random.Generator
) -> tuple[FloatArray, bool]:
    """New candidates (about size x d, at least one if there is any) and whether they are all.

    Half are spread evenly over the space and half lie in clouds around the best rows (k x d).
    (Clouds shaped by the surrogate's length scales were measured to be no better.)
    """
    space = known.space
    if space.size <= ENUMERABLE:
        return known.new(space.grid()), True
    nearby = exchange(space, best[:3])
    for _ in range(DRAWS):
        spread = _spread(space, size // 2, rng)
        around = _clouds(space, best, size - len(spread), rng)
        pool = known.new(np.vstack((space.snap(np.vstack((spread, around))), nearby)))
        if len(pool):
            return pool, False
    listed = space.grid() if space.size <= LISTABLE else np.empty((0, space.d))
    return known.new(listed), True


def _spread(space: Space, m: int, rng: np.random.Generator) -> FloatArray:
    """At least m rows spread evenly over the space, m or fewer of those that predicates allow."""
    power = (m - 1).bit_length()
    if not space.predicates:
        return np.asarray(qmc.Sobol(space.d, rng=rng).random_base2(power))
    found, drawn = np.empty((0, space.d)), qmc.Sobol(space.d, rng=rng)
    for more in range(1, OVERDRAWN):
        rows = space.snap(drawn.random(2**power * more))
        found = np.vstack((found, rows[space.allowed(rows)]))
        if len(found) >= m:
            break
    return found[:m]


def exchange(space: Space, rows: Iterable[FloatArray]) -> FloatArray:
    """All configurations that differ from one of the rows in one discrete parameter."""
    if space.continuous.all():
        return np.empty((0, space.d))
    return np.vstack([np.empty((0, space.d)), *(space.neighbours(row) for row in rows)])


def _clouds(space: Space, best: FloatArray, m: int, rng: np.random.Generator) -> FloatArray:
    """Normal steps of log-uniform radius from the best rows, some twenty columns at a time.

    Ordered columns take a step; one unordered factor or two are drawn afresh.
    """
    d = space.d
    rows = best[rng.integers(len(best), size=m)]
    radius = np.exp(rng.uniform(np.log(RADII[0]), np.log(RADII[1]), size=(m, 1)))
    step = radius * rng.standard_normal((m, d))
    moved = rng.random((m, d)) < min(1.0, 20.0 / d)
    rows = np.where(moved, rows + step, rows)
    factors = np.setdiff1d(np.arange(d), space.columns)
    redrawn = rng.random((m, len(factors))) < 1.0 / max(2, len(factors))
    rows[:, factors] = np.where(redrawn, rng.random(redrawn.shape), rows[:, factors])
    return np.clip(rows, 0.0, 1.0)
