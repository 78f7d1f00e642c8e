"""Which of the configurations is the best, and which are as good, given what is known of them.

f is minimised; m configurations, ``count`` draws of their values from the joint posterior.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from spot_dask.stats import FloatArray, Joint


@dataclass(frozen=True)
class BestChances:
    """For each of m configurations the probability that it is the best, and within delta of it.

    The standard error of a probability p is sqrt(p (1 - p) / draws).
    """

    best: FloatArray
    within: FloatArray
    delta: float
    draws: int


def joint_draws(joint: Joint, rows: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """Values at snapped rows (m x d) drawn from the joint posterior: count x m.

    By the eigenvectors of the covariance, so rows may occur twice.
    """
    mean, covariance = joint(rows)
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    return np.asarray(mean + rng.standard_normal((count, len(mean))) @ root.T, dtype=np.float64)


def best_chances(draws: FloatArray, delta: float = 0.0) -> BestChances:
    """The share of draws (count x m) in which each is the lowest, and at most delta above it.

    Configurations that share the lowest value share the draw. ValueError for no draw, no
    configuration or a negative delta.
    """
    if draws.size == 0 or delta < 0:
        raise ValueError(f"got draws of shape {draws.shape} and delta={delta}")
    lowest = draws.min(axis=1, keepdims=True)
    ties = draws == lowest
    best = (ties / ties.sum(axis=1, keepdims=True)).mean(axis=0)
    return BestChances(best, (draws <= lowest + delta).mean(axis=0), delta, len(draws))


def correct_selection(means: FloatArray, errors: FloatArray) -> float:
    """A lower bound of the probability that the configuration with the lowest mean is the best.

    Of m independent configurations with estimated means and the standard errors of these (m each):
    APCS-B = 1 - sum over i /= b of P(f_i < f_b) [Chen & Lee 2011, by Bonferroni], at
    least 0. A pair that is known exactly counts as 0 where it differs and 1/2 where it ties.
    """
    b = int(np.argmin(means))
    gaps, spreads = np.delete(means, b) - means[b], np.hypot(np.delete(errors, b), errors[b])
    z = np.divide(gaps, spreads, out=np.where(gaps > 0, np.inf, 0.0), where=spreads > 0)
    return max(0.0, 1.0 - float(ndtr(-z).sum()))
