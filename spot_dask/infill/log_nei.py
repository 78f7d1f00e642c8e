"""Log noisy expected improvement over fantasies [Letham et al. 2019; Ament et al. 2023].

With noise nobody knows which evaluation is the best, and what is pending or was picked for the same
batch may yet become it. So the values at the few evaluated points that might be the best and at all
open points are drawn jointly, S times and without noise: fantasy s has its own threshold t_s, the
lowest of its values, and

    criterion(x) = log mean_s EI(mean_s(x), sd(x), t_s)

where EI integrates the outcome at x in closed form. The batch is picked one point after the other
(within 1 - 1/e of the best batch for such criteria [Wilson et al. 2018]). For q = 1 without noise
this is expected improvement.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from spot_dask.infill import Request
from spot_dask.infill.log_ei import log_expected_improvement
from spot_dask.infill.optimise import Search, greedy
from spot_dask.surrogates import FloatArray, Posterior

SMALL = 4  # batches up to this size can afford twice the fantasies


@dataclass(frozen=True)
class LogNEI:
    """A batch by log noisy expected improvement over so many fantasies, a power of two.

    A surrogate without a joint distribution of its errors is believed instead (``log_ei``).
    """

    samples: int = 64
    search: Search = field(default_factory=Search)

    def __post_init__(self) -> None:
        if self.samples < 1 or self.samples & (self.samples - 1):
            raise ValueError(f"samples is {self.samples}; expected a power of two")

    def propose(
        self, posterior: Posterior, request: Request, rng: np.random.Generator
    ) -> FloatArray:
        """At most q new, distinct, snapped rows (<= q x d); fewer only if no more exist."""
        samples = self.samples * (2 if self.samples > 1 and request.q <= SMALL else 1)
        return greedy(log_expected_improvement, posterior, request, rng, self.search, samples)
