"""Pattern search: the best so far and its neighbours along the axes [Hooke & Jeeves 1961]."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spot_dask.baselines import Known
from spot_dask.space import Categorical
from spot_dask.surrogates import FloatArray

HALVINGS = 20


@dataclass(frozen=True)
class Pattern:
    """Polls one step along every axis, both ways, and every other level of a factor.

    When all of these are known and none is better, the step is halved [compass search: Kolda, Lewis
    & Torczon 2003].
    """

    step: float = 0.25

    def propose(self, known: Known, q: int, rng: np.random.Generator) -> FloatArray:
        """The next q polls (<= q x d) around the best, at the longest step that has any left."""
        centre = known.asked[0] if not len(known.y) else known.X[int(np.argmin(known.y))]
        rows, step = np.empty((0, known.space.d)), self.step
        for _ in range(HALVINGS):
            polls = _polls(known, centre, step)
            rows = known.fresh(np.vstack([rows, rng.permutation(polls)]), q)
            if len(rows) == q:
                break
            step /= 2
        return rows


def _polls(known: Known, centre: FloatArray, step: float) -> FloatArray:
    """The neighbours of a row (d) along the axes."""
    found = []
    for j, name in enumerate(known.space.free):
        parameter = known.space.parameters[name]
        if isinstance(parameter, Categorical):
            n = len(parameter.levels)
            values = (np.arange(n) + 0.5) / n
        else:
            values = np.clip([centre[j] - step, centre[j] + step], 0.0, 1.0)
        for value in values:
            row = centre.copy()
            row[j] = value
            found.append(row)
    return np.array(found).reshape(-1, known.space.d)
