"""Hyperband's brackets [Li, Jamieson, DeSalvo, Rostamizadeh & Talwalkar 2018], for comparison.

A bracket is a successive halving with a first rung of its own: the more epochs it gives before it
judges, the fewer trainings it gets, so that each bracket takes about as many epochs. Trainings are
dealt out to the brackets by their numbers, and each is judged among those of its bracket, when it
reaches a rung, by what is known then [the asynchronous version: Li et al. 2020]. ``brackets=1`` is
``asha``. The original draws configurations at random; here the search proposes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spot_dask.early_stopping import Curve, check_rungs
from spot_dask.early_stopping.asha import Asha


@dataclass(frozen=True)
class Hyperband:
    """Bracket b of ``brackets``, from 0, has rungs at ``min_epochs * eta**(b + k)`` epochs."""

    eta: float = 3.0
    min_epochs: int = 4
    brackets: int = 3

    def __post_init__(self) -> None:
        check_rungs(self.min_epochs, self.eta)
        if isinstance(self.brackets, bool) or not isinstance(self.brackets, int):
            raise ValueError(f"brackets is {self.brackets!r}; expected a whole number")
        if not 1 <= self.brackets <= 10:
            raise ValueError(f"brackets is {self.brackets}; expected 1 to 10")

    def stops(self, curve: Curve, others: Sequence[Curve]) -> bool:
        """Whether the training is not among the best 1/eta of its bracket at its rung."""
        own = self.bracket(curve.number)
        rivals = [o for o in others if self.bracket(o.number) == own]
        first = round(self.min_epochs * self.eta**own)
        return Asha(self.eta, first).stops(curve, rivals)

    def bracket(self, number: int) -> int:
        """The bracket of a trial: of eta trials in a row all but the last begin in bracket 0.

        Every eta-th of the rest is passed on, and so on. The last bracket takes what is left.
        """
        every = max(2, round(self.eta))
        found = 0
        while found < self.brackets - 1 and number % every == every - 1:
            number //= every
            found += 1
        return found
