"""Sobol indices of a Kriging mean in closed form, for a product kernel and independent parameters.

The mean is f(x) = constant + sum over the data j of alpha_j prod_i k_i(x_i, x_ij). Everything
follows from integrals over one parameter at a time, for each i

    I_i[j] = E k_i(x_i, x_ij)        B_i[j, l] = E k_i(x_i, x_ij) k_i(x_i, x_il)

and C_i = B_i - I_i I_i'. With * the elementwise product, the part of the variance that the
parameters of a set u explain together and no subset does is

    V_u = alpha' (prod_(i in u) C_i * prod_(i not in u) I_i I_i') alpha

and the total of i is alpha' (C_i * prod_(l /= i) B_l) alpha [Marrel, Iooss, Laurent & Roustant
2009, sec. 3, for the mean of the posterior; with C_i there is nothing that cancels]. A region only
changes the distribution of the x_i. n evaluations, d parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spot_dask.stats import FloatArray


@dataclass(frozen=True)
class ExactSobol:
    """First and total indices (d each), pair indices (d x d, diagonal 0) and the variance of f.

    All are 0 where f is constant. They are those of the mean alone: what the data leave open is
    not in them.
    """

    first: FloatArray
    total: FloatArray
    pairs: FloatArray
    variance: float


def moments(kernel: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """I_i (n) and B_i (n x n) from k_i between q values of parameter i and the data (q x n).

    The weights (q) of the values add to 1: those of Gauss-Legendre nodes for a number, 1 / q for
    the levels of a factor.
    """
    weighted = kernel * weights[:, None]
    return weighted.sum(axis=0), kernel.T @ weighted


def exact_sobol(
    alpha: FloatArray, integrals: Sequence[FloatArray], products: Sequence[FloatArray]
) -> ExactSobol:
    """Indices from alpha (n) and, for each of d parameters, I_i (n) and B_i (n x n).

    ValueError unless there are as many of both.
    """
    d = len(integrals)
    if d == 0 or len(products) != d:
        raise ValueError(
            f"got {d} integrals and {len(products)} products: expected one a parameter"
        )
    I = np.stack(integrals)  # noqa: E741
    centred = [B - np.outer(one, one) for one, B in zip(I, products, strict=True)]
    first, pairs = np.zeros(d), np.zeros((d, d))
    for i in range(d):
        first[i] = _form(alpha * np.delete(I, i, 0).prod(axis=0), centred[i])
        for j in range(i):
            w = alpha * np.delete(I, [i, j], 0).prod(axis=0)
            pairs[i, j] = pairs[j, i] = _form(w, centred[i] * centred[j])
    total, variance, before = _totals(alpha, products, centred), 0.0, np.ones_like(centred[0])
    for i in range(d):
        # What parameters 0, ..., i explain and 0, ..., i - 1 do not: these add to the variance.
        variance += _form(alpha * I[i + 1 :].prod(axis=0), before * centred[i])
        before *= products[i]
    whole = variance if variance > 0 else 1.0
    return ExactSobol(first / whole, total / whole, pairs / whole, variance)


def _form(w: FloatArray, matrix: FloatArray) -> float:
    """The quadratic form w' matrix w of a matrix without negative eigenvalues."""
    return max(0.0, float(w @ matrix @ w))


def _totals(
    alpha: FloatArray, products: Sequence[FloatArray], centred: Sequence[FloatArray]
) -> FloatArray:
    """alpha' (C_i * prod of B_l, l /= i) alpha for every i, with d log d products of matrices."""
    totals = np.zeros(len(products))

    def descend(low: int, high: int, others: FloatArray) -> None:
        if high - low == 1:
            totals[low] = _form(alpha, others * centred[low])
            return
        middle = (low + high) // 2
        for half, other in (((low, middle), (middle, high)), ((middle, high), (low, middle))):
            rest = others.copy()
            for i in range(*other):
                rest *= products[i]
            descend(*half, rest)

    descend(0, len(products), np.ones_like(centred[0]))
    return totals
