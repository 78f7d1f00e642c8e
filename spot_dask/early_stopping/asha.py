"""Asynchronous successive halving [Li et al. 2020], as a rule of stopping.

At each rung only the best 1/eta of the trainings that have reached it so far go on. Nothing is
paused and taken up again: a training is judged when it reaches a rung, by what is known then. The
algorithm is theirs except for that (their algorithm 2 promotes, and resumes, what turns out to be
good later).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from spot_dask.early_stopping import Curve, check_rungs, rung


@dataclass(frozen=True)
class Asha:
    """Rungs at ``min_epochs * eta**k`` epochs; the best 1/eta of each go on, at least one.

    A first rung after one epoch ended most of what would have become the best (regret at equal
    trials: 3.7 times that of no stopping, and 2.0 times with the first after four).
    """

    eta: float = 3.0
    min_epochs: int = 4

    def __post_init__(self) -> None:
        check_rungs(self.min_epochs, self.eta)

    def stops(self, curve: Curve, others: Sequence[Curve]) -> bool:
        """Whether the training is not among the best 1/eta of the rung it has just reached."""
        reached = rung(curve.values, self.min_epochs, self.eta)
        if reached is None:
            return False
        known = [v for o in others if not math.isnan(v := o.at(reached, self.eta))]
        better = sum(v < curve.values[-1] for v in known)
        return better >= max(1, math.floor((len(known) + 1) / self.eta))
