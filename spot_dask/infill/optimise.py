"""The optimiser of infill criteria: picks a batch of new configurations, one after the other.

A pool of candidates is made once per batch. For every point of the batch the criterion ranks the
pool, the best few are improved (along continuous parameters by gradient, over discrete ones by
exchanging one at a time), and the best configuration wins; then its outcome is believed
(``fantasies.py``) before the next point is picked. Whatever is compared is snapped to the space
first, so no value is ever promised that its configuration does not have.

Where the criterion is not a number a candidate is the last choice; if it is none anywhere, all
candidates are equal, and the first of the pool are spread evenly over the space.

d row columns, e feature columns, m candidates; rows are points of the unit cube.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np

from spot_dask.constraints import EVEN
from spot_dask.errors import warn_once
from spot_dask.infill import Request
from spot_dask.infill.candidates import KnownRows, exchange, make_pool
from spot_dask.infill.climb import climb
from spot_dask.infill.fantasies import (
    Belief,
    BoolArray,
    Leaned,
    Score,
    Weighed,
    belief,
    lowest_rows,
)
from spot_dask.infill.limited import Limited
from spot_dask.space import Space
from spot_dask.surrogates import FloatArray, IntArray, Posterior
from spot_dask.surrogates.numerics import blas_threads

logger = logging.getLogger(__name__)

LEADERS = 5  # rows with clouds around them
EXCHANGED = 3  # rows whose discrete neighbours are tried
HILL = 0.5  # in length scales
LARGE = 64  # of larger batches only the first POLISHED points are improved beyond the pool
POLISHED = 32
CROWD = 128  # beside more pending trials only the first FEW points are: each costs far more there
FEW = 8


@dataclass(frozen=True)
class Search:
    """How hard to search: candidates in the pool, how many of the best are improved, and how.

    ``rounds`` alternate a local search of at most so many ``evaluations`` of all starts at once
    with an exchange of discrete parameters. Large batches have a pool of twice the size.
    """

    candidates: int = 1024
    starts: int = 8
    rounds: int = 4
    evaluations: int = 40


def greedy(
    score: Score,
    posterior: Posterior,
    request: Request,
    rng: np.random.Generator,
    search: Search | None = None,
    samples: int = 1,
) -> FloatArray:
    """A batch by a pointwise criterion, averaged over so many fantasies of open trials.

    At most q new, distinct, snapped rows (<= q x d), fewer only if there are no more. Raises
    ValueError if nothing is known yet.
    """
    if len(request.evaluated) + len(request.pending) == 0:
        raise ValueError("nothing is evaluated or pending; expected an initial design first")
    with blas_threads(len(request.evaluated)):
        known = KnownRows.of(request)
        believed, means = begun(score, posterior, request, rng, samples)
        believed = weighed(believed, request)
        leaders = leading(known.rows, means, request)
        polished = request.q if request.q <= LARGE else POLISHED
        if len(request.pending) > CROWD:
            polished = min(polished, FEW)
        return batch(believed, known, leaders, request.q, polished, search or Search(), rng)


def begun(
    score: Score,
    posterior: Posterior,
    request: Request,
    rng: np.random.Generator,
    samples: int = 1,
) -> tuple[Belief, FloatArray]:
    """The belief before a batch is picked, weighed by nothing, and the means at the known rows."""
    known = np.vstack((request.evaluated, request.pending))
    means, _ = posterior.predict(request.space.features(known))
    best, limits = means[: len(request.evaluated)], request.constrained
    if limits is not None:
        best = best[limits.feasible]
        if limits.alone:
            score, samples = nothing_to_gain, 1
    likely = replace(request, pending=hoped(request))
    return belief(score, posterior, likely, best, samples, rng), means


def nothing_to_gain(
    mean: FloatArray, sd: FloatArray, best: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The score while nothing fulfils the constraints: 0 everywhere, so that they alone count."""
    value = np.zeros(np.broadcast_shapes(mean.shape, sd.shape))
    return value, value, value


def leading(rows: FloatArray, means: FloatArray, request: Request) -> FloatArray:
    """The known rows (at most LEADERS x d) around which to look for candidates: the lowest means.

    Under constraints, of what is likelier than not to fulfil them; the likeliest where nothing is.
    """
    if request.constrained is not None:
        chance = request.constrained.log_chance(request.space.features(rows))
        likely = chance >= np.log(EVEN)
        rows, means = (rows[likely], means[likely]) if likely.any() else (rows, -chance)
    return lowest_rows(rows, means, LEADERS)


def hoped(request: Request) -> FloatArray:
    """The pending rows that are not likely to fail."""
    if request.risk is None:
        return request.pending
    return request.pending[request.risk.likely(request.space.features(request.pending))]


def weighed(believed: Belief, request: Request) -> Belief:
    """A belief, weighed by what is known of failures, constraints and durations, and by what the
    user believes."""
    pending = request.space.features(request.pending)
    if request.risk is not None:
        believed = Weighed(believed, request.risk.after(pending))
    if request.constrained is not None:
        believed = Limited(believed, request.constrained, pending, request.q)
    for weight in (request.price, request.leaning):
        believed = believed if weight is None else Leaned(believed, weight)
    return believed


def batch(
    believed: Belief,
    known: KnownRows,
    leaders: FloatArray,
    q: int,
    polished: int,
    search: Search,
    rng: np.random.Generator,
) -> FloatArray:
    """The rows (<= q x d) that are picked one after the other, each then believed.

    Clouds of candidates surround the ``leaders``; the first ``polished`` points are improved.
    """
    space, picked = known.space, np.empty((0, known.space.d))
    size = search.candidates * (2 if q > LARGE else 1)
    pool, complete = make_pool(known, leaders, size, rng)
    believed.watch(space.features(pool))
    open_ = np.ones(len(pool), dtype=np.bool_)
    while open_.any():
        values = _usable(believed.watched(open_), open_)
        row = pool[values.argmax()]
        if not complete and len(picked) < polished:
            row = maximise(believed, known, pool[open_], values[open_], search, rng)
        picked, known = np.vstack((picked, row)), known.with_row(row)
        if len(picked) == q:
            break
        believed.believe(space.features(row[None]))
        open_ &= known.apart(pool, row[None])
        if not (open_.any() or complete):
            pool, complete = make_pool(known, leaders, size, rng)
            believed.watch(space.features(pool))
            open_ = np.ones(len(pool), dtype=np.bool_)
    return picked


def maximise(
    believed: Belief,
    known: KnownRows,
    pool: FloatArray,
    values: FloatArray,
    search: Search,
    rng: np.random.Generator,
) -> FloatArray:
    """The new row (d) with the highest criterion found from a pool (m x d) with known values."""
    space = known.space
    first = _starts(values, pool / believed.scales, search.starts, rng)
    rows, values = pool[first], values[first]
    for _ in range(search.rounds):
        before = values.max()
        rows, values = _with(believed, known, rows, values, _climbed(believed, space, rows, search))
        order = np.argsort(-values, kind="stable")
        nearby = exchange(space, rows[order[:EXCHANGED]])
        if not len(nearby):
            break
        rows, values = _with(believed, known, rows, values, nearby)
        if values.max() <= before + 1e-6:
            break
        order = np.argsort(-values, kind="stable")[: search.starts]
        rows, values = rows[order], values[order]
    best: FloatArray = rows[values.argmax()]
    return best


def _with(
    believed: Belief, known: KnownRows, rows: FloatArray, values: FloatArray, more: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Rows and their values, with those of more rows that are new."""
    more = known.new(more)
    if not len(more):
        return rows, values
    added = believed.values(known.space.features(more))
    added[~np.isfinite(added)] = -np.inf
    return np.vstack((rows, more)), np.append(values, added)


def _usable(values: FloatArray, open_: BoolArray) -> FloatArray:
    """Values (m) with -inf where they are not finite; if none is, all open ones are equal."""
    finite = np.isfinite(values)
    if finite.any():
        return np.where(finite, values, -np.inf)
    warn_once(logger, "the criterion is not a number anywhere: space-filling points")
    return np.where(open_, 0.0, -np.inf)


def _starts(values: FloatArray, Z: FloatArray, count: int, rng: np.random.Generator) -> IntArray:
    """Indices of up to ``count`` candidates: the best, the best of other hills, some by chance.

    A quarter, a quarter and a half of them. A hill is what lies within ``HILL`` of its best in
    scaled rows Z (m x d). The chances are proportional to exp(value), i.e. to the expected
    improvement for log EI.
    """
    left = values.copy()
    first = [int(i) for i in np.argsort(-values, kind="stable")[: (count + 3) // 4]]
    for i in first:
        left[np.square(Z - Z[i]).sum(axis=1) < HILL**2] = -np.inf
    while len(first) < (count + 1) // 2 and np.isfinite(left).any():
        first.append(int(left.argmax()))
        left[np.square(Z - Z[first[-1]]).sum(axis=1) < HILL**2] = -np.inf
    chances = np.exp(values - values[first[0]])
    chances[first] = 0.0
    chances[chances <= 1e-12] = 0.0
    others = min(count - len(first), int(np.count_nonzero(chances)))
    if others <= 0:
        return np.array(first, dtype=np.int64)
    drawn = rng.choice(len(values), size=others, replace=False, p=chances / chances.sum())
    return np.concatenate((first, drawn))


def _climbed(believed: Belief, space: Space, rows: FloatArray, search: Search) -> FloatArray:
    """The rows (m x d) after a local search along what can be climbed, snapped."""
    movable = space.climbable & space.active(rows)
    free = (space.columns >= 0) & movable[:, space.columns]
    X = space.features(rows)
    scales = believed.scales[space.groups]
    climbed = climb(believed.gradient, X, free, scales, search.evaluations)
    rows = rows.copy()
    for k in np.flatnonzero(free.any(axis=0)):
        j = space.columns[k]
        rows[:, j] = np.where(free[:, k], climbed[:, k], rows[:, j])
    return space.snap(rows)
