"""Analysis of variance of a design: which parameters, and which pairs of them, explain the values.

The table that users of SPOT know: it needs no surrogate, but sees only what is linear, quadratic
or a level, and it takes the errors for independent, which evaluations that a search chose are not.
It belongs on the initial design.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from spot_dask.stats import FloatArray
from spot_dask.stats.intervals import checked
from spot_dask.stats.regression import TOLERANCE, Predictor, standardised

Pair = tuple[int, int]
SPARE = 5


@dataclass(frozen=True)
class AnovaRow:
    """A term: one predictor or a pair (their indices) with what it explains.

    ``share`` = squares / (squares + residual squares), the partial eta². Where the term is not
    ``estimable``, because its columns cannot be told from those of others, df is the number that
    can and the rest is NaN; F and p are NaN too where no residual df is left.
    """

    name: str
    predictors: tuple[int, ...]
    df: int
    squares: float
    F: float
    p: float
    share: float
    estimable: bool


@dataclass(frozen=True)
class AnovaTable:
    """One row a term, main effects first; ``total`` is the sum of squares about the mean."""

    rows: tuple[AnovaRow, ...]
    residual: float
    residual_df: int
    total: float


def anova(
    predictors: Sequence[Predictor],
    values: npt.ArrayLike,
    pairs: Sequence[Pair] = (),
    kind: Literal[2, 3] = 2,
    ranks: bool = False,
) -> AnovaTable:
    """Main effects and the named pairs' interactions for n finite values, or their ranks.

    Type II sums of squares compare the model of all terms that do not contain the term with and
    without it; type III, the model of all terms, with sum-to-zero coding of factors (Fox 2016,
    chapter 8). They agree for the highest terms and for balanced designs. The error is that of the
    full model. Pairs of numbers interact by the product of their linear parts. With ``ranks`` the
    values are replaced by their ranks (Conover and Iman 1981), which no outlier can pull.
    """
    y = checked(values)
    y = stats.rankdata(y) if ranks else y
    terms = _terms(predictors, pairs)
    y = y - y.mean()
    full = _basis([*terms.values()], len(y))
    residual_df = len(y) - 1 - full.shape[1]
    total = float(y @ y)
    explained = full.T @ y
    residual = max(0.0, total - float(explained @ explained))
    residual = residual if residual > 1e-20 * total else 0.0
    # In coordinates of what all terms span, matrices are small.
    terms = {term: full.T @ columns for term, columns in terms.items()}
    rows = []
    for term, columns in terms.items():
        others = [
            c for t, c in terms.items() if t != term and (kind == 3 or not set(term) < set(t))
        ]
        smaller = _basis(others, len(full.T))
        own = _basis([columns - smaller @ (smaller.T @ columns)], len(full.T))
        df = own.shape[1]
        squares = float(np.sum((own.T @ explained) ** 2))
        name = " × ".join(predictors[i].name for i in term)
        if df < columns.shape[1]:
            rows.append(AnovaRow(name, term, df, np.nan, np.nan, np.nan, np.nan, False))
        else:
            rows.append(_row(name, term, df, squares, residual, residual_df))
    return AnovaTable(tuple(rows), residual, residual_df, total)


def pairs_that_fit(predictors: Sequence[Predictor], n: int) -> tuple[Pair, ...]:
    """All pairs if n evaluations can estimate all main effects and pairs, else none.

    Five degrees of freedom have to be left for the error.
    """
    pairs = tuple(combinations(range(len(predictors)), 2))
    terms = _terms(predictors, pairs).values()
    needed = sum(columns.shape[1] for columns in terms)
    enough = needed + 1 + SPARE <= n and _basis([*terms], n).shape[1] == needed
    return pairs if enough else ()


def _terms(
    predictors: Sequence[Predictor], pairs: Sequence[Pair]
) -> dict[tuple[int, ...], FloatArray]:
    """Indices of a term -> its columns (n x c), with mean 0 and norm 1, or 0 if constant."""
    coded = [_coded(predictor) for predictor in predictors]
    terms: dict[tuple[int, ...], FloatArray] = {(i,): c for i, c in enumerate(coded)}
    for i, j in pairs:
        # Of a number only the linear part interacts.
        first, second = (coded[k] if predictors[k].levels else coded[k][:, :1] for k in (i, j))
        product = first[:, :, None] * second[:, None, :]
        terms[(i, j)] = product.reshape(len(product), -1)
    return {term: standardised(columns)[0] for term, columns in terms.items()}


def _coded(predictor: Predictor) -> FloatArray:
    """The predictor's columns, with factors coded to sum to zero over their levels."""
    columns, _ = predictor.columns()
    return columns - (predictor.values == 0)[:, None] if predictor.levels else columns


def _row(
    name: str, term: tuple[int, ...], df: int, squares: float, residual: float, residual_df: int
) -> AnovaRow:
    share = squares / (squares + residual) if squares + residual > 0 else np.nan
    if not residual_df or residual == 0:
        return AnovaRow(name, term, df, squares, np.nan, np.nan, share, True)
    F = squares / df / (residual / residual_df)
    return AnovaRow(
        name, term, df, squares, F, float(special.fdtrc(df, residual_df, F)), share, True
    )


def _basis(parts: Sequence[FloatArray], n: int) -> FloatArray:
    """An orthonormal basis (n x rank) of what the columns, of about norm 1, span."""
    U, s, _ = np.linalg.svd(np.hstack([np.empty((n, 0)), *parts]), full_matrices=False)
    return np.asarray(U[:, s > TOLERANCE])
