"""A Gaussian process whose posterior and draws are exact: a linear model of cosine features.

f(x) = sum of F features times weights that are standard normal beforehand; values are observed with
normal noise. Mean, covariance, draws and the function itself are all closed form, so statements
about the posterior can be checked without any approximation but that of the code under test.
"""

from __future__ import annotations

import numpy as np


class CosinePosterior:
    def __init__(self, d, seed=0, features=40, frequency=4.0, scales=None, count=128):
        self.rng = np.random.default_rng(seed)
        scales = np.ones(d) if scales is None else np.asarray(scales)
        self.frequencies = frequency * self.rng.standard_normal((features, d)) * scales
        self.phases = self.rng.uniform(0, 2 * np.pi, features)
        self.mean_w, self.cov_w = np.zeros(features), np.eye(features)
        self.count = count
        self._draw()

    def features(self, X):
        return np.cos(X @ self.frequencies.T + self.phases) * np.sqrt(2 / len(self.phases))

    def _draw(self):
        root = np.linalg.cholesky(self.cov_w + 1e-12 * np.eye(len(self.cov_w)))
        normals = self.rng.standard_normal((self.count, len(root)))
        self.weights = self.mean_w + normals @ root.T

    def function(self):
        """A function of the prior: rows (m x d) to values (m)."""
        w = self.rng.standard_normal(len(self.phases))
        return lambda X: self.features(X) @ w

    def observe(self, X, y, noise):
        """Condition on values y (n) at X (n x d) with noise of this standard deviation."""
        Phi = self.features(X)
        precision = np.eye(Phi.shape[1]) + Phi.T @ Phi / noise**2
        self.cov_w = np.linalg.inv(precision)
        self.cov_w = (self.cov_w + self.cov_w.T) / 2
        self.mean_w = self.cov_w @ Phi.T @ y / noise**2
        self._draw()
        return self

    def predict(self, X):
        return self.features(X) @ self.mean_w

    def joint(self, X):
        Phi = self.features(X)
        return Phi @ self.mean_w, Phi @ self.cov_w @ Phi.T

    def paths(self, X):
        return self.weights @ self.features(X).T
