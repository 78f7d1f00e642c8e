"""A (mu + lambda) evolution strategy, as asynchronous as the trainings are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spot_dask.baselines import Known
from spot_dask.space import Categorical
from spot_dask.surrogates import FloatArray

ATTEMPTS = 50


@dataclass(frozen=True)
class Evolution:
    """Children of the ``parents`` best so far: uniform crossover of two, then mutation.

    Numbers move by a normal step in the unit cube, levels change with probability 1 / d. The step
    is ``step`` at first and follows the rule of one fifth: of the last 5 d children a fifth should
    be among the best, more make the step longer, fewer shorter [Rechenberg 1973; Beyer & Schwefel
    2002]. There are no generations, since a child is asked for whenever a slot is free.
    """

    parents: int = 5
    step: float = 0.25

    def propose(self, known: Known, q: int, rng: np.random.Generator) -> FloatArray:
        """q children (q x d); random rows until there are ``parents``."""
        space, d = known.space, known.space.d
        if len(known.y) < self.parents or d == 0:
            return known.fresh(rng.random((ATTEMPTS * q, d)), q)
        best = known.X[np.argsort(known.y, kind="stable")[: self.parents]]
        sigma = self.step * _factor(known.y, self.parents, d)
        factors = [isinstance(space.parameters[name], Categorical) for name in space.free]
        first, second = best[rng.integers(len(best), size=(2, ATTEMPTS * q))]
        children = np.where(rng.random(first.shape) < 0.5, first, second)
        moved = children + sigma * rng.standard_normal(children.shape)
        moved = 1.0 - np.abs(1.0 - np.abs(moved) % 2.0)  # reflected at the bounds
        changed = rng.random(children.shape) < 1.0 / d
        other = np.where(changed, rng.random(children.shape), children)
        return known.fresh(np.where(factors, other, moved), q)


def _factor(y: FloatArray, parents: int, d: int) -> float:
    """How much longer or shorter the step has become since the first children."""
    window, log = 5 * d, 0.0
    for end in range(parents + window, len(y) + 1, window):
        before = np.sort(y[: end - window])[:parents]
        share = float(np.mean(y[end - window : end] < before[-1]))
        log += np.log(1.22) if share > 0.2 else -np.log(1.22)
    return float(np.exp(np.clip(log, np.log(1e-3), np.log(2.0))))
