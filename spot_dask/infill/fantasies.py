"""What is believed about trials that are not finished, and a criterion given that.

Open trials (pending, or already picked for the batch) will have outcomes; until then a criterion is
averaged over S fantasies of them, all drawn jointly from the posterior. With one fantasy, its mean,
this is the Kriging believer [Ginsbourger, Le Riche & Carraro 2010]; with many and expected
improvement it is noisy expected improvement [Letham et al. 2019], of which only the last point is
integrated in closed form and the others by quasi-Monte Carlo.

======== ======== =====================================================================
p                 points with fantasies: baseline, pending and picked ones
L        p x p    lower Cholesky factor of their posterior covariance K; root = L^-1
z        S x p    standard normal draws; fantasy s is f_s = mean_p + L z_s
t        S        threshold of fantasy s: the lowest of its values
h        m x p    L^-1 cov(x_p, x), transposed: m candidates x
======== ======== =====================================================================

    mean_s(x) = mean(x) + h(x) z_s        sd(x)^2 = var(x) - |h(x)|^2

so that all fantasies share one sd and a further point is one more row of L and column of h: for the
watched candidates O(n + p + S) each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri
from scipy.stats import qmc

from spot_dask.infill import Request
from spot_dask.infill.feasible import Risk
from spot_dask.surrogates import FloatArray, Located, Posterior

BoolArray = npt.NDArray[np.bool_]
Score = Callable[[FloatArray, FloatArray, FloatArray], tuple[FloatArray, FloatArray, FloatArray]]
"""A pointwise criterion: (mean, sd, best) -> its logarithm, larger is better, and its derivatives
with respect to mean and sd. Elementwise, and increasing in best - mean; ``best`` is the lowest
value of the noise-free objective at what is known."""

BASELINE = 8  # evaluated rows with fantasies: what might be the best
SMALLEST = 1e-9  # variance of a fantasy as a share of the largest: rounding reaches further
FLOOR = 1e-12  # the same of a candidate
TINY = float(np.finfo(float).tiny)
SOBOL = 64  # columns of a Sobol sequence; further ones are its permutations
NEGLIGIBLE = 1.0  # a candidate that much (in logarithms) below the best is not looked at closely


class Belief(Protocol):
    """A criterion during one batch; it changes with every point that is picked. Its methods are
    described here for all that follow.
    """

    @property
    def scales(self) -> FloatArray:
        """How far along each row column the objective varies (d)."""
        ...

    def values(self, X: FloatArray) -> FloatArray:
        """The criterion at m x e features: m values, larger is better."""
        ...

    def gradient(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The criterion (m) and its gradient with respect to m x e features."""
        ...

    def watch(self, X: FloatArray) -> None:
        """Keep the criterion at these features (m x e) current."""
        ...

    def watched(self, which: BoolArray) -> FloatArray:
        """The criterion at some of the watched features (m), -inf at the others.

        Exact unless it is negligible beside the largest.
        """
        ...

    def believe(self, X: FloatArray, eligible: BoolArray | None = None) -> None:
        """Points (k x e) are open from now on.

        Those that are not ``eligible`` (k; None: all are) will not be the best, whatever they give.
        """
        ...


def belief(
    score: Score,
    posterior: Posterior,
    request: Request,
    means: FloatArray,
    samples: int,
    rng: np.random.Generator,
) -> Belief:
    """The belief before the first point of a batch is picked; means are those of the incumbents.

    Without a joint distribution of the posterior's errors it is that of a believer.
    """
    space, lowest = request.space, means.min(initial=np.inf)
    X, pending = space.features(request.incumbents), space.features(request.pending)
    eligible = None if request.constrained is None else request.constrained.likely(pending)
    found: Belief
    nothing = posterior.locate(X[:0])
    if nothing is None:
        found = Believer(score, posterior, float(lowest), np.ones(space.d))
        found.believe(pending, eligible)
        return found
    best = lowest_rows(X, means, BASELINE) if samples > 1 else X[:0]
    z = normals(samples, len(best) + len(pending) + request.q, rng)
    scales = np.ones(space.d)
    if posterior.columns is not None:
        scales[space.groups] = posterior.columns
    found = Fantasies(score, posterior, nothing, z, np.inf if len(best) else lowest, scales)
    found.believe(best)
    found.believe(pending, eligible)
    return found


def lowest_rows(rows: FloatArray, means: FloatArray, count: int) -> FloatArray:
    """The distinct rows (at most count x e) with the lowest means, in their order."""
    ranked = rows[np.argsort(means, kind="stable")]
    _, first = np.unique(ranked, axis=0, return_index=True)
    return ranked[np.sort(first)[:count]]


def normals(samples: int, p: int, rng: np.random.Generator) -> FloatArray:
    """S x p standard normal draws, each column standardised; the mean alone if S = 1."""
    if samples == 1 or p == 0:
        return np.zeros((samples, p))
    base = min(p, SOBOL)
    uniform = qmc.Sobol(base, rng=rng).random_base2((samples - 1).bit_length())[:samples]
    z = ndtri(np.clip(uniform, 1e-9, 1.0 - 1e-9))
    z = (z - z.mean(axis=0)) / z.std(axis=0)
    more = [rng.permutation(z[:, j % base])[:, None] for j in range(base, p)]
    return np.hstack([z, *more])


class Fantasies:
    """A criterion averaged over S fantasies, by the algebra above."""

    def __init__(
        self,
        score: Score,
        posterior: Posterior,
        nothing: Located,
        z: FloatArray,
        best: float,
        scales: FloatArray,
    ):
        self.score = score
        self.posterior = posterior
        self.points = nothing
        self.root = np.empty((0, 0))
        self.z = z
        self.t = np.full(len(z), best)
        self.scales = scales
        self.largest = TINY
        self.pool = nothing
        self.means = np.empty((0, len(z)))
        self.variance = np.empty(0)
        self.h = np.empty((0, z.shape[1]))

    @property
    def p(self) -> int:
        """Number of points with fantasies."""
        return len(self.root)

    def values(self, X: FloatArray) -> FloatArray:
        means, variance, _ = self._moments(self._located(X))
        return self._averaged(means, self._sd(variance))[0]

    def gradient(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        at = self._located(X)
        means, variance, h = self._moments(at)
        sd = self._sd(variance)
        values, by_means, by_sd = self._averaged(means, sd)
        by_variance = np.where(variance > FLOOR * self.largest, 0.5 * by_sd / sd, 0.0)
        by_h = by_means @ self.z[:, : self.p] - 2.0 * by_variance[:, None] * h
        slope = at.pull(by_means.sum(axis=1), by_variance, self.points, by_h @ self.root)
        return values, slope

    def watch(self, X: FloatArray) -> None:
        self.pool = self._located(X)
        self.means, self.variance, h = self._moments(self.pool)
        self.h = np.empty((len(X), self.z.shape[1]))
        self.h[:, : self.p] = h

    def watched(self, which: BoolArray) -> FloatArray:
        """The criterion at some of the watched features (m), -inf at the others.

        The mean over fantasies lies between the largest of their S values and a share 1/S of it:
        all are computed only where that leaves a doubt.
        """
        some = np.flatnonzero(which)
        means, sd, S = self.means[some], self._sd(self.variance[some]), len(self.t)
        highest = (self.t - means).argmax(axis=1)
        top = self.score(means[np.arange(len(some)), highest], sd, self.t[highest])[0]
        values = np.full(len(which), -np.inf)
        values[some] = top - np.log(S)
        if S > 1:
            close = top >= top.max(initial=-np.inf) - np.log(S) - NEGLIGIBLE
            values[some[close]] = self._averaged(means[close], sd[close])[0]
        return values

    def believe(self, X: FloatArray, eligible: BoolArray | None = None) -> None:
        for i, x in enumerate(X):
            self._add(self._located(x[None]), eligible is None or bool(eligible[i]))

    def predict(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean under the first fantasy and sd (m each) at features X (m x e)."""
        means, variance, _ = self._moments(self._located(X))
        return means[:, 0], self._sd(variance)

    def expect(self, x: FloatArray, value: float) -> None:
        """A point (e) is open and is believed to have this value, in every fantasy."""
        point = self._located(x[None])
        means, variance, _ = self._moments(point)
        self.z[:, self.p] = (value - means[0]) / self._sd(variance)[0]
        self._add(point, True)

    def _add(self, point: Located, eligible: bool) -> None:
        means, variance, h = self._moments(point)
        self.largest = max(self.largest, float(point.variance[0]))
        if variance[0] <= SMALLEST * self.largest:
            # It is known already, as are many of a crowd; a row of rounding errors would make the
            # next such row larger still, until nothing is a number.
            if eligible:
                self.t = np.minimum(self.t, means[0])
            return
        p, z, root = self.p, self.z[:, self.p], self.root
        pivot = np.sqrt(variance[0])
        if eligible:
            self.t = np.minimum(self.t, means[0] + pivot * z)
        if len(self.variance):
            covariance = self.pool.covariance(point)[:, 0]
            column = (covariance - self.h[:, :p] @ h[0]) / pivot
            self.h[:, p] = column
            self.means += np.outer(column, z)
            self.variance -= column * column
        self.root = np.zeros((p + 1, p + 1))
        self.root[:p, :p] = root
        self.root[p] = np.append(-(h[0] @ root), 1.0) / pivot
        self.points = self.points.join(point)

    def _located(self, X: FloatArray) -> Located:
        located = self.posterior.locate(X)
        assert located is not None
        return located

    def _moments(self, at: Located) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Means under every fantasy (m x S), the variance they share (m), and h (m x p)."""
        h = at.covariance(self.points) @ self.root.T
        means = at.mean[:, None] + h @ self.z[:, : self.p].T
        return means, at.variance - np.einsum("ij,ij->i", h, h), h

    def _sd(self, variance: FloatArray) -> FloatArray:
        sd: FloatArray = np.sqrt(np.maximum(variance, FLOOR * self.largest))
        return sd

    def _averaged(
        self, means: FloatArray, sd: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """The log of the mean of exp(score) over fantasies, and its derivatives.

        With respect to the means (m x S) and the sd (m).
        """
        values, by_mean, by_sd = self.score(means, sd[:, None], self.t)
        top = values.max(axis=1)
        weights = np.exp(values - top[:, None])
        total = weights.sum(axis=1)
        weights /= total[:, None]
        averaged: FloatArray = top + np.log(total / len(self.t))
        return averaged, weights * by_mean, np.einsum("ij,ij->i", weights, by_sd)


class Believer:
    """A criterion under any posterior, which is conditioned on its own mean at open points."""

    def __init__(self, score: Score, posterior: Posterior, best: float, scales: FloatArray):
        self.score = score
        self.scales = scales
        self.posterior = posterior
        self.best = best
        self.pool = np.empty((0, 0))

    def values(self, X: FloatArray) -> FloatArray:
        mean, sd = self.posterior.predict(X)
        return self.score(mean, sd, np.array(self.best))[0]

    def gradient(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        mean, sd = self.posterior.predict(X)
        values, by_mean, by_sd = self.score(mean, sd, np.array(self.best))
        mean_slope, sd_slope = self.posterior.gradient(X)
        gradient: FloatArray = by_mean[:, None] * mean_slope + by_sd[:, None] * sd_slope
        return values, gradient

    def watch(self, X: FloatArray) -> None:
        self.pool = X

    def watched(self, which: BoolArray) -> FloatArray:
        values = np.full(len(which), -np.inf)
        values[which] = self.values(self.pool[which])
        return values

    def believe(self, X: FloatArray, eligible: BoolArray | None = None) -> None:
        if len(X):
            mean, _ = self.posterior.predict(X)
            some = mean if eligible is None else mean[eligible]
            self.best = min(self.best, float(some.min(initial=np.inf)))
            self.posterior = self.posterior.condition(X, mean)


class Weight(Protocol):
    """A log weight of a criterion, which no point that is picked changes."""

    def weigh(self, values: FloatArray, X: FloatArray) -> FloatArray:
        """The weighted criterion of m values of a log criterion at m x e features."""
        ...

    def weigh_gradient(
        self, values: FloatArray, gradient: FloatArray, X: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """The weighted criterion (m) and its gradient (m x e), from those of the criterion."""
        ...


class Leaned:
    """A belief whose criterion leans to where a weight is: to where the user believes good values
    to be, or to quick trainings."""

    def __init__(self, believed: Belief, leaning: Weight):
        self.believed = believed
        self.leaning = leaning
        self.pool = np.empty((0, 0))

    @property
    def scales(self) -> FloatArray:
        return self.believed.scales

    def values(self, X: FloatArray) -> FloatArray:
        return self.leaning.weigh(self.believed.values(X), X)

    def gradient(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        return self.leaning.weigh_gradient(*self.believed.gradient(X), X)

    def watch(self, X: FloatArray) -> None:
        self.believed.watch(X)
        self.pool = X

    def watched(self, which: BoolArray) -> FloatArray:
        values = self.believed.watched(which)
        values[which] = self.leaning.weigh(values[which], self.pool[which])
        return values

    def believe(self, X: FloatArray, eligible: BoolArray | None = None) -> None:
        self.believed.believe(X, eligible)


class Weighed:
    """A belief whose criterion is weighed by the risk that the training fails.

    An open point where a failure is likely is not believed to reach its mean; it is believed to
    fail, so that its batch mates do not share its fate.
    """

    def __init__(self, believed: Belief, risk: Risk):
        self.believed = believed
        self.risk = risk
        self.pool = np.empty((0, 0))

    @property
    def scales(self) -> FloatArray:
        return self.believed.scales

    def values(self, X: FloatArray) -> FloatArray:
        return self.risk.weigh(self.believed.values(X), X)

    def gradient(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        return self.risk.weigh_gradient(*self.believed.gradient(X), X)

    def watch(self, X: FloatArray) -> None:
        self.believed.watch(X)
        self.pool = X

    def watched(self, which: BoolArray) -> FloatArray:
        values = self.believed.watched(which)
        values[which] = self.risk.weigh(values[which], self.pool[which])
        return values

    def believe(self, X: FloatArray, eligible: BoolArray | None = None) -> None:
        likely = self.risk.likely(X)
        self.believed.believe(X[likely], None if eligible is None else eligible[likely])
        self.risk = self.risk.after(X)
