"""How long a run will still take.

Durations of trainings are taken to be lognormal. Those that go on count too, as durations that are
longer than their age: without them the quick ones, which end first, would be all there is.
"""

from __future__ import annotations

import heapq
import math
import statistics
from collections.abc import Sequence

import numpy as np
from scipy.special import ndtr, ndtri

from spot_dask.records import Evaluation

BASIS = 3
"""So many trainings must have ended before anything is said."""

RECENT = 1000
"""The newest trainings count, so many of them."""

DRAWS = 20_000
"""Trainings that are drawn for one judgement, unless one course of the run has more."""

STEPS = 20
SHORTEST = 1e-3


def durations(evaluations: Sequence[Evaluation]) -> list[float]:
    """The durations (seconds) of the newest trainings, whether they succeeded or not."""
    seconds = [e.outcome.seconds for e in evaluations[-RECENT:]]
    return [s for s in seconds if not math.isnan(s)]


def time_left(
    known: Sequence[float],
    ages: Sequence[float],
    slots: int,
    waiting: int,
    together: int | None = None,
) -> float | None:
    """Seconds until the last of so many ``waiting`` trainings has ended; None without a basis.

    ``known`` are durations, ``ages`` those of the trainings that go on (all in seconds). A free
    slot takes the next training at once, or, of batches of ``together``, when the whole batch
    before has ended. The median of drawn courses of the run.
    """
    if len(known) < BASIS or not slots:
        return None
    rng = np.random.default_rng(0)
    old = np.maximum(np.asarray(ages, dtype=float), SHORTEST)
    mu, sd = _lognormal(np.maximum(np.asarray(known, dtype=float), SHORTEST), old)
    courses = min(99, max(1, DRAWS // (len(ages) + waiting + slots)))
    ends = []
    for _ in range(courses):
        above = ndtr((np.log(old) - mu) / sd)
        z = ndtri(above + (1 - above) * rng.random(len(old)))
        free = np.maximum(np.exp(mu + sd * np.minimum(z, 6.0)) - old, 0.0)
        new = np.exp(rng.normal(mu, sd, waiting))
        ends.append(_end(free.tolist(), new.tolist(), slots, together))
    return statistics.median(ends)


def _lognormal(
    known: np.ndarray[tuple[int], np.dtype[np.float64]],
    ages: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> tuple[float, float]:
    """Mean and standard deviation of log durations: maximum likelihood, ages as lower bounds, by
    expectation maximisation."""
    logs, bounds = np.log(known), np.log(ages)
    mu, sd = float(logs.mean()), max(0.01, float(logs.std()))
    for _ in range(STEPS):
        a = (bounds - mu) / sd
        hazard = np.exp(-a * a / 2) / math.sqrt(2 * math.pi) / np.maximum(ndtr(-a), 1e-300)
        hazard = np.where(a > 30, a, hazard)
        first = mu + sd * hazard
        second = mu**2 + sd**2 + sd * (bounds + mu) * hazard
        n = len(logs) + len(bounds)
        mean = (logs.sum() + first.sum()) / n
        square = ((logs**2).sum() + second.sum()) / n
        mu, sd = float(mean), max(0.01, math.sqrt(max(0.0, square - mean**2)))
    return mu, sd


def _end(free: list[float], new: list[float], slots: int, together: int | None) -> float:
    """When the last training ends: slots are free at ``free`` or now, ``new`` wait."""
    free += [0.0] * (slots - len(free))
    batch = max(1, len(new)) if together is None else together
    for first in range(0, len(new), batch):
        if together is not None:
            free = [max(free)] * len(free)
        heapq.heapify(free)
        for seconds in new[first : first + batch]:
            heapq.heapreplace(free, free[0] + seconds)
    return max(free)
