"""Constant liar: open trials are believed to return one and the same value.

The surrogate is conditioned on a lie L at pending trials and at the points picked so far, and the
next point maximises the expected improvement of what it then believes [Ginsbourger, Le Riche &
Carraro 2010, sec. 4.2]. The lower the lie, the more a batch keeps together around the best; the
higher, the more it spreads. The Kriging believer (``log_ei``) lies with the mean at each point.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from spot_dask.infill import Request
from spot_dask.infill.log_ei import log_expected_improvement
from spot_dask.infill.optimise import Search, greedy
from spot_dask.surrogates import FloatArray, Posterior

_LIES: Mapping[str, Callable[[FloatArray], float]] = {"min": np.min, "mean": np.mean, "max": np.max}


@dataclass(frozen=True)
class ConstantLiar:
    """A batch by constant liar; the lie is the lowest, mean or highest of the evaluated means."""

    lie: Literal["min", "mean", "max"] = "min"
    search: Search = field(default_factory=Search)

    def __post_init__(self) -> None:
        if self.lie not in _LIES:
            raise ValueError(f"lie is {self.lie!r}; expected one of {', '.join(_LIES)}")

    def propose(
        self, posterior: Posterior, request: Request, rng: np.random.Generator
    ) -> FloatArray:
        """At most q new, distinct, snapped rows (<= q x d); fewer only if no more exist."""
        features = request.space.features
        best = request.incumbents if len(request.incumbents) else request.evaluated
        means, _ = posterior.predict(features(best))
        lie = float(_LIES[self.lie](means))
        picked = np.empty((0, request.space.d))
        while len(picked) < request.q:
            told, one = posterior, _one(request, picked)
            open_ = features(np.vstack((request.pending, picked)))
            if len(open_):
                told = posterior.condition(open_, np.full(len(open_), lie))
            more = greedy(log_expected_improvement, told, one, rng, self.search)
            if not len(more):
                break
            picked = np.vstack((picked, more))
        return picked


def _one(request: Request, picked: FloatArray) -> Request:
    """The request for one more point, with all that is open told."""
    space, open_ = request.space, np.vstack((request.pending, picked))
    return replace(
        request,
        q=1,
        evaluated=np.vstack((request.evaluated, open_)),
        pending=np.empty((0, space.d)),
        forbidden=request.forbidden.union(space.row_keys(picked)),
        risk=request.risk and request.risk.after(space.features(open_)),
        constrained=request.constrained and request.constrained.after(space.features(open_)),
    )
