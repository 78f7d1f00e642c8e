"""A scrambled Sobol sequence: random search without its gaps and clusters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import qmc

from spot_dask.baselines import Known
from spot_dask.surrogates import FloatArray


@dataclass(frozen=True)
class SobolSearch:
    """Walks along the sequence that the study's seed scrambles [Owen 1998]."""

    def propose(self, known: Known, q: int, rng: np.random.Generator) -> FloatArray:
        """The next q rows (q x d) of the sequence that are new; fewer where few are left."""
        if known.space.d == 0:
            return np.empty((0, 0))
        power = (2 * (len(known.asked) + q)).bit_length()
        scrambled = qmc.Sobol(known.space.d, rng=np.random.default_rng([known.seed, 1]))
        return known.fresh(np.asarray(scrambled.random_base2(power)), q)
