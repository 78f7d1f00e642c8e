"""When a search may end before its budget: by what it can still gain, as the data tell.

The rule is that of Makarova et al. (2022): stop where the bound of the regret, what the best that
was tried can still lack, is below what is worth a further evaluation. That is the noise of a single
training (``"noise"``), or so much in units of the objective as the user says. The bound is that of
``inference.outlook``, from the model of inference and not from that of the search.

It is judged by complete information only: after the first ``FIRST`` trials of the search, and again
after each eighth more, when all of them, in the order of their numbers, have ended. So a judgement
does not depend on the order in which results arrive, nor on what has arrived since; two in a row
must agree, because a single one may be luck.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

from spot_dask.cards import brief
from spot_dask.constraints import Limits, parsed
from spot_dask.inference import evidence, infer
from spot_dask.inference.outlook import outlook
from spot_dask.records import Evaluation, History, Objective
from spot_dask.space import Space
from spot_dask.tuner.limited import eligible

FIRST = 20
"""Trials of the search before the first judgement."""

AGREEING = 2
"""Judgements in a row that must say so."""

NOISE = "noise"
NEVER = "never"


@dataclass(frozen=True)
class Judgement:
    """What the first ``trials`` of a search say: the bound of the regret and what it must fall
    below, both in the user's units. ``of`` says what that is."""

    trials: int
    bound: float
    limit: float
    of: str

    @property
    def enough(self) -> bool:
        return self.bound < self.limit

    def __str__(self) -> str:
        """Why the search ends."""
        return (
            f"after {self.trials} trials nothing is likely to be better than the best by more "
            f"than {brief(self.bound)}, which is below {self.of} ({brief(self.limit)})"
        )


@dataclass(frozen=True)
class Stopping:
    """The rule ``until`` of a study: ``"noise"``, or a number in units of its objective.

    ``transform`` is that of statements; ``within`` are the ranges that are searched at present,
    where they were changed: elsewhere nothing can be gained. Under ``constraints`` the best is one
    that fulfils them, and there is no judgement while there is none. Under ``"never"`` it never
    says so.
    """

    space: Space
    until: str | float
    objective: Objective = field(default_factory=lambda: Objective("loss"))
    transform: str = "auto"
    within: Space | None = None
    constraints: Limits = field(default_factory=dict)

    def verdict(self, history: History) -> Judgement | None:
        """The judgement that ends the search; None while there is none."""
        if self.until == NEVER:
            return None
        agreeing, known = 0, _complete(history)
        for trials in milestones():
            if trials > len(known):
                return None
            found = self._judged(replace(history, evaluations=known[:trials], pending=()))
            agreeing = agreeing + 1 if found is not None and found.enough else 0
            if agreeing == AGREEING:
                return found
        return None

    def _judged(self, history: History) -> Judgement | None:
        """What these evaluations say; computed once, as a run asks again and again."""
        key = tuple((e.trial.number, e.y if e.ok else None) for e in history.evaluations)
        if key not in self._known:
            self._known[key] = self._judge(history)
        return self._known[key]

    def _judge(self, history: History) -> Judgement | None:
        sign, limits, some = self.objective.sign, parsed(self.constraints), None
        try:
            known = evidence(self.space, history, sign, self.within)
            model = infer(known, sign, self.transform)
        except ValueError:  # the transform that is forced is impossible: nothing can be said
            return None
        if model is None or not model.evidence.present.any():
            return None
        if limits:
            some = eligible(self.space, model.evidence.X, history, limits, self.objective)
            if not (some & model.evidence.present).any():
                return None
        trials, seen = len(history.evaluations), outlook(model, some)
        if self.until == NOISE:
            return Judgement(trials, seen.bound, seen.noise, "the noise of a single training")
        return Judgement(trials, seen.bound, float(self.until), "until")

    @cached_property
    def _known(self) -> dict[tuple[tuple[int, float | None], ...], Judgement | None]:
        return {}


def milestones() -> Iterator[int]:
    """The numbers of trials after which it is judged, without end."""
    trials = FIRST
    while True:
        yield trials
        trials += -(-trials // 8)


def _complete(history: History) -> tuple[Evaluation, ...]:
    """The evaluations of the search, by number, before its first trial that is pending."""
    searched = history.searched
    first = min((t.number for t in searched.pending), default=math.inf)
    known = sorted(searched.evaluations, key=lambda e: e.trial.number)
    return tuple(e for e in known if e.trial.number < first)
