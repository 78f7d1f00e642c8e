"""Stationary correlations of Euclidean distances and what their gradients need.

With scaled features ``z = x / l`` and ``r^2 = |z - z'|^2``, a correlation is ``R(r^2)``. All
gradients follow from its slope ``S = -2 dR/d(r^2)``:

    dR/dz_j = -S (z_j - z'_j)        dR/d(ln l_j) = S (z_j - z'_j)^2

======== ========================== ==================== =================
matern52 R = (1 + a + a^2/3) e^-a   S = 5/3 (1 + a) e^-a a = sqrt(5) r
gauss    R = e^(-r^2/2)             S = R
======== ========================== ==================== =================

[Rasmussen & Williams 2006, sec. 4.2]
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from spot_dask.surrogates import FloatArray

Correlation = Literal["matern52", "gauss"]

BLOCK = 128  # rows


def squared_distances(A: FloatArray, B: FloatArray) -> FloatArray:
    """Squared Euclidean distances between rows (a x e, b x e -> a x b).

    By one matrix product, so the features should be centred; what rounding makes negative is 0.
    """
    distances: FloatArray = A @ B.T
    distances *= -2.0
    distances += np.einsum("ij,ij->i", A, A)[:, None]
    distances += np.einsum("ij,ij->i", B, B)[None, :]
    return np.maximum(distances, 0.0, out=distances)


def correlate(kind: Correlation, distances: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Correlation R and slope S at squared distances, which are overwritten."""
    if kind == "gauss":
        distances *= -0.5
        R = np.exp(distances, out=distances)
        return R, R.copy()
    a = np.sqrt(distances, out=distances)
    a *= np.sqrt(5.0)
    decay = np.exp(-a)
    slope = (a + 1.0) * decay
    R = np.square(a, out=a)
    R *= decay
    R *= 1.0 / 3.0
    R += slope
    slope *= 5.0 / 3.0
    return R, slope


def correlation_matrix(kind: Correlation, Z: FloatArray) -> tuple[FloatArray, FloatArray]:
    """R and S among the scaled rows Z (n x e): two symmetric n x n matrices, R with diagonal 1."""
    distances = squared_distances(Z, Z)
    np.fill_diagonal(distances, 0.0)
    return correlate(kind, distances)


def correlation_triangle(
    kind: Correlation, Z: FloatArray, R: FloatArray, S: FloatArray | None = None
) -> None:
    """Writes the lower triangles of R and S among the scaled rows Z (n x e) into n x n arrays.

    What the arrays hold above the diagonal afterwards is arbitrary. Some rows at a time, so that
    the intermediate results stay in the processor's cache.
    """
    n = len(Z)
    for rows in blocks(n):
        R[rows, : rows.stop], slope = correlate(kind, squared_distances(Z[rows], Z[: rows.stop]))
        if S is not None:
            S[rows, : rows.stop] = slope
    # A distance of 0 by a matrix product is one of rounding errors.
    R.flat[:: n + 1] = 1.0


def blocks(n: int) -> list[slice]:
    """Slices of a few rows each that together are the n rows."""
    return [slice(i, min(n, i + BLOCK)) for i in range(0, n, BLOCK)]
