"""Outcome constraints: what else a training has to reach for its configuration to be of use.

``{"latency_ms": "<= 10", "val_accuracy": ">= .9"}`` names metrics that a training reports, in their
own units and sign; the objective may be one of them. A training that does not report a metric, or
reports NaN, is *unknown* to its constraint: it does not fulfil it, and nothing is learnt from it.

A configuration **fulfils** a constraint if the mean of the metric over its trainings does, and if
the model of the metric, which knows of noise, gives that a probability of at least SURE: the best
is often where a constraint binds, and of many configurations there the luckiest would be chosen.
Where the metric has no noise, or no model predicts it, what was observed decides alone.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spot_dask.errors import shown
from spot_dask.records import Evaluation, Import, Objective

Limits = Mapping[str, str]
"""By metric: an operator and a number, such as ``"<= 10"``."""

SURE = 0.9
"""The probability from which on a configuration is taken to fulfil a constraint."""

EVEN = 0.5
"""That from which on one that still runs is believed to."""

_OPERATORS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}
_MEANT = {"=<": "<=", "=>": ">=", "≤": "<=", "≥": ">=", "=": "<= or >=", "==": "<= or >="}
_EXAMPLE = "such as '<= 10' or '>= 0.9'"


@dataclass(frozen=True)
class Constraint:
    """A metric, one of the operators <=, >=, < and >, and the bound, which is finite."""

    metric: str
    operator: str
    bound: float

    def __str__(self) -> str:
        """As people write it: ``latency_ms <= 10``."""
        return f"{self.metric} {self.text}"

    @property
    def text(self) -> str:
        """Operator and bound, as settings hold them."""
        whole = self.bound.is_integer() and abs(self.bound) < 1e15
        return f"{self.operator} {int(self.bound) if whole else self.bound!r}"

    @property
    def side(self) -> float:
        """1 where the metric is to be at most the bound, -1 where at least."""
        return 1.0 if self.operator.startswith("<") else -1.0

    def holds(self, value: float) -> bool:
        """Whether a value of the metric fulfils it; NaN, for what is not known, does not."""
        return bool(_OPERATORS[self.operator](value, self.bound))

    def excess(self, value: float) -> float:
        """How far a value is beyond the bound, below 0 within it; in units of the metric."""
        return self.side * (value - self.bound)


def checked(given: Any) -> dict[str, str]:
    """Constraints as settings hold them; raises ValueError, in one line, for what is none."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        example = '{"latency_ms": "<= 10"}'
        raise ValueError(
            f"constraints is {shown(given)}; expected limits by metric, such as {example}"
        )
    found = {}
    for metric, text in given.items():
        if not (isinstance(metric, str) and metric.strip() and metric.isprintable()):
            raise ValueError(
                f"constraints: {shown(metric)} is no name of a metric; expected what a training "
                "reports, such as 'latency_ms'"
            )
        found[metric] = _parsed(metric, text).text
    return found


def parsed(given: Limits) -> tuple[Constraint, ...]:
    """The constraints of settings, in their order; raises ValueError as ``checked`` does."""
    return tuple(_parsed(metric, text) for metric, text in given.items())


def _parsed(metric: str, text: Any) -> Constraint:
    seen = f"constraints.{metric} is {shown(text)}"
    if not isinstance(text, str):
        raise ValueError(f"{seen}; expected a text {_EXAMPLE}: an operator and a number, in quotes")
    match = re.fullmatch(r"\s*([<>=!~≤≥]*)\s*(.*?)\s*", text, re.DOTALL)
    assert match is not None
    sign, number = match.groups()
    if sign not in _OPERATORS:
        meant = f"; write {_MEANT[sign]}" if sign in _MEANT else ""
        what = f"{sign!r} is no operator" if sign else "it has no operator"
        raise ValueError(f"{seen}; {what}, expected <=, >=, < or >, {_EXAMPLE}{meant}")
    try:
        bound = float(number)
    except ValueError:
        bound = math.nan
    if not math.isfinite(bound):
        raise ValueError(
            f"{seen}; {shown(number)} is no finite number, expected one after {sign}, {_EXAMPLE}"
        )
    return Constraint(metric, sign, bound)


def value_of(metric: str, item: Evaluation | Import, objective: Objective) -> float:
    """What a training reported of a metric, in its own sign; NaN where it is not known.

    As of one that failed or was stopped early: it did not come to its end.
    """
    if isinstance(item, Evaluation) and not item.ok:
        return math.nan
    if metric == objective.name:
        return objective.sign * item.y
    metrics = item.outcome.metrics if isinstance(item, Evaluation) else item.metrics
    return metrics.get(metric, math.nan)


STANDINGS = ("fulfilled", "broken", "unknown")
"""How a training stands to all constraints together, in tables."""


def standing(
    constraints: Sequence[Constraint], item: Evaluation | Import, objective: Objective
) -> str:
    """One of STANDINGS: broken where any constraint is, else unknown where any metric is."""
    values = [(c, value_of(c.metric, item, objective)) for c in constraints]
    if any(not math.isnan(value) and not c.holds(value) for c, value in values):
        return "broken"
    return "unknown" if any(math.isnan(value) for _, value in values) else "fulfilled"


def missing(constraints: Iterable[Constraint], metrics: Mapping[str, float]) -> list[str]:
    """The metrics of constraints that a training which ended well did not report, or as NaN."""
    found = (c.metric for c in constraints)
    return [name for name in found if math.isnan(metrics.get(name, math.nan))]


@dataclass(frozen=True)
class Fulfilment:
    """How a configuration stands to a constraint.

    ``observed`` is the mean of the metric over the ``trainings`` that reported it, NaN where none
    did. ``chance`` is the probability that its mean over all seeds fulfils the constraint, as the
    model of the metric tells; NaN without one. ``unit`` is a standard deviation of the metric.
    """

    constraint: Constraint
    observed: float
    trainings: int
    chance: float = math.nan
    unit: float = 1.0

    @property
    def fulfilled(self) -> bool:
        return self.constraint.holds(self.observed) and not self.chance < SURE

    @property
    def known(self) -> bool:
        """Whether any training has reported the metric."""
        return not math.isnan(self.observed)

    @property
    def distance(self) -> float:
        """How far what was observed is beyond the bound, in units; 0 within it or if unknown."""
        return max(0.0, self.constraint.excess(self.observed) / self.unit) if self.known else 0.0

    def __str__(self) -> str:
        """The constraint and what was observed of it, for a line."""
        if not self.known:
            return f"{self.constraint} (not reported)"
        seen = f"{self.observed:.4g}"
        if self.constraint.holds(self.observed) and not self.fulfilled:
            seen += f", but by noise: with a probability of {100 * self.chance:.0f} %"
        return f"{self.constraint} ({seen})"


def feasible(fulfilments: Sequence[Fulfilment]) -> bool:
    """Whether all constraints are fulfilled; so they are where there are none."""
    return all(f.fulfilled for f in fulfilments)


def nearness(fulfilments: Sequence[Fulfilment]) -> tuple[int, float]:
    """By what configurations that do not fulfil all are ordered, the nearest first.

    How many metrics are not known, then how far beyond their bounds the others are, in their units.
    """
    return sum(not f.known for f in fulfilments), sum(f.distance for f in fulfilments)
