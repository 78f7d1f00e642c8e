"""Initial designs: the default configuration, the user's, then points that fill the space.

Distances are measured between features, where the surrogate measures them too, so that factors
and inactive parameters count as they do there. All rows are snapped and distinct.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.spatial.distance import cdist
from scipy.stats import qmc

from spot_dask.records import Configuration, Import
from spot_dask.settings import Design
from spot_dask.space import Space
from spot_dask.space.parameters import FloatArray

_ROUNDS = 40
_SWAPS = 32
_CANDIDATES = 1024
_ATTEMPTS = 20
_LISTABLE = 4096
_LARGEST_GRID = 100_000


def initial_design(
    space: Space, design: Design, start: Sequence[Configuration], rng: np.random.Generator
) -> list[Configuration]:
    """The default, the valid start configurations and space-filling ones, all distinct.

    Never fewer than the default and the start configurations; fewer than asked for only where the
    space has no more. Raises ValueError naming the start configuration that is not valid.
    """
    given = space.encode([space.default, *_validated(space, start)])
    rows = given[_first_of_each(space, given)]
    wanted = design.size(space) - len(rows)
    if wanted > 0:
        draw = _latin_hypercube if design.kind == "lhs" else _sobol
        drawn = draw(space, wanted, rows, rng)
        rows = _extended(space, rows, drawn[space.allowed(drawn)])[: design.size(space)]
        missing = design.size(space) - len(rows)
        rows = np.vstack([rows, space_filling(space, missing, rows, rng)])
    return list(space.decode(rows))


def best_of_each(
    space: Space, sources: Sequence[Sequence[Import]], count: int
) -> list[Configuration]:
    """At most ``count`` distinct configurations: the best of each source in turn, then the next.

    Equals count as better the earlier they were imported.
    """
    ranked = [sorted(items, key=lambda item: item.y) for items in sources]
    found: dict[bytes, Configuration] = {}
    for rank in range(max(map(len, ranked), default=0)):
        for items in ranked:
            if rank < len(items) and len(found) < count:
                config = items[rank].config
                found.setdefault(space.row_keys(space.encode([config]))[0], config)
    return list(found.values())


def space_filling(
    space: Space,
    n: int,
    known: FloatArray,
    rng: np.random.Generator,
    chances: Callable[[FloatArray], FloatArray] | None = None,
) -> FloatArray:
    """At most n new rows (m x d), distinct and not among known rows (k x d), far from all others.

    Greedy maximin among candidates: all configurations of a small space, else random ones. With
    ``chances``, weights (m) by how likely trainings at features (m x e) succeed, a distance counts
    by them, so that known failures are not surrounded by more. Fewer than n only if no more exist
    or can be found by chance.
    """
    if n <= 0:
        return np.empty((0, space.d))
    candidates = _candidates(space, n, known, rng)
    features = space.features(candidates)
    nearest = np.full(len(candidates), np.inf)
    if len(known):
        nearest = cdist(features, space.features(known)).min(axis=1)
    weights = np.ones(len(candidates)) if chances is None else chances(features)
    picked: list[int] = []
    for _ in range(min(n, len(candidates))):
        best = int(np.argmax(weights * nearest))
        picked.append(best)
        nearest = np.minimum(nearest, cdist(features, features[best : best + 1])[:, 0])
    return candidates[picked]


def _candidates(space: Space, n: int, known: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Distinct snapped rows that are not known, in random order: at least n if they exist."""
    size = space.size
    if size > _LISTABLE:
        found = known
        for _ in range(_ATTEMPTS):
            drawn = space.snap(rng.random((max(_CANDIDATES, 4 * n), space.d)))
            found = _extended(space, found, drawn[space.allowed(drawn)])
            if len(found) >= len(known) + n:
                return found[len(known) :]
        if size > _LARGEST_GRID:
            return found[len(known) :]
    listed = _extended(space, known, space.grid())[len(known) :]
    return listed[rng.permutation(len(listed))]


def _latin_hypercube(
    space: Space, n: int, known: FloatArray, rng: np.random.Generator
) -> FloatArray:
    """A Latin hypercube (n x d, snapped) far from known rows and with far apart points.

    Strata of discrete parameters are met at their centres, so that the counts of any two values
    differ by at most one. Pairs are swapped within columns to lower the sum of distance^-10
    [Morris and Mitchell 1995, eq. 2], over all pairs of new rows and of new and known rows.
    """
    ranks = rng.permuted(np.tile(np.arange(n)[:, None], (1, space.d)), axis=0)
    within = np.where(space.continuous, rng.random((n, space.d)), 0.5)
    X = (ranks + within) / n
    if n > 1 and space.d > 0:
        for _ in range(_ROUNDS):
            X = _best_swap(space, X, space.features(known), rng)
    return space.snap(X)


def _best_swap(
    space: Space, X: FloatArray, known: FloatArray, rng: np.random.Generator
) -> FloatArray:
    """X (n x d) after the best of some random swaps within a column, if any is an improvement."""
    n, each = len(X), np.arange(_SWAPS)
    j = rng.integers(space.d, size=_SWAPS)
    a = rng.integers(n, size=_SWAPS)
    b = (a + rng.integers(1, n, size=_SWAPS)) % n
    rows_a, rows_b = X[a], X[b]
    rows_a[each, j], rows_b[each, j] = X[b, j], X[a, j]
    moved = space.features(space.snap(np.vstack([X, rows_a, rows_b])))
    new, to_a, to_b = moved[:n], moved[n : n + _SWAPS], moved[n + _SWAPS :]
    others = np.vstack([new, known])
    change = np.zeros(_SWAPS)
    for before, after in ((new[a], to_a), (new[b], to_b)):
        for points, sign in ((before, -1.0), (after, 1.0)):
            repulsion = _repulsion(cdist(points, others, "sqeuclidean"))
            repulsion[each, a] = repulsion[each, b] = 0.0
            change += sign * repulsion.sum(axis=1)
    pair = _repulsion(((to_a - to_b) ** 2).sum(axis=1))
    change += pair - _repulsion(((new[a] - new[b]) ** 2).sum(axis=1))
    best = int(np.argmin(change))
    if change[best] < 0:
        X = X.copy()
        X[a[best]], X[b[best]] = rows_a[best], rows_b[best]
    return X


def _repulsion(squared: FloatArray) -> FloatArray:
    # The small number keeps coinciding points finite: the worst, but comparable.
    return np.asarray((squared + 1e-12) ** -5.0)


def _sobol(space: Space, n: int, known: FloatArray, rng: np.random.Generator) -> FloatArray:
    """The first n points (snapped) of a scrambled Sobol sequence that are new and distinct."""
    if space.d == 0:
        return np.empty((0, 0))
    # Twice as many as needed, for those that coincide; a power of two, as the sequence is built.
    power = (2 * n - 1).bit_length()
    drawn = space.snap(qmc.Sobol(space.d, scramble=True, seed=rng).random_base2(power))
    return _extended(space, known, drawn)[len(known) :][:n]


def _extended(space: Space, known: FloatArray, rows: FloatArray) -> FloatArray:
    """Known rows (k x d) followed by those rows that are new, each once."""
    both = np.vstack([known, rows])
    first = _first_of_each(space, both)
    return both[np.union1d(np.arange(len(known)), first)]


def _first_of_each(space: Space, rows: FloatArray) -> list[int]:
    """Indices of the first row of every distinct configuration, ascending."""
    firsts: dict[bytes, int] = {}
    for i, key in enumerate(space.row_keys(rows)):
        firsts.setdefault(key, i)
    return list(firsts.values())


def _validated(space: Space, start: Sequence[Configuration]) -> list[Configuration]:
    valid: list[Configuration] = []
    for i, config in enumerate(start):
        try:
            valid.append(space.validate(config))
        except ValueError as error:
            raise ValueError(f"start configuration {i}: {error}") from None
    return valid
