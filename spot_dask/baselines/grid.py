"""Grid search: a full factorial as large as the budget needs, in random order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spot_dask.baselines import Known
from spot_dask.space import Categorical
from spot_dask.surrogates import FloatArray

UNKNOWN_BUDGET = 50
LARGEST = 1_000_000


@dataclass(frozen=True)
class GridSearch:
    """All levels of factors, the same number of values of every other parameter.

    That number is the least with which the grid has as many points as the budget has trials. The
    order is random, so that a run that ends early has not just walked along one edge.
    """

    def propose(self, known: Known, q: int, rng: np.random.Generator) -> FloatArray:
        """The next q rows (q x d) of the grid that are new; fewer where it ends."""
        axes = _axes(known)
        size = int(np.prod([len(axis) for axis in axes], dtype=np.float64))
        order = np.random.default_rng([known.seed, 2])
        if size <= LARGEST:
            places = order.permutation(size)
        else:
            places = order.integers(size, size=4 * (len(known.asked) + q))
        columns = np.unravel_index(places, [len(axis) for axis in axes])
        rows = np.column_stack([axis[at] for axis, at in zip(axes, columns, strict=True)])
        return known.fresh(rows, q)


def _axes(known: Known) -> list[FloatArray]:
    """The values in [0, 1] of every row column."""
    parameters = [known.space.parameters[name] for name in known.space.free]
    levels = [len(p.levels) if isinstance(p, Categorical) else 0 for p in parameters]
    wanted, k = known.budget or UNKNOWN_BUDGET, 2
    while np.prod([n or k for n in levels], dtype=np.float64) < wanted and k < wanted:
        k += 1
    return [
        (np.arange(n) + 0.5) / n if n else np.linspace(0.0, 1.0, k)
        for n in levels
    ]  # fmt: skip
