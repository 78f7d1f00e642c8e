"""Expected improvement of a whole batch, exactly [Ginsbourger et al. 2010; Chevalier & Gins. 2013].

For values Y ~ N(m, K) at q points and a threshold t let, for each k, Z_j = Y_k - Y_j for j != k and
Z_k = Y_k - t. All are negative exactly where Y_k is the lowest value and below t, so that

    EI = E[max(t - min Y, 0)] = -sum_k E[Z_k; Z <= 0]

and each term, a mean of a truncated normal, is a sum of q distribution functions of q - 1
dimensions. Exact, but dear and without gradients: what the criteria are tested with.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import multivariate_normal, norm

FloatArray = npt.NDArray[np.float64]

JITTER = 1e-9
POINTS = 2000  # of the integration rule


def expected_improvement(mean: FloatArray, covariance: FloatArray, best: float) -> float:
    """E[max(best - min Y, 0)] for Y ~ N(mean, covariance) of a few points (q, q x q)."""
    q = len(mean)
    K = covariance + JITTER * np.diagonal(covariance).max() * np.eye(q)
    total = 0.0
    for k in range(q):
        A, b = -np.eye(q), np.zeros(q)
        A[:, k], b[k] = 1.0, best
        total -= _truncated_mean(A @ mean - b, A @ K @ A.T, k)
    return total


def _truncated_mean(mean: FloatArray, K: FloatArray, k: int) -> float:
    """E[Z_k; Z <= 0] for Z ~ N(mean, K) [Tallis 1961, eq. 3]."""
    moment = float(mean[k]) * _below(mean, K)
    for i in range(len(mean)):
        others = np.arange(len(mean)) != i
        slope = K[others, i] / K[i, i]
        rest = K[np.ix_(others, others)] - np.outer(slope, K[i, others])
        density = float(norm.pdf(0.0, mean[i], np.sqrt(K[i, i])))
        moment -= float(K[k, i]) * density * _below(mean[others] - slope * mean[i], rest)
    return moment


def _below(mean: FloatArray, K: FloatArray) -> float:
    """P(Z <= 0) for Z ~ N(mean, K)."""
    if len(mean) == 0:
        return 1.0
    if len(mean) == 1:
        return float(norm.cdf(-mean[0] / np.sqrt(K[0, 0])))
    # More than two dimensions are integrated with random shifts: always the same ones.
    integral = type(multivariate_normal)(seed=np.random.default_rng(0))
    zero = np.zeros(len(mean))
    return float(integral.cdf(-mean, zero, K, allow_singular=True, maxpts=POINTS, abseps=0.0))
