"""The classical tables of a design, as users of SPOT know them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from spot_dask.records import Evaluation, Origin
from spot_dask.report import text
from spot_dask.report.blocks import Block, Details, Text, how, table
from spot_dask.report.context import Missing, ReportContext
from spot_dask.space import Categorical
from spot_dask.stats.anova import SPARE, AnovaTable, anova, pairs_that_fit
from spot_dask.stats.regression import Predictor, Regression, regression

PLANNED = (Origin.DEFAULT, Origin.DESIGN, Origin.EXPLORE)
ALPHA = 0.05


@dataclass(frozen=True)
class ClassicalTables:
    """Analysis of variance of the ranks, and regression on the values, of n evaluations.

    ``pairs`` tells whether interactions are in the former. The regression is on parameters in
    [0, 1], on their scales, in the user's sign. Numbers enter quadratically where the evaluations
    are enough for that.
    """

    n: int
    anova: AnovaTable
    regression: Regression
    pairs: bool


class AnovaSection:
    title = "What do the classical tables say?"
    order = 117

    def facts(self, context: ReportContext) -> ClassicalTables | Missing:
        design = [e for e in context.evaluations if e.ok and e.trial.origin in PLANNED]
        if context.folds.several:  # one value each, as folds repeat configurations
            design = context.table.means(design, complete=False)
        predictors = _predictors(context, design)
        needed = _needed(predictors)
        if not predictors:
            return Missing("no parameter that is always active has taken different values")
        if len(design) < needed:
            more = max(16, needed - len(design))
            return Missing(
                f"{len(design)} evaluations of a design are too few for {len(predictors)} "
                f"parameters (at least {needed} are needed). {more} more space-filling "
                f"evaluations would help: spot-dask explore STORE -n {more}"
            )
        values = context.sign * np.array([e.y for e in design])
        curved = [replace(p, quadratic=not p.levels and len(set(p.values)) > 2) for p in predictors]
        predictors = curved if _needed(curved) <= len(design) else predictors
        pairs = pairs_that_fit(predictors, len(design))
        return ClassicalTables(
            n=len(design),
            anova=anova(predictors, values, pairs, ranks=True),
            regression=regression(predictors, values),
            pairs=bool(pairs),
        )

    def render(self, found: ClassicalTables, context: ReportContext) -> Sequence[Block]:
        rows = [
            (
                r.name,
                str(r.df),
                text.rough(r.squares),
                text.rough(r.F),
                text.rough(r.p),
                text.percent(r.share),
            )
            for r in found.anova.rows
        ]
        rows.append(("residual", str(found.anova.residual_df),
                     text.rough(found.anova.residual), "–", "–", "–"))  # fmt: skip
        lines = [
            (c.label, text.rough(c.value), text.rough(c.se), text.rough(c.t), text.rough(c.p))
            for c in found.regression.coefficients
        ]
        name = context.header.objective
        explanation = (
            f"From the {found.n} evaluations that fill the space (default, initial design, "
            "explored ones), because the tests take evaluations for independent, which those that "
            "a search chose are not. Analysis of variance of the ranks of the objective (Conover & "
            "Iman 1981), type II sums of squares, "
            + ("main effects and all pairs. " if found.pairs else "main effects only, because the "
               "evaluations are too few for pairs. ")
            + "p-values are not adjusted for the number of tests; the share is the partial eta². "
            f"The regression is that of {name} on parameters from 0 to 1 on their scales, "
            "factors against their first level. Parameters that are not always active are left "
            "out. The tables see only what is linear, quadratic or a level."
        )  # fmt: skip
        return [
            Text(_said(found)),
            table(("term", "df", "squares of ranks", "F", "p", "share"), rows),
            Details(
                "Regression table",
                [table(("term", "coefficient", "standard error", "t", "p"), lines)],
            ),
            how(explanation, n=found.n),
        ]


def _needed(predictors: Sequence[Predictor]) -> int:
    """Evaluations that main effects need, with degrees of freedom for the error."""
    return 1 + SPARE + sum(max(1 + p.quadratic, len(p.levels) - 1) for p in predictors)


def _predictors(context: ReportContext, design: Sequence[Evaluation]) -> list[Predictor]:
    """The parameters that are always active and take different values in the design."""
    space = context.space
    if not design:
        return []
    rows = space.encode([e.trial.config for e in design])
    active = space.active(rows)
    found = []
    for i, name in enumerate(space.free):
        parameter = space.parameters[name]
        if not active[:, i].all() or np.ptp(rows[:, i]) == 0:
            continue
        if isinstance(parameter, Categorical) and not parameter.ordered:
            index = {(type(v), v): k for k, v in enumerate(parameter.levels)}
            seen = [e.trial.config[name] for e in design]
            codes = np.array([index[type(v), v] for v in seen])
            used, at = np.unique(codes, return_inverse=True)
            levels = tuple(text.value(parameter.levels[k]) for k in used)
            found.append(Predictor(name, at.astype(np.float64), levels))
        else:
            found.append(Predictor(name, rows[:, i]))
    return found


def _said(found: ClassicalTables) -> str:
    seen = [r for r in found.anova.rows if not math.isnan(r.p) and r.p < ALPHA]
    seen.sort(key=lambda r: r.p)
    expected = ALPHA * len(found.anova.rows)
    if not seen:
        return f"No term has a p-value below {ALPHA} ({len(found.anova.rows)} tested)."
    named = text.listed([f"{r.name} (p = {text.rough(r.p)})" for r in seen])
    return (
        f"p-values below {ALPHA}: {named}; of {text.plural(len(found.anova.rows), 'test')}, "
        f"{text.rough(expected)} would be by chance alone."
    )
