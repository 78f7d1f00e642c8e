"""Points as a Kriging posterior sees them: computed once, used for all their covariances.

Besides the notation of ``kriging.py``:

======== ======== =====================================================================
V        m x n    c root', so that V V' = c C^-1 c'
u        m        (1 - c C^-1 1) / sqrt(1'C^-1 1)
S        m x n    slopes of c, see ``correlation.py``
======== ======== =====================================================================

    cov(x, x') = variance (R(x, x') - V V' + u u')
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import blas

from spot_dask.surrogates import FloatArray
from spot_dask.surrogates.correlation import correlate, squared_distances

if TYPE_CHECKING:
    from spot_dask.surrogates.posterior import KrigingPosterior

SMALLEST = 1e-12  # as in kriging.py


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


def times_triangle(U: FloatArray, B: FloatArray, transposed: bool) -> FloatArray:
    """U B or U' B (m x k) for an upper triangular U: half the work of a general product.

    U and B are column-major. A single column has a routine of its own, three times as fast.
    """
    if B.shape[1] == 1:
        column: FloatArray = blas.dtrmv(U, B[:, 0], trans=int(transposed), lower=0)
        return column[:, None]
    product: FloatArray = blas.dtrmm(1.0, U, B, trans_a=int(transposed), lower=0)
    return product
