"""Infill criteria: where to evaluate next (elsewhere called acquisition functions).

A criterion proposes a whole batch: it conditions on pending trials and on the points it has
already picked. Points are rows of the unit cube, always snapped to the space before they are
scored. A new criterion is one file in this folder with one public final class that has
``propose``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from spot_dask import plugins
from spot_dask.infill.feasible import Risk
from spot_dask.space import Space
from spot_dask.surrogates import FloatArray, Posterior


@dataclass(frozen=True)
class Request:
    """What is asked of a criterion.

    ``evaluated`` (n x d) and ``pending`` (m x d) are snapped rows of the unit cube; no point whose
    ``Space.keys`` entry is in ``forbidden`` may be proposed. ``risk`` weights the criterion where
    trainings may fail; None while none has failed.
    """

    space: Space
    q: int
    evaluated: FloatArray
    pending: FloatArray
    forbidden: frozenset[bytes]
    risk: Risk | None = None


class Infill(Protocol):
    """An infill criterion with its settings."""

    def propose(
        self, posterior: Posterior, request: Request, rng: np.random.Generator
    ) -> FloatArray:
        """At most q new, distinct, snapped rows (<= q x d); fewer only if no more exist."""
        ...


def find(infill: str | Infill) -> Infill:
    """The criterion of that name with its default settings; a criterion is returned as it is.

    A name is that of a file in this folder or ``package.module:Name``. Raises ValueError if there
    is none.
    """
    if not isinstance(infill, str):
        return infill
    found: Infill = plugins.find(__name__, "propose", infill)
    return found
