"""The model of inference: what statements about a study are computed from.

It is apart from the model of the search. The search may pull in runaway values and believe in
little noise, which helps it to find good configurations; statements made from such data do not
hold. This model sees the true values, all of them, under the transformation that describes them
best, knows which share a seed, and learns the noise from what was repeated.

n evaluations, d free parameters; rows are snapped points of the unit cube. ``v`` is the objective
in the user's sign, ``z`` what the process describes: transformed, minimised, standardised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import LinAlgError

from spot_dask.inference.present import lies_in, present_box
from spot_dask.inference.process import SETS, Observed, Process, fit
from spot_dask.inference.transform import Transform, candidates, transform
from spot_dask.records import Configuration, Evaluation, History, Origin
from spot_dask.space import Space
from spot_dask.stats import BoolArray
from spot_dask.stats.region import Box
from spot_dask.surrogates import FloatArray, IntArray
from spot_dask.surrogates.points import good_near_and_spread

FARTHEST = 1e300  # so that sums of thousands and differences are still numbers

LEAST = 4
"""Evaluations below which there is no model."""

HELD = 600
"""The most evaluations that the process holds; further ones are left out, and it says so."""

BLOCK = 2048
"""Rows at which drawn functions are computed at once, that memory stays small."""

COST = 400_000
"""p n^2 of the evaluations that hyperparameters are estimated from."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """Values v (n) in the user's sign at rows X (n x d), with their seeds' blocks (n).

    ``numbers`` (n) are trial numbers, -1 for imported ones, and ``filling`` (n) tells which
    evaluations were placed to fill the space, not where the search expected something. ``within``
    are the ranges that are searched at present, which are part of ``space``; None where they are
    the space.
    """

    space: Space
    X: FloatArray
    v: FloatArray
    blocks: IntArray
    numbers: IntArray
    filling: BoolArray
    within: Space | None = None

    @cached_property
    def changed(self) -> bool:
        """Whether the present ranges are less than the space."""
        return self.within is not None and self.within != self.space

    @cached_property
    def region(self) -> Box:
        """The present ranges as a box of raw rows."""
        return present_box(self.space, self.within or self.space)

    def inside(self, raw: FloatArray) -> FloatArray:
        """Raw rows (m x d) of the unit cube as raw rows of the present ranges."""
        return self.region(raw) if self.changed else raw

    @cached_property
    def present(self) -> BoolArray:
        """Which evaluations (n) lie in the present ranges."""
        if not self.changed:
            return np.ones(len(self.v), dtype=np.bool_)
        return lies_in(self.space, self.region, self.X)


@dataclass(frozen=True, eq=False)
class Inference:
    """The fitted model of inference.

    ``scores`` holds the leave-one-out log density per evaluation under each transformation that
    was tried; the best, or the one that was ``forced``, is in use. ``left_out`` evaluations were
    too many to hold.
    """

    evidence: Evidence
    sign: float
    transform: Transform
    process: Process
    offset: float
    scale: float
    scores: dict[str, float]
    forced: bool = False
    left_out: int = 0

    @property
    def space(self) -> Space:
        return self.evidence.space

    def snap(self, raw: FloatArray) -> FloatArray:
        """Raw rows (m x d) of the present ranges as snapped rows of the space."""
        return self.space.snap(self.evidence.inside(raw))

    def mean(self, rows: FloatArray) -> FloatArray:
        """Posterior mean of z (m) at rows (m x d): the objective over all seeds."""
        return self.process.mean(self.space.features(rows))

    def predict(self, rows: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Posterior mean and sd of z (m each) at rows (m x d)."""
        return self.process.predict(self.space.features(rows))

    def joint(self, rows: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Posterior mean (m) and covariance (m x m) of z at rows (m x d)."""
        return self.process.joint(self.space.features(rows))

    def paths(self, count: int, rng: np.random.Generator) -> Callable[[FloatArray], FloatArray]:
        """``count`` coherent posterior draws of z as a function: rows (m x d) to (count x m)."""
        draw = self.process.paths(count, rng)

        def paths(rows: FloatArray) -> FloatArray:
            parts = (rows[i : i + BLOCK] for i in range(0, len(rows), BLOCK))
            return np.hstack([draw(self.space.features(part)) for part in parts])

        return paths

    def leave_one_out(self) -> tuple[FloatArray, FloatArray]:
        """Mean and sd (n each) of every z as the others predict it, noise included."""
        return self.process.leave_one_out()

    def hold_out(self, held: IntArray) -> tuple[FloatArray, FloatArray]:
        """Mean (k) and covariance (k x k) of z of the evaluations ``held`` from all others."""
        return self.process.hold_out(held)

    @property
    def z(self) -> FloatArray:
        """The evaluations' z (n)."""
        return self.process.mode.data.z

    def user(self, z: FloatArray) -> FloatArray:
        """z (any shape) as the objective in the user's sign; medians stay medians.

        Finite: what a logarithmic scale gives back beyond the reach of floats is ``FARTHEST``.
        """
        back = self.transform.back(self.sign * (self.offset + self.scale * np.asarray(z)))
        return np.clip(back, -FARTHEST, FARTHEST)

    def internal(self, v: FloatArray) -> FloatArray:
        """Values v (any shape) of the objective in the user's sign as z."""
        return (self.sign * self.transform.forward(v) - self.offset) / self.scale

    @property
    def noise(self) -> tuple[float, float]:
        """Standard deviations of z between trainings of one seed and between seeds."""
        error, seed = self.process.noise
        return float(np.sqrt(error)), float(np.sqrt(seed))


def evidence(space: Space, history: History, sign: float, within: Space | None = None) -> Evidence:
    """What succeeded: the search's evaluations and imported ones.

    ``within`` are the present ranges where they were changed; else they are those of the space.

    Confirmations stay out, so that what they confirm does not depend on them. Evaluations with the
    same seed share a block; an imported one shares it with the others of its source.
    """
    own = [e for e in searched(history) if e.ok]
    imports = history.imports
    configs: list[Configuration] = [i.config for i in imports] + [e.trial.config for e in own]
    labels = [i.source_run for i in imports] + [f"seed {e.trial.seed}" for e in own]
    place = {label: k for k, label in enumerate(dict.fromkeys(labels))}
    planned = (Origin.DEFAULT, Origin.DESIGN, Origin.EXPLORE)
    return Evidence(
        space,
        space.encode(configs) if configs else np.empty((0, space.d)),
        sign * np.array([i.y for i in imports] + [e.y for e in own], dtype=float),
        np.array([place[label] for label in labels], dtype=np.int64),
        np.array([-1] * len(imports) + [e.trial.number for e in own], dtype=np.int64),
        np.array([False] * len(imports) + [e.trial.origin in planned for e in own], dtype=bool),
        within,
    )


def searched(history: History) -> list[Evaluation]:
    """The evaluations that are no confirmations, by trial number."""
    found = (e for e in history.evaluations if e.trial.origin is not Origin.CONFIRM)
    return sorted(found, key=lambda e: e.trial.number)


def infer(seen: Evidence, sign: float, forced: str = "auto", seed: int = 0) -> Inference | None:
    """The model of inference of what was seen; None below LEAST evaluations or where it fails.

    ``sign`` is -1 where the objective is maximised. ``forced`` names a transformation; raises
    ValueError where the values do not allow it.
    """
    n = len(seen.v)
    if n < LEAST:
        return None
    tried = (
        candidates(seen.v, sign < 0) if forced == "auto" else [transform(forced, seen.v, sign < 0)]
    )
    kept = np.arange(n)
    features = seen.space.features(seen.X)
    if n > HELD:
        kept = good_near_and_spread(features, sign * seen.v, HELD)
    found: list[tuple[float, Transform, float, float, FloatArray]] = []
    rng = np.random.default_rng([seed, n])
    tuned = _thinned(features[kept], sign * seen.v[kept], seen.space.d)
    start: FloatArray | None = None
    member = seen.space.groups
    try:
        for option in tried:
            t = sign * option.forward(seen.v[kept])
            offset, scale = float(t.mean()), float(t.std())
            if not scale > 1e-12 * abs(offset):
                scale = abs(offset) or 1.0
            data = Observed(features[kept], (t - offset) / scale, seen.blocks[kept], member)
            process = fit(data, rng, tuned, start, sets=1)
            start = start if len(tried) == 1 else process.mode.theta
            mean, sd = process.leave_one_out()
            score = _log_density(data.z, mean, sd) - np.log(scale)
            score += float(option.log_jacobian(seen.v[kept]).mean())
            found.append((score, option, offset, scale, data.z))
        score, option, offset, scale, z = max(found, key=lambda item: item[0])
        data = Observed(features[kept], z, seen.blocks[kept], member)
        sets = SETS if len(kept) <= 300 else 2
        process = fit(data, rng, tuned, sets=sets)
    except LinAlgError:
        return None
    scores = {option.name: float(score) for score, option, *_ in found}
    part = Evidence(
        seen.space, seen.X[kept], seen.v[kept], seen.blocks[kept], seen.numbers[kept],
        seen.filling[kept], seen.within,
    )  # fmt: skip
    return Inference(
        part, sign, option, process, offset, scale, scores, forced != "auto", n - len(kept)
    )


def _thinned(features: FloatArray, y: FloatArray, p: int) -> IntArray | None:
    """Rows that hyperparameters are estimated from; None for all."""
    most = max(40, int(np.sqrt(COST / max(1, p))))
    return None if len(y) <= most else good_near_and_spread(features, y, most)


def _log_density(z: FloatArray, mean: FloatArray, sd: FloatArray) -> float:
    """Mean normal log density of z (n)."""
    sd = np.maximum(sd, 1e-12)
    return float(np.mean(-0.5 * np.square((z - mean) / sd) - np.log(sd) - 0.5 * np.log(2 * np.pi)))


def rows(space: Space, configs: Iterable[Configuration]) -> FloatArray:
    """Configurations as snapped rows (n x d), of which there may be none."""
    listed = list(configs)
    return space.encode(listed) if listed else np.empty((0, space.d))
