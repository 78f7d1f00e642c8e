"""Transformations of the objective under which a Gaussian process describes it best.

A transformation is chosen by the leave-one-out log density of the values themselves, Jacobian
included, so that different ones are compared on the same data. ``v`` is in the user's sign.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from spot_dask.surrogates import FloatArray

NAMES = ("identity", "log", "sqrt", "logit")


@dataclass(frozen=True)
class Transform:
    """An increasing function of the objective and its inverse.

    ``low`` and ``high`` bound what the objective can be, as far as its values tell: ``back`` never
    leaves them. ``margin`` keeps the logit of 0 and 1 finite.
    """

    name: str
    low: float = -np.inf
    high: float = np.inf
    margin: float = 0.0

    def forward(self, v: FloatArray) -> FloatArray:
        """Values v (n) on the scale of the process."""
        return np.asarray(_FORWARD[self.name](self._inner(v)))

    def back(self, t: FloatArray) -> FloatArray:
        """The objective (n) at values t (n) of the process; monotone, so medians stay medians."""
        with np.errstate(over="ignore"):
            inner = np.asarray(_BACK[self.name](np.asarray(t, dtype=np.float64)))
        v = (inner - self.margin) / (1.0 - 2.0 * self.margin) if self.name == "logit" else inner
        return np.asarray(np.clip(v, self.low, self.high))

    def log_jacobian(self, v: FloatArray) -> FloatArray:
        """log |dt/dv| at v (n)."""
        inner = self._inner(v)
        found: FloatArray = _LOG_SLOPE[self.name](inner) + np.log(1.0 - 2.0 * self.margin)
        return found

    def _inner(self, v: FloatArray) -> FloatArray:
        return self.margin + (1.0 - 2.0 * self.margin) * np.asarray(v, dtype=np.float64)


def _root(t: FloatArray) -> FloatArray:
    return np.square(np.maximum(t, 0.0))


_FORWARD: dict[str, Callable[[FloatArray], FloatArray]] = {
    "identity": lambda v: v,
    "log": np.log,
    "sqrt": np.sqrt,
    "logit": lambda v: np.log(v) - np.log1p(-v),
}
_BACK: dict[str, Callable[[FloatArray], FloatArray]] = {
    "identity": lambda t: t,
    "log": np.exp,
    "sqrt": _root,
    "logit": lambda t: 1.0 / (1.0 + np.exp(-t)),
}
_LOG_SLOPE: dict[str, Callable[[FloatArray], FloatArray]] = {
    "identity": np.zeros_like,
    "log": lambda v: -np.log(v),
    "sqrt": lambda v: -np.log(2.0) - 0.5 * np.log(v),
    "logit": lambda v: -np.log(v) - np.log1p(-v),
}


def unfit(name: str, v: FloatArray) -> str:
    """Why the values v (n) have no such transformation, for a message; empty where they have."""
    if name == "log" and not (v > 0).all():
        return f"log needs positive values; the least is {v.min():.4g}"
    if name == "sqrt" and not (v > 0).all():
        return f"sqrt needs positive values; the least is {v.min():.4g}"
    if name == "logit" and not ((v >= 0).all() and (v <= 1).all()):
        return f"logit needs values from 0 to 1; they go from {v.min():.4g} to {v.max():.4g}"
    return ""


def candidates(v: FloatArray, maximised: bool = False) -> list[Transform]:
    """The transformations that the values v (n >= 1, finite) allow, the identity first.

    A loss that was never negative is taken to have the bound 0. Only what is maximised and stays
    from 0 to 1 is taken for a share, such as an accuracy: that a loss has been below 1 so far
    bounds nothing, and near 0 its logarithm is its logit. Of a share that is minimised, such as an
    error rate, the study can say so: ``transform="logit"``.
    """
    names = NAMES if maximised else [name for name in NAMES if name != "logit"]
    return [transform(name, v, maximised) for name in names if not unfit(name, v)]


def bounds(v: FloatArray, maximised: bool) -> tuple[float, float]:
    """What the objective can be, as far as its values v (n >= 1) tell, as ``candidates`` says."""
    if not (v >= 0).all():
        return -np.inf, np.inf
    return 0.0, 1.0 if maximised and bool((v <= 1).all()) else np.inf


def transform(name: str, v: FloatArray, maximised: bool = False) -> Transform:
    """The transformation of that name for values v (n); raises ValueError where they have none.

    Of a logit the objective is a share, whatever its direction.
    """
    problem = unfit(name, v)
    if problem:
        raise ValueError(f"transform: {problem}")
    low, high = bounds(v, maximised or name == "logit")
    edge = name == "logit" and bool(((v == 0) | (v == 1)).any())
    return Transform(name, low, high, 1.0 / (4.0 * len(v)) if edge else 0.0)
