"""Early stopping: which trainings are not worth their remaining epochs.

A rule looks at the learning curve of a training that runs, and at those of all others, whenever the
training reports its objective. It does so at *rungs* only, which are ever farther apart: each look
is a chance of error. A new rule is one file in this folder with one public final class that has
``stops``. Two things more are a rule's own choice: ``design = True`` has it judge the initial
design as well, and ``predicts(asked, known)`` gives mean and standard deviation of the final values
of curves, NaN where it cannot tell, so that proposals take what was stopped for a result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from spot_dask import plugins


@dataclass(frozen=True)
class Curve:
    """The objective of a training by epoch, minimised; NaN where it was not reported.

    ``values[k]`` is that after epoch k + 1. ``final`` is the result of a training that ran to its
    end, infinite where it failed, NaN of any other. ``stopped``: it was ended early. ``number`` is
    that of the trial, ``features`` (e) are what a surrogate sees of its configuration.
    """

    values: Sequence[float]
    final: float = math.nan
    stopped: bool = False
    number: int = 0
    features: Sequence[float] = ()

    def at(self, rung: float, factor: float) -> float:
        """The first value reported from a rung on, and before the next one; NaN without any."""
        start = math.ceil(rung) - 1
        end = None if math.isinf(factor) else math.ceil(rung * factor) - 1
        return next((v for v in self.values[start:end] if not math.isnan(v)), math.nan)

    def since(self, rung: float) -> float:
        """The first value reported from a rung on, whenever that was; NaN without any."""
        return self.at(rung, math.inf)


class Rule(Protocol):
    """A rule of early stopping with its settings."""

    def stops(self, curve: Curve, others: Sequence[Curve]) -> bool:
        """Whether to stop the training of this curve, whose last value was just reported."""
        ...


def rung(values: Sequence[float], first: float, factor: float) -> float | None:
    """The rung that the last value is the first one of; None where it is a further one.

    Rungs are the epochs ``first * factor**k`` (rounded up). Trainings that validate every few
    epochs reach a rung with their first value from it on.
    """
    epoch = len(values)
    if epoch < first or math.isnan(values[-1]):
        return None
    reached = first
    while math.ceil(reached * factor) <= epoch:
        reached *= factor
    earlier = values[math.ceil(reached) - 1 : -1]
    return reached if all(map(math.isnan, earlier)) else None


def check_rungs(first: int, factor: float) -> None:
    """Raise ValueError unless these make rungs."""
    if isinstance(first, bool) or not isinstance(first, int) or first < 1:
        raise ValueError(f"min_epochs is {first!r}; expected a whole number from 1")
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not factor > 1:
        raise ValueError(f"eta is {factor!r}; expected a number above 1")


def find(rule: str | Rule, *, trusted: bool = True) -> Rule:
    """The rule of that name; a rule is returned as it is.

    A name is that of a file in this folder or ``package.module:Name``. Raises ValueError if there
    is none, and NotLoaded for one from elsewhere that is not ``trusted``.
    """
    if not isinstance(rule, str):
        return rule
    found: Rule = plugins.find(__name__, "stops", rule, trusted=trusted)
    return found


@plugins.once
def check(rule: str | Rule) -> None:
    """Raise ValueError, saying what is missing or wrong, unless a rule can serve.

    It is asked about a short curve beside others, of which one is finished.
    """
    label = f"early stopping {rule if isinstance(rule, str) else type(rule).__name__!r}"
    found = find(rule)
    if not callable(getattr(found, "stops", None)):
        raise ValueError(f"{label} has no method stops(curve, others)")
    plugins.check_call(f"{label}: stops", found.stops, "curve", "others")
    falling = [1.0 / epoch for epoch in range(1, 9)]
    for others in ([], [Curve(falling, falling[-1]), Curve(falling[:3])]):
        try:
            stops: object = found.stops(Curve(falling[:4]), others)
            answer = stops is True or stops is False or stops in (True, False)
        except Exception as error:
            raise ValueError(f"{label}: stops raises {error!r}") from error
        if not answer:
            raise ValueError(f"{label}: stops returns {stops!r}; expected True or False")
