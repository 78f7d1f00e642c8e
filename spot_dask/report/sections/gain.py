"""Tuned against default: observed values and the model's difference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from spot_dask.report import text
from spot_dask.report.blocks import Block, Text, how, table
from spot_dask.report.context import Missing, ReportContext, joint_of
from spot_dask.report.sections.importance import ImportanceSection
from spot_dask.stats.effects import difference


@dataclass(frozen=True)
class Gain:
    """Improvement of the recommended configuration over the default; positive is better.

    ``default`` is the value of a single training and ``observed`` its difference to what was
    observed for the recommended configuration; mean, sd and 95 % interval are the model's.
    """

    default: float
    observed: float
    mean: float
    sd: float
    low: float
    high: float


class GainSection:
    title = "Is it better than the default?"
    order = 30

    def facts(self, context: ReportContext) -> Gain | Missing:
        best, model = context.best, context.fitted
        default = next((e for e in context.evaluations if e.trial.number == 0), None)
        if best is None:
            return Missing("no evaluation has succeeded")
        if default is None:
            return Missing("the default is not evaluated")
        if best.config == default.trial.config:
            return Missing("the default itself is the recommended configuration")
        if not default.ok:
            return Missing("the training of the default failed")
        if isinstance(model, Missing):
            return model
        d = difference(joint_of(model), *model.space.encode([default.trial.config, best.config]))
        observed = default.y - best.observed
        return Gain(context.sign * default.y, observed, d.mean, d.sd, d.low, d.high)

    def render(self, found: Gain, context: ReportContext) -> Sequence[Block]:
        r, doubt = context.recommended, context[ImportanceSection]
        assert not isinstance(r, Missing)  # there is a gain
        by_model = r.mean + context.sign * found.mean
        each = "one training each" if r.trainings == 1 else f"the latter {r.trainings} times"
        rows = [
            (f"observed, {each}", found.default, r.observed, found.observed),
            ("by the model", by_model, r.mean, found.mean),
        ]
        titles = ("", "default (trial 0)", f"recommended (trial {r.number})", "improvement")
        said: list[Block] = []
        if isinstance(doubt, Missing):
            said = [Text(f"Do not rely on the model yet: {doubt.reason}.", "warning")]
        return [
            *said,
            Text(
                f"By the model the improvement is {text.like(found.mean, found.high - found.low)} "
                f"with a standard deviation of {text.spread(found.sd)} (approx. 95 % "
                f"interval {text.interval(found.low, found.high)})."
            ),
            table(titles, [row for row in rows if not math.isnan(row[3])]),
            Text(
                "Not confirmed yet. The recommended configuration was chosen because its values "
                "looked good, so they flatter it; only trainings on fresh seeds can tell.",
                "warning",
            ),
            how(
                "The improvement by the model is the difference of the two configurations under "
                "the joint posterior of the Kriging model, so their correlation is taken into "
                "account. The uncertainty of the model's own length scales is left out; intervals "
                "are therefore a little too short."
            ),
        ]
