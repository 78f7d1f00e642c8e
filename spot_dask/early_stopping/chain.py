"""Final values predicted from partial curves, by a chain of regressions from rung to rung.

Rungs r_0 < r_1 < ... < r_K; the last is the end. Who has reached a rung has reached all before, and
whether it went on depended on nothing but what was seen. So what is missing is missing at random,
and monotonely, and the likelihood of all curves is a product over rungs [Little & Rubin 2019,
chapter 7]: every step

    v_{k+1} - v_k = a + b v_k + c (v_k - v_{k-1}) + g(x) + e,
    g ~ GP(0, s2 R),    e ~ N(0, s2 nugget)

is learnt from *all* that made it, and not only from those that came to the end. The linear part
has the prior N(0, s2) in standardised columns, R is Matern 5/2 over the features x of the
configuration with one length scale; this and the nugget maximise the likelihood on a grid. The
steps are chained: means add up, and an error of a value at one rung goes on with the slope of the
next step.

n trainings, e feature columns, K steps; values are minimised.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack

from spot_dask.surrogates import FloatArray
from spot_dask.surrogates.correlation import correlate, squared_distances

LENGTHS = (0.7, 1.5, 4.0)
"""Length scales tried, in the unit cube."""

NUGGETS = (1e-3, 3e-2, 0.5)

MOST = 60
"""Trainings a step is learnt from, at most: those of the best values, where decisions are made."""

LEAST = 3
"""Trainings without which a step is not learnt."""

OUTLIER = 4.0
"""Steps are pulled in to so many times their root mean square."""

SLOPES = (0.3, 1.5)
"""Bounds of the factor by which a step carries an error of the value before it."""


@dataclass(frozen=True, eq=False)
class Step:
    """One regression. X (n x e) and L (n x p, standardised) are what it was learnt from.

    The step is centre + scale (its GP), ``weights`` (n) the solved system, ``root`` its Cholesky
    factor, ``s2`` the process variance.
    """

    X: FloatArray
    L: FloatArray
    middle: FloatArray
    spread: FloatArray
    centre: float
    scale: float
    length: float
    nugget: float
    s2: float
    root: FloatArray
    weights: FloatArray

    @classmethod
    def fit(cls, X: FloatArray, L: FloatArray, step: FloatArray) -> Step:
        """The regression of steps (n) on features (n x e) and values and slopes before (n x p)."""
        best = np.argsort(L[:, 0], kind="stable")[:MOST]
        X, L, step = X[best], L[best], step[best]
        middle, spread = np.median(L, axis=0), np.maximum(L.std(axis=0), 1e-9)
        L = (L - middle) / spread
        centre = float(np.median(step))
        scale = max(float(np.sqrt(np.mean(np.square(step - centre)))), 1e-9)
        z = np.clip((step - centre) / scale, -OUTLIER, OUTLIER)
        n, distances, linear = len(z), squared_distances(X, X), 1.0 + L @ L.T
        found: tuple[float, float, float, float, FloatArray, FloatArray] | None = None
        for length in LENGTHS:
            R, _ = correlate("matern52", distances / length**2)
            for nugget in NUGGETS:
                root, info = lapack.dpotrf(linear + R + nugget * np.eye(n), lower=1, clean=1)
                if info:
                    continue
                weights, _ = lapack.dpotrs(root, z, lower=1)
                s2 = (float(z @ weights) + 2.0) / (n + 2.0)  # as if two had been seen with s2 = 1
                misfit = n * math.log(s2) + 2.0 * float(np.log(np.diag(root)).sum())
                if found is None or misfit < found[0]:
                    found = misfit, length, nugget, s2, root, weights
        if found is None:
            raise np.linalg.LinAlgError("no step can be learnt: a value is not finite")
        return cls(X, L, middle, spread, centre, scale, *found[1:])

    def predict(self, X: FloatArray, L: FloatArray) -> tuple[FloatArray, FloatArray, float]:
        """Mean and sd (m each) of the step of others, and its slope in the value before it."""
        Z = (L - self.middle) / self.spread
        R, _ = correlate("matern52", squared_distances(X, self.X) / self.length**2)
        k = 1.0 + Z @ self.L.T + R
        solved, _ = lapack.dpotrs(self.root, k.T, lower=1)
        prior = 2.0 + np.square(Z).sum(axis=1) + self.nugget
        variance = np.maximum(prior - np.einsum("ij,ji->i", k, solved), 0.5 * self.nugget)
        wider = 1.0 + 4.0 / len(self.X)  # as of t: the variance is estimated from few
        slope = self.scale * float((self.L.T @ self.weights / self.spread).sum())
        mean = self.centre + self.scale * (k @ self.weights)
        return mean, self.scale * np.sqrt(self.s2 * variance * wider), slope


def final_values(
    X: FloatArray, V: FloatArray, asked_X: FloatArray, asked_V: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Mean and sd (m each) of the values at the last rung of the asked trainings.

    ``X`` (n x e) and ``V`` (n x K + 1) are features and values at the rungs of all trainings to
    learn from, NaN from the first rung on that was not reached; ``asked_X``, ``asked_V`` those of
    the asked. NaN where a step is yet to be learnt, or where nothing was reached.
    """
    reached = np.isfinite(asked_V).sum(axis=1)
    last = V.shape[1] - 1
    values, variance = asked_V.copy(), np.zeros(len(asked_V))
    for k in range(last):
        made = np.isfinite(V[:, k + 1])
        goes = (reached <= k + 1) & np.isfinite(values[:, k])
        if not goes.any() or made.sum() < LEAST:
            continue
        step = Step.fit(X[made], _before(V[made], k), V[made, k + 1] - V[made, k])
        mean, sd, slope = step.predict(asked_X[goes], _before(values[goes], k))
        values[goes, k + 1] = values[goes, k] + mean
        carried = min(max(1.0 + slope, SLOPES[0]), SLOPES[1])
        variance[goes] = carried**2 * variance[goes] + sd**2
    known = np.isfinite(values[:, last])
    return np.where(known, values[:, last], math.nan), np.where(known, np.sqrt(variance), math.nan)


def _before(V: FloatArray, k: int) -> FloatArray:
    """What a step from rung k is regressed on: the value there and, after another, its slope."""
    columns = [V[:, k]] + ([V[:, k] - V[:, k - 1]] if k else [])
    return np.column_stack(columns)
