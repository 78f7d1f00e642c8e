"""Folds: what a configuration is worth by those that are known, and which are to be trained next.

A fold is a replicate, so a configuration's value is its mean over folds. Some folds are harder than
others, for every configuration alike. So what is known of some folds only is compared after the
folds' effects, by least squares in a table of configurations and folds (``stats/two_way.py``).

A configuration begins with its first fold. Those that follow are trained where it is not hopeless:
worse than the best configuration with all folds by more than Z standard errors of the difference,
which the residuals of the table tell where there are enough of them. So a bad configuration costs
one training instead of k.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from spot_dask.errors import StoreCorrupt
from spot_dask.magnitude import LARGEST, mean_of
from spot_dask.records import (
    MOST_FOLDS,
    Configuration,
    Evaluation,
    FoldPlan,
    History,
    Origin,
    Trial,
    Value,
)
from spot_dask.stats.two_way import TwoWay, two_way
from spot_dask.tuner.model import bounded

Z = 2.0
"""Standard errors by which a hopeless configuration is worse than the best one."""

LEAST_DF = 4
"""Degrees of freedom of the residuals below which no configuration is called hopeless."""

DUST = 1e-9
"""The share of the values' size below which differences are rounding."""

Key = tuple[tuple[str, Value], ...]


def key_of(config: Configuration) -> Key:
    """What tells configurations apart."""
    return tuple(sorted(config.items()))


@dataclass
class InFolds:
    """A configuration with the replicates that were asked, and the values (minimised) of some.

    ``number`` is its first trial's. ``ended``: a fold failed or was stopped early, so there will be
    no others.
    """

    config: Configuration
    origin: Origin
    number: int
    asked: set[int] = field(default_factory=set)
    known: dict[int, float] = field(default_factory=dict)
    ended: bool = False


@dataclass(frozen=True)
class MissingFold:
    """A fold that a configuration lacks: one of its replicates."""

    config: Configuration
    replicate: int
    origin: Origin


class FoldTable:
    """The configurations of a search and their folds, under a plan of several.

    Confirmations are left out. Replicates above the plan's are of other partitions: they compare
    the configurations that have them, and the effects of the plan's folds add up to 0.
    """

    def __init__(
        self, plan: FoldPlan, evaluations: Iterable[Evaluation], pending: Iterable[Trial] = ()
    ) -> None:
        self.plan = plan
        told = [e for e in evaluations if not e.trial.confirms]
        asked = [*(e.trial for e in told), *(t for t in pending if not t.confirms)]
        self.candidates: dict[Key, InFolds] = {}
        for t in sorted(asked, key=lambda t: t.number):
            new = InFolds(t.config, t.origin, t.number)
            self.candidates.setdefault(key_of(t.config), new).asked.add(t.replicate)
        for e in told:
            mine, r = self.candidates[key_of(e.trial.config)], e.trial.replicate
            if e.ok:
                mine.known[r] = e.y
            elif r < plan.count:
                mine.ended = True

    @cached_property
    def _rows(self) -> dict[Key, int]:
        """The row in the table of each configuration with a value."""
        return {key: i for i, key in enumerate(k for k, c in self.candidates.items() if c.known)}

    @cached_property
    def unit(self) -> float:
        """1, but of values whose squares are no numbers: what divides them to such as are."""
        largest = max(
            (abs(y) for c in self.candidates.values() for y in c.known.values()), default=0
        )
        return max(1.0, largest / 1e150)

    @cached_property
    def fit(self) -> TwoWay:
        """The values of configurations (the rows) and the effects of folds (the columns).

        In ``unit``; runaway values are pulled in as for the surrogate.
        """
        known = [(row, self.candidates[key].known) for key, row in self._rows.items()]
        cells = [(row, r, y) for row, values in known for r, y in sorted(values.items())]
        rows, columns = (np.array([cell[i] for cell in cells], dtype=np.int64) for i in (0, 1))
        y = bounded(np.array([y for _, _, y in cells], dtype=float) / self.unit)
        size = max(self.plan.count, int(columns.max(initial=0)) + 1)
        if size > 10 * MOST_FOLDS:
            raise StoreCorrupt(f"replicate {size - 1} of a trial is none that a run has asked for")
        return two_way(rows, columns, y, (len(self._rows), size))

    def effect(self, replicate: int) -> float:
        """By how much the values of a replicate are worse than the mean over all folds."""
        effects = self.fit.effects
        return self.unit * float(effects[replicate] - effects[: self.plan.count].mean())

    def _without_effect(self, y: float, replicate: int) -> float:
        """A value less the effect of its replicate: finite, as it is."""
        return min(max(y - self.effect(replicate), -LARGEST), LARGEST)

    def levelled(self, evaluations: Iterable[Evaluation]) -> tuple[Evaluation, ...]:
        """Evaluations whose values are without the effects of their folds.

        But for those of another partition that no other configuration has: they tell nothing.
        """
        seen = (self.fit.counts > 0).sum(axis=0) > 1
        return tuple(
            replace(e, outcome=replace(e.outcome, y=self._without_effect(e.y, e.trial.replicate)))
            if e.ok and not e.trial.confirms
            else e
            for e in evaluations
            if not e.ok or (r := e.trial.replicate) < self.plan.count or seen[r]
        )

    def is_complete(self, config: Configuration) -> bool:
        """Whether all folds of a configuration have a value."""
        return self._complete(self.candidates.get(key_of(config)))

    def _complete(self, mine: InFolds | None) -> bool:
        return mine is not None and all(r in mine.known for r in range(self.plan.count))

    def level(self, config: Configuration) -> float:
        """A configuration's mean over folds (minimised); of some, without their effects.

        NaN where nothing is known of it.
        """
        mine = self.candidates.get(key_of(config))
        if mine is None or not mine.known:
            return math.nan
        if len(mine.known) == self.plan.count and self._complete(mine):  # effects add up to 0
            return mean_of(mine.known.values())
        return mean_of(self._without_effect(y, r) for r, y in mine.known.items())

    @cached_property
    def _hopeless(self) -> frozenset[Key]:
        """Those that are worse than the best one with all folds by more than can be chance."""
        rows, plan = self._rows, self.plan
        complete = [row for key, row in rows.items() if self._complete(self.candidates[key])]
        if not plan.stop or not complete or self.fit.df < LEAST_DF:
            return frozenset()
        values = self.fit.values
        best = min(complete, key=lambda row: (values[row], row))
        dust = DUST * float(np.abs(values).max())
        return frozenset(
            key
            for key, row in rows.items()
            if values[row] - values[best] > Z * self.fit.difference_sd(row, best) + dust
            and self.candidates[key].origin is not Origin.DEFAULT
        )

    def is_hopeless(self, config: Configuration) -> bool:
        """Whether the folds that are known rule a configuration out."""
        return key_of(config) in self._hopeless

    def due(self, left: float = math.inf) -> list[MissingFold]:
        """The folds to be trained next, by trial number.

        Those of the default, and of what is not hopeless by its first folds (without ``stop``: of
        all). Where more would do than trainings are ``left``, the most promising configurations
        come first, and those that could not be finished are left out.
        """
        begun = [(c, list(self._missing(c))) for k, c in self.candidates.items() if self._due(k, c)]
        if sum(len(missing) for _, missing in begun) <= left:
            return [fold for _, missing in begun for fold in missing]
        begun.sort(key=lambda item: self.level(item[0].config) if item[0].known else math.inf)
        found: list[MissingFold] = []
        for _, missing in begun:
            if len(found) + len(missing) <= left:
                found += missing
        return found

    def _due(self, key: Key, mine: InFolds) -> bool:
        if mine.ended or key in self._hopeless:
            return False
        return bool(mine.known) or mine.origin is Origin.DEFAULT or not self.plan.stop

    def undecided(self) -> list[Configuration]:
        """What lacks folds, asked ones included, and may still be the best."""
        return [
            c.config
            for key, c in self.candidates.items()
            if self._due(key, c) and c.known and not self._complete(c)
        ]

    def ahead(self) -> list[MissingFold]:
        """Folds of what has none back yet, which may come to be due."""
        waiting = (c for c in self.candidates.values() if not (c.known or c.ended))
        return [
            fold for c in waiting if not self._due(key_of(c.config), c) for fold in self._missing(c)
        ]

    def rest(self) -> list[MissingFold]:
        """All other folds that could still be trained, the most promising configuration's first."""
        known = [c for c in self.candidates.values() if not c.ended and c.known]
        known.sort(key=lambda c: self.level(c.config))
        return [missing for c in known for missing in self._missing(c)]

    def _missing(self, mine: InFolds) -> Iterator[MissingFold]:
        for r in range(self.plan.count):
            if r not in mine.asked:
                yield MissingFold(mine.config, r, mine.origin)

    def means(self, evaluations: Iterable[Evaluation], complete: bool = True) -> list[Evaluation]:
        """One evaluation for each configuration, by trial number: its first.

        With its mean over folds as its value, and its metrics' means as its metrics. Only of those
        with all folds where ``complete``.
        """
        found: dict[Key, list[Evaluation]] = {}
        for e in sorted(evaluations, key=lambda e: e.trial.number):
            if e.ok and not e.trial.confirms:
                found.setdefault(key_of(e.trial.config), []).append(e)
        means = []
        for key, own in found.items():
            if self._complete(self.candidates.get(key)) or not complete:
                metrics = {
                    name: mean_of(e.outcome.metrics[name] for e in own)
                    for name in own[0].outcome.metrics
                    if all(name in e.outcome.metrics for e in own)
                }
                y = self.level(own[0].trial.config)
                means.append(replace(own[0], outcome=replace(own[0].outcome, y=y, metrics=metrics)))
        return means


def table_of(plan: FoldPlan, history: History, beyond: Sequence[Evaluation] = ()) -> FoldTable:
    """The table of a history, and of evaluations that are not in it."""
    return FoldTable(plan, (*history.evaluations, *beyond), history.pending)
