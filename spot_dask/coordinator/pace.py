"""How far ahead of demand to propose.

A trial that is proposed before its slot is free knows less than one proposed at that moment: it
has not seen the results that arrive meanwhile. So only as many are kept ready as slots become free
while a proposal is made, and none where a slot would hardly notice that it waits.

With very many slots, one proposal after the other for each slot that becomes free would keep a
core busy, and cost far more than few of many trials. There as many are kept ready as know little
less: what arrives meanwhile is a small part of what still runs.
"""

from __future__ import annotations

import math

TOLERATED = 0.01
"""The share of a training's duration for which its slot may have waited for a proposal."""

BUSY = 0.05
"""The share of the time in which proposals, one for each training, may be computed."""

STALE = 0.05
"""The part of the slots for which trials may be ready so that there are fewer proposals."""

_WEIGHT = 0.2
"""Of the newest duration in the smoothed one."""


class Pace:
    """Smoothed durations, in seconds, of proposals and of trainings; NaN until one is known."""

    def __init__(self) -> None:
        self._proposal = math.nan
        self._training = math.nan

    def proposed(self, seconds: float) -> None:
        """A proposal took so long."""
        self._proposal = _smooth(self._proposal, seconds)

    def trained(self, seconds: float) -> None:
        """A training took so long."""
        self._training = _smooth(self._training, seconds)

    def ahead(self, slots: int) -> tuple[int, int]:
        """Propose when fewer trials are ready than the first number, as many as the second.

        For so many slots; both are 0 while durations are unknown.
        """
        least = self._needed(slots)
        if slots * self._proposal > BUSY * self._training:
            return least, least + math.floor(STALE * slots)
        return least, least

    def _needed(self, slots: int) -> int:
        """How many trials are started while a proposal is made."""
        if not self._proposal > TOLERATED * self._training:
            return 0
        if self._proposal >= self._training:
            return slots
        return math.ceil(slots * self._proposal / self._training)


def _smooth(old: float, new: float) -> float:
    return new if math.isnan(old) else old + _WEIGHT * (new - old)
