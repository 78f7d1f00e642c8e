"""The posterior density of Kriging's hyperparameters, with its analytic gradient.

======== ======== =====================================================================
X        m x e    distinct points, centred, with counts r evaluations each, n in all
a        m        means of the standardised values at the points
within   1        sum of squares of the values around these means
member   e        index of the group (0..p-1) that a feature column belongs to
theta    p + 1    log length scale of every group, then the log nugget
M        m x m    R + nugget diag(1/r), the covariance of a divided by the process variance
alpha    m        M^-1 (a - mean)
misfit   1        (a - mean)' alpha + within / nugget
======== ======== =====================================================================

The value is that of the density of all n evaluations (see ``replicates``). The constant mean is
profiled by generalised least squares, the process variance with a weak inverse-gamma prior that
keeps it near the sample variance: s2 = (misfit + 2) / (n + 2).
[Rasmussen & Williams 2006, eq. 5.9; priors after Hvarfner et al. 2024, centred by experiment]
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import blas, lapack

from spot_dask.surrogates import FloatArray, IntArray
from spot_dask.surrogates.correlation import Correlation, blocks, correlation_triangle
from spot_dask.surrogates.numerics import Prior
from spot_dask.surrogates.points import Merged

WEIGHT = 1.0  # shape of the inverse-gamma prior on the process variance
FAILED = 1e10  # the value where the covariance has no Cholesky factor


def prior_of(p: int) -> Prior:
    """Short length scales up to ten parameters, beyond that growing slowly with p; some noise."""
    length = np.log(0.5) if p <= 10 else np.log(0.4) + 0.25 * np.log(p)
    return Prior(float(length), other=float(np.log(1e-3)), other_sd=2.0)


def generalised_mean(solved_y: FloatArray, solved_ones: FloatArray) -> float:
    """The GLS estimate 1'C^-1 y / 1'C^-1 1 of a constant mean, from C^-1 y and C^-1 1."""
    return float(solved_y.sum() / solved_ones.sum())


def profiled_variance(misfit: float, n: int) -> float:
    """The process variance that maximises the posterior, misfit = (y - mean)' C^-1 (y - mean)."""
    return (misfit + 2.0 * WEIGHT) / (n + 2.0 * WEIGHT)


@dataclass(frozen=True, eq=False)
class NegativeLogPosterior:
    """Minus the log posterior density of theta, up to a constant. For one thread at a time."""

    data: Merged
    member: IntArray
    prior: Prior
    correlation: Correlation = "matern52"

    @cached_property
    def _work(self) -> FloatArray:
        """R and S of the latest theta: pages that are touched for the first time are slow."""
        m = len(self.data.y)
        return np.empty((2, m, m))

    def __call__(self, theta: FloatArray) -> tuple[float, FloatArray]:
        """Value and gradient (p + 1) at theta; FAILED and zeros where M has no Cholesky factor."""
        data, nugget = self.data, float(np.exp(theta[-1]))
        n, m = len(data.values), len(data.y)
        Z = data.X / np.exp(theta[:-1])[self.member]
        M, S = self._work
        correlation_triangle(self.correlation, Z, M, S)
        M.flat[:: m + 1] += nugget / data.counts
        # A row-major lower triangle is the column-major upper one that LAPACK overwrites.
        L, info = lapack.dpotrf(M.T, lower=0, clean=0, overwrite_a=1)
        if info != 0:
            return FAILED, np.zeros_like(theta)
        solved = lapack.dpotrs(L, np.column_stack((data.y, np.ones(m))), lower=0)[0]
        mean = generalised_mean(solved[:, 0], solved[:, 1])
        alpha = solved[:, 0] - mean * solved[:, 1]
        within = data.within / nugget
        s2 = profiled_variance(float((data.y - mean) @ alpha) + within, n)
        value = 0.5 * (n + 2.0 * WEIGHT) * np.log(s2) + float(np.log(np.diagonal(L)).sum())
        value += 0.5 * ((n - m) * theta[-1] + np.log(data.counts).sum())
        W = lapack.dpotri(L, lower=0, overwrite_c=1)[0]
        W = blas.dsyr(-1.0 / s2, alpha, lower=0, a=W, overwrite_a=1)
        gradient = self._gradient(theta, Z, S, W)
        gradient[-1] += 0.5 * (n - m - within / s2)
        penalty, slope = self.prior.penalty(theta)
        return float(value + penalty), gradient + slope

    def _gradient(
        self, theta: FloatArray, Z: FloatArray, S: FloatArray, W: FloatArray
    ) -> FloatArray:
        """0.5 tr(W dM/dtheta), with W = M^-1 - alpha alpha'/s2 given in its upper triangle.

        For G = W o S, sum_ab G_ab (z_aj - z_bj)^2 / 2 = sum_a z_aj^2 (G 1)_a - (Z'GZ)_jj: no
        m x m x e array is ever made.
        """
        gradient = np.empty_like(theta)
        gradient[-1] = 0.5 * np.exp(theta[-1]) * float((np.diagonal(W) / self.data.counts).sum())
        G = W.T
        for rows in blocks(len(Z)):
            G[rows, : rows.stop] *= S[rows, : rows.stop]
        padded = np.asfortranarray(np.column_stack((Z, np.ones(len(Z)))))
        product = blas.dsymm(1.0, G.T, padded, lower=0)
        per_column = (Z * Z).T @ product[:, -1] - np.einsum("ij,ij->j", Z, product[:, :-1])
        gradient[:-1] = np.bincount(self.member, per_column, minlength=len(theta) - 1)
        return gradient
