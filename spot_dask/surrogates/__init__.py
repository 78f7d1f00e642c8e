"""Surrogates: models of the objective fitted to its evaluations.

Notation: ``n`` evaluations, ``m`` points to predict at, ``e`` feature columns. Features are what
``Space.features`` returns: every parameter embedded in one Euclidean space, so a surrogate never
sees types. ``groups[j]`` names the parameter that feature column j belongs to; columns of one
group share a length scale. The objective is minimised and given in the user's units.

A new surrogate is one file in this folder with one public final class that has ``fit``.
"""

from __future__ import annotations

from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from spot_dask import plugins

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class Located(Protocol):
    """m points under one posterior whose errors are jointly normal."""

    @property
    def mean(self) -> FloatArray:
        """Means of the latent objective (m)."""
        ...

    @property
    def variance(self) -> FloatArray:
        """Its variances (m)."""
        ...

    def covariance(self, other: Self) -> FloatArray:
        """Its covariances with k other points: m x k."""
        ...

    def pull(
        self,
        by_mean: FloatArray,
        by_variance: FloatArray,
        other: Self,
        by_covariance: FloatArray,
    ) -> FloatArray:
        """The gradient (m x e) of a function of mean, variance and covariances with other points.

        Given are the function's derivatives with respect to those: m, m and m x k.
        """
        ...

    def join(self, other: Self) -> Self:
        """These points and then the others."""
        ...


class Posterior(Protocol):
    """A fitted surrogate. Conditioning returns another posterior; none is ever changed."""

    def predict(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of the latent objective at X (m x e): two arrays of m."""
        ...

    def gradient(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Gradients of that mean and standard deviation with respect to X: two m x e arrays."""
        ...

    def joint(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean (m) and covariance (m x m) of the latent objective at X (m x e)."""
        ...

    def condition(self, X: FloatArray, y: FloatArray) -> Posterior:
        """The posterior after also seeing noise-free values y (m) at X (m x e)."""
        ...

    def locate(self, X: FloatArray) -> Located | None:
        """X (m x e) for its covariances; None if conditioning is more than their algebra."""
        ...

    @property
    def columns(self) -> FloatArray | None:
        """How far along each feature column (e) the objective varies; None if it is not known."""
        ...


class Surrogate(Protocol):
    """A model class with its settings."""

    def fit(
        self, X: FloatArray, y: FloatArray, groups: IntArray, rng: np.random.Generator
    ) -> Posterior:
        """Fit to finite values y (n >= 1) at features X (n x e)."""
        ...


def find(surrogate: str | Surrogate) -> Surrogate:
    """The surrogate of that name with its default settings; a surrogate is returned as it is.

    A name is that of a file in this folder, ``sklearn:<module>.<Class>`` (a regressor of
    scikit-learn) or ``package.module:Name``. Raises ValueError if there is none.
    """
    if not isinstance(surrogate, str):
        return surrogate
    if surrogate.startswith("sklearn:"):
        # Here, because importing scikit-learn costs a second that Kriging does not need.
        from spot_dask.surrogates.sklearn import named

        return named(surrogate.removeprefix("sklearn:"))
    found: Surrogate = plugins.find(__name__, "fit", surrogate, also=("sklearn:<module>.<Class>",))
    return found
