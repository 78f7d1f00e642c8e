"""The posterior of Kriging: predictions from hyperparameters and evaluations.

======== ======== =====================================================================
Z        m x e    distinct points, centred and divided by the length scales
y        m        means of the values there, standardised
counts   m        evaluations at each point; infinite where the value is known exactly
M        m x m    R(Z, Z) + nugget diag(1 / counts)
root     m x m    inverse of the lower Cholesky factor of M, so M^-1 = root' root
alpha    m        M^-1 (y - mean 1)
c        k x m    R between the points asked about and Z
u        k        1 - c M^-1 1, what the data leave unsaid about the mean
======== ======== =====================================================================

    mean(x) = mean + c alpha
    cov(x, x') = variance (R(x, x') - c M^-1 c' + u u' / 1'M^-1 1)

The last term is the uncertainty of the estimated mean [Rasmussen & Williams 2006, eq. 2.42; Jones,
Schonlau & Welch 1998]. Uncertainty of the length scales is left out. Inside, y is standardised;
what comes out is in the user's units.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import lapack

from spot_dask.errors import warn_once
from spot_dask.surrogates import FloatArray, IntArray
from spot_dask.surrogates.correlation import (
    Correlation,
    correlate,
    correlation_triangle,
    squared_distances,
)
from spot_dask.surrogates.likelihood import generalised_mean, profiled_variance
from spot_dask.surrogates.numerics import times_triangle
from spot_dask.surrogates.points import Merged

logger = logging.getLogger(__name__)

CENTRE = 0.5  # of the features: distances by matrix products lose digits far from the origin
JITTER = 1e-9  # on the diagonal of rows that are conditioned on
LARGEST = 1e9  # nugget; a correlation matrix of n rows needs none above n
SMALLEST = 1e-12  # smallest variance as a share of the process variance: rounding reaches further


@dataclass(frozen=True, eq=False)
class Hyperparameters:
    """What was estimated: it stays as it is when the model is conditioned on further values.

    ``length_scales`` has one entry per group and ``columns`` one per feature column; ``nugget`` is
    the noise variance as a share of the process variance ``s2``. y is (y - offset) / scale inside.
    ``log_posterior`` is their density, up to a constant, on the points they were estimated from.
    """

    correlation: Correlation
    length_scales: FloatArray
    columns: FloatArray
    nugget: float
    s2: float
    offset: float
    scale: float
    log_posterior: float


@dataclass(frozen=True, eq=False)
class KrigingPosterior:
    """A fitted Kriging model; the arrays are those of the table above.

    ``data`` are all evaluations and ``held`` the rows of ``data`` that the first rows of Z are;
    rows of Z after these are exact values conditioned on.
    """

    hyperparameters: Hyperparameters
    Z: FloatArray
    y: FloatArray
    root: FloatArray
    alpha: FloatArray
    solved_ones: FloatArray
    level: float
    data: Merged
    held: IntArray

    @property
    def length_scales(self) -> FloatArray:
        """Length scales in the unit cube, one per group, in ascending order of group."""
        return self.hyperparameters.length_scales

    @property
    def columns(self) -> FloatArray:
        """The length scale of every feature column (e)."""
        return self.hyperparameters.columns

    @property
    def theta(self) -> FloatArray:
        """The estimated hyperparameters: log length scales, then the log nugget."""
        return np.append(np.log(self.length_scales), np.log(self.nugget))

    @property
    def nugget(self) -> float:
        """Noise variance as a share of the process variance."""
        return self.hyperparameters.nugget

    @property
    def mean(self) -> float:
        """The constant mean, in the user's units."""
        return self.hyperparameters.offset + self.hyperparameters.scale * self.level

    @property
    def variance(self) -> float:
        """The process variance, in the user's units squared."""
        return self._sd**2

    @property
    def log_likelihood(self) -> float:
        """Log density, in the user's units, of the values at all held points, one by one."""
        held, h = self.data.rows(self.held), self.hyperparameters
        m, points = len(self.y), len(self.held)
        n = len(held.values) + m - points
        misfit = float((self.y - self.level) @ self.alpha) + held.within / h.nugget
        spread = n * np.log(2 * np.pi * h.s2) + 2 * n * np.log(h.scale)
        replicated = (len(held.values) - points) * np.log(h.nugget) + np.log(held.counts).sum()
        logs = float(np.log(np.diagonal(self.root)).sum())
        return -0.5 * float(misfit / h.s2 + spread + replicated) + logs

    def predict(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of the noise-free objective at X (k x e), both k."""
        at = self.locate(X)
        return at.mean, np.sqrt(at.variance)

    def gradient(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Gradients of mean and standard deviation with respect to X, both k x e.

        That of a standard deviation too small to be told from rounding is 0.
        """
        at, nothing = self.locate(X), self.locate(X[:0])
        zero, none = np.zeros(len(X)), np.empty((len(X), 0))
        known = at.variance <= SMALLEST * self.variance
        by_variance = np.where(known, 0.0, 0.5 / np.sqrt(at.variance))
        mean = at.pull(np.ones(len(X)), zero, nothing, none)
        return mean, at.pull(zero, by_variance, nothing, none)

    def joint(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean (k) and covariance (k x k) of the noise-free objective at X (k x e)."""
        at = self.locate(X)
        covariance = at.covariance(at)
        np.fill_diagonal(covariance, at.variance)
        return at.mean, covariance

    def locate(self, X: FloatArray) -> KrigingPoints:
        """X (k x e) for its covariances."""
        return KrigingPoints.of(self, self._scaled(X))

    def condition(self, X: FloatArray, y: FloatArray) -> KrigingPosterior:
        """The posterior after noise-free values y (k) at X (k x e), hyperparameters unchanged.

        Borders the inverse Cholesky factor: O(m^2) per row. The mean is estimated anew.
        """
        h, m, k = self.hyperparameters, len(self.Z), len(X)
        Z = np.vstack((self.Z, self._scaled(X)))
        root = np.zeros((m + k, m + k))
        root[:m, :m] = self.root
        for i in range(m, m + k):
            c, _ = correlate(h.correlation, squared_distances(Z[i : i + 1], Z[:i]))
            _border(root, c[0])
        values = np.append(self.y, (y - h.offset) / h.scale)
        alpha, solved_ones, level = _solved(root, values)
        return KrigingPosterior(h, Z, values, root, alpha, solved_ones, level, self.data, self.held)

    def leave_one_out(self) -> tuple[FloatArray, FloatArray]:
        """Mean and sd of each value (n) predicted from all others, hyperparameters unchanged.

        The sd is that of a new noisy evaluation. With Q = C^-1 - C^-1 1 1'C^-1 / 1'C^-1 1 of all
        evaluations the errors are (Q y)_i / Q_ii and the variances s2 / Q_ii [Dubrule 1983]; C^-1
        is that of ``replicates``. Evaluations at points that are not held are out already: they
        are predicted. Raises ValueError for a single value.
        """
        data, h = self.data, self.hyperparameters
        if len(data.values) < 2:
            raise ValueError("leave-one-out of 1 evaluation; expected at least 2")
        row = np.full(len(data.y), -1)
        row[self.held] = np.arange(len(self.held))
        k = row[data.place]
        inside, k = k >= 0, k[k >= 0]
        means, variances = np.empty(len(data.values)), np.empty(len(data.values))

        y, r = data.values[inside], data.counts[data.place[inside]]
        ones = self.solved_ones[k] / r
        Q = np.einsum("ij,ij->j", self.root, self.root)[k] / (r * r) + (1 - 1 / r) / h.nugget
        Q -= ones * ones / self.solved_ones.sum()
        errors = (self.alpha[k] / r + (y - self.y[k]) / h.nugget) / Q
        means[inside] = h.offset + h.scale * (y - errors)
        variances[inside] = h.s2 / Q

        if not inside.all():
            mean, sd = self.predict(data.X[data.place[~inside]] + CENTRE)
            means[~inside] = mean
            variances[~inside] = (sd / h.scale) ** 2 + h.nugget * h.s2
        return means, h.scale * np.sqrt(variances)

    @property
    def _sd(self) -> float:
        """Of the process, in the user's units."""
        return float(np.sqrt(self.hyperparameters.s2)) * self.hyperparameters.scale

    def _scaled(self, X: FloatArray) -> FloatArray:
        return (X - CENTRE) / self.hyperparameters.columns


@dataclass(frozen=True, eq=False)
class KrigingPoints:
    """m points under one posterior; the arrays are those of the table above."""

    posterior: KrigingPosterior
    mean: FloatArray
    Z: FloatArray
    V: FloatArray
    u: FloatArray
    S: FloatArray

    @classmethod
    def of(cls, posterior: KrigingPosterior, Z: FloatArray) -> KrigingPoints:
        """The points with scaled features Z (m x e)."""
        h, ones = posterior.hyperparameters, posterior.solved_ones
        c, S = correlate(h.correlation, squared_distances(Z, posterior.Z))
        mean = h.offset + h.scale * (posterior.level + c @ posterior.alpha)
        u = (1.0 - c @ ones) / np.sqrt(ones.sum())
        return cls(posterior, mean, Z, times_triangle(posterior.root.T, c.T, True).T, u, S)

    @property
    def variance(self) -> FloatArray:
        """Variances of the noise-free objective (m)."""
        share = 1.0 - np.einsum("ij,ij->i", self.V, self.V) + self.u * self.u
        variance: FloatArray = self.posterior.variance * np.maximum(share, SMALLEST)
        return variance

    def covariance(self, other: KrigingPoints) -> FloatArray:
        """Covariances of the noise-free objective with k other points: m x k."""
        R, _ = self._correlate(other)
        R -= self.V @ other.V.T
        R += np.outer(self.u, other.u)
        R *= self.posterior.variance
        return R

    def pull(
        self,
        by_mean: FloatArray,
        by_variance: FloatArray,
        other: KrigingPoints,
        by_covariance: FloatArray,
    ) -> FloatArray:
        """The gradient (m x e) of a function of mean, variance and covariances with other points.

        Given are the function's derivatives with respect to those: m, m and m x k.
        """
        p = self.posterior
        total = np.sqrt(p.solved_ones.sum())
        by_V = -2.0 * by_variance[:, None] * self.V - by_covariance @ other.V
        by_u = 2.0 * by_variance * self.u + by_covariance @ other.u
        weights = times_triangle(p.root.T, by_V.T, False).T
        weights -= np.outer(by_u / total, p.solved_ones)
        weights *= p.variance
        weights += np.outer(p.hyperparameters.scale * by_mean, p.alpha)
        weights *= self.S
        _, S = self._correlate(other)
        S *= p.variance * by_covariance
        # dR(x, x')/dx = -S (z - z') / l
        pulled = weights @ p.Z + S @ other.Z
        pulled -= (weights.sum(axis=1) + S.sum(axis=1))[:, None] * self.Z
        pulled /= p.hyperparameters.columns
        return pulled

    def join(self, other: KrigingPoints) -> KrigingPoints:
        """These points and then the others."""
        return replace(
            self,
            mean=np.append(self.mean, other.mean),
            Z=np.vstack((self.Z, other.Z)),
            V=np.vstack((self.V, other.V)),
            u=np.append(self.u, other.u),
            S=np.vstack((self.S, other.S)),
        )

    def _correlate(self, other: KrigingPoints) -> tuple[FloatArray, FloatArray]:
        kind = self.posterior.hyperparameters.correlation
        return correlate(kind, squared_distances(self.Z, other.Z))


def solve(h: Hyperparameters, data: Merged, held: IntArray) -> KrigingPosterior:
    """The posterior that holds these points of the data, with the process variance profiled."""
    kept = data.rows(held)
    Z = kept.X / h.columns
    R = np.empty((len(Z), len(Z)))
    correlation_triangle(h.correlation, Z, R)
    root, nugget = inverse_root(R, h.nugget, kept.counts)
    alpha, solved_ones, level = _solved(root, kept.y)
    misfit = float((kept.y - level) @ alpha) + kept.within / nugget
    h = replace(h, nugget=nugget, s2=profiled_variance(misfit, len(kept.values)))
    return KrigingPosterior(h, Z, kept.y, root, alpha, solved_ones, level, data, held)


def inverse_root(R: FloatArray, nugget: float, counts: FloatArray) -> tuple[FloatArray, float]:
    """Inverse of the Cholesky factor of R + nugget diag(1 / counts), and the nugget it took.

    R is read in its lower triangle. Where rounding leaves no factor the nugget grows tenfold until
    there is one, with a warning. Raises LinAlgError where there is none: a value is not a number.
    """
    asked = nugget
    while True:
        if not nugget < LARGEST:
            raise np.linalg.LinAlgError("the covariance is not finite")
        M = R.copy()
        M.flat[:: len(M) + 1] += nugget / counts
        U, info = lapack.dpotrf(M.T, lower=0, clean=1, overwrite_a=1)
        if info == 0 and np.isfinite(U[-1, -1]):  # which whatever is not finite reaches
            break
        nugget *= 10.0
    if nugget > asked:
        warn_once(logger, "singular covariance: the nugget is %.1e instead of %.1e", nugget, asked)
    root: FloatArray = lapack.dtrtri(U, lower=0, overwrite_c=1)[0].T
    return root, nugget


def _solved(root: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    """alpha, M^-1 1 and the mean."""
    solved_y, solved_ones = root.T @ (root @ y), root.T @ root.sum(axis=1)
    level = generalised_mean(solved_y, solved_ones)
    return solved_y - level * solved_ones, solved_ones, level


def _border(root: FloatArray, c: FloatArray) -> None:
    """Writes the row of the inverse Cholesky factor for an exact value with correlations c."""
    n = len(c)
    v = root[:n, :n] @ c
    # A row that is already known has no variance left but rounding.
    pivot = np.sqrt(max(1.0 + JITTER - float(v @ v), JITTER))
    root[n, :n] = -(v @ root[:n, :n]) / pivot
    root[n, n] = 1.0 / pivot
