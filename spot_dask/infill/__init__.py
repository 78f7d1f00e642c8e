"""Infill criteria: where to evaluate next (elsewhere called acquisition functions).

A criterion proposes a whole batch: it conditions on pending trials and on the points it has
already picked. Points are rows of the unit cube, always snapped to the space before they are
scored.

A new criterion is one file in this folder, or anywhere, with one public class that has
``propose``. The objective is minimised; a posterior predicts at features of rows::

    space = request.space
    rows = space.snap(rng.random((1000, space.d)))
    new = [i for i, key in enumerate(space.row_keys(rows)) if key not in request.forbidden]
    mean, sd = posterior.predict(space.features(rows[new]))

``candidates.py`` draws better candidates, ``fantasies.py`` conditions on pending trials. What has
been proposed badly, or not at all, is made up for by other rows, of the origin fallback.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.random import default_rng

from spot_dask import plugins
from spot_dask.infill.constrained import Constrained
from spot_dask.infill.feasible import Risk
from spot_dask.infill.leaning import Leaning
from spot_dask.infill.price import Price
from spot_dask.space import Integer, Space
from spot_dask.surrogates import FloatArray, Posterior
from spot_dask.surrogates.kriging import Kriging


@dataclass(frozen=True)
class Request:
    """What is asked of a criterion.

    ``evaluated`` (n x d) and ``pending`` (m x d) are snapped rows of the unit cube; no point whose
    ``Space.row_keys`` entry is in ``forbidden`` may be proposed. ``risk`` weights the criterion
    where trainings may fail; None while none has failed. ``leaning`` weights it by what the user
    believes of good values; None where nothing is left of that. ``constrained`` says what is known
    of outcome constraints; None where there are none, or nothing is known of their metrics.
    ``price`` weights it by what a training takes, for a criterion that asks for it by an attribute
    ``timed`` that is true; None while durations are not known.
    """

    space: Space
    q: int
    evaluated: FloatArray
    pending: FloatArray
    forbidden: frozenset[bytes]
    risk: Risk | None = None
    leaning: Leaning | None = None
    constrained: Constrained | None = None
    price: Price | None = None

    @property
    def incumbents(self) -> FloatArray:
        """The evaluated rows that the best is one of: those that fulfil the constraints."""
        known = self.constrained
        return self.evaluated if known is None else self.evaluated[known.feasible]


@dataclass(frozen=True, eq=False)
class Proposal:
    """Proposed rows (q x d), and mean and sd (q each) of what is expected of evaluations there.

    The sd includes the noise. A criterion that averages over several models tells what they say
    together; for one that returns rows alone the surrogate tells.
    """

    rows: FloatArray
    mean: FloatArray
    sd: FloatArray


class Infill(Protocol):
    """An infill criterion with its settings."""

    def propose(
        self, posterior: Posterior, request: Request, rng: np.random.Generator
    ) -> FloatArray | Proposal:
        """At most q new, distinct, snapped rows (<= q x d); fewer only if no more exist."""
        ...


def rows_of(found: FloatArray | Proposal) -> FloatArray:
    """The rows of what a criterion returned."""
    rows = found.rows if isinstance(found, Proposal) else found
    return np.asarray(rows, dtype=np.float64)


def find(infill: str | Infill, *, trusted: bool = True) -> Infill:
    """The criterion of that name; a criterion is returned as it is.

    A name is that of a file in this folder or ``package.module:Name``. Raises ValueError if there
    is none, and NotLoaded for one from elsewhere that is not ``trusted``.
    """
    if not isinstance(infill, str):
        return infill
    found: Infill = plugins.find(__name__, "propose", infill, trusted=trusted)
    return found


@plugins.once
def check(infill: str | Infill) -> None:
    """Raise ValueError, saying what is missing or wrong, unless a criterion can serve.

    It is asked for two points of a small space.
    """
    label = f"infill {infill if isinstance(infill, str) else type(infill).__name__!r}"
    found = find(infill)
    if not callable(getattr(found, "propose", None)):
        raise ValueError(f"{label} has no method propose(posterior, request, rng)")
    plugins.check_call(f"{label}: propose", found.propose, "posterior", "request", "rng")
    space, rng = Space(x=Integer(0, 9, default=0), z=Integer(0, 9, default=0)), default_rng(0)
    X = space.grid()[::13]
    features = space.features(X)
    posterior = Kriging(deterministic=True).fit(features, X.sum(axis=1), space.groups, rng)
    request = Request(space, 2, X, X[:0], frozenset(space.row_keys(X)))
    try:
        rows = rows_of(found.propose(posterior, request, rng))
    except Exception as error:
        raise ValueError(f"{label}: propose raises {error!r}") from error
    if rows.ndim != 2 or rows.shape[1] != space.d or not 1 <= len(rows) <= request.q:
        raise ValueError(f"{label}: propose returns shape {rows.shape}; expected {(2, space.d)}")
    if not np.isfinite(rows).all() or rows.min() < 0.0 or rows.max() > 1.0:
        raise ValueError(f"{label}: propose returns rows outside the unit cube")
