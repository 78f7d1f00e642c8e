"""What proposals take the trainings for that were stopped early: their predicted final values.

A rule of early stopping that predicts final values (``predicts``) knows more of a stopped training
than that it has no result. For proposing, and for nothing else, such a training counts as an
evaluation with the value that is predicted of it, so that the surrogate learns as much where
trainings were bad as where they were good. Recommendations, tests and importances are computed from
results alone.
"""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from typing import Any

from spot_dask.early_stopping import Rule
from spot_dask.early_stopping.ruler import Ruler
from spot_dask.errors import warn_once
from spot_dask.records import Evaluation, History, Outcome, Status

logger = logging.getLogger(__name__)


def foreseen(history: History, rule: Rule, ruler: Ruler) -> History:
    """The history in which what was stopped early has the final value that the rule predicts.

    As it is where the rule predicts none. What it cannot predict yet stays stopped.
    """
    known: Any = rule
    if not history.stopped or not hasattr(known, "predicts"):
        return history
    by_number = sorted(history.evaluations, key=lambda e: e.trial.number)
    curves = ruler.ended(by_number)
    asked = [curve for curve in curves if curve.stopped]
    try:
        mean, _ = known.predicts(asked, curves)
        values = {c.number: float(y) for c, y in zip(asked, mean, strict=True) if math.isfinite(y)}
    except Exception as error:  # the rule may be the user's; weeks of training must not end
        warn_once(logger, "early stopping predicts nothing: %s", repr(error))
        return history
    return replace(
        history,
        evaluations=tuple(
            Evaluation(e.trial, Outcome(Status.OK, values[e.trial.number]), e.attempt)
            if e.trial.number in values
            else e
            for e in history.evaluations
        ),
    )
