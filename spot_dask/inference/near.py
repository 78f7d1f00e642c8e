"""Where good configurations are: what the search knows best, because it looked there.

A configuration that was evaluated is *near-optimal* if it may, with a probability of at least 5 %,
be within delta of the best of them. Where ranges were changed, only those count that lie in the
present ones. Rows are snapped points of the unit cube, d free parameters.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from spot_dask.inference import Inference
from spot_dask.inference.present import columns
from spot_dask.stats import BoolArray
from spot_dask.stats.best import best_chances
from spot_dask.stats.landscape import ruggedness
from spot_dask.stats.region import Box, box_around
from spot_dask.surrogates import FloatArray, IntArray

CHANCE = 0.05
SHARE = 0.1
"""Of the way from a typical space-filling evaluation to the best: delta, unless it is given."""

TURNS = 4.0  # of the model along the whole range of a parameter: more are not to be believed
TURNS_INSIDE = 2.0  # within the box

DRAWS = 512


@dataclass(frozen=True, eq=False)
class NearOptimal:
    """The near-optimal ones among the m distinct configurations that were evaluated.

    ``rows`` (m x d) with the probability of each to be the ``best`` and to be ``within`` delta of
    it (m each); ``box`` holds those that may be; ``inside`` (n) are the evaluations in the box.
    ``delta`` is a difference of z.
    """

    rows: FloatArray
    best: FloatArray
    within: FloatArray
    delta: float
    box: Box
    inside: IntArray

    @property
    def chosen(self) -> BoolArray:
        """Which of the m rows are near-optimal."""
        return np.asarray(self.within >= min(CHANCE, float(self.within.max())))


def near_optimal(
    inference: Inference,
    rng: np.random.Generator,
    mde: float | None = None,
    eligible: BoolArray | None = None,
) -> NearOptimal:
    """What is near-optimal; ``mde`` is the smallest difference that matters, in the user's unit.

    Among the ``eligible`` evaluations (n; None: all). ValueError where none of those lies in the
    present ranges.
    """
    seen = inference.evidence
    fine = seen.present if eligible is None else seen.present & eligible
    if not fine.any():
        raise ValueError("no evaluation that succeeded lies in the present ranges")
    rows = np.unique(seen.X[fine], axis=0)
    draws = inference.paths(DRAWS, rng)(rows)
    mean = draws.mean(axis=0)
    delta = _delta(inference, float(mean.min()), mde)
    chances = best_chances(draws, delta)
    chosen = chances.within >= min(CHANCE, float(chances.within.max()))
    levels, factors = columns(inference.space)
    box = box_around(rows[chosen], {**levels, **seen.region.levels}, factors)
    box = replace(
        box, low=np.maximum(box.low, seen.region.low), high=np.minimum(box.high, seen.region.high)
    )
    apart = np.maximum(box.low - seen.X, seen.X - box.high)
    inside = apart.max(axis=1) <= 1e-9
    for i in factors:
        inside &= np.isin(seen.X[:, i], box.levels[i])
    return NearOptimal(rows, chances.best, chances.within, delta, box, np.flatnonzero(inside))


def too_rough(inference: Inference, box: Box) -> list[str]:
    """The parameters along which the model is too rough to speak of the box; none as a rule.

    Where a search has looked, many evaluations are close together. What the model takes for a
    function that turns often along the range of a parameter may there be a crease at the best, and
    where the box holds several minima, nobody has looked between them. Only parameters with a
    continuum of values count: between levels a function may do what it likes.
    """
    sets = inference.process.sets
    lengths = np.exp(np.mean([np.log(s.scales) for s in sets], axis=0))
    turns = ruggedness(0.0, 1.0, lengths).turns
    inside = turns * (box.high - box.low)
    rough = (turns > TURNS) | (inside > TURNS_INSIDE)
    return [name for i, name in enumerate(inference.space.free) if rough[i] and i not in box.levels]


def _delta(inference: Inference, best: float, mde: float | None) -> float:
    """The difference of z that counts as none."""
    if mde is not None and mde > 0:
        at = inference.user(np.array([best]))
        with np.errstate(all="ignore"):
            worse = float(inference.internal(at + inference.sign * mde)[0])
        if np.isfinite(worse):
            return max(0.0, worse - best)
    filling = inference.evidence.filling & inference.evidence.present
    typical = float(np.median(inference.z[filling] if filling.any() else inference.z))
    return max(0.0, SHARE * (typical - best))
