"""Draws of a richer Kriging model, for criteria that average over what is not known.

After a dozen evaluations the length scales, the process variance and the shape of an objective are
hardly known, and one estimate of them sends a whole batch into one basin. A criterion averaged over
draws from their posterior does not believe in a single one [Snoek, Larochelle & Adams 2012].

    y(x) = level + s f(w(x)) + noise     cov(f) = (1 - o) R(z) + o sum_g v_g R(z_g / 2),   z = w / l

Objectives of networks have their optima in corners of the cube, which near-monotone, near-additive
effects lead to, some of them steep within a tenth of a range. So inputs are warped, a share o of
the variance is additive, and length scales are longer than those of ``likelihood.prior_of``.

======== ========= ===================================================================
X        m x e     distinct points in the unit cube; p groups of columns
K                  draws
l        K x p     length scales: log l ~ N(log median, sd^2)
nugget   K         noise variance / s^2; its prior is that of the surrogate
o        K         additive share; logit o ~ N(0, sd^2)
v        K x p     its variances, proportional to 1 / l, with sum 1
w        e -> e    Kumaraswamy's warp 1 - (1 - x^a)^b of a numeric column; log a, log b ~ N(0, sd^2)
s2       K         s^2 = (misfit + 2) / chi2(n + 1), so that a prediction is Student's t
======== ========= ===================================================================

All of these but s2 are normal in a vector u, so elliptical slice sampling has nothing to tune
[Murray, Adams & MacKay 2010]. The level is that of generalised least squares. y is standardised.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import lapack

from spot_dask.surrogates import FloatArray, IntArray
from spot_dask.surrogates.kriging import LENGTH_BOUNDS, NUGGET_BOUNDS
from spot_dask.surrogates.likelihood import generalised_mean, prior_of, profiled_variance
from spot_dask.surrogates.points import Merged
from spot_dask.surrogates.posterior import CENTRE

ROOT5 = float(np.sqrt(5.0))
ADDITIVE = 2.0  # an additive part varies more slowly by this factor
INSIDE = 1e-6  # of the unit interval: a warp has no slope, or an infinite one, at its ends
STEEPEST = 3.0  # log a and log b stay within plus and minus this


@dataclass(frozen=True)
class Hyperprior:
    """What is drawn: sds of the normal densities in the module's table, and how long the chain is.

    ``longer`` is the log factor on the median length scale of the surrogate's own prior.
    """

    draws: int = 8
    burn: int = 30
    thin: int = 8
    longer: float = 0.8
    each: float = 0.75
    warp: float = 0.5
    share: float = 1.5


@dataclass(frozen=True, eq=False)
class Draws:
    """K draws of the hyperparameters; ``group`` (e) is the group of each feature column."""

    lengths: FloatArray
    nuggets: FloatArray
    shares: FloatArray
    a: FloatArray
    b: FloatArray
    group: IntArray

    @property
    def K(self) -> int:
        return len(self.nuggets)

    @cached_property
    def columns(self) -> FloatArray:
        """The length scale of every column (K x 1 x e)."""
        return self.lengths[:, self.group][:, None]

    @property
    def typical(self) -> FloatArray:
        """The geometric mean of the draws' length scales of every column (e)."""
        found: FloatArray = np.exp(np.log(self.columns[:, 0]).mean(axis=0))
        return found

    @cached_property
    def weights(self) -> FloatArray:
        """Variances of the joint part and of each group's additive part, (1 + p) x K, sum 1."""
        inverse = 1.0 / self.lengths
        additive = self.shares * inverse.T / inverse.sum(axis=1)
        return np.vstack((1.0 - self.shares, additive))

    def scaled(self, X: FloatArray) -> FloatArray:
        """Points (m x e), warped and in length scales: K x m x e.

        Outside of the unit cube, where ranges were narrowed, nothing is warped.
        """
        beyond = X - np.clip(X, 0.0, 1.0) - CENTRE
        X = np.clip(X, INSIDE, 1.0 - INSIDE)
        warped: FloatArray = 1.0 - (1.0 - X ** self.a[:, None]) ** self.b[:, None]
        warped += beyond
        warped /= self.columns
        return warped

    def slope(self, X: FloatArray) -> FloatArray:
        """Derivatives of ``scaled`` along each column: K x m x e."""
        X, a, b = np.clip(X, INSIDE, 1.0 - INSIDE), self.a[:, None], self.b[:, None]
        powered = X**a
        found: FloatArray = a * b * (powered / X) * (1.0 - powered) ** (b - 1.0) / self.columns
        return found

    def correlations(self, P: FloatArray, Q: FloatArray) -> FloatArray:
        """Correlations (K x m x n) of scaled points, K x m x e and K x n x e."""
        A = self._distances(P, Q)
        decay = np.exp(-A)
        A += 1.0 + A * A / 3.0
        A *= decay
        found: FloatArray = np.einsum("gk,gkmn->kmn", self.weights, A)
        return found

    def correlations_and_slopes(
        self, P: FloatArray, Q: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Correlations, and S (e x K x m x n) with d corr / d P_j = -S_j (P_j - Q_j)."""
        A = self._distances(P, Q)
        decay = np.exp(-A)
        slopes = (1.0 + A) * decay
        A *= A
        A *= decay
        A /= 3.0
        A += slopes
        weights = self.weights[:, :, None, None]
        slopes *= weights * (5.0 / 3.0)
        slopes[1:] /= ADDITIVE**2
        slopes[1:] += slopes[0]
        return np.einsum("gkmn,gk->kmn", A, self.weights), slopes[1:][self.group]

    def _distances(self, P: FloatArray, Q: FloatArray) -> FloatArray:
        """sqrt(5) times the distance of the joint part and of each additive one."""
        (K, m), n, p = P.shape[:2], Q.shape[1], self.lengths.shape[1]
        A = np.zeros((1 + p, K, m, n))
        for j, g in enumerate(self.group):
            gap = P[:, :, None, j] - Q[:, None, :, j]
            gap *= gap
            A[1 + g] += gap
        np.sum(A[1:], axis=0, out=A[0])
        np.sqrt(A, out=A)
        A[0] *= ROOT5
        A[1:] *= ROOT5 / ADDITIVE
        return A


def numeric_columns(groups: IntArray) -> IntArray:
    """Columns that are a group of their own; the others are those of unordered factors."""
    group = np.unique(groups, return_inverse=True)[1]
    return np.flatnonzero(np.bincount(group)[group] == 1)


@dataclass(frozen=True, eq=False)
class Chain:
    """The density of u, a standard normal vector a priori, given merged evaluations.

    u holds p log lengths, the log nugget, the logit of the additive share, and log a and log b of
    the k numeric columns, each in units of its sd.
    """

    data: Merged
    groups: IntArray
    prior: Hyperprior

    @cached_property
    def group(self) -> IntArray:
        return np.unique(self.groups, return_inverse=True)[1]

    @cached_property
    def p(self) -> int:
        return int(self.group.max(initial=-1)) + 1

    @cached_property
    def numeric(self) -> IntArray:
        """Columns that are warped."""
        return numeric_columns(self.groups)

    @cached_property
    def moments(self) -> tuple[FloatArray, FloatArray]:
        centre, sd = prior_of(self.p).moments(self.p)
        centre[: self.p] += self.prior.longer
        sd[: self.p] = self.prior.each
        return centre, sd

    @cached_property
    def bounds(self) -> tuple[FloatArray, FloatArray]:
        sides = zip(LENGTH_BOUNDS, NUGGET_BOUNDS, strict=True)
        low, high = (np.log([length] * self.p + [ratio]) for length, ratio in sides)
        return low, high

    def theta(self, U: FloatArray) -> FloatArray:
        """Log length scales and log nuggets (K x p + 1)."""
        centre, sd = self.moments
        theta: FloatArray = centre + sd * U[:, : self.p + 1]
        return theta

    def draws(self, U: FloatArray) -> Draws:
        """Hyperparameters of K vectors u."""
        p, k, e = self.p, len(self.numeric), len(self.group)
        theta, powers = self.theta(U), np.ones((2, len(U), e))
        logs = np.clip(self.prior.warp * U[:, p + 2 :], -STEEPEST, STEEPEST)
        powers[0][:, self.numeric] = np.exp(logs[:, :k])
        powers[1][:, self.numeric] = np.exp(logs[:, k:])
        share = 1.0 / (1.0 + np.exp(-self.prior.share * U[:, p + 1]))
        lengths, nuggets = np.exp(theta[:, :p]), np.exp(theta[:, p])
        return Draws(lengths, nuggets, share, powers[0], powers[1], self.group)

    def start(self, theta: FloatArray) -> FloatArray:
        """u at the surrogate's own estimate of log length scales and log nugget."""
        (low, high), (centre, sd) = self.bounds, self.moments
        inside = np.clip(theta, low + 1e-9, high - 1e-9)
        return np.concatenate(((inside - centre) / sd, np.zeros(1 + 2 * len(self.numeric))))

    def density(self) -> Callable[[FloatArray], float]:
        """The log density of the values as a function of u, up to a constant.

        It is -inf where it cannot be computed. Some hundred values of it are computed for every
        proposal, so what does not depend on u is computed here, once.
        """
        data, prior, p, k = self.data, self.prior, self.p, len(self.numeric)
        m, n, group, numeric = len(data.y), len(data.values), self.group, self.numeric
        (low, high), (centre, sd) = self.bounds, self.moments
        X = (data.X + CENTRE).T
        raw, logs = X.copy(), np.log(np.clip(X[numeric], INSIDE, 1.0 - INSIDE))
        beyond = 1.0 + (X - np.clip(X, 0.0, 1.0))[numeric]
        summed = (np.arange(p)[:, None] == group).astype(np.float64)
        alone, shares = p == len(group), np.full(p, ROOT5 / ADDITIVE)[:, None]
        i, j = np.tril_indices(m, -1)
        right = np.column_stack((data.y, np.ones(m)))

        def log_density(u: FloatArray) -> float:
            theta = centre + sd * u[: p + 1]
            if (theta < low).any() or (theta > high).any():
                return -np.inf
            inverse, nugget = np.exp(-theta[:p]), float(np.exp(theta[p]))
            powers = np.exp(np.minimum(np.maximum(prior.warp * u[p + 2 :], -STEEPEST), STEEPEST))
            warped = np.log1p(-np.exp(powers[:k, None] * logs))
            raw[numeric] = beyond - np.exp(powers[k:, None] * warped)
            rows = raw * inverse[group][:, None]
            gaps = rows.take(i, axis=1)
            gaps -= rows.take(j, axis=1)
            A = np.empty((1 + p, len(i)))
            if alone:
                np.abs(gaps, out=A[1:])
                gaps *= gaps
            else:
                gaps *= gaps
                np.sqrt(summed @ gaps, out=A[1:])
            np.sqrt(gaps.sum(axis=0), out=A[0])
            A[0] *= ROOT5
            A[1:] *= shares
            decay = np.exp(-A)
            share = 1.0 / (1.0 + np.exp(-prior.share * u[p + 1]))
            decay[0] *= 1.0 - share
            decay[1:] *= (share / inverse.sum() * inverse)[:, None]
            M = np.empty((m, m))
            M[i, j] = np.einsum("gk,gk->k", decay, 1.0 + A + A * A / 3.0)
            M.flat[:: m + 1] = 1.0 + nugget / data.counts
            L, info = lapack.dpotrf(M.T, lower=0, overwrite_a=1, clean=0)
            if info:
                return -np.inf
            solved = lapack.dpotrs(L, right, lower=0)[0]
            mean = generalised_mean(solved[:, 0], solved[:, 1])
            misfit = float((data.y - mean) @ (solved[:, 0] - mean * solved[:, 1]))
            misfit += data.within / nugget
            determinant = float(np.log(np.diagonal(L)).sum()) + 0.5 * (n - m) * float(theta[p])
            spread = 0.5 * (n + 2.0) * float(np.log(profiled_variance(misfit, n)))
            return -(spread + determinant)

        return log_density


def sample(
    data: Merged, groups: IntArray, theta: FloatArray, prior: Hyperprior, rng: np.random.Generator
) -> Draws:
    """Draws from the posterior, by a chain that starts at an estimate theta (p + 1)."""
    chain = Chain(data, groups, prior)
    u, log_density = chain.start(theta), chain.density()
    u, value = slice_sample(log_density, u, log_density(u), prior.burn, rng)
    kept = []
    for _ in range(prior.draws):
        u, value = slice_sample(log_density, u, value, prior.thin, rng)
        kept.append(u)
    return chain.draws(np.array(kept))


def slice_sample(
    log_likelihood: Callable[[FloatArray], float],
    u: FloatArray,
    value: float,
    steps: int,
    rng: np.random.Generator,
) -> tuple[FloatArray, float]:
    """u (k) and its log likelihood after so many steps of elliptical slice sampling.

    Under a standard normal prior [Murray, Adams & MacKay 2010].
    """
    for _ in range(steps):
        other, level = rng.standard_normal(len(u)), value + np.log(rng.random() + 1e-300)
        angle = rng.uniform(0.0, 2.0 * np.pi)
        low, high = angle - 2.0 * np.pi, angle
        while high - low > 1e-6:
            at = u * np.cos(angle) + other * np.sin(angle)
            found = log_likelihood(at)
            if found > level:
                u, value = at, found
                break
            low, high = (angle, high) if angle < 0.0 else (low, angle)
            angle = rng.uniform(low, high)
    return u, value
