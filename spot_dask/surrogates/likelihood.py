"""The posterior density of Kriging's hyperparameters, with its analytic gradient.

======== ======== =====================================================================
X        n x e    features, centred
y        n        standardised values
member   e        index of the group (0..p-1) that a feature column belongs to
theta    p + 1    log length scale of every group, then the log nugget
C        n x n    R + nugget I, the covariance of y divided by the process variance
alpha    n        C^-1 (y - mean)
======== ======== =====================================================================

The constant mean is profiled by generalised least squares, the process variance with a weak
inverse-gamma prior that keeps it near the sample variance: s2 = ((y - mean)' alpha + 2) / (n + 2).
[Rasmussen & Williams 2006, eq. 5.9; priors after Hvarfner et al. 2024, centred by experiment]
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import blas, lapack

from spot_dask.surrogates import FloatArray, IntArray
from spot_dask.surrogates.correlation import Correlation, correlation_matrix

WEIGHT = 1.0  # shape of the inverse-gamma prior on the process variance
FAILED = 1e10  # the value where the covariance has no Cholesky factor


@dataclass(frozen=True)
class Prior:
    """Normal densities of the log length scales and the log nugget: their centres and sds."""

    length: float
    length_sd: float = 0.75
    nugget: float = float(np.log(1e-3))
    nugget_sd: float = 2.0

    @classmethod
    def for_groups(cls, p: int) -> Prior:
        """Short length scales up to ten parameters, beyond that growing slowly with p."""
        return cls(float(np.log(0.5) if p <= 10 else np.log(0.4) + 0.25 * np.log(p)))


def generalised_mean(solved_y: FloatArray, solved_ones: FloatArray) -> float:
    """The GLS estimate 1'C^-1 y / 1'C^-1 1 of a constant mean, from C^-1 y and C^-1 1."""
    return float(solved_y.sum() / solved_ones.sum())


def profiled_variance(misfit: float, n: int) -> float:
    """The process variance that maximises the posterior, misfit = (y - mean)' C^-1 (y - mean)."""
    return (misfit + 2.0 * WEIGHT) / (n + 2.0 * WEIGHT)


@dataclass(frozen=True, eq=False)
class NegativeLogPosterior:
    """Minus the log posterior density of theta, up to a constant."""

    X: FloatArray
    y: FloatArray
    member: IntArray
    prior: Prior
    correlation: Correlation = "matern52"

    def __call__(self, theta: FloatArray) -> tuple[float, FloatArray]:
        """Value and gradient (p + 1) at theta; FAILED and zeros where C has no Cholesky factor."""
        n = len(self.y)
        Z = self.X / np.exp(theta[:-1])[self.member]
        C, S = correlation_matrix(self.correlation, Z)
        C.flat[:: n + 1] += np.exp(theta[-1])
        # C is symmetric: its transpose is the column-major matrix LAPACK can overwrite.
        L, info = lapack.dpotrf(C.T, lower=1, clean=0, overwrite_a=1)
        if info != 0:
            return FAILED, np.zeros_like(theta)
        solved = lapack.dpotrs(L, np.column_stack((self.y, np.ones(n))), lower=1)[0]
        mean = generalised_mean(solved[:, 0], solved[:, 1])
        alpha = solved[:, 0] - mean * solved[:, 1]
        s2 = profiled_variance(float((self.y - mean) @ alpha), n)
        value = 0.5 * (n + 2.0 * WEIGHT) * np.log(s2) + float(np.log(np.diagonal(L)).sum())
        W = lapack.dpotri(L, lower=1, overwrite_c=1)[0]
        W -= np.outer(alpha, alpha / s2)
        penalty, slope = self._log_prior(theta)
        return float(value + penalty), self._gradient(theta, Z, S, W) + slope

    def _gradient(
        self, theta: FloatArray, Z: FloatArray, S: FloatArray, W: FloatArray
    ) -> FloatArray:
        """0.5 tr(W dC/dtheta), with W = C^-1 - alpha alpha'/s2 given in its lower triangle.

        For G = W o S, sum_ab G_ab (z_aj - z_bj)^2 / 2 = sum_a z_aj^2 (G 1)_a - (Z'GZ)_jj: no
        n x n x e array is ever made.
        """
        n = len(Z)
        gradient = np.empty_like(theta)
        gradient[-1] = 0.5 * np.exp(theta[-1]) * np.trace(W)
        W *= S.T
        padded = np.asfortranarray(np.column_stack((Z, np.ones(n))))
        product = blas.dsymm(1.0, W, padded, lower=1)
        per_column = (Z * Z).T @ product[:, -1] - np.einsum("ij,ij->j", Z, product[:, :-1])
        gradient[:-1] = np.bincount(self.member, per_column, minlength=len(theta) - 1)
        return gradient

    def _log_prior(self, theta: FloatArray) -> tuple[float, FloatArray]:
        """Minus the log prior density of theta and its gradient."""
        prior = self.prior
        centre = np.append(np.full(len(theta) - 1, prior.length), prior.nugget)
        sd = np.append(np.full(len(theta) - 1, prior.length_sd), prior.nugget_sd)
        deviation = (theta - centre) / sd
        return 0.5 * float(deviation @ deviation), deviation / sd
