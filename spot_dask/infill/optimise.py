"""The optimiser of infill criteria: picks a batch of new configurations, one after the other.

A pool of candidates is made once per batch. For every point of the batch the criterion scores the
pool, the best few are improved (along continuous parameters by gradient, over discrete ones by
exchanging one at a time), and the best configuration wins; the surrogate is then conditioned on its
own mean there (a believer) before the next point is picked. Whatever is compared is snapped to the
space first, so no value is ever promised that its configuration does not have.

d row columns, e feature columns, m candidates; rows are points of the unit cube.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from spot_dask.infill import Request
from spot_dask.infill.candidates import Known, exchange, make_pool
from spot_dask.infill.feasible import Risk
from spot_dask.space import Space
from spot_dask.surrogates import FloatArray, IntArray, Posterior
from spot_dask.surrogates.descent import descend
from spot_dask.surrogates.feasibility import BoolArray
from spot_dask.surrogates.threads import blas_threads

LEADERS = 5  # rows with clouds around them, and rows whose discrete neighbours are tried

Score = Callable[[FloatArray, FloatArray, float], tuple[FloatArray, FloatArray, FloatArray]]
"""A pointwise criterion: (mean, sd, best) -> its values, larger is better, and their derivatives
with respect to mean and sd; ``best`` is the lowest posterior mean at what is known."""


@dataclass(frozen=True)
class Search:
    """How hard to search: candidates in the pool, how many of the best are improved, and how.

    ``rounds`` alternate a local search of at most so many ``evaluations`` per start with an
    exchange of discrete parameters.
    """

    candidates: int = 1024
    starts: int = 4
    rounds: int = 3
    evaluations: int = 40


@dataclass(frozen=True)
class Criterion:
    """A pointwise criterion under one posterior, weighted by the risk of failure."""

    score: Score
    posterior: Posterior
    best: float
    risk: Risk | None = None

    def values(self, features: FloatArray) -> FloatArray:
        """The criterion at m x e features: m values, larger is better."""
        mean, sd = self.posterior.predict(features)
        values = self.score(mean, sd, self.best)[0]
        return values if self.risk is None else self.risk.weigh(values, features)

    def gradient(self, features: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The criterion (m) and its gradient with respect to m x e features."""
        values, by_mean, by_sd = self.score(*self.posterior.predict(features), self.best)
        mean, sd = self.posterior.gradient(features)
        gradient: FloatArray = by_mean[:, None] * mean + by_sd[:, None] * sd
        if self.risk is None:
            return values, gradient
        return self.risk.weigh_gradient(values, gradient, features)


def greedy(
    score: Score,
    posterior: Posterior,
    request: Request,
    rng: np.random.Generator,
    search: Search | None = None,
) -> FloatArray:
    """A batch by a pointwise criterion, believing the surrogate's own mean at pending points.

    At most q new, distinct, snapped rows (<= q x d), fewer only if there are no more. Raises
    ValueError if nothing is known yet.
    """
    if len(request.evaluated) + len(request.pending) == 0:
        raise ValueError("nothing is evaluated or pending; expected an initial design first")
    with blas_threads(len(request.evaluated)):
        return _batch(score, posterior, request, rng, search or Search())


def _batch(
    score: Score, posterior: Posterior, request: Request, rng: np.random.Generator, search: Search
) -> FloatArray:
    space, known, picked = request.space, Known.of(request), np.empty((0, request.space.d))
    pending, risk = space.features(request.pending), request.risk
    reached = np.ones(len(known.rows), dtype=bool)
    if len(pending):
        posterior = _believe(posterior, pending)
        reached[len(request.evaluated) :] = _reached(risk, pending)
        risk = risk.after(pending) if risk else None
    mean, _ = posterior.predict(space.features(known.rows))
    best = float(mean[reached].min() if reached.any() else mean.min())
    leaders = known.rows[np.argsort(mean, kind="stable")[:LEADERS]]
    pool, complete = make_pool(known, leaders, search.candidates, rng)
    while len(pool):
        criterion = Criterion(score, posterior, best, risk)
        row = (
            _best_of(criterion, space, pool)
            if complete
            else maximise(criterion, known, pool, rng, search)
        )
        picked, known = np.vstack((picked, row)), known.with_row(row)
        if len(picked) == request.q:
            break
        features = space.features(row[None])
        if _reached(risk, features)[0]:
            best = min(best, float(posterior.predict(features)[0][0]))
        posterior = _believe(posterior, features)
        risk = risk.after(features) if risk else None
        pool = known.new(pool)
        if not (len(pool) or complete):
            pool, complete = make_pool(known, leaders, search.candidates, rng)
    return picked


def maximise(
    criterion: Criterion, known: Known, pool: FloatArray, rng: np.random.Generator, search: Search
) -> FloatArray:
    """The new row (d) with the highest criterion found from a pool (m x d) of new ones."""
    space = known.space
    values = criterion.values(space.features(pool))
    rows = pool[_starts(values, search.starts, rng)]
    best: FloatArray = pool[values.argmax()]
    value = values.max()
    for _ in range(search.rounds):
        rows = np.vstack((rows, known.new(space.snap(_polished(criterion, space, rows, search)))))
        values = criterion.values(space.features(rows))
        if values.max() > value:
            best, value = rows[values.argmax()], values.max()
        rows = known.new(exchange(space, rows[np.argsort(-values, kind="stable")[:LEADERS]]))
        if not len(rows):
            break
        values = criterion.values(space.features(rows))
        if values.max() <= value:
            break
        best, value = rows[values.argmax()], values.max()
        rows = rows[np.argsort(-values, kind="stable")[: search.starts]]
    return best


def _best_of(criterion: Criterion, space: Space, pool: FloatArray) -> FloatArray:
    best: FloatArray = pool[criterion.values(space.features(pool)).argmax()]
    return best


def _believe(posterior: Posterior, features: FloatArray) -> Posterior:
    return posterior.condition(features, posterior.predict(features)[0])


def _reached(risk: Risk | None, features: FloatArray) -> BoolArray:
    """Which pending values (m) may be believed to be reached: not where a failure is likely."""
    return np.ones(len(features), dtype=bool) if risk is None else risk.likely(features)


def _starts(values: FloatArray, count: int, rng: np.random.Generator) -> IntArray:
    """Indices of up to ``count`` candidates: the better half the best ones, others by chance.

    With chances proportional to exp(value), i.e. to the expected improvement for log EI, so that
    not all climb the same hill.
    """
    order = np.argsort(-values, kind="stable")
    first = order[: max(1, count // 2)]
    chances = np.exp(values - values[order[0]])
    chances[first] = 0.0
    others = min(count - len(first), int(np.count_nonzero(chances > 1e-12)))
    if others <= 0:
        return first
    chances[chances <= 1e-12] = 0.0
    drawn = rng.choice(len(values), size=others, replace=False, p=chances / chances.sum())
    return np.concatenate((first, drawn))


def _polished(criterion: Criterion, space: Space, rows: FloatArray, search: Search) -> FloatArray:
    """The rows (m x d) after a local search along their active continuous columns, not snapped."""
    polished = rows.copy()
    active = space.continuous & space.active(rows)
    for row, features, movable in zip(polished, space.features(rows), active, strict=True):
        places = np.flatnonzero((space.columns >= 0) & movable[space.columns])
        if not len(places):
            continue
        columns = space.columns[places]
        zeros = np.zeros(len(places))
        loss = _Loss(criterion, features, places)
        row[columns], _ = descend(loss, row[columns], zeros, zeros + 1.0, search.evaluations)
    return polished


@dataclass(frozen=True)
class _Loss:
    """Minus the criterion as a function of some of the features (e), others fixed."""

    criterion: Criterion
    features: FloatArray
    places: IntArray

    def __call__(self, x: FloatArray) -> tuple[float, FloatArray]:
        features = self.features.copy()
        features[self.places] = x
        values, gradient = self.criterion.gradient(features[None])
        return -float(values[0]), -gradient[0, self.places]
