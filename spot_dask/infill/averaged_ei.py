"""Log expected improvement, averaged over draws of a richer Kriging model (``ensemble``).

The log of the mean over K draws of EI_k(x) [Snoek, Larochelle & Adams 2012]. Each draw has an
incumbent of its own, the lowest of its means at what is known, and believes open points to have its
own mean (see ``fantasies``). n rows (evaluated, then open), m candidates, e columns:

======== =========== =================================================================
root     K x n x n   inverse Cholesky factor of R + nugget / counts, rows of open points last
V        K x m x n   correlations of the candidates with the rows, times root'
w, b     K x n       root 1 and root (y - level)
unsaid   K x m       1 - V w, what the data leave unsaid about the level
======== =========== =================================================================

    mean = level + V b + drift     variance = s2 (1 - |V|^2 + unsaid^2 / |w|^2)

An open point is one more row of root and of w, and 0 in b. Inside, y is standardised.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field

import numpy as np

from spot_dask.infill import Proposal, Request
from spot_dask.infill.candidates import KnownRows
from spot_dask.infill.fantasies import Belief, BoolArray
from spot_dask.infill.log_ei import LogEI, log_expected_improvement
from spot_dask.infill.optimise import Search, batch, begun, hoped, leading, weighed
from spot_dask.surrogates import FloatArray, Posterior
from spot_dask.surrogates.ensemble import Draws, Hyperprior, numeric_columns, sample
from spot_dask.surrogates.numerics import blas_threads
from spot_dask.surrogates.posterior import CENTRE, KrigingPosterior
from spot_dask.surrogates.transfer import Drift, TransferPosterior

FLOOR = 1e-10  # of a variance, as a share of the process variance
JITTER = 1e-9  # on the diagonal: of open points, which are exact, and beside a nugget of nearly 0
EACH = 3  # rows with clouds around them of each belief
BLOCK = 64  # candidates at a time: what they need fits the cache


@dataclass(frozen=True)
class AveragedEI:
    """A batch by averaged log EI and by log EI in turn; beyond ``until`` evaluations by log EI.

    Each believes what the other has picked. Averaged over draws the criterion explores, which finds
    the basins that one model overlooks; log EI of the one model exploits what was found. Alone the
    first loses on smooth functions what it gains on networks, and the second the other way round;
    together they lost on neither (scripts/benchmarks/README.md). Not to ``alternate`` is averaged
    log EI alone.

    Beyond, hyperparameters are known well enough. Log EI serves as well for a surrogate that is not
    Kriging and in a space of unordered factors alone, of which the draws know nothing more.
    """

    prior: Hyperprior = field(default_factory=Hyperprior)
    until: int = 100
    alternate: bool = True
    search: Search = field(default_factory=lambda: Search(1024, starts=6, rounds=2, evaluations=20))

    def propose(
        self, posterior: Posterior, request: Request, rng: np.random.Generator
    ) -> FloatArray | Proposal:
        """At most q new, distinct, snapped rows (<= q x d); fewer only if no more exist."""
        kriging = posterior.rest if isinstance(posterior, TransferPosterior) else posterior
        space, known = request.space, KnownRows.of(request)
        if (
            not isinstance(kriging, KrigingPosterior)
            or len(request.evaluated) > self.until
            or not len(numeric_columns(space.groups))
            or (request.constrained is not None and request.constrained.alone)
            or (self.alternate and request.q == 1 and len(known.rows) % 2)  # it is log EI's turn
        ):
            return LogEI().propose(posterior, request, rng)
        drift = posterior.drift if isinstance(posterior, TransferPosterior) else None
        with blas_threads(len(request.evaluated)):
            draws = sample(kriging.data, space.groups, kriging.theta, self.prior, rng)
            limits = request.constrained
            among = None if limits is None else space.features(request.incumbents)
            before = Averaged(kriging, draws, drift, rng, among)
            averaged = copy(before)
            averaged.scales = np.ones(space.d)
            averaged.scales[space.groups] = draws.typical
            pending = space.features(hoped(request))
            averaged.believe(pending, None if limits is None else limits.likely(pending))
            means = averaged.mean(space.features(known.rows))
            picking: Belief = averaged
            leaders = leading(known.rows, means, request)
            if self.alternate:
                plain, others = begun(log_expected_improvement, posterior, request, rng)
                picking = Alternating((averaged, plain), len(known.rows))
                both = leading(known.rows, others, request)[:EACH], leaders[:EACH]
                leaders = np.vstack(both)
            picking = weighed(picking, request)
            rows = batch(picking, known, leaders, request.q, request.q, self.search, rng)
            return Proposal(rows, *before.predict(space.features(rows)))


class Alternating:
    """Beliefs that pick the points of a batch in turn; all believe what was picked.

    ``turn`` says which is the next, so that trials that are asked one by one alternate, too.
    """

    def __init__(self, beliefs: Sequence[Belief], turn: int) -> None:
        self.beliefs, self.turn = beliefs, turn
        self.pool: FloatArray | None = None

    @property
    def next(self) -> Belief:
        """The belief that picks the next point."""
        return self.beliefs[self.turn % len(self.beliefs)]

    @property
    def scales(self) -> FloatArray:
        return self.next.scales

    def values(self, X: FloatArray) -> FloatArray:
        return self.next.values(X)

    def gradient(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        return self.next.gradient(X)

    def watch(self, X: FloatArray) -> None:
        self.pool = X
        self.next.watch(X)

    def watched(self, which: BoolArray) -> FloatArray:
        return self.next.watched(which)

    def believe(self, X: FloatArray, eligible: BoolArray | None = None) -> None:
        for each in self.beliefs:
            each.watch(X[:0])  # who does not pick next need not keep a pool current
            each.believe(X, eligible)
        if self.pool is not None:
            self.turn += 1
            self.next.watch(self.pool)


class Averaged:
    """A belief: the log of the mean of the expected improvement over the draws.

    Its arrays are never changed in place, so that a copy keeps what was believed when it was made.
    The best is one of the features ``among`` (k x e), as constraints have it; None: of all known.
    """

    def __init__(
        self,
        kriging: KrigingPosterior,
        draws: Draws,
        drift: Drift | None,
        rng: np.random.Generator,
        among: FloatArray | None = None,
    ) -> None:
        data, h = kriging.data, kriging.hyperparameters
        n, X = len(data.y), data.X + CENTRE
        self.draws, self.drift, self.offset, self.scale = draws, drift, h.offset, h.scale
        self.scales = np.ones(data.X.shape[1])
        self.rows = draws.scaled(X)
        M = draws.correlations(self.rows, self.rows)
        M[:, np.arange(n), np.arange(n)] = 1.0 + JITTER + draws.nuggets[:, None] / data.counts
        self.root = np.linalg.inv(np.linalg.cholesky(M))
        self.w = self.root.sum(axis=2)
        solved = self.root @ data.y
        self.level = (self.w * solved).sum(axis=1) / (self.w**2).sum(axis=1)
        self.b = solved - self.level[:, None] * self.w
        misfit = (self.b**2).sum(axis=1) + data.within / draws.nuggets
        self.s2 = (misfit + 2.0) / rng.chisquare(len(data.values) + 1.0, draws.K)
        self.watch(X[:0])
        best = X if among is None else among
        self.best = (self._moments(self._white(best))[0] + self._drift(best)).min(axis=1)
        heard = kriging.Z[len(kriging.held) :] * kriging.columns + CENTRE
        for x, value in zip(heard[:, None], kriging.y[len(kriging.held) :], strict=True):
            self._add(x, among is None, float(value))

    def mean(self, X: FloatArray) -> FloatArray:
        """The mean of the draws' means at features X (m x e), standardised: m."""
        mean: FloatArray = self._moments(self._white(X))[0].mean(axis=0) + self._drift(X)
        return mean

    def predict(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and sd (m each) of an evaluation at X (m x e), noise included, in y's units."""
        mean, sd, _ = self._moments(self._white(X))
        noise = (self.draws.nuggets * self.s2)[:, None]
        variance = (sd**2 + noise).mean(axis=0) + mean.var(axis=0)
        centre = mean.mean(axis=0) + self._drift(X)
        return self.offset + self.scale * centre, self.scale * np.sqrt(variance)

    def values(self, X: FloatArray) -> FloatArray:
        mean, sd, _ = self._moments(self._white(X))
        return self._averaged(mean + self._drift(X), sd)[0]

    def gradient(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        draws, P = self.draws, self.draws.scaled(X)
        R, S = draws.correlations_and_slopes(P, self.rows)
        V = R @ self.root.transpose(0, 2, 1)
        mean, sd, unsaid = self._moments(V)
        values, by_mean, by_sd = self._averaged(mean + self._drift(X), sd)
        s2 = self.s2[:, None]
        by_variance = np.where(sd > np.sqrt(2.0 * FLOOR * s2), 0.5 * by_sd * s2 / sd, 0.0)
        # mean and variance by V, then V by R
        pull = V @ self.root
        pull += (unsaid / (self.w**2).sum(axis=1)[:, None])[..., None] * (
            self.w[:, None] @ self.root
        )
        by_R = by_mean[..., None] * (self.b[:, None] @ self.root)
        by_R -= 2.0 * by_variance[..., None] * pull
        C = by_R * S  # e x K x m x n; dR/dP_j = -S_j (P_j - Q_j)
        moved = np.einsum("jkmn,knj->kmj", C, self.rows)
        moved -= C.sum(axis=-1).transpose(1, 2, 0) * P
        slope = (moved * draws.slope(X)).sum(axis=0)
        if self.drift is not None:
            drifted = self.drift.at(X).gradient() / self.scale
            slope += by_mean.sum(axis=0)[:, None] * drifted
        return values, slope

    def watch(self, X: FloatArray) -> None:
        self.pool, self.pool_drift = self.draws.scaled(X), self._drift(X)
        blocks = [X[i : i + BLOCK] for i in range(0, len(X), BLOCK)] or [X]
        self.V = np.concatenate([self._white(block) for block in blocks], axis=1)
        self.pool_mean, _, self.unsaid = self._moments(self.V)
        self.left = 1.0 - np.einsum("kmn,kmn->km", self.V, self.V)

    def watched(self, which: BoolArray) -> FloatArray:
        values, some = np.full(len(which), -np.inf), np.flatnonzero(which)
        sd = self._sd(self.left[:, some], self.unsaid[:, some])
        values[some] = self._averaged(self.pool_mean[:, some] + self.pool_drift[some], sd)[0]
        return values

    def believe(self, X: FloatArray, eligible: BoolArray | None = None) -> None:
        for i, x in enumerate(X[:, None]):
            self._add(x, eligible is None or bool(eligible[i]))

    def _add(self, x: FloatArray, eligible: bool, value: float | None = None) -> None:
        """A point (1 x e) is open, or has a value, standardised; ``eligible`` to be the best."""
        row, v = self.draws.scaled(x), self._white(x)[:, 0]
        (K, n), mean = v.shape, self.level + (v * self.b).sum(axis=1)
        pivot = np.sqrt(np.maximum(1.0 + JITTER - (v * v).sum(axis=1), JITTER))[:, None]
        error = np.zeros((K, 1)) if value is None else (value - mean)[:, None] / pivot
        last = (1.0 - (v * self.w).sum(axis=1))[:, None] / pivot
        believed = mean if value is None else value
        if eligible:
            self.best = np.minimum(self.best, believed + self._drift(x))
        root = np.zeros((K, n + 1, n + 1))
        root[:, :n, :n] = self.root
        root[:, n, :n] = -(v[:, None] @ self.root)[:, 0] / pivot
        root[:, n, n:] = 1.0 / pivot
        if len(self.pool_drift):
            r = self.draws.correlations(self.pool, row)[..., 0]
            column = (r - (self.V @ v[..., None])[..., 0]) / pivot
            self.V = np.concatenate((self.V, column[..., None]), axis=2)
            self.left = self.left - column**2
            self.unsaid = self.unsaid - column * last
            self.pool_mean = self.pool_mean + column * error
        else:
            self.V = np.zeros((K, 0, n + 1))
        self.root, self.rows = root, np.concatenate((self.rows, row), axis=1)
        self.w = np.concatenate((self.w, last), axis=1)
        self.b = np.concatenate((self.b, error), axis=1)

    def _drift(self, X: FloatArray) -> FloatArray:
        """What models of other objectives say, standardised: m."""
        return np.zeros(len(X)) if self.drift is None else self.drift(X) / self.scale

    def _white(self, X: FloatArray) -> FloatArray:
        R = self.draws.correlations(self.draws.scaled(X), self.rows)
        white: FloatArray = R @ self.root.transpose(0, 2, 1)
        return white

    def _moments(self, V: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Means without the drift, sds and ``unsaid``: K x m each."""
        mean = self.level[:, None] + (V @ self.b[..., None])[..., 0]
        unsaid = 1.0 - (V @ self.w[..., None])[..., 0]
        return mean, self._sd(1.0 - np.einsum("kmn,kmn->km", V, V), unsaid), unsaid

    def _sd(self, left: FloatArray, unsaid: FloatArray) -> FloatArray:
        variance = left + unsaid**2 / (self.w**2).sum(axis=1)[:, None]
        sd: FloatArray = np.sqrt(np.maximum(variance, FLOOR) * self.s2[:, None])
        return sd

    def _averaged(
        self, mean: FloatArray, sd: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """The criterion (m) and its derivatives with respect to the draws' moments (K x m)."""
        value, by_mean, by_sd = log_expected_improvement(mean, sd, self.best[:, None])
        top = value.max(axis=0)
        weight = np.exp(value - top)
        total = weight.sum(axis=0)
        weight /= total
        averaged: FloatArray = top + np.log(total / len(value))
        return averaged, weight * by_mean, weight * by_sd
