"""Draws from a joint normal distribution."""

from __future__ import annotations

import numpy as np
from scipy.linalg import lapack

from spot_dask.surrogates import FloatArray


def draw(mean: FloatArray, covariance: FloatArray, n: int, rng: np.random.Generator) -> FloatArray:
    """n draws (n x k) for a mean (k) and a covariance (k x k), which may be singular.

    By the Cholesky factor with pivoting, which stops where only rounding is left [Higham 2002,
    sec. 10.3]: equal points have equal draws, and no variance is added.
    """
    factor, pivots, rank, _ = lapack.dpstrf(np.asfortranarray(covariance), lower=1)
    L = np.tril(factor)[:, :rank]
    drawn = np.empty((n, len(mean)))
    drawn[:, pivots - 1] = rng.standard_normal((n, rank)) @ L.T
    return drawn + mean
