"""Which trials fulfil the outcome constraints, and how sure that is of the recommended one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spot_dask.constraints import SURE, Constraint, Fulfilment, value_of
from spot_dask.records import Configuration, Evaluation
from spot_dask.report import text
from spot_dask.report.blocks import Block, Cell, Details, Heading, Text, how, table
from spot_dask.report.context import Missing, ReportContext
from spot_dask.stats.intervals import Interval, clopper_pearson

SHOWN_TRIALS = 200


@dataclass(frozen=True)
class Held:
    """One constraint: how many trainings of the search fulfilled it, broke it or did not tell.

    ``observed`` is the recommended configuration's mean of the metric over ``trainings`` of the
    search (NaN: not reported), ``chance`` the probability that its mean over all seeds fulfils the
    constraint, as the model of the metric tells (NaN without one). Of the ``fresh`` trainings that
    confirm it, so many ``kept`` the constraint; ``low`` to ``high`` is the exact 95 % interval of
    that share, NaN where there are none.
    """

    constraint: str
    fulfilled: int
    broken: int
    unknown: int
    observed: float
    trainings: int
    chance: float
    holds: bool
    kept: int
    fresh: int
    low: float
    high: float


@dataclass(frozen=True)
class Forgone:
    """The best configuration that breaks a constraint: by how much its objective looked better
    than that of the recommended one (user's units; below 0: it did not), and what it breaks."""

    name: str
    config: Configuration
    observed: float
    better_by: float
    broken: str


@dataclass(frozen=True)
class ConstraintsHeld:
    """How the run stands to its outcome constraints.

    ``all_of_them`` counts the search's ``trials`` with a result that fulfil all of them, as
    observed. ``marks`` tell, by trial number, what each reported of every metric and whether that
    fulfils its constraint.
    """

    feasible: bool
    name: str
    limits: str
    held: tuple[Held, ...]
    trials: int
    all_of_them: int
    forgone: Forgone | None
    marks: tuple[tuple[int, tuple[float, ...], tuple[bool, ...]], ...]


class ConstraintsSection:
    title = "Are the constraints fulfilled?"
    order = 45

    def facts(self, context: ReportContext) -> ConstraintsHeld | Missing:
        constraints = context.constraints
        best, r = context.best, context.recommended
        if not constraints:
            return Missing("the study has no outcome constraints")
        if best is None or isinstance(r, Missing):
            return Missing("no evaluation has succeeded")
        own = [e for e in context.evaluations if e.ok and not e.trial.confirms]
        values = np.array(
            [[value_of(c.metric, e, context.objective) for c in constraints] for e in own]
        ).reshape(len(own), len(constraints))
        kept = np.array(
            [[c.holds(v) for c, v in zip(constraints, row, strict=True)] for row in values]
        ).reshape(values.shape)
        return ConstraintsHeld(
            feasible=best.feasible,
            name=r.name,
            limits=best.limits,
            held=tuple(
                _held(context, c, f, values[:, j], kept[:, j])
                for j, (c, f) in enumerate(zip(constraints, best.fulfilments, strict=True))
            ),
            trials=len(own),
            all_of_them=int(kept.all(axis=1).sum()),
            forgone=_forgone(context, own, kept, constraints),
            marks=tuple(
                (e.trial.number, tuple(map(float, v)), tuple(map(bool, k)))
                for e, v, k in zip(own, values, kept, strict=True)
            ),
        )

    def render(self, found: ConstraintsHeld, context: ReportContext) -> Sequence[Block]:
        columns = (
            "constraint", "fulfilled", "broken", "unknown",
            Heading(f"{found.name}, observed", True), Heading("probability", True),
            Heading("fresh seeds", True),
        )  # fmt: skip
        rows = [
            (
                Cell(h.constraint, style="" if h.holds else "bad"),
                h.fulfilled,
                h.broken,
                h.unknown,
                text.rough(h.observed),
                text.percent(h.chance),
                f"{h.kept} of {h.fresh}" if h.fresh else "–",
            )
            for h in found.held
        ]
        blocks: list[Block] = [
            Text(_sentence(found), "lead" if found.feasible else "warning"),
            table(columns, rows),
        ]
        blocks += [Text(said) for said in (*_fresh(found), *_price(found, context))]
        marks = [
            [str(n)]
            + [
                Cell(text.rough(v), style="" if holds else "bad")
                for v, holds in zip(values, kept, strict=True)
            ]
            for n, values, kept in found.marks[:SHOWN_TRIALS]
        ]
        names = [Heading(h.constraint, True) for h in found.held]
        return [
            *blocks,
            Details("Which trial fulfils which", [table(("trial", *names), marks)]),
            how(
                "A configuration fulfils a constraint if the mean of the metric over its trainings "
                "in the search does and if the model of the metric gives that a probability of "
                f"{SURE:g} or more. Every metric is modelled by Kriging at its true values, on the "
                "scale that predicts best; where repeated trainings gave the same value again, "
                "what was observed is certain. Probabilities are multiplied, as if metrics were "
                "independent. Fresh seeds had no part in the choice; the interval of their share "
                "is exact (Clopper and Pearson). Effects, importances and noise are those of the "
                "objective alone, wherever constraints are broken, too.",
                n=found.trials,
            ),
        ]


def _held(
    context: ReportContext,
    constraint: Constraint,
    best: Fulfilment,
    values: np.ndarray[tuple[int], np.dtype[np.float64]],
    kept: np.ndarray[tuple[int], np.dtype[np.bool_]],
) -> Held:
    assert context.best is not None
    config, objective = dict(context.best.config), context.objective
    fresh = [e for e in context.evaluations if e.trial.confirms and dict(e.trial.config) == config]
    told = [constraint.holds(value_of(constraint.metric, e, objective)) for e in fresh]
    ends = clopper_pearson(sum(told), len(told)) if told else Interval(math.nan, math.nan)
    unknown = int(np.isnan(values).sum())
    return Held(
        constraint=str(constraint),
        fulfilled=int(kept.sum()),
        broken=len(values) - unknown - int(kept.sum()),
        unknown=unknown,
        observed=best.observed,
        trainings=best.trainings,
        chance=best.chance,
        holds=best.fulfilled,
        kept=sum(told),
        fresh=len(told),
        low=ends.low,
        high=ends.high,
    )


def _forgone(
    context: ReportContext,
    own: Sequence[Evaluation],
    kept: np.ndarray[tuple[int, int], np.dtype[np.bool_]],
    constraints: Sequence[Constraint],
) -> Forgone | None:
    """The training of the best value that breaks a constraint; None where none does."""
    assert context.best is not None
    broken = [(e, k) for e, k in zip(own, kept, strict=True) if not k.all()]
    if not broken or not context.best.feasible:
        return None
    e, k = min(broken, key=lambda pair: (pair[0].y, pair[0].trial.number))
    said = [
        str(Fulfilment(c, value_of(c.metric, e, context.objective), 1))
        for c, holds in zip(constraints, k, strict=True)
        if not holds
    ]
    return Forgone(
        f"trial {e.trial.number}",
        e.trial.config,
        context.sign * e.y,
        context.best.observed - e.y,
        ", ".join(said),
    )


def _sentence(found: ConstraintsHeld) -> str:
    if not found.feasible:
        return f"{found.limits[0].upper()}{found.limits[1:]}."
    known = [h.chance for h in found.held if not math.isnan(h.chance)]
    said = f"{found.name[0].upper()}{found.name[1:]} {found.limits}"
    if known:
        said += f"; the probability that it does is {text.percent(math.prod(known))}"
    return (
        f"{said}. So do {found.all_of_them} of {text.plural(found.trials, 'trial')}, as observed."
    )


def _fresh(found: ConstraintsHeld) -> list[str]:
    """What fresh seeds say of every constraint."""
    return [
        f"On fresh seeds {h.kept} of {text.plural(h.fresh, 'training')} kept {h.constraint} "
        f"(95 % interval of the share {text.percent(h.low)} to {text.percent(h.high)})."
        for h in found.held
        if h.fresh
    ]


def _price(found: ConstraintsHeld, context: ReportContext) -> list[str]:
    """What the constraints cost: how far the best that breaks one would have been."""
    f, name = found.forgone, context.header.objective
    if f is None:
        return []
    if f.better_by <= 0:
        return [f"Nothing that breaks a constraint had a better {name}."]
    return [
        f"Without the constraints {f.name} would have been better by {text.spread(f.better_by)} "
        f"({name} {text.rough(f.observed)}, as observed); it breaks {f.broken}."
    ]
