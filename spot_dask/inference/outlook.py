"""What more evaluations can be expected to bring, in the user's units.

From the model of inference alone: the largest expected improvement over the best configuration
that was tried, how it went with the last evaluations, and a bound of the regret. All are about
differences to the best, the configuration b of least posterior mean: what is uncertain of all
values alike, as where all trainings had one seed, is nothing that a search could gain. Candidates
are rows that fill the space and rows near the best ones; the true largest values lie a little
higher.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

from spot_dask.inference import LEAST, Inference
from spot_dask.inference.present import lies_in
from spot_dask.inference.process import Conditioned
from spot_dask.stats import BoolArray
from spot_dask.stats.advice import RECENT, confidence_factor
from spot_dask.surrogates import FloatArray

SPREAD = 512
NEAR = 64  # around each of the NEIGHBOURS best
NEIGHBOURS = 3
SEED = 20220711
NODES = 48
TAIL = 8.5  # sd beyond which nothing is expected


@dataclass(frozen=True)
class Outlook:
    """What more can bring after n evaluations; everything but ``counts`` in the user's units.

    ``improvement`` is the largest expected improvement now. ``recent`` holds those after each of
    the last evaluations, of which there were then ``counts``, under today's hyperparameters.
    ``bound`` is that of the regret: the largest over all candidates x of the upper bound
    mean + sqrt(beta) sd of f(b) - f(x), beta as in ``stats.advice.confidence_factor``. ``noise`` is
    the sd of a single training near the best.
    """

    improvement: float
    recent: tuple[float, ...]
    counts: tuple[int, ...]
    bound: float
    noise: float


def outlook(model: Inference, eligible: BoolArray | None = None) -> Outlook:
    """The outlook of a fitted model; a pure function of it.

    The best is one of the ``eligible`` evaluations (n; None: all). What is to be gained knows of no
    constraint, so that it is at most that. ValueError where no such evaluation lies in the present
    ranges.
    """
    fine = model.evidence.present if eligible is None else model.evidence.present & eligible
    tried = model.evidence.X[fine]
    known = model.mean(tried)
    base = model.space.features(tried[[int(known.argmin())]])
    rows = candidates(model)
    features = model.space.features(rows)
    mean, sd = model.process.contrast(features, base)
    best = float(known.min())
    factor = confidence_factor(max(1, model.space.d), len(known))
    least = best + min(0.0, float((mean - factor * sd).min()))
    ends = model.sign * model.user(np.array([least, best]))
    recent, counts = _recent(model, features, fine)
    return Outlook(
        improvement=float(expected_improvement(model, best + mean, sd, best).max()),
        recent=recent,
        counts=counts,
        bound=float(ends[1] - ends[0]),
        noise=noise_at(model, best),
    )


def noise_at(model: Inference, z: float) -> float:
    """The standard deviation (user's units) of a single training where the objective is z."""
    low, high = model.user(z + model.noise[0] * np.array([-0.5, 0.5]))
    return abs(float(high - low))


def candidates(model: Inference) -> FloatArray:
    """Snapped rows (m x d) that fill the space, and rows near the best that were tried."""
    rng = np.random.default_rng(SEED)
    cells = np.tile(np.arange(SPREAD)[:, None], (1, model.space.d))
    raw = (rng.permuted(cells, axis=0) + rng.random(cells.shape)) / SPREAD
    seen = model.evidence
    tried = seen.X[seen.present]
    best = np.argsort(model.mean(tried), kind="stable")[:NEIGHBOURS]
    near: list[FloatArray] = []
    for row in tried[best]:
        # Steps of all sizes from a fifth of the space down, in about half of the columns.
        size = 0.2 * rng.random((NEAR, 1)) ** 2
        moved = rng.random((NEAR, len(row))) < 0.5
        near.append(np.clip(row + moved * size * rng.standard_normal((NEAR, len(row))), 0.0, 1.0))
    around = model.space.snap(np.vstack(near))
    if seen.changed:
        around = around[lies_in(seen.space, seen.region, around)]
    return np.vstack([model.snap(raw), around])


def expected_improvement(
    model: Inference, mean: FloatArray, sd: FloatArray, best: float
) -> FloatArray:
    """E max(f(best) - f, 0) in the user's units for z normal with mean and sd (m each).

    ``best`` is the z to improve on. Integrated numerically, as the objective is a transformation
    of z; under the identity it is the closed form of ``stats.advice`` times the scale.
    """
    spread = np.maximum(sd, 1e-300)
    end = np.clip((best - mean) / spread, -30.0, TAIL)
    start = np.minimum(end, 0.0) - TAIL
    x, w = np.polynomial.legendre.leggauss(NODES)
    u = start + (end - start) * (x[:, None] + 1) / 2
    value = model.sign * model.user(mean + sd * u)
    known = model.sign * float(model.user(np.array(best)))
    gain = np.maximum(known - value, 0.0) * np.exp(-0.5 * u * u) / np.sqrt(2 * np.pi)
    found = (w[:, None] * gain).sum(axis=0) * (end - start) / 2
    # What lies beyond TAIL sd where all of it improves: nothing worth counting.
    certain = np.maximum(known - model.sign * model.user(mean), 0.0)
    return np.where(sd > 0, found, certain)


def _recent(
    model: Inference, features: FloatArray, fine: BoolArray
) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """The largest expected improvement (m candidates) after each of the last evaluations.

    In order of their numbers, the Cholesky factor L of the first k evaluations is the head of that
    of all n. So are L^-1 r for every right side r, and sums over their first k entries are what the
    first k evaluations tell.
    """
    mode = model.process.mode
    order, n = np.argsort(model.evidence.numbers, kind="stable"), len(model.z)
    part = Conditioned(mode.data.rows(order), mode.theta)
    X, m = part.data.F, len(features)
    R = part.correlation(np.vstack([features, X]), X).T
    sides = np.column_stack([R, np.ones(n), part.data.z])
    solved = solve_triangular(part.factor, sides, lower=True, check_finite=False)
    counts = tuple(range(max(LEAST, n - RECENT + 1), n + 1))
    here, found = fine[order], []
    for k in counts:
        V, ones, z = solved[:k, :-2], solved[:k, -2], solved[:k, -1]
        level = float(ones @ z) / float(ones @ ones)
        alpha = z - level * ones
        known = level + alpha @ V[:, m : m + k]
        b = int(np.where(here[:k] | ~here[:k].any(), known, np.inf).argmin())
        apart = V[:, :m] - V[:, m + b, None]
        u = ones @ apart
        variance = 2.0 - 2.0 * R[b, :m] + u * u / float(ones @ ones)
        variance -= np.einsum("ij,ij->j", apart, apart)
        s2 = part.variance(float(alpha @ alpha), k)
        sd, best = np.sqrt(s2 * np.maximum(variance, 0.0)), float(known[b])
        mean = alpha @ apart
        found.append(float(expected_improvement(model, best + mean, sd, best).max()))
    return tuple(found), counts
