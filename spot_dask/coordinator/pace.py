"""How far ahead of demand to propose.

A trial that is proposed before its slot is free knows less than one proposed at that moment: it
has not seen the results that arrive meanwhile. So only as many are kept ready as slots become free
while a proposal is made, and none where a slot would hardly notice that it waits.
"""

from __future__ import annotations

import math

TOLERATED = 0.01
"""The share of a training's duration for which its slot may have waited for a proposal."""

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

    def ahead(self, slots: int) -> int:
        """How many trials to keep ready for so many slots; 0 while durations are unknown."""
        if not self._proposal > TOLERATED * self._training:
            return 0
        if self._proposal >= self._training:
            return slots
        return math.ceil(slots * self._proposal / self._training)


def _smooth(old: float, new: float) -> float:
    return new if math.isnan(old) else old + _WEIGHT * (new - old)
