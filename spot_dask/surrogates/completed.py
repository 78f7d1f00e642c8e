"""A surrogate needs ``fit`` and a posterior with ``predict`` only: what else is asked for is made.

============= =================================================================================
``fit``       takes X (n x e) and y (n), and ``groups`` (e) and ``rng`` if it names them
``predict``   required: mean and standard deviation (m each) at X (m x e)
gradient      central differences
joint         independent errors
condition     another fit, with the same random numbers, that includes the new values
locate        None: conditioning is another fit
columns       None: length scales are not known
leave_one_out fits that leave out a tenth of the evaluations (one each, where there are few)
============= =================================================================================

Whatever of this a posterior has is used. ``fit`` may change the surrogate and return it: each fit
is one of a copy, unless the surrogate is a frozen dataclass.
"""

from __future__ import annotations

import copy
import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from spot_dask import plugins
from spot_dask.errors import warn_once
from spot_dask.surrogates import FloatArray, IntArray, Located, Posterior, Surrogate, find

logger = logging.getLogger(__name__)

Shape = tuple[int, ...]

MEMBERS = ("predict", "gradient", "joint", "condition", "locate", "columns", "leave_one_out")
STEP = 1e-4  # of the central differences, in the unit cube
LEAST = 1e-9  # sd as a share of that of y: a criterion is not defined without any
FOLDS = 10
PROBE = 8  # points: as many as the smallest design; some regressors refuse fewer


def fit(
    surrogate: Surrogate, X: FloatArray, y: FloatArray, groups: IntArray, rng: np.random.Generator
) -> Posterior:
    """The complete posterior of a surrogate fitted to finite values y (n >= 1) at X (n x e).

    Raises what the surrogate raises.
    """
    before = copy.deepcopy(rng)
    posterior = _fitted(surrogate, X, y, groups, rng)
    if all(hasattr(posterior, name) for name in MEMBERS):
        complete: Posterior = posterior
        return complete
    return Completed(surrogate, posterior, X, y, groups, before)


def _fitted(
    surrogate: Any, X: FloatArray, y: FloatArray, groups: IntArray, rng: np.random.Generator
) -> Any:
    if not getattr(getattr(surrogate, "__dataclass_params__", None), "frozen", False):
        surrogate = copy.deepcopy(surrogate)  # fit may change it, and return it
    known = inspect.signature(surrogate.fit).parameters.values()
    places = [p for p in known if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(places) >= 4 or any(p.kind is p.VAR_POSITIONAL for p in known):
        return surrogate.fit(X, y, groups, rng)
    offered, names = {"groups": groups, "rng": rng}, {p.name for p in known}
    return surrogate.fit(X, y, **{n: v for n, v in offered.items() if n in names})


@dataclass(frozen=True, eq=False)
class Completed:
    """A posterior with what it lacks; ``rng`` is in the state from which it was fitted."""

    surrogate: Surrogate
    posterior: Any
    X: FloatArray
    y: FloatArray
    groups: IntArray
    rng: np.random.Generator

    def predict(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of the latent objective at X (m x e): two arrays of m."""
        if not len(X):
            return np.empty(0), np.empty(0)
        mean, sd = (np.asarray(v, dtype=np.float64) for v in self.posterior.predict(X))
        return mean, np.maximum(sd, self._least)

    def gradient(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Gradients of that mean and standard deviation with respect to X: two m x e arrays.

        By central differences they are 0 nearly everywhere for a tree.
        """
        if hasattr(self.posterior, "gradient"):
            mean, sd = self.posterior.gradient(X)
            return mean, sd
        m, e = X.shape
        steps = STEP * np.vstack((np.eye(e), -np.eye(e)))
        around = (X[:, None, :] + steps[None, :, :]).reshape(-1, e)
        mean, sd = (v.reshape(m, 2, e) for v in self.predict(around))
        return (mean[:, 0] - mean[:, 1]) / (2 * STEP), (sd[:, 0] - sd[:, 1]) / (2 * STEP)

    def joint(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean (m) and covariance (m x m) of the latent objective at X (m x e)."""
        if hasattr(self.posterior, "joint"):
            mean, covariance = self.posterior.joint(X)
            return mean, covariance
        mean, sd = self.predict(X)
        return mean, np.diag(sd**2)

    def condition(self, X: FloatArray, y: FloatArray) -> Posterior:
        """The posterior after also seeing noise-free values y (m) at X (m x e)."""
        X_all, y_all, rng = np.vstack((self.X, X)), np.append(self.y, y), copy.deepcopy(self.rng)
        if not hasattr(self.posterior, "condition"):
            return fit(self.surrogate, X_all, y_all, self.groups, rng)
        conditioned = self.posterior.condition(X, y)
        return Completed(self.surrogate, conditioned, X_all, y_all, self.groups, rng)

    def locate(self, X: FloatArray) -> Located | None:
        """X (m x e) for its covariances; None if conditioning is more than their algebra."""
        found: Located | None = getattr(self.posterior, "locate", lambda X: None)(X)
        return found

    @property
    def columns(self) -> FloatArray | None:
        """How far along each feature column (e) the objective varies; None if it is not known."""
        found: FloatArray | None = getattr(self.posterior, "columns", None)
        return found

    def leave_one_out(self) -> tuple[FloatArray, FloatArray] | None:
        """Mean and sd of each value (n) predicted by fits to others; None if a fit fails."""
        if hasattr(self.posterior, "leave_one_out"):
            found: tuple[FloatArray, FloatArray] | None = self.posterior.leave_one_out()
            return found
        return self._left_out

    @cached_property
    def _left_out(self) -> tuple[FloatArray, FloatArray] | None:
        n = len(self.y)
        fold = np.arange(n) % min(n, FOLDS)
        mean, sd = np.empty(n), np.empty(n)
        try:
            for k in range(min(n, FOLDS)):
                out, rng = fold == k, copy.deepcopy(self.rng)
                posterior = fit(self.surrogate, self.X[~out], self.y[~out], self.groups, rng)
                mean[out], sd[out] = posterior.predict(self.X[out])
        except Exception as error:  # the user's, which may need more evaluations than are left
            warn_once(logger, "no cross-validation of the surrogate: %r", error)
            return None
        return mean, sd

    @cached_property
    def _least(self) -> float:
        return LEAST * (float(self.y.std()) or abs(float(self.y.mean())) or 1.0)


@plugins.once
def check(surrogate: str | Surrogate) -> None:
    """Raise ValueError, saying what is missing or wrong, unless a surrogate can serve.

    It is fitted to a few points of two parameters, and its posterior is asked for all that it has.
    """
    label = f"surrogate {surrogate if isinstance(surrogate, str) else type(surrogate).__name__!r}"
    if isinstance(surrogate, str):
        surrogate = find(surrogate)
    if not callable(getattr(surrogate, "fit", None)):
        raise ValueError(f"{label} has no method fit(X, y)")
    rng = np.random.default_rng(0)
    X, at, groups = rng.random((PROBE, 2)), rng.random((3, 2)), np.arange(2)
    try:
        posterior = fit(surrogate, X, X.sum(axis=1), groups, rng)
    except Exception as error:
        raise ValueError(f"{label}: fit of {PROBE} points raises {error!r}") from error
    own = posterior.posterior if isinstance(posterior, Completed) else posterior
    if not callable(getattr(own, "predict", None)):
        raise ValueError(f"{label}: fit returns {own!r}; expected a posterior with predict(X)")
    m, e = at.shape
    what = f"{label}: its posterior's"
    _, sd = _pair(f"{what} predict", own.predict, (at,), (m,), (m,))
    if (sd < 0.0).any():
        raise ValueError(f"{what} predict gives a negative standard deviation: {sd.min()}")
    for name, shapes in (("gradient", ((m, e), (m, e))), ("joint", ((m,), (m, m)))):
        _pair(f"{what} {name}", getattr(own, name, getattr(posterior, name)), (at,), *shapes)
    if hasattr(own, "leave_one_out"):
        _pair(f"{what} leave_one_out", own.leave_one_out, (), (PROBE,), (PROBE,))
    try:
        conditioned, located = posterior.condition(at, np.zeros(m)), posterior.locate(at)
    except Exception as error:
        raise ValueError(f"{what} condition or locate raises {error!r}") from error
    _pair(f"{what} condition(X, y), predict", conditioned.predict, (at,), (m,), (m,))
    if located is not None:
        asked = ("mean", "variance", "covariance", "pull", "join")
        if missing := [name for name in asked if not hasattr(located, name)]:
            raise ValueError(f"{what} locate(X) lacks {', '.join(missing)}")
    if posterior.columns is not None and np.shape(posterior.columns) != (e,):
        raise ValueError(f"{what} columns are of shape {np.shape(posterior.columns)}, not ({e},)")


def _pair(
    what: str, method: Callable[..., Any], arguments: tuple[FloatArray, ...], *shapes: Shape
) -> tuple[FloatArray, FloatArray]:
    """What a method returns, as two finite arrays of these shapes; ValueError if it is not that."""
    try:
        found = method(*arguments)
    except Exception as error:
        raise ValueError(f"{what} raises {error!r}") from error
    expected = f"expected two arrays of shapes {shapes[0]} and {shapes[1]}"
    if not isinstance(found, tuple | list) or len(found) != 2:
        raise ValueError(f"{what} returns a {type(found).__name__}; {expected}")
    try:
        first, second = (np.asarray(value, dtype=np.float64) for value in found)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} returns no numbers ({error}); {expected}") from None
    if (first.shape, second.shape) != shapes:
        raise ValueError(f"{what} returns shapes {first.shape} and {second.shape}; {expected}")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError(f"{what} returns values that are not finite")
    return first, second
