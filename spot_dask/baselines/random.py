"""Random search [Bergstra & Bengio 2012]: every configuration as likely as any other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spot_dask.baselines import Known
from spot_dask.surrogates import FloatArray

ATTEMPTS = 20


@dataclass(frozen=True)
class UniformDraws:
    """Draws each parameter uniformly on its scale, without repeating a configuration."""

    def propose(self, known: Known, q: int, rng: np.random.Generator) -> FloatArray:
        """q rows (q x d); fewer where hardly any configuration is left."""
        rows = np.empty((0, known.space.d))
        for _ in range(ATTEMPTS):
            rows = known.fresh(np.vstack([rows, rng.random((2 * q, known.space.d))]), q)
            if len(rows) == q:
                break
        return rows
