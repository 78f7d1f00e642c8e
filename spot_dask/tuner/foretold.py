"""How well the model foretold the evaluations that it proposed itself.

What it expected of a proposal was written down before the evaluation was made (``Trial.expected``),
so nothing flatters it: it is judged where it leads the search. Evaluations that it chose are the
hardest to predict, because they were chosen for promising much.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr
from scipy.stats import rankdata

from spot_dask.magnitude import magnitudes
from spot_dask.records import ONE_FOLD, Evaluation, FoldPlan, History, Objective
from spot_dask.surrogates import FloatArray
from spot_dask.tuner.folds import table_of

LAST = 24
"""So many of the latest proposals are judged: three batches of 8."""

FEWEST = 8
NOMINAL = 0.95
REACH = 1.959963984540054
ALARM = 0.01


@dataclass(frozen=True)
class Foretold:
    """Of the latest ``n`` proposals with a result: what was expected against what came.

    ``inside`` of them lie in the 95 % interval that was expected. ``rank`` is Spearman's
    correlation of expected and observed values, None where either are all equal. ``exploring``
    counts those that were expected to be worse than the best value known when they were proposed.
    """

    n: int
    inside: int
    rank: float | None
    exploring: int

    @property
    def misleads(self) -> bool:
        """Whether so few lie inside by a chance below 1 % if the intervals were right."""
        return self.n >= FEWEST and bool(bdtr(self.inside, self.n, NOMINAL) < ALARM)

    @property
    def sentence(self) -> str:
        """What is shown of it, in one line."""
        order = "" if self.rank is None else f", rank correlation {self.rank:.2f}"
        return (
            f"{self.inside} of the last {self.n} proposals as expected (95 % intervals){order}; "
            f"{self.exploring} explored"
        )

    @property
    def warning(self) -> str | None:
        """What to do where the model does not know; None where nothing speaks against it."""
        if not self.misleads:
            return None
        return (
            f"the model does not know this objective yet: {self.n - self.inside} of its last "
            f"{self.n} proposals came out as it had all but excluded; space-filling evaluations "
            "tell it of what it has not seen: spot-dask explore STORE -n 16"
        )


def foretold(history: History, folds: FoldPlan = ONE_FOLD, last: int = LAST) -> Foretold | None:
    """The judgement of the latest proposals that succeeded; None while there are none.

    Where there are several ``folds``, of their first fold, without what is particular to it.
    """
    if (found := magnitudes(history, Objective(""))) is not None:
        history = found.history(history)
    ok: Sequence[Evaluation] = history.searched.ok
    if folds.several:
        ok = table_of(folds, history).levelled(ok)
    told = sorted(ok, key=lambda e: e.trial.number)
    judged = [e for e in told if e.trial.expected is not None][-last:]
    if not judged:
        return None
    expected = [e.trial.expected for e in judged if e.trial.expected is not None]
    mean, sd = np.array([e.mean for e in expected]), np.array([e.sd for e in expected])
    y = np.array([e.y for e in judged])
    best = np.minimum.accumulate([math.inf, *(e.y for e in told)])
    numbers = [e.trial.number for e in told]
    known = np.array([best[bisect_left(numbers, e.trial.number)] for e in judged])
    return Foretold(
        n=len(y),
        inside=int((np.abs(y - mean) <= REACH * sd).sum()),
        rank=_spearman(mean, y),
        exploring=int((mean > known).sum()),
    )


def _spearman(a: FloatArray, b: FloatArray) -> float | None:
    ranks = rankdata(a), rankdata(b)
    if len(a) < 3 or not all(r.std() > 0 for r in ranks):
        return None
    return float(np.corrcoef(*ranks)[0, 1])
