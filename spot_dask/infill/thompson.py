"""Thompson sampling: each point of the batch is the best candidate of one draw of the objective.

Draws are joint over a pool of candidates (or over all configurations, if they can be listed), so
pending trials need no believing: another draw has its minimum elsewhere [Kandasamy et al. 2018].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack

from spot_dask.infill import Request
from spot_dask.infill.candidates import KnownRows, make_pool
from spot_dask.infill.constrained import Constrained
from spot_dask.infill.optimise import leading
from spot_dask.surrogates import FloatArray, Posterior
from spot_dask.surrogates.numerics import blas_threads

LISTED = 4096  # of a space that can be listed no more candidates are drawn jointly


@dataclass(frozen=True)
class Thompson:
    """A batch by Thompson sampling from a pool of so many candidates."""

    candidates: int = 1024

    leans = False  # what is believed of good values has no place in a draw of the objective

    def propose(
        self, posterior: Posterior, request: Request, rng: np.random.Generator
    ) -> FloatArray:
        """At most q new, distinct, snapped rows (<= q x d); fewer only if no more exist."""
        known, picked = KnownRows.of(request), np.empty((0, request.space.d))
        while len(picked) < request.q:
            with blas_threads(self.candidates):
                more = self._draw(posterior, known, request, request.q - len(picked), rng)
            if not len(more):
                break
            picked = np.vstack((picked, more))
            for row in more:
                known = known.with_row(row)
        return picked

    def _draw(
        self,
        posterior: Posterior,
        known: KnownRows,
        request: Request,
        q: int,
        rng: np.random.Generator,
    ) -> FloatArray:
        """At least one new row, if there is any, and at most q; of those that may succeed."""
        space, risk = known.space, request.risk
        means, _ = posterior.predict(space.features(known.rows))
        leaders = leading(known.rows, means, request)
        pool, _ = make_pool(known, leaders, self.candidates, rng)
        if len(pool) > LISTED:
            pool = pool[rng.choice(len(pool), LISTED, replace=False)]
        if not len(pool):
            return pool
        if risk is not None and (likely := risk.likely(space.features(pool))).any():
            pool = pool[likely]
        draws = _drawn(posterior, space.features(pool), q, rng)
        if request.constrained is not None:
            draws = _constrained(draws, request.constrained, space.features(pool), rng)
        open_ = np.ones(len(pool), dtype=np.bool_)
        picked = np.empty((0, space.d))
        for draw in draws.T:
            if not open_.any():
                break
            row = pool[np.where(open_, draw, np.inf).argmin()]
            picked = np.vstack((picked, row))
            open_ &= known.apart(pool, row[None])
        return picked


def _drawn(posterior: Posterior, X: FloatArray, q: int, rng: np.random.Generator) -> FloatArray:
    """q joint draws of the objective, or a metric, at features X (m x e): m x q."""
    mean, covariance = posterior.joint(X)
    drawn: FloatArray = mean[:, None] + _root(covariance) @ rng.standard_normal((len(X), q))
    return drawn


def _constrained(
    draws: FloatArray, known: Constrained, X: FloatArray, rng: np.random.Generator
) -> FloatArray:
    """Draws (m x q) of the objective so that the least is the best that fulfils all constraints.

    By a draw of each metric; where nothing does in a draw, the one that is least beyond the bounds,
    in spreads of the draws of the metric [Eriksson & Poloczek 2021].
    """
    beyond = np.zeros_like(draws)
    for limit in known.limits:
        drawn = _drawn(limit.posterior, X, draws.shape[1], rng)
        spread = float(drawn.std()) or 1.0
        beyond += np.maximum(limit.side * (drawn - limit.bound), 0.0) / spread
    fine = beyond <= 0.0
    worst = np.where(fine, draws, -np.inf).max(axis=0)
    return np.where(fine, draws, np.where(np.isfinite(worst), worst, 0.0) + beyond)


def _root(covariance: FloatArray) -> FloatArray:
    """A Cholesky factor, of a little more than the covariance where rounding leaves none.

    Raises LinAlgError where the covariance is not finite.
    """
    if not np.isfinite(covariance).all():
        raise np.linalg.LinAlgError("the covariance is not finite")
    jitter = 1e-10 * float(np.diagonal(covariance).max()) or 1e-300
    while True:
        L, info = lapack.dpotrf(covariance + jitter * np.eye(len(covariance)), lower=1, clean=1)
        if info == 0:
            root: FloatArray = L
            return root
        jitter *= 10.0
