"""How long trainings take, learnt from those of the search that were measured.

By Kriging on the logarithm of the seconds. What does not tell a configuration's duration is left
out: a training that failed, or went on from a checkpoint of an attempt before. One that was stopped
early counts as what all its epochs would have taken at its pace, which are those of its ``length``
parameter or the median of the finished ones. The first training on each worker also loads data and
libraries, so it is left out as soon as enough others have ended.
"""

from __future__ import annotations

import logging
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spot_dask.errors import warn_once
from spot_dask.infill.price import Price
from spot_dask.records import Evaluation, History
from spot_dask.space import Space
from spot_dask.surrogates.kriging import Kriging
from spot_dask.tuner.model import rows_of

logger = logging.getLogger(__name__)

FEWEST = 4
"""Durations below which nothing is predicted."""


@dataclass(frozen=True)
class Duration:
    """The seconds of a whole training, of the trial with this evaluation."""

    evaluation: Evaluation
    seconds: float


def durations(history: History, length: str | None = None) -> list[Duration]:
    """What the search's trainings took or would have taken, by trial number.

    ``length`` is the parameter that holds a training's epochs, where they differ.
    """
    told = sorted(history.searched.evaluations, key=lambda e: e.trial.number)
    epochs = [e.outcome.epochs for e in told if e.ok and e.outcome.epochs]
    usual = statistics.median(epochs) if epochs else 0.0
    found = []
    for e in told:
        seconds = e.outcome.seconds
        if e.failed or e.attempt or not (math.isfinite(seconds) and seconds > 0.0):
            continue
        if e.stopped:
            whole = e.trial.config.get(length or "", usual)
            if not (isinstance(whole, int | float) and whole and e.outcome.epochs):
                continue
            seconds *= max(1.0, whole / e.outcome.epochs)
        found.append(Duration(e, seconds))
    warm = _without_first(found)
    return warm if len(warm) >= FEWEST else found


def price(space: Space, history: History, length: str | None = None) -> Price | None:
    """The model of durations; None while too few are known, all are alike, or it fails."""
    known = durations(history, length)
    log_seconds = np.log([d.seconds for d in known])
    if len(known) < FEWEST or not np.ptp(log_seconds) > 0.0:
        return None
    X = space.features(rows_of(space, (d.evaluation.trial.config for d in known)))
    try:
        posterior = Kriging().fit(X, log_seconds, space.groups, np.random.default_rng(0))
        if not np.isfinite(posterior.predict(X)).all():
            raise ValueError("it predicts values that are not finite")
    except (ValueError, ArithmeticError) as error:
        warn_once(logger, "durations could not be learnt from (%s): all count alike", error)
        return None
    return Price(posterior)


def _without_first(known: Sequence[Duration]) -> list[Duration]:
    """The durations but for the first training on every worker."""
    first: dict[str, Duration] = {}
    for d in sorted(known, key=lambda d: d.evaluation.outcome.started):
        first.setdefault(d.evaluation.outcome.worker, d)
    return [d for d in known if d is not first[d.evaluation.outcome.worker]]
