"""Stop a training whose predicted final value is not among the best of those that came as far.

At each rung the trainings that have reached it are ordered by their final values, observed or
predicted (``chain.py``), and one that is not among the best ``share`` of the last ``window`` stops.
While a step cannot be learnt yet, they are ordered by their values at the rung. Whatever is
predicted, these go on: the one whose value at the rung is the best, and every training without
which fewer than the share ``least`` of all would have gone on. So a study cannot end in an endless
series of trainings that are stopped one after another.

Final values are predicted for the surrogate as well, which proposes by them: else it would know
nothing of what was stopped but that it was not the best.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spot_dask.early_stopping import Curve, check_rungs, rung
from spot_dask.early_stopping.chain import final_values
from spot_dask.surrogates import FloatArray


@dataclass(frozen=True)
class Rank:
    """Rungs at ``min_epochs * eta**k`` epochs. The initial design is judged like all others."""

    share: float = 1 / 3
    least: float = 0.1
    window: int = 32
    eta: float = 2.0
    min_epochs: int = 4

    design = True

    def __post_init__(self) -> None:
        check_rungs(self.min_epochs, self.eta)
        for name in ("share", "least"):
            value = getattr(self, name)
            if isinstance(value, bool) or not 0 < value < 1:
                raise ValueError(f"{name} is {value!r}; expected a number between 0 and 1")
        if isinstance(self.window, bool) or not isinstance(self.window, int) or self.window < 1:
            raise ValueError(f"window is {self.window!r}; expected a whole number from 1")

    def stops(self, curve: Curve, others: Sequence[Curve]) -> bool:
        """Whether the training is to stop at the rung that it has just reached."""
        reached = rung(curve.values, self.min_epochs, self.eta)
        if reached is None:
            return False
        alive = sum(not (o.stopped or o.final == math.inf) for o in others)
        if alive < self.least * (len(others) + 1):
            return False
        there = [o for o in others if not math.isnan(o.since(reached))]
        there = sorted(there, key=lambda o: o.number)[-self.window + 1 :] if self.window > 1 else []
        values = [math.inf if o.final == math.inf else o.since(reached) for o in there]
        value = curve.since(reached)
        if value <= min(values, default=math.inf):
            return False
        final, _ = self.predicts([*there, curve], [*others, curve])
        if not np.isnan(final).any():
            values, value = list(final[:-1]), float(final[-1])
        better = sum(v < value for v in values)
        return better >= max(1, math.floor((len(values) + 1) * self.share))

    def predicts(
        self, asked: Sequence[Curve], known: Sequence[Curve]
    ) -> tuple[FloatArray, FloatArray]:
        """Mean and sd (m each) of the final values of trainings, learnt from others that are known.

        Observed ones as they are. NaN where they cannot be predicted yet.
        """
        longest = max((len(c.values) for c in known if math.isfinite(c.final)), default=0)
        rungs = [float(self.min_epochs)]
        while math.ceil(rungs[-1] * self.eta) < longest:
            rungs.append(rungs[-1] * self.eta)
        learnt = [c for c in known if c.final != math.inf]
        features, asked_features = (
            np.array([c.features for c in curves], dtype=float).reshape(len(curves), -1)
            for curves in (learnt, asked)
        )
        V, asked_V = (
            np.array([_at(c, rungs) for c in curves]).reshape(len(curves), len(rungs) + 1)
            for curves in (learnt, asked)
        )
        mean, sd = final_values(features, V, asked_features, asked_V)
        failed = [c.final == math.inf for c in asked]
        return np.where(failed, math.inf, mean), np.where(failed, 0.0, sd)


def _at(curve: Curve, rungs: Sequence[float]) -> list[float]:
    """The values at the rungs and the final one, NaN from the first on that is not known."""
    values = [*map(curve.since, rungs), curve.final]
    if math.isfinite(curve.final):  # one that ended by itself before a rung has its result there
        values = [curve.final if math.isnan(v) else v for v in values]
    known = list(map(math.isfinite, values))
    end = known.index(False) if False in known else len(known)
    return values[:end] + [math.nan] * (len(values) - end)
