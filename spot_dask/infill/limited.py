"""A criterion during a batch, multiplied by the probability that outcome constraints are fulfilled.

The log of a criterion plus the log P of every constraint (``constrained.py``). What is believed of
a metric at open points follows the same algebra as the objective (``fantasies.py``), with a single
fantasy each.
"""

from __future__ import annotations

import numpy as np

from spot_dask.constraints import EVEN
from spot_dask.infill.constrained import Constrained, MetricLimit
from spot_dask.infill.fantasies import Belief, BoolArray, Fantasies
from spot_dask.surrogates import FloatArray


class Limited:
    """A belief multiplied by the probability that all constraints are fulfilled.

    ``pending`` (k x e) are open already, as the belief knows; q points will be picked. An open
    point may become the incumbent where it fulfils all more likely than not.
    """

    def __init__(self, believed: Belief, known: Constrained, pending: FloatArray, q: int) -> None:
        self.believed = believed
        self.alone = known.alone
        self.limits = known.limits
        self.chances = [_chance(limit, pending, q) for limit in known.limits]
        self.scales = believed.scales
        for x in pending[:, None]:
            self._expect(x, self._logs(x))

    def values(self, X: FloatArray) -> FloatArray:
        values: FloatArray = self.believed.values(X) + sum(c.values(X) for c in self.chances)
        return values

    def gradient(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        values, gradient = self.believed.gradient(X)
        for chance in self.chances:
            more, slope = chance.gradient(X)
            values, gradient = values + more, gradient + slope
        return values, gradient

    def watch(self, X: FloatArray) -> None:
        for belief in (self.believed, *self.chances):
            belief.watch(X)

    def watched(self, which: BoolArray) -> FloatArray:
        values = self.believed.watched(which)
        for chance in self.chances:
            values[which] += chance.watched(which)[which]
        return values

    def believe(self, X: FloatArray, eligible: BoolArray | None = None) -> None:
        for i, x in enumerate(X[:, None]):
            logs = self._logs(x)
            may = eligible is None or bool(eligible[i])
            may &= not self.alone and sum(logs) >= np.log(EVEN)
            self.believed.believe(x, np.array([may]))
            self._expect(x, logs)

    def _logs(self, x: FloatArray) -> list[float]:
        """log P of each constraint at a point (1 x e)."""
        return [float(chance.values(x)[0]) for chance in self.chances]

    def _expect(self, x: FloatArray, logs: list[float]) -> None:
        """Believe in the metrics at a point (1 x e), given log P of each constraint there."""
        for i, (chance, limit) in enumerate(zip(self.chances, self.limits, strict=True)):
            mean, sd = chance.predict(x)
            if self.alone and i == int(np.argmin(logs)):
                mean = limit.beyond(mean, sd)
            chance.expect(x[0], float(mean[0]))


def _chance(limit: MetricLimit, pending: FloatArray, q: int) -> Fantasies:
    """log P of a constraint as a criterion, while nothing is open yet."""
    posterior = limit.posterior
    nothing = posterior.locate(pending[:0])
    assert nothing is not None  # Kriging tells covariances
    scales = np.ones(1)  # those of the objective are climbed by
    z = np.zeros((1, len(pending) + q))
    return Fantasies(limit, posterior, nothing, z, np.inf, scales)
