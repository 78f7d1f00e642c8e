"""Stop a training whose curve would be a surprise of one that comes out well.

A good result is one among the best ``share`` of the trainings that ran to their end; b is the worst
of these. By linear regression of the value at this epoch on the result, over the finished trainings
with results nearest to b,

    v = a + c y + e,    c >= 0,    (v - a - c b) / (s sqrt(1 + 1/n + (b - mean y)^2 / S)) ~ t(n - 2)

and a training stops where a result of b would have made a value as bad as its v less likely than
``risk``. So one that will come out as well as that is stopped with at most this probability at
each look. Tested is v given y, not y given v as in extrapolations [Domhan, Springenberg & Hutter
2015; Baker, Gupta, Raskar & Naik 2018]: a tuner picks configurations for their results, which
changes how many of those with a value v turn out well, but not how those that do begin. That the
better half is kept, and not only what may be the best of all, leaves the surrogate something to
learn from; so does the median stopping rule [Golovin et al. 2017], which has no such level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr

from spot_dask.early_stopping import Curve, check_rungs, rung

LEAST = 6
"""Finished trainings without which there is no test."""

NEAREST = 20


@dataclass(frozen=True)
class Unpromising:
    """Looks at ``min_epochs * eta**k`` epochs."""

    share: float = 0.5
    risk: float = 0.05
    eta: float = 2.0
    min_epochs: int = 4

    def __post_init__(self) -> None:
        check_rungs(self.min_epochs, self.eta)
        for name in ("share", "risk"):
            value = getattr(self, name)
            if isinstance(value, bool) or not 0 < value < 1:
                raise ValueError(f"{name} is {value!r}; expected a number between 0 and 1")

    def stops(self, curve: Curve, others: Sequence[Curve]) -> bool:
        """Whether a good result is too unlikely after this curve."""
        if rung(curve.values, self.min_epochs, self.eta) is None:
            return False
        return level(curve, others, self.share) < self.risk


def level(curve: Curve, others: Sequence[Curve], share: float) -> float:
    """How likely (0 to 1) a value as bad as the last of the curve is, were the result just good.

    1 where fewer than ``LEAST`` finished trainings have a value at this epoch.
    """
    epoch, v = len(curve.values), curve.values[-1]
    pairs = [
        (o.values[epoch - 1], o.final)
        for o in others
        if len(o.values) >= epoch and math.isfinite(o.final) and math.isfinite(o.values[epoch - 1])
    ]
    if len(pairs) < LEAST:
        return 1.0
    x, y = np.array(pairs).T
    good = float(np.quantile(y, share))
    near = np.argsort(np.abs(y - good), kind="stable")[:NEAREST]
    x, y = x[near], y[near]
    n, centre = len(y), float(y.mean())
    S = float(np.square(y - centre).sum())
    slope = max(0.0, float((y - centre) @ x) / S) if S > 0 else 0.0
    residuals = x - x.mean() - slope * (y - centre)
    s = math.sqrt(float(residuals @ residuals) / (n - 2))
    scale = s * math.sqrt(1.0 + 1.0 / n + ((good - centre) ** 2 / S if S > 0 else 0.0))
    excess = v - float(x.mean()) - slope * (good - centre)
    if scale == 0:
        return float(excess <= 0)
    return float(stdtr(n - 2, -excess / scale))
