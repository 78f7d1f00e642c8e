"""How busy the slots were: trainings packed into lanes, and where the rest of the time went.

``n`` trainings with their begin and end in seconds on one clock that stands still between
sessions, from 0 to ``wall``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spot_dask.stats import FloatArray, IntArray

ROUNDING = 1e-6


@dataclass(frozen=True)
class SlotTime:
    """The time of all slots, slots * wall, as shares that add up to 1; NaN where there is none.

    ``begin`` is the time of a slot before its first training, ``end`` after its last, ``between``
    the rest. ``speedup`` is the number of trainings at once on average.
    """

    slots: int
    training: float
    begin: float
    between: float
    end: float
    speedup: float


def lanes(start: npt.ArrayLike, end: npt.ArrayLike) -> IntArray:
    """A lane (n) for each training, so few that none overlap in one; 0, 1, ... as they begin.

    The number of lanes is the most trainings that ran at once. ValueError where one ends before it
    begins.
    """
    begins, ends = _times(start, end)
    found = np.zeros(len(begins), dtype=np.int64)
    free: list[float] = []
    for i in np.lexsort([ends, begins]):
        lane = next((k for k, t in enumerate(free) if t <= begins[i] + ROUNDING), len(free))
        free[lane : lane + 1] = [ends[i]]
        found[i] = lane
    return found


def slot_time(start: npt.ArrayLike, end: npt.ArrayLike, wall: float) -> SlotTime:
    """Where the time of the slots went, with as many slots as trainings ever ran at once.

    A slot that was there and never trained is not known of.
    """
    begins, ends = _times(start, end)
    if not len(begins) or wall <= 0:
        return SlotTime(0, np.nan, np.nan, np.nan, np.nan, np.nan)
    lane = lanes(begins, ends)
    slots, busy = int(lane.max()) + 1, float(np.sum(ends - begins))
    first = sum(float(begins[lane == k].min()) for k in range(slots))
    last = sum(wall - float(ends[lane == k].max()) for k in range(slots))
    whole = slots * wall
    parts = np.array([busy, first, whole - busy - first - last, last]) / whole
    parts = np.where(np.abs(parts) < ROUNDING, 0.0, parts)
    training, before, between, after = map(float, parts)
    return SlotTime(slots, training, before, between, after, busy / wall)


def _times(start: npt.ArrayLike, end: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    begins, ends = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
    if begins.shape != ends.shape or begins.ndim != 1 or not np.all(ends >= begins):
        raise ValueError("expected as many ends as begins, and none before its begin")
    return begins, ends
