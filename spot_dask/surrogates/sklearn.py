"""Any scikit-learn regressor as a surrogate.

The mean is the regressor's; its uncertainty is, in this order, what the regressor itself states
(``predict(..., return_std=True)``), the spread of a forest's trees, or the spread of an ensemble
fitted to bootstrap samples. To each variance the square of a small floor is added that grows with
the distance to the nearest evaluated point: no criterion is ever flat where nothing is known.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sklearn
from scipy.spatial.distance import cdist
from sklearn.base import BaseEstimator, RegressorMixin, clone, is_regressor
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor

from spot_dask import plugins
from spot_dask.surrogates import FloatArray

FORESTS = (RandomForestRegressor, ExtraTreesRegressor)
Moments = Callable[[FloatArray], tuple[FloatArray, FloatArray]]
"""Mean (m) at m x e features and deviations (b x m) whose squares add up to the variance."""

SEEDS = 2**31


def named(name: str, settings: Mapping[str, Any], trusted: bool) -> SklearnSurrogate:
    """The surrogate of ``sklearn.<name>``, for example ``ensemble.RandomForestRegressor``.

    Raises ValueError unless that is a regressor of scikit-learn, which is found out before it is
    made, that takes these settings. A name that is not trusted is one of those that scikit-learn
    lists, ``all_estimators("regressor")``, by its public path; NotLoaded if it is another one.
    """
    label = f"surrogate 'sklearn:{name}'"
    module, _, attribute = name.rpartition(".")
    if not trusted and not (module in sklearn.__all__ and attribute[:1].isupper()):
        raise plugins.NotLoaded(label)
    try:
        # Imports only what is part of scikit-learn: a name has no way out of the package.
        found = getattr(importlib.import_module(f"sklearn.{module}"), attribute)
        if not (isinstance(found, type) and issubclass(found, RegressorMixin)):
            raise ValueError(f"{attribute} is not a scikit-learn regressor")
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{label} cannot be made ({error}); "
            "expected a regressor such as 'sklearn:ensemble.RandomForestRegressor'"
        ) from error
    if not trusted and (not issubclass(found, BaseEstimator) or inspect.isabstract(found)):
        raise plugins.NotLoaded(label)
    plugins.check_settings(label, found, settings)
    try:
        return SklearnSurrogate(found(**settings))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{label} cannot be made: {error}") from error


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

    def fit(self, X: FloatArray, y: FloatArray, *, rng: np.random.Generator) -> SklearnPosterior:
        """Fit to finite values y (n >= 1) at features X (n x e)."""
        rng = np.random.default_rng(int(rng.integers(SEEDS)))
        model = self._copy(rng).fit(X, y)
        moments: Moments
        if "return_std" in inspect.signature(model.predict).parameters:
            moments = _Stated(model)
        elif isinstance(model, FORESTS):
            moments = _Forest(model.estimators_)
        else:
            rows = (rng.integers(len(y), size=len(y)) for _ in range(self.ensemble))
            moments = _Bootstrap(model, [self._copy(rng).fit(X[i], y[i]) for i in rows])
        scale = float(y.std()) or abs(float(y.mean())) or 1.0
        return SklearnPosterior(moments, X, scale, self.floor)

    def _copy(self, rng: np.random.Generator) -> Any:
        """An unfitted copy whose random states, nested ones too, are drawn from rng."""
        copy = clone(self.regressor)
        names = sorted(n for n in copy.get_params() if n.split("__")[-1] == "random_state")
        return copy.set_params(**{name: int(rng.integers(SEEDS)) for name in names})


@dataclass(frozen=True, eq=False)
class SklearnPosterior:
    """A fitted regressor; X (n x e) are the features it was fitted at, ``scale`` the sd of y."""

    moments: Moments
    X: FloatArray
    scale: float
    floor: float

    def predict(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of the objective at X (m x e), both m."""
        mean, deviations = self.moments(X)
        variance = np.einsum("ij,ij->j", deviations, deviations)
        return mean, np.sqrt(variance + self._least(X) ** 2)

    def joint(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean (m) and covariance (m x m) at X (m x e): that of the ensemble's members.

        A regressor that only states standard deviations has independent errors.
        """
        mean, deviations = self.moments(X)
        if len(deviations) == 1:
            covariance = np.diag(deviations[0] ** 2)
        else:
            covariance = deviations.T @ deviations
        return mean, covariance + np.diag(self._least(X) ** 2)

    def _least(self, X: FloatArray) -> FloatArray:
        """The sd (m) that grows with the distance to the nearest evaluated point."""
        distance = cdist(X, self.X).min(axis=1)
        least: FloatArray = self.scale * (1e-6 + self.floor * distance)
        return least


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
