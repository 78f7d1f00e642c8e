"""Kriging: a Gaussian process with a constant unknown mean and a nugget.

y(x) = mean + f(x) + noise, cov(f(x), f(x')) = variance R(x, x'), var(noise) = nugget variance.

======== ======== =====================================================================
Z        n x e    features, centred and divided by their length scales
C        n x n    R(Z, Z), plus the nugget on the diagonal of evaluated rows
root     n x n    inverse of the lower Cholesky factor of C, so C^-1 = root' root
alpha    n        C^-1 (y - mean 1)
c        m x n    R between the points asked about and Z
u        m        1 - c C^-1 1, what the data leave unsaid about the mean
======== ======== =====================================================================

    mean(x) = mean + c alpha
    cov(x, x') = variance (R(x, x') - c C^-1 c' + u u' / 1'C^-1 1)

The last term is the uncertainty of the estimated mean [Rasmussen & Williams 2006, eq. 2.42; Jones,
Schonlau & Welch 1998]. Uncertainty of the length scales is left out. Inside, y is standardised;
what comes out is in the user's units.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
from scipy.linalg import lapack, solve_triangular

from spot_dask.surrogates import FloatArray, IntArray
from spot_dask.surrogates.correlation import (
    Correlation,
    correlate,
    correlation_matrix,
    squared_distances,
)
from spot_dask.surrogates.descent import descend
from spot_dask.surrogates.likelihood import (
    FAILED,
    NegativeLogPosterior,
    Prior,
    generalised_mean,
    profiled_variance,
)
from spot_dask.surrogates.located import KrigingPoints
from spot_dask.surrogates.threads import blas_threads

logger = logging.getLogger(__name__)

CENTRE = 0.5  # of the features: distances by matrix products lose digits far from the origin
JITTER = 1e-9  # on the diagonal of rows that are conditioned on
SMALLEST = 1e-12  # smallest variance as a share of the process variance: rounding reaches further
DETERMINISTIC_NUGGET = 1e-8
LENGTH_BOUNDS = (0.02, 50.0)
NUGGET_BOUNDS = (1e-7, 10.0)


@dataclass(frozen=True)
class Kriging:
    """Kriging with a length scale per parameter, estimated by maximum a posteriori.

    ``deterministic`` objectives are interpolated; otherwise the nugget is estimated.
    ``starts`` counts the optimiser's starting points: the centre of the prior, a second that
    explains more by signal than by noise, further ones drawn from the prior.
    """

    correlation: Correlation = "matern52"
    deterministic: bool = False
    starts: int = 2

    def __post_init__(self) -> None:
        if self.correlation not in get_args(Correlation):
            known = ", ".join(get_args(Correlation))
            raise ValueError(f"no correlation named {self.correlation!r}; there are: {known}")
        if self.starts < 1:
            raise ValueError(f"starts is {self.starts}; expected at least 1")

    def fit(
        self, X: FloatArray, y: FloatArray, groups: IntArray, rng: np.random.Generator
    ) -> KrigingPosterior:
        """Fit to finite values y (n >= 1) at features X (n x e).

        Raises ValueError if shapes do not match or a value is not finite.
        """
        _check(X, y, groups)
        offset, scale = _standard(y)
        labels, member = np.unique(groups, return_inverse=True)
        prior = Prior.for_groups(len(labels))
        density = NegativeLogPosterior(
            X - CENTRE, (y - offset) / scale, member, prior, self.correlation
        )
        with blas_threads(len(y)):
            theta = self._tune(density, len(labels), rng)
            return _posterior(density, theta, offset, scale)

    def _tune(self, density: NegativeLogPosterior, p: int, rng: np.random.Generator) -> FloatArray:
        """The best theta of several local searches; the first start if every one fails."""
        low, high = self._bounds(p)
        starts = [np.clip(s, low, high) for s in self._starting_points(density.prior, low, rng)]
        found = [descend(density, start, low, high, evaluations=100) for start in starts]
        theta, value = min(found, key=lambda result: result[1])
        if value >= FAILED:
            logger.warning("no length scales could be estimated; those of the prior are used")
            return starts[0]
        return theta

    def _bounds(self, p: int) -> tuple[FloatArray, FloatArray]:
        nugget = (DETERMINISTIC_NUGGET, DETERMINISTIC_NUGGET)
        sides = zip(LENGTH_BOUNDS, nugget if self.deterministic else NUGGET_BOUNDS, strict=True)
        low, high = (np.log([length] * p + [ratio]) for length, ratio in sides)
        return low, high

    def _starting_points(
        self, prior: Prior, low: FloatArray, rng: np.random.Generator
    ) -> list[FloatArray]:
        p = len(low) - 1
        points = [
            np.append(np.full(p, prior.length), np.log(1e-2)),
            np.append(np.full(p, prior.length - 0.5), np.log(1e-4)),
        ]
        while len(points) < self.starts:
            lengths = rng.normal(prior.length, prior.length_sd, p)
            points.append(np.append(lengths, rng.normal(prior.nugget, prior.nugget_sd)))
        return points[: self.starts]


@dataclass(frozen=True, eq=False)
class Hyperparameters:
    """What was estimated: it stays as it is when the model is conditioned on further values.

    ``length_scales`` has one entry per group and ``columns`` one per feature column; ``nugget`` is
    the noise variance as a share of the process variance ``s2``. y is (y - offset) / scale inside.
    ``log_posterior`` is their density up to a constant.
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
    """A fitted Kriging model; the arrays are those of the table above."""

    hyperparameters: Hyperparameters
    Z: FloatArray
    y: FloatArray
    root: FloatArray
    alpha: FloatArray
    solved_ones: FloatArray
    level: float

    @property
    def length_scales(self) -> FloatArray:
        """Length scales in the unit cube, one per group, in ascending order of group."""
        return self.hyperparameters.length_scales

    @property
    def columns(self) -> FloatArray:
        """The length scale of every feature column (e)."""
        return self.hyperparameters.columns

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
        return self.hyperparameters.s2 * self.hyperparameters.scale**2

    @property
    def log_likelihood(self) -> float:
        """Log density of the values in the user's units, at the estimated parameters."""
        n, s2 = len(self.y), self.hyperparameters.s2
        misfit = float((self.y - self.level) @ self.alpha) / s2
        spread = n * np.log(2 * np.pi * s2 * self.hyperparameters.scale**2)
        return -0.5 * float(misfit + spread) + float(np.log(np.diagonal(self.root)).sum())

    def predict(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of the noise-free objective at X (m x e), both m."""
        c, _ = self._correlate(X)
        V, u = c @ self.root.T, 1.0 - c @ self.solved_ones
        variance = 1.0 - np.einsum("ij,ij->i", V, V) + u * u / self.solved_ones.sum()
        sd = np.sqrt(np.maximum(variance, SMALLEST) * self.variance)
        return self._mean(c), sd

    def gradient(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Gradients of mean and standard deviation with respect to X, both m x e.

        That of a standard deviation too small to be told from rounding is 0.
        """
        c, S = self._correlate(X)
        V, u = c @ self.root.T, 1.0 - c @ self.solved_ones
        total = self.solved_ones.sum()
        variance = 1.0 - np.einsum("ij,ij->i", V, V) + u * u / total
        scale = np.sqrt(self.hyperparameters.s2) * self.hyperparameters.scale
        with np.errstate(divide="ignore"):
            factor = np.where(variance > SMALLEST, scale / np.sqrt(np.abs(variance)), 0.0)
        weights = V @ self.root + np.outer(u / total, self.solved_ones)
        mean = self._pull(X, S * self.alpha) * self.hyperparameters.scale
        return mean, self._pull(X, S * (-factor[:, None] * weights))

    def joint(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean (m) and covariance (m x m) of the noise-free objective at X (m x e)."""
        c, _ = self._correlate(X)
        V, u = c @ self.root.T, 1.0 - c @ self.solved_ones
        R, _ = correlation_matrix(self.hyperparameters.correlation, self._scaled(X))
        R += np.outer(u, u) / self.solved_ones.sum() - V @ V.T
        np.fill_diagonal(R, np.maximum(np.diagonal(R), SMALLEST))
        return self._mean(c), self.variance * R

    def condition(self, X: FloatArray, y: FloatArray) -> KrigingPosterior:
        """The posterior after noise-free values y (m) at X (m x e), hyperparameters unchanged.

        Borders the inverse Cholesky factor: O(n^2) per row. The mean is estimated anew.
        """
        root, Z, h = self.root, self.Z, self.hyperparameters
        for z in self._scaled(X):
            c, _ = correlate(h.correlation, squared_distances(z[None], Z))
            root, Z = _bordered(root, c[0]), np.vstack((Z, z))
        return _solved(h, Z, np.append(self.y, (y - h.offset) / h.scale), root)

    def locate(self, X: FloatArray) -> KrigingPoints:
        """X (m x e) for its covariances."""
        return KrigingPoints.of(self, self._scaled(X))

    def leave_one_out(self) -> tuple[FloatArray, FloatArray]:
        """Mean and sd of each value (n) predicted from all others, hyperparameters unchanged.

        The sd is that of a new noisy evaluation. With Q = C^-1 - C^-1 1 1'C^-1 / 1'C^-1 1 the
        errors are (Q y)_i / Q_ii and the variances s2 / Q_ii [Dubrule 1983]. Raises ValueError for
        a single value.
        """
        if len(self.y) < 2:
            raise ValueError("leave-one-out of 1 evaluation; expected at least 2")
        h, ones = self.hyperparameters, self.solved_ones
        Q = np.einsum("ij,ij->j", self.root, self.root) - ones * ones / ones.sum()
        means = h.offset + h.scale * (self.y - self.alpha / Q)
        return means, h.scale * np.sqrt(h.s2 / Q)

    def _scaled(self, X: FloatArray) -> FloatArray:
        return (X - CENTRE) / self.hyperparameters.columns

    def _correlate(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Correlation and slope between X (m x e) and the model's rows: two m x n arrays."""
        distances = squared_distances(self._scaled(X), self.Z)
        return correlate(self.hyperparameters.correlation, distances)

    def _mean(self, c: FloatArray) -> FloatArray:
        h = self.hyperparameters
        mean: FloatArray = h.offset + h.scale * (self.level + c @ self.alpha)
        return mean

    def _pull(self, X: FloatArray, weights: FloatArray) -> FloatArray:
        """sum_i w_i dR(x, x_i)/dx for weights w S (m x n): minus w S (z - z_i) / l, m x e."""
        Z = self._scaled(X)
        pulled: FloatArray = weights @ self.Z - weights.sum(axis=1)[:, None] * Z
        return pulled / self.hyperparameters.columns


def _check(X: FloatArray, y: FloatArray, groups: IntArray) -> None:
    if X.ndim != 2 or y.shape != X.shape[:1] or groups.shape != X.shape[1:] or len(y) == 0:
        raise ValueError(
            f"features {X.shape}, values {y.shape} and groups {groups.shape} do not match; "
            "expected n x e, n and e with n >= 1"
        )
    if not (np.isfinite(X).all() and np.isfinite(y).all()):
        raise ValueError("features or values are not finite; impute failed evaluations first")


def _standard(y: FloatArray) -> tuple[float, float]:
    """Offset and scale that standardise y; a constant y has the scale of its magnitude."""
    offset, sd = float(y.mean()), float(y.std())
    if sd > 1e-12 * abs(offset):
        return offset, sd
    return offset, abs(offset) or 1.0


def inverse_root(R: FloatArray, nugget: float) -> tuple[FloatArray, float]:
    """Inverse of the Cholesky factor of R + nugget I, and the nugget that was needed for it.

    Where rounding leaves no factor the nugget grows tenfold, with a warning.
    """
    while True:
        L, info = lapack.dpotrf(R + nugget * np.eye(len(R)), lower=1, clean=1)
        if info == 0:
            root = solve_triangular(L, np.eye(len(R)), lower=True, check_finite=False)
            return np.ascontiguousarray(root), nugget
        logger.warning("the covariance is singular with nugget %.1e; using ten times that", nugget)
        nugget *= 10.0


def _posterior(
    density: NegativeLogPosterior, theta: FloatArray, offset: float, scale: float
) -> KrigingPosterior:
    """The posterior at the hyperparameters theta."""
    columns = np.exp(theta[:-1])[density.member]
    Z = density.X / columns
    root, nugget = inverse_root(
        correlation_matrix(density.correlation, Z)[0], float(np.exp(theta[-1]))
    )
    h = Hyperparameters(
        correlation=density.correlation,
        length_scales=np.exp(theta[:-1]),
        columns=columns,
        nugget=nugget,
        s2=1.0,
        offset=offset,
        scale=scale,
        log_posterior=-density(theta)[0],
    )
    solved = _solved(h, Z, density.y, root)
    misfit = float((density.y - solved.level) @ solved.alpha)
    s2 = profiled_variance(misfit, len(density.y))
    return replace(solved, hyperparameters=replace(h, s2=s2))


def _solved(h: Hyperparameters, Z: FloatArray, y: FloatArray, root: FloatArray) -> KrigingPosterior:
    solved_y, solved_ones = root.T @ (root @ y), root.T @ root.sum(axis=1)
    level = generalised_mean(solved_y, solved_ones)
    return KrigingPosterior(h, Z, y, root, solved_y - level * solved_ones, solved_ones, level)


def _bordered(root: FloatArray, c: FloatArray) -> FloatArray:
    """The inverse Cholesky factor (n+1 x n+1) after a noise-free row with correlations c (n)."""
    n = len(root)
    v = root @ c
    # A row that is already known has no variance left but rounding.
    pivot = np.sqrt(max(1.0 + JITTER - float(v @ v), JITTER))
    bordered = np.zeros((n + 1, n + 1))
    bordered[:n, :n] = root
    bordered[n, :n] = -(v @ root) / pivot
    bordered[n, n] = 1.0 / pivot
    return bordered
