"""Where trainings succeed: a Gaussian process classifier of succeeded and failed trials.

P(success at x | f) = Phi(f(x)), f ~ GP(m, s^2 R). The length scales and the amplitude s are
estimated: a large s draws a sharp border (out of memory), a small one leaves the probability flat
(failures by chance), so nobody has to say which it is. The mean m is set so that the probability
far away from all data is the share of successes so far.

======== ======== =====================================================================
X        n x e    features, centred; Z are the same divided by their length scales
t        n        +1 where the training succeeded, -1 where it failed
theta    p + 1    log length scale of every group, then log s
K        n x n    s^2 R(Z, Z), the prior covariance of f
f        n        the mode of f given t (Laplace's approximation)
a        n        K^-1 (f - m) = d log P(t | f) / df
W        n        -d^2 log P(t | f) / df^2 > 0
L        n x n    lower Cholesky factor of B = I + W^1/2 K W^1/2
root     n x n    L^-1 W^1/2, so that root' root = (K + W^-1)^-1 = C
k        m x n    s^2 R between the points asked about and Z
======== ======== =====================================================================

    mean(x) = m + k a        var(x) = s^2 - k C k'        P(x) = Phi(u), u = mean / sqrt(1 + var)

[Rasmussen & Williams 2006, algorithms 3.1, 3.2 and 5.1]
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from scipy.linalg import lapack, solve_triangular
from scipy.spatial.distance import cdist
from scipy.special import log_ndtr, ndtr, ndtri

from spot_dask.errors import warn_once
from spot_dask.surrogates import FloatArray, IntArray
from spot_dask.surrogates.correlation import (
    Correlation,
    correlate,
    correlation_matrix,
    squared_distances,
)
from spot_dask.surrogates.numerics import Prior, blas_threads, descend

logger = logging.getLogger(__name__)

BoolArray = npt.NDArray[np.bool_]

KIND: Correlation = "matern52"
CENTRE = 0.5  # of the features: distances by matrix products lose digits far from the origin
JITTER = 1e-8  # on the diagonal of K
LENGTH_BOUNDS = (0.05, 20.0)
AMPLITUDE_BOUNDS = (0.05, 30.0)
EVALUATIONS = 15  # of the evidence
SURE = 0.9  # share of the successes whose u is below the typical one
LARGEST = 200  # rows that are learnt from
NEWTON_STEPS = 40
TOLERANCE = 1e-6  # of the log posterior at the mode
FAILED = 1e10  # the value where B has no Cholesky factor
PRIOR = Prior(length=0.0, other=float(np.log(3.0)), other_sd=1.0)
LOG_SQRT_2PI = 0.5 * float(np.log(2.0 * np.pi))


@dataclass(frozen=True, eq=False)
class Feasibility:
    """A fitted classifier; the arrays are those of the table above.

    ``columns`` are the length scales, one per feature column; ``typical`` is the u that the surest
    trials among those that succeeded attain.
    """

    columns: FloatArray
    s: float
    m: float
    Z: FloatArray
    a: FloatArray
    root: FloatArray
    typical: float = 0.0

    def score(self, X: FloatArray) -> FloatArray:
        """u at X (m x e), such that P(success) = Phi(u)."""
        R, _ = correlate(KIND, squared_distances(self._scaled(X), self.Z))
        mean, _, spread = self._latent(R)
        u: FloatArray = mean / spread
        return u

    def favour(self, X: FloatArray) -> FloatArray:
        """min(1, 2 P(success)) at X (m x e): in full where success is likelier than failure."""
        return np.minimum(1.0, 2.0 * ndtr(self.score(X)))

    def score_gradient(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        """u at X (m x e) and its gradient with respect to X (m x e)."""
        Z = self._scaled(X)
        R, S = correlate(KIND, squared_distances(Z, self.Z))
        mean, V, spread = self._latent(R)
        u = mean / spread
        # du = dmean / spread - u dvar / (2 spread^2), with dmean = dk a and dvar = -2 k C dk'.
        weights = self.a / spread[:, None] + (u / spread**2)[:, None] * (V @ self.root)
        weights *= self.s**2 * S
        pulled = weights @ self.Z - weights.sum(axis=1)[:, None] * Z
        return u, pulled / self.columns

    def after_failure(self, x: FloatArray) -> Feasibility:
        """The classifier if a training at features x (e) failed; theta stays as it is.

        One step of assumed-density filtering: f(x) | failure has the mean and the variance of a
        normal density times Phi(-f) [Rasmussen & Williams 2006, eqs. 3.85 and 3.86].
        """
        z = self._scaled(x[None])
        R, _ = correlate(KIND, squared_distances(z, self.Z))
        (mean,), V, (spread,) = self._latent(R)
        u = mean / spread
        r = float(hazard(np.array([-u]))[0])
        pull, shrink = -r / spread, np.sqrt(max(r * (r - u), 0.0)) / spread
        Ck = (V @ self.root)[0]
        n = len(self.Z)
        root = np.zeros((n + 1, n + 1))
        root[:n, :n] = self.root
        root[n, :n], root[n, n] = -shrink * Ck, shrink
        a = np.append(self.a - pull * Ck, pull)
        return replace(self, Z=np.vstack((self.Z, z)), a=a, root=root)

    def _scaled(self, X: FloatArray) -> FloatArray:
        return (X - CENTRE) / self.columns

    def _latent(self, R: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Mean of f (m), k root' (m x n) and sqrt(1 + var f) (m) from correlations (m x n)."""
        s2 = self.s**2
        V = s2 * (R @ self.root.T)
        variance = np.maximum(s2 - np.einsum("ij,ij->i", V, V), 0.0)
        return self.m + s2 * (R @ self.a), V, np.sqrt(1.0 + variance)


def fit_feasibility(X: FloatArray, success: BoolArray, groups: IntArray) -> Feasibility:
    """The classifier of n trials at features X (n x e) that succeeded or failed.

    Raises LinAlgError if rounding leaves no factorisation even at the centre of the prior.
    """
    _, member = np.unique(groups, return_inverse=True)
    p = int(member.max(initial=-1)) + 1
    rate = (float(success.sum()) + 1.0) / (len(success) + 2.0)
    kept = _informative(X, success)
    t = np.where(success[kept], 1.0, -1.0)
    evidence = NegativeLogEvidence(X[kept] - CENTRE, t, member, float(ndtri(rate)))
    sides = zip(LENGTH_BOUNDS, AMPLITUDE_BOUNDS, strict=True)
    low, high = (np.log([length] * p + [amplitude]) for length, amplitude in sides)
    start, _ = evidence.prior.moments(p)
    with blas_threads(len(t)):
        theta, value = descend(evidence, start, low, high, EVALUATIONS)
        if value >= FAILED:
            warn_once(logger, "no length scales of the failures could be estimated: the prior's")
            theta = start
        mode = evidence.mode(theta)
        columns = np.exp(theta[:-1])[member]
        s, Z = float(np.exp(theta[-1])), evidence.X / columns
        fitted = Feasibility(columns, s, mode.m, Z, mode.a, mode.root())
        u = fitted.score(X[success])
    return replace(fitted, typical=float(np.quantile(u, SURE))) if len(u) else fitted


def _informative(X: FloatArray, success: BoolArray) -> IntArray:
    """Indices of at most LARGEST rows: failures, then successes, those nearest to the other kind.

    What lies deep inside either region says little about the border.
    """
    if len(X) <= LARGEST:
        return np.arange(len(X))
    nearest = np.empty(len(X))
    for kind in (True, False):
        here, there = X[success == kind], X[success != kind]
        gaps = [
            cdist(part, there).min(axis=1) for part in np.array_split(here, len(here) // 500 + 1)
        ]
        nearest[success == kind] = np.concatenate(gaps)
    order = np.argsort(nearest, kind="stable")
    failed, good = order[~success[order]], order[success[order]]
    half = LARGEST // 2
    most = max(half, LARGEST - len(good))
    failed = failed[:most]
    return np.sort(np.concatenate((failed, good[: LARGEST - len(failed)])))


@dataclass(frozen=True, eq=False)
class Mode:
    """Laplace's approximation at one theta; the arrays are those of the table above.

    ``S`` is the slope of the correlation and ``log_likelihood`` the sum of log P(t | f).
    """

    m: float
    K: FloatArray
    S: FloatArray
    f: FloatArray
    a: FloatArray
    W: FloatArray
    L: FloatArray
    log_likelihood: float

    def root(self) -> FloatArray:
        """L^-1 W^1/2 (n x n)."""
        solved = solve_triangular(self.L, np.diag(np.sqrt(self.W)), lower=True, check_finite=False)
        return np.ascontiguousarray(solved)


@dataclass(frozen=True, eq=False)
class NegativeLogEvidence:
    """Minus the log posterior density of theta by Laplace's approximation, up to a constant.

    ``level`` is u where nothing is known: m = level sqrt(1 + s^2). ``last`` remembers a of the
    theta before, where Newton's method starts.
    """

    X: FloatArray
    t: FloatArray
    member: IntArray
    level: float
    prior: Prior = PRIOR
    last: list[FloatArray] = field(default_factory=list)

    def __call__(self, theta: FloatArray) -> tuple[float, FloatArray]:
        """Value and gradient (p + 1) at theta; FAILED and zeros where B has no Cholesky factor."""
        try:
            mode = self.mode(theta)
        except np.linalg.LinAlgError:
            return FAILED, np.zeros_like(theta)
        misfit = 0.5 * float(mode.a @ (mode.f - mode.m)) - mode.log_likelihood
        value = misfit + float(np.log(np.diagonal(mode.L)).sum())
        penalty, slope = self.prior.penalty(theta)
        return value + penalty, slope - self._gradient(theta, mode)

    def mode(self, theta: FloatArray) -> Mode:
        """The mode of f by damped Newton steps. Raises LinAlgError if B has no Cholesky factor."""
        R, S = correlation_matrix(KIND, self.X / np.exp(theta[:-1])[self.member])
        s2, n, t = float(np.exp(2.0 * theta[-1])), len(self.t), self.t
        K = s2 * R
        K.flat[:: n + 1] += JITTER
        m = self.level * float(np.sqrt(1.0 + s2))
        a, f, value, logs = self._start(K, m)
        for _ in range(NEWTON_STEPS):
            slope, W = _derivatives(t * f, logs)
            L, root = _factor(K, W)
            b = W * (f - m) + t * slope
            step = b - root * lapack.dpotrs(L, root * (K @ b), lower=1)[0] - a
            before = value
            for size in (1.0, 0.5, 0.25, 0.1, 0.01, 0.0):
                # The log posterior of f is concave: a short enough step always gains.
                new = a + size * step
                f = m + K @ new
                logs = log_ndtr(t * f)
                value = float(logs.sum()) - 0.5 * float(new @ (f - m))
                if value >= before:
                    break
            a = new
            if value - before < TOLERANCE:
                break
        slope, W = _derivatives(t * f, logs)
        self.last[:] = [a]
        return Mode(m, K, S, f, t * slope, W, _factor(K, W)[0], float(logs.sum()))

    def _start(self, K: FloatArray, m: float) -> tuple[FloatArray, FloatArray, float, FloatArray]:
        """Of the last mode and of f = m, the better one: a, f, log posterior and log P(t | f)."""
        found = []
        for a in (np.zeros(len(K)), *self.last):
            f = m + K @ a
            logs = log_ndtr(self.t * f)
            found.append((a, f, float(logs.sum()) - 0.5 * float(a @ (f - m)), logs))
        return max(found, key=lambda start: start[2])

    def _gradient(self, theta: FloatArray, mode: Mode) -> FloatArray:
        """d log evidence = sum (M o dK) + 1'(a + v) dm, M = (a a' - C + a v' + v a') / 2.

        v = (I - C K) w holds what the mode itself moves, w = d(-log det B / 2) / df. From B^-1
        follow C = W^1/2 B^-1 W^1/2 and the variances of f given t, diag(W^-1 - W^-1 C W^-1).
        """
        n, s2 = len(self.t), float(np.exp(2.0 * theta[-1]))
        half = np.tril(lapack.dpotri(mode.L, lower=1)[0])
        inverse, root = half + np.tril(half, -1).T, np.sqrt(mode.W)
        variance = (1.0 - np.diagonal(inverse)) / mode.W
        C = root[:, None] * inverse * root
        w = 0.5 * variance * self.t * _third(self.t * mode.f)
        v = w - C @ (mode.K @ w)
        both = np.outer(mode.a, 0.5 * mode.a + v)
        M = 0.5 * (both + both.T - C)
        gradient = np.empty_like(theta)
        dm = self.level * s2 / np.sqrt(1.0 + s2)
        in_s = 2.0 * (float(np.vdot(M, mode.K)) - JITTER * float(np.trace(M)))
        gradient[-1] = in_s + dm * float((mode.a + v).sum())
        # As in likelihood.py: no n x n x e array is made.
        Z = self.X / np.exp(theta[:-1])[self.member]
        M *= s2 * mode.S
        padded = np.column_stack((Z, np.ones(n)))
        product = M @ padded
        per_column = (Z * Z).T @ product[:, -1] - np.einsum("ij,ij->j", Z, product[:, :-1])
        gradient[:-1] = 2.0 * np.bincount(self.member, per_column, minlength=len(theta) - 1)
        return gradient


def hazard(u: FloatArray) -> FloatArray:
    """phi(u) / Phi(u), the derivative of log Phi."""
    ratio: FloatArray = np.exp(-0.5 * u * u - LOG_SQRT_2PI - log_ndtr(u))
    return ratio


def _factor(K: FloatArray, W: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The lower Cholesky factor of I + W^1/2 K W^1/2, and the diagonal of W^1/2."""
    root = np.sqrt(W)
    B = K * root[:, None] * root
    B.flat[:: len(W) + 1] += 1.0
    L, info = lapack.dpotrf(B.T, lower=1, clean=1, overwrite_a=1)
    if info != 0:
        raise np.linalg.LinAlgError("the classifier's covariance has no Cholesky factor")
    return L, root


def _derivatives(u: FloatArray, logs: FloatArray) -> tuple[FloatArray, FloatArray]:
    """r = d log Phi / du and -d^2 log Phi / du^2 = r (r + u), where log Phi(u) is known."""
    r = np.exp(-0.5 * u * u - LOG_SQRT_2PI - logs)
    return r, np.maximum(r * (r + u), 1e-12)


def _third(u: FloatArray) -> FloatArray:
    """d^3 log Phi / du^3 = r ((u + r) (u + 2 r) - 1) with r = phi / Phi."""
    r = hazard(u)
    third: FloatArray = r * ((u + r) * (u + 2.0 * r) - 1.0)
    return third
