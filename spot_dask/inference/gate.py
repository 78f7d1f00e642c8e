"""May the model speak of the whole space? Judged on evaluations that fill it.

Where a search chose the rows it has looked around each of them, so that predictions there say
nothing of the rest of the space. What fills it (the initial design, explored configurations) is
predicted from everything else, each by itself and all together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spot_dask.inference import Inference
from spot_dask.stats.diagnostics import LeaveOneOut, held_out

LEAST = 16
LEAST_Q2 = 0.6
LEAST_WITHIN = 0.85
LEAST_P = 0.1
MORE = 16  # evaluations that are proposed where there are too few


@dataclass(frozen=True)
class FillingCheck:
    """How ``n`` space-filling evaluations are predicted.

    ``q2`` and ``within`` (share of errors within 2 sd) are of predictions of each from all others;
    ``p`` is the probability that the model gives to a worse joint prediction of all of them.
    ``needed`` is how many there should be. NaN where there are none.
    """

    n: int
    needed: int
    q2: float
    within: float
    p: float

    @property
    def failure(self) -> str:
        """Why the model may not speak of the whole space, as a clause; empty where it may."""
        if self.n < self.needed:
            fill = "evaluation fills" if self.n == 1 else "evaluations fill"
            return (
                f"only {self.n} {fill} the whole space; {self.needed} are needed to tell "
                "whether the model can speak of it"
            )
        if not self.q2 >= LEAST_Q2:
            return (
                f"the model predicts the {self.n} evaluations that fill the whole space with "
                f"Q² = {self.q2:.2f}, where {LEAST_Q2} is needed"
            )
        if self.within < LEAST_WITHIN or self.p < LEAST_P:
            return (
                f"the model errs more than it says at the {self.n} evaluations that fill the whole "
                f"space ({100 * self.within:.0f} % within 2 standard deviations, joint p = "
                f"{self.p:.2g})"
            )
        return ""


def filling_check(inference: Inference) -> FillingCheck:
    """The check of a model by the space-filling evaluations that it holds, in present ranges."""
    filling = np.flatnonzero(inference.evidence.filling & inference.evidence.present)
    needed = max(LEAST, 2 * inference.space.d + 2)
    if not len(filling):
        return FillingCheck(0, needed, np.nan, np.nan, np.nan)
    at = LeaveOneOut(inference.z, *inference.leave_one_out()).at(filling)
    together = held_out(inference.z[filling], *inference.hold_out(filling))
    return FillingCheck(len(filling), needed, at.q2, at.share_within(2), together.p)
