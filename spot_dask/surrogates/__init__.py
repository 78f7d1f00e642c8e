"""Surrogates: models of the objective fitted to its evaluations.

Notation: ``n`` evaluations, ``m`` points to predict at, ``e`` feature columns. Features are what
``Space.features`` returns: every parameter embedded in one Euclidean space, so a surrogate never
sees types. ``groups[j]`` names the parameter that feature column j belongs to; columns of one
group share a length scale. The objective is minimised and given in the user's units.

A new surrogate is one file in this folder, or anywhere, with one public class that has ``fit``. It
needs no more than ``predict`` of its posterior: ``completed.py`` makes the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, Self

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

    def leave_one_out(self) -> tuple[FloatArray, FloatArray] | None:
        """Mean and sd of a new observation of each value (n) from all others; None if unknown."""
        ...


class Surrogate(Protocol):
    """A model class with its settings."""

    @property
    def fit(self) -> Callable[..., Any]:
        """Fit to finite values y (n >= 1) at features X (n x e): ``fit(X, y)``.

        And ``groups`` (e) and ``rng``, a generator of random numbers, if it names them. Returns a
        posterior, of which ``predict`` suffices; ``completed.py`` says what is made of the rest.
        """
        ...


def find(surrogate: str | Surrogate, *, trusted: bool = True) -> Surrogate:
    """The surrogate of that name; a surrogate is returned as it is.

    A name is that of a file in this folder, ``mean(<surrogate>, <surrogate>)``,
    ``sklearn:<module>.<Class>`` (a regressor of scikit-learn) or ``package.module:Name``. Raises
    ValueError if there is none, and NotLoaded for one from elsewhere that is not ``trusted``.
    """
    if not isinstance(surrogate, str):
        return surrogate
    also = ("mean(<surrogate>, ...)", "sklearn:<module>.<Class>")
    found: Surrogate = plugins.find(__name__, "fit", surrogate, also=also, trusted=trusted)
    return found
