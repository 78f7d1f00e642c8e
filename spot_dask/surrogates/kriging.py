"""Kriging: a Gaussian process with a constant unknown mean and a nugget.

y(x) = mean + f(x) + noise, cov(f(x), f(x')) = variance R(x, x'), var(noise) = nugget variance.

Length scales and nugget maximise their posterior density (``likelihood``), over distinct points
only: evaluations of the same point are merged (``replicates``). m points, e feature columns:

============ ============================== ================================================
m            hyperparameters estimated from the posterior holds
============ ============================== ================================================
<= 150       all points, from two starts    all points
<= 512       all points, from the better    all points
             start on 128 of them
<= 1,500     512 points (``subset``)        all points
more         512 points                     1,000 points (``subset``)
============ ============================== ================================================

Estimates from 512 points, half of them the best, cost a quarter of those from 1,000 and predict
better around the best (and a little worse far away): they are fitted to where it matters.

The points held are a trust region and a global model in one. A posterior of the 1,000 points next
to the best alone predicts better right there and fails everywhere else. To hold more of those
(half, instead of a third around the five best) predicts better there, too, but of 10,000
evaluations it proposed nothing better: worse in four of six runs, better in one.

An estimate depends on the data alone. Starting from the estimate before would save a third of the
time, but what is proposed would depend on how often one has asked.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import get_args

import numpy as np

from spot_dask.errors import warn_once
from spot_dask.surrogates import FloatArray, IntArray
from spot_dask.surrogates.correlation import Correlation
from spot_dask.surrogates.likelihood import FAILED, NegativeLogPosterior, prior_of
from spot_dask.surrogates.numerics import blas_threads, descend
from spot_dask.surrogates.points import Merged, good_and_spread, good_near_and_spread, merge
from spot_dask.surrogates.posterior import CENTRE, Hyperparameters, KrigingPosterior, solve

logger = logging.getLogger(__name__)

DETERMINISTIC_NUGGET = 1e-8
LENGTH_BOUNDS = (0.02, 50.0)
NUGGET_BOUNDS = (1e-7, 10.0)
FARTHEST = 1e6  # feature: what is meant is the unit cube, and squared distances must not overflow
EVALUATIONS = 60  # of the density, at most, in one local search
MOST_STARTS = 1000
TOLERANCE = 1e-6  # relative; the hundredth part of a log density is not worth an evaluation


@dataclass(frozen=True)
class PointLimits:
    """Numbers of distinct points: up to ``compare`` all starts are tried on all of them, beyond
    that on ``screen``; beyond ``tune_all`` hyperparameters are estimated from ``tune`` of them;
    beyond ``hold_all`` the posterior holds ``hold`` of them."""

    compare: int = 150
    screen: int = 128
    tune_all: int = 512
    tune: int = 512
    hold_all: int = 1500
    hold: int = 1000


@dataclass(frozen=True)
class Kriging:
    """Kriging with a length scale per parameter, estimated by maximum a posteriori.

    ``deterministic`` objectives are interpolated, without variance left where they were evaluated;
    otherwise the nugget is estimated. ``starts`` counts the optimiser's starting points: the
    centre of the prior, a second that explains more by signal than by noise, further ones drawn
    from the prior.
    """

    correlation: Correlation = "matern52"
    deterministic: bool = False
    starts: int = 2
    limits: PointLimits = field(default_factory=PointLimits)

    def __post_init__(self) -> None:
        if self.correlation not in get_args(Correlation):
            known = ", ".join(get_args(Correlation))
            raise ValueError(f"no correlation named {self.correlation!r}; there are: {known}")
        if not 1 <= self.starts <= MOST_STARTS:
            raise ValueError(f"starts is {self.starts}; expected 1 to {MOST_STARTS}")

    def fit(
        self, X: FloatArray, y: FloatArray, groups: IntArray, rng: np.random.Generator
    ) -> KrigingPosterior:
        """Fit to finite values y (n >= 1) at features X (n x e), in or near the unit cube.

        Raises ValueError if shapes do not match, a value is not finite or a feature is far away.
        """
        _check(X, y, groups)
        offset, scale = _standard(y)
        data = self._merged(X, (y - offset) / scale)
        labels, member = np.unique(groups, return_inverse=True)
        tuned = data
        if len(data.y) > self.limits.tune_all:
            tuned = data.rows(good_and_spread(data.X, data.y, self.limits.tune))
        density = NegativeLogPosterior(tuned, member, prior_of(len(labels)), self.correlation)
        with blas_threads(len(tuned.y)):
            theta, value = self._tune(density, len(labels), rng)
        h = Hyperparameters(
            correlation=self.correlation,
            length_scales=np.exp(theta[:-1]),
            columns=np.exp(theta[:-1])[member],
            nugget=float(np.exp(theta[-1])),
            s2=1.0,
            offset=offset,
            scale=scale,
            log_posterior=-value,
        )
        m = len(data.y)
        count = m if m <= self.limits.hold_all else self.limits.hold
        chosen = good_near_and_spread(data.X / h.columns, data.y, count)
        with blas_threads(len(chosen)):
            return solve(h, data, chosen)

    def _merged(self, X: FloatArray, values: FloatArray) -> Merged:
        data = merge(X - CENTRE, values)
        if self.deterministic and data.within > 1e-12 * len(values):
            warn_once(
                logger,
                "a deterministic objective gave different values at the same point: their mean "
                "is used; unset deterministic if evaluations are noisy",
            )
            return replace(data, values=data.y[data.place])
        return data

    def _tune(
        self, density: NegativeLogPosterior, p: int, rng: np.random.Generator
    ) -> tuple[FloatArray, float]:
        """The best theta of several local searches and its value; the first start if all fail.

        Many points are searched from the start that is best for a few of them: the second start
        is there lest all be taken for noise, which a few points show as well.
        """
        nugget = (DETERMINISTIC_NUGGET,) * 2 if self.deterministic else NUGGET_BOUNDS
        sides = zip(LENGTH_BOUNDS, nugget, strict=True)
        low, high = (np.log([length] * p + [ratio]) for length, ratio in sides)
        centre, sd = density.prior.moments(p)
        starts = [
            np.append(centre[:p], np.log(1e-2)),
            np.append(centre[:p] - 0.5, np.log(1e-4)),
            *(rng.normal(centre, sd) for _ in range(self.starts - 2)),
        ]
        starts = [np.clip(start, low, high) for start in starts[: self.starts]]
        data, screen = density.data, self.limits.screen
        if len(starts) > 1 and len(data.y) > self.limits.compare and screen < len(data.y):
            few = replace(density, data=data.rows(good_and_spread(data.X, data.y, screen)))
            found = [_search(few, start, low, high) for start in starts]
            starts = [min(found, key=lambda result: result[1])[0]]
        found = [_search(density, start, low, high) for start in starts]
        theta, value = min(found, key=lambda result: result[1])
        if value >= FAILED:
            # A search that fails everywhere ends where it began.
            warn_once(logger, "no length scales could be estimated; those of the prior are used")
        return theta, value


def _search(
    density: NegativeLogPosterior, start: FloatArray, low: FloatArray, high: FloatArray
) -> tuple[FloatArray, float]:
    """The local minimum found from a start, and its value.

    In units of the prior's sd, in which the prior has curvature 1 along every axis: a fifth fewer
    evaluations.
    """
    centre, sd = density.prior.moments(len(start) - 1)

    def standardised(u: FloatArray) -> tuple[float, FloatArray]:
        value, gradient = density(centre + sd * u)
        return value, gradient * sd

    begin, least, most = ((theta - centre) / sd for theta in (start, low, high))
    u, value = descend(standardised, begin, least, most, EVALUATIONS, TOLERANCE)
    return centre + sd * u, value


def _check(X: FloatArray, y: FloatArray, groups: IntArray) -> None:
    if X.ndim != 2 or y.shape != X.shape[:1] or groups.shape != X.shape[1:] or len(y) == 0:
        raise ValueError(
            f"features {X.shape}, values {y.shape} and groups {groups.shape} do not match; "
            "expected n x e, n and e with n >= 1"
        )
    if not (np.isfinite(X).all() and np.isfinite(y).all()):
        raise ValueError("features or values are not finite; impute failed evaluations first")
    if np.abs(X).max(initial=0.0) > FARTHEST:
        raise ValueError(f"a feature is {np.abs(X).max():.3g}; expected the unit cube")


def _standard(y: FloatArray) -> tuple[float, float]:
    """Offset and scale that standardise y; a constant y has the scale of its magnitude."""
    largest = float(np.abs(y).max()) or 1.0
    shares = y / largest  # the squares of huge values overflow
    offset, sd = float(shares.mean()) * largest, float(shares.std()) * largest
    if sd > 1e-12 * abs(offset):
        return offset, sd
    return offset, abs(offset) or 1.0
