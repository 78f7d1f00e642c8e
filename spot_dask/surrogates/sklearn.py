"""Any scikit-learn regressor as a surrogate.

The mean is the regressor's; its uncertainty is, in this order, what the regressor itself states
(``predict(..., return_std=True)``), the spread of a forest's trees, or the spread of an ensemble
fitted to bootstrap samples. To each variance the square of a small floor is added that grows with
the distance to the nearest evaluated point: no criterion is ever flat where nothing is known.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.base import clone, is_regressor
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor

from spot_dask import plugins
from spot_dask.surrogates import FloatArray, IntArray
from spot_dask.surrogates.numerics import draw

FORESTS = (RandomForestRegressor, ExtraTreesRegressor)
Moments = Callable[[FloatArray], tuple[FloatArray, FloatArray]]
"""Mean (m) at m x e features and deviations (b x m) whose squares add up to the variance."""

STEP = 1e-4  # of the central differences, in the unit cube
SEEDS = 2**31


def named(name: str) -> SklearnSurrogate:
    """The surrogate of ``sklearn.<name>``, for example ``ensemble.RandomForestRegressor``.

    Settings of the regressor may follow: ``ensemble.ExtraTreesRegressor(n_estimators=300)``.
    Raises ValueError if scikit-learn has no such regressor.
    """
    path, settings = plugins.parse(name)
    module, _, attribute = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(f"sklearn.{module}"), attribute)
        return SklearnSurrogate(found(**settings))
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"surrogate 'sklearn:{name}' cannot be made ({error}); "
            "expected a regressor such as 'sklearn:ensemble.RandomForestRegressor'"
        ) from error


@dataclass(frozen=True)
class SklearnSurrogate:
    """A scikit-learn regressor with an uncertainty.

    ``ensemble`` is the number of bootstrap fits, for regressors that state no uncertainty;
    ``floor`` the sd added per unit of distance, as a share of the sd of y. The regressor is never
    fitted itself, only copies of it, with random states drawn from ``rng``.
    """

    regressor: Any
    ensemble: int = 16
    floor: float = 0.05

    def __post_init__(self) -> None:
        if not is_regressor(self.regressor):
            raise ValueError(f"{self.regressor!r} is not a scikit-learn regressor")
        if self.ensemble < 2 or not self.floor > 0:
            raise ValueError(
                f"ensemble is {self.ensemble} and floor {self.floor}; expected >= 2 and > 0"
            )

    def fit(
        self, X: FloatArray, y: FloatArray, groups: IntArray, rng: np.random.Generator
    ) -> SklearnPosterior:
        """Fit to finite values y (n >= 1) at features X (n x e); groups say nothing to it."""
        return _fitted(self, X, y, int(rng.integers(SEEDS)))


@dataclass(frozen=True, eq=False)
class SklearnPosterior:
    """A fitted regressor with the values it was fitted to and the seed of its random states."""

    surrogate: SklearnSurrogate
    X: FloatArray
    y: FloatArray
    seed: int
    moments: Moments
    scale: float

    def predict(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of the objective at X (m x e), both m."""
        mean, deviations = self.moments(X)
        variance = np.einsum("ij,ij->j", deviations, deviations)
        return mean, np.sqrt(variance + self._floor(X) ** 2)

    def gradient(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Central differences of that mean and standard deviation: two m x e arrays.

        Regressors are not differentiable in general; that of a tree is 0 nearly everywhere.
        """
        m, e = X.shape
        steps = STEP * np.vstack((np.eye(e), -np.eye(e)))
        around = (X[:, None, :] + steps[None, :, :]).reshape(-1, e)
        mean, sd = (v.reshape(m, 2, e) for v in self.predict(around))
        return (mean[:, 0] - mean[:, 1]) / (2 * STEP), (sd[:, 0] - sd[:, 1]) / (2 * STEP)

    def joint(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean (m) and covariance (m x m) at X (m x e): that of the ensemble's members.

        A regressor that only states standard deviations has independent errors.
        """
        mean, deviations = self.moments(X)
        if len(deviations) == 1:
            covariance = np.diag(deviations[0] ** 2)
        else:
            covariance = deviations.T @ deviations
        return mean, covariance + np.diag(self._floor(X) ** 2)

    def sample(self, X: FloatArray, n: int, rng: np.random.Generator) -> FloatArray:
        """n draws of the objective at X (k x e) from that joint distribution: n x k."""
        return draw(*self.joint(X), n, rng)

    def condition(self, X: FloatArray, y: FloatArray) -> SklearnPosterior:
        """The posterior of a new fit, with the same random states, that includes y (m) at X."""
        return _fitted(
            self.surrogate, np.vstack((self.X, X)), np.concatenate((self.y, y)), self.seed
        )

    def locate(self, X: FloatArray) -> None:
        """None: conditioning is another fit."""
        return None

    @property
    def columns(self) -> None:
        """None: a regressor need not have length scales."""
        return None

    def _floor(self, X: FloatArray) -> FloatArray:
        distance = cdist(X, self.X).min(axis=1)
        floor: FloatArray = self.scale * (1e-6 + self.surrogate.floor * distance)
        return floor


@dataclass(frozen=True, eq=False)
class _Stated:
    """The sd that the regressor itself states."""

    model: Any

    def __call__(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        mean, sd = self.model.predict(X, return_std=True)
        return np.asarray(mean, dtype=np.float64), np.asarray(sd, dtype=np.float64)[None]


@dataclass(frozen=True, eq=False)
class _Forest:
    """The spread of a forest's trees around their mean."""

    trees: Sequence[Any]

    def __call__(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        # tree_ is asked directly: the checks of tree.predict cost ten times the prediction.
        features = np.ascontiguousarray(X, dtype=np.float32)
        return _spread([tree.tree_.predict(features)[:, 0] for tree in self.trees])


@dataclass(frozen=True, eq=False)
class _Bootstrap:
    """The spread of bootstrap fits, around the mean of the regressor fitted to everything."""

    model: Any
    members: Sequence[Any]

    def __call__(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        _, deviations = _spread([member.predict(X) for member in self.members])
        return np.asarray(self.model.predict(X), dtype=np.float64), deviations


def _spread(predictions: Sequence[FloatArray]) -> tuple[FloatArray, FloatArray]:
    """Mean (m) of b predictions (m each) and their scaled deviations from it (b x m)."""
    members = np.stack(predictions).astype(np.float64)
    mean = members.mean(axis=0)
    return mean, (members - mean) / np.sqrt(max(1, len(members) - 1))


def _fitted(
    surrogate: SklearnSurrogate, X: FloatArray, y: FloatArray, seed: int
) -> SklearnPosterior:
    rng = np.random.default_rng(seed)
    model = _copy(surrogate.regressor, rng).fit(X, y)
    moments: Moments
    if "return_std" in inspect.signature(model.predict).parameters:
        moments = _Stated(model)
    elif isinstance(model, FORESTS):
        moments = _Forest(model.estimators_)
    else:
        moments = _Bootstrap(model, _resampled(surrogate, X, y, rng))
    scale = float(y.std()) or abs(float(y.mean())) or 1.0
    return SklearnPosterior(surrogate, X, y, seed, moments, scale)


def _resampled(
    surrogate: SklearnSurrogate, X: FloatArray, y: FloatArray, rng: np.random.Generator
) -> list[Any]:
    """Copies of the regressor fitted to rows drawn with replacement."""
    samples = (rng.integers(len(y), size=len(y)) for _ in range(surrogate.ensemble))
    return [_copy(surrogate.regressor, rng).fit(X[rows], y[rows]) for rows in samples]


def _copy(regressor: Any, rng: np.random.Generator) -> Any:
    """An unfitted copy whose random states, nested ones too, are drawn from rng."""
    copy = clone(regressor)
    states = sorted(name for name in copy.get_params() if name.split("__")[-1] == "random_state")
    return copy.set_params(**{name: int(rng.integers(SEEDS)) for name in states})
