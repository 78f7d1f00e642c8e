"""The verdict: at most six plain sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence

from spot_dask.report.blocks import Block, Sentences
from spot_dask.report.context import Missing, Recommendation, ReportContext
from spot_dask.report.sections.failures import FailuresSection
from spot_dask.report.sections.gain import GainSection
from spot_dask.report.sections.importance import ImportanceSection
from spot_dask.report.text import configuration, interval, like, listed, number, percent, plural

MOST_NAMED = 3
MATTERS = 0.05  # total index above which a parameter is worth naming


class VerdictSection:
    title = "What came out?"
    order = 0

    def facts(self, context: ReportContext) -> tuple[str, ...]:
        """What a reader in a hurry should know."""
        header = context.header
        better = "higher" if header.direction == "max" else "lower"
        said = (
            f"{header.name} tuned {plural(len(context.space.free), 'parameter')} for "
            f"{header.objective} ({better} is better) with "
            f"{plural(len(context.evaluations), 'evaluation')}"
        )
        if context.fold.pending:
            said += f"; {plural(context.fold.pending, 'trial')} had no result yet"
        if isinstance(context.recommended, Missing):
            none = f"There is no recommendation: {context.recommended.reason}."
            return (f"{said}.", none, *_failures(context))
        return (
            f"{said}.",
            _best(context.recommended, header.objective),
            _gain(context),
            _mattered(context),
            *_failures(context),
            "This result is not confirmed on fresh seeds: the best of many noisy values tends to "
            "look better than it is.",
        )

    def render(self, found: tuple[str, ...], context: ReportContext) -> Sequence[Block]:
        return [Sentences(found)]


def _best(r: Recommendation, objective: str) -> str:
    """Which configuration is recommended."""
    said = (
        f"The best configuration is that of trial {r.number}: {configuration(r.config)}; "
        f"its observed {objective} is {number(r.observed)}"
        + (f" (mean of {r.trainings} trainings)" if r.trainings > 1 else "")
    )
    if math.isnan(r.mean):
        return f"{said}."
    return (
        f"{said}, the model's estimate {like(r.mean, r.high - r.low)} "
        f"(approx. 95 % interval {interval(r.low, r.high)})."
    )


def _gain(context: ReportContext) -> str:
    """How much better than the default the recommended configuration is."""
    g = context[GainSection]
    if isinstance(g, Missing):
        return f"An improvement over the default cannot be told: {g.reason}."
    if isinstance(context[ImportanceSection], Missing):
        return (
            "Whether it improves on the default cannot be told yet, because the model knows too "
            f"little; the observed values differ by {number(g.observed)} in its favour."
        )
    said = f"{like(g.mean, g.high - g.low)} (approx. 95 % interval {interval(g.low, g.high)})"
    if g.low > 0:
        return f"By the model it improves on the default by {said}."
    if g.mean > 0:
        return f"By the model it improves on the default by {said}: perhaps not at all."
    return f"By the model it does not improve on the default: the improvement is {said}."


def _mattered(context: ReportContext) -> str:
    """The parameters of most importance."""
    shares = context[ImportanceSection]
    if isinstance(shares, Missing):
        return f"Which parameters matter cannot be told: {shares.reason}."
    named = [
        f"{p.name} ({percent(p.total.value)})"
        for p in shares[:MOST_NAMED]
        if p.total.value >= MATTERS
    ]
    return f"What mattered most, by its share in the variation: {listed(named)}."


def _failures(context: ReportContext) -> list[str]:
    """How many trainings failed; nothing where there are none."""
    n, groups = len(context.evaluations), context[FailuresSection]
    if not groups:
        return ["No training failed."] if n else []
    failed = sum(len(g.numbers) for g in groups)
    kind = f", most often with {groups[0].type}" if groups[0].type else ""
    return [f"{failed} of {plural(n, 'training')} failed{kind}."]
