"""The classical regression table of a design: coefficients, standard errors, t and p.

``n`` evaluations. A predictor is a number, which enters linearly and, if asked, quadratically, or
a factor, which enters by one indicator for each level but the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from spot_dask.stats import FloatArray
from spot_dask.stats.intervals import checked

TOLERANCE = 1e-9


@dataclass(frozen=True)
class Predictor:
    """A parameter's n values: numbers, or, if ``levels`` names them, indices of its levels."""

    name: str
    values: FloatArray
    levels: tuple[str, ...] = ()
    quadratic: bool = False

    def columns(self) -> tuple[FloatArray, tuple[str, ...]]:
        """The columns (n x c) by which it enters, with a label each.

        Numbers are centred, so that x and x^2 of a symmetric design do not share what they
        explain.
        """
        if self.levels:
            found = self.values[:, None] == np.arange(1, len(self.levels))
            labels = tuple(f"{self.name} = {level}" for level in self.levels[1:])
            return np.asarray(found, dtype=np.float64), labels
        centred = self.values - self.values.mean()
        if not self.quadratic:
            return centred[:, None], (self.name,)
        square = centred**2
        return np.column_stack([centred, square]), (self.name, f"{self.name}²")


@dataclass(frozen=True)
class Coefficient:
    """One row of the table; all is NaN where the data cannot tell it from the others."""

    label: str
    value: float
    se: float
    t: float
    p: float

    @property
    def estimable(self) -> bool:
        return not np.isnan(self.value)


@dataclass(frozen=True)
class Regression:
    """The coefficients, the constant first, with the residual sd, its df and R².

    se, t, p and sd are NaN where df is 0.
    """

    coefficients: tuple[Coefficient, ...]
    sd: float
    df: int
    r2: float


def regression(predictors: Sequence[Predictor], values: npt.ArrayLike) -> Regression:
    """Ordinary least squares of n finite values on the predictors.

    The constant is the value at the mean of each number and the first level of each factor. R² is
    NaN where all values are equal.
    """
    y = checked(values)
    parts = [predictor.columns() for predictor in predictors]
    X = np.hstack([np.empty((len(y), 0)), *(columns for columns, _ in parts)])
    labels = [label for _, names in parts for label in names]
    centre = X.mean(axis=0)
    Z, scale = standardised(X)
    U, s, Vt = np.linalg.svd(Z, full_matrices=False)
    kept = s > TOLERANCE
    inverse = Vt[kept].T / s[kept]  # (c x rank); inverse @ inverse.T = (Z'Z)^+
    deviations = y - y.mean()
    b = inverse @ (U[:, kept].T @ deviations)
    residuals = deviations - Z @ b
    df = len(y) - 1 - int(kept.sum())
    squares, total = float(residuals @ residuals), float(deviations @ deviations)
    variance = squares / df if df else np.nan
    covariance = (inverse @ inverse.T) / np.outer(scale, scale)
    b = b / scale
    # A coefficient is estimable if it is orthogonal to all that the columns cannot tell apart.
    known = np.abs(np.eye(len(b)) - Vt[kept].T @ Vt[kept]).max(axis=0, initial=0.0) < 1e-6
    constant_known = bool(np.all(known | (np.abs(centre) < 1e-12 * scale)))
    at_mean = variance * (1 / len(y) + float(centre @ covariance @ centre))
    rows = [_row("constant", float(y.mean() - centre @ b), at_mean, df, constant_known)]
    for j, label in enumerate(labels):
        rows.append(_row(label, float(b[j]), variance * covariance[j, j], df, bool(known[j])))
    r2 = 1 - squares / total if total > 1e-26 * float(y @ y) else np.nan
    return Regression(tuple(rows), float(np.sqrt(variance)), df, r2)


def standardised(X: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Columns (n x c) with mean 0 and norm 1, and the norms (c); constant ones become 0, norm 1."""
    centred = X - X.mean(axis=0)
    scale = np.linalg.norm(centred, axis=0)
    constant = scale <= 1e-12 * np.linalg.norm(X, axis=0)
    scale = np.where(constant, 1.0, scale)
    return np.where(constant, 0.0, centred / scale), scale


def _row(label: str, value: float, variance: float, df: int, known: bool) -> Coefficient:
    if not known:
        return Coefficient(label, np.nan, np.nan, np.nan, np.nan)
    se = float(np.sqrt(variance))
    t = float(np.divide(value, se, out=np.array(np.nan), where=se > 0))
    p = float(2 * special.stdtr(df, -abs(t))) if df else np.nan
    return Coefficient(label, value, se, t, p)
