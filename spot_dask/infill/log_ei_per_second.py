"""Log expected improvement per second: what is expected of a training, by what it takes.

Log EI minus the log of the predicted duration (``price.py``), as long as durations are known and
differ; log EI before. It pays where slow configurations are no better than quick ones and a run is
ended by its time; where the best are slow, it looks for them late.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from spot_dask.infill import Request
from spot_dask.infill.log_ei import log_expected_improvement
from spot_dask.infill.optimise import Search, greedy
from spot_dask.surrogates import FloatArray, Posterior


@dataclass(frozen=True)
class LogEIPerSecond:
    """A batch by log EI per second, believing in pending points and batch mates."""

    timed: ClassVar[bool] = True  # so that ``Request.price`` is there
    search: Search = field(default_factory=Search)

    def propose(
        self, posterior: Posterior, request: Request, rng: np.random.Generator
    ) -> FloatArray:
        """At most q new, distinct, snapped rows (<= q x d); fewer only if no more exist."""
        return greedy(log_expected_improvement, posterior, request, rng, self.search)
