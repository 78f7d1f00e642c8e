"""The verdict: at most six plain sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from spot_dask.report import text
from spot_dask.report.blocks import Block, Sentences, Text, how
from spot_dask.report.context import Missing, Recommendation, ReportContext
from spot_dask.report.sections import budget, gain
from spot_dask.report.sections.budget import BudgetSection
from spot_dask.report.sections.gain import GainSection
from spot_dask.report.sections.importance import ImportanceSection

MOST_NAMED = 3
MOST_VALUES = 8
MATTERS = 0.05  # a total index whose interval lies above is worth naming
UNCONFIRMED = (
    "Unconfirmed: the best of many noisy values looks better than it is. `spot-dask confirm STORE` "
    "trains this configuration and the default under fresh seeds."
)


class VerdictSection:
    title = "What came out?"
    order = 0

    def facts(self, context: ReportContext) -> tuple[str, ...]:
        """What a reader in a hurry should know; the last sentence warns where none confirms."""
        r = context.recommended
        if isinstance(r, Missing):
            return _run(context), f"There is no recommendation: {r.reason}."
        said: tuple[str, ...] = (
            _run(context),
            _best(context, r),
            _gain(context),
            _mattered(context),
        )
        advice = context[BudgetSection]
        if not isinstance(advice, Missing):
            said = (*said, f"Would more budget help? {budget.sentence(advice)}")
        return said if context.is_confirmed else (*said, UNCONFIRMED)

    def render(self, found: tuple[str, ...], context: ReportContext) -> Sequence[Block]:
        origin = how(
            "Every sentence is that of a section below, which says how its numbers were computed.",
            n=len(context.evaluations),
        )
        if found[-1] == UNCONFIRMED:
            return [Sentences(found[:-1]), Text(UNCONFIRMED, "warning"), origin]
        return [Sentences(found), origin]


def _run(context: ReportContext) -> str:
    """What was run, and how much of it failed or is not there yet."""
    header, evaluations = context.header, context.evaluations
    better = "higher" if header.direction == "max" else "lower"
    said = (
        f"{header.name} tuned {text.plural(len(context.space.free), 'parameter')} for "
        f"{header.objective} ({better} is better) with "
        f"{text.plural(len(evaluations), 'evaluation')}"
    )
    failures = [e.outcome.error for e in evaluations if e.failed]
    if failures:
        kinds = Counter(error.type for error in failures if error is not None).most_common()
        said += f", of which {len(failures)} failed"
        if kinds:
            said += f"{', most often' if len(kinds) > 1 else ''} with {kinds[0][0]}"
    if context.fold.pending:
        said += f"; {text.plural(context.fold.pending, 'trial')} had no result yet"
    return f"{said}."


def _best(context: ReportContext, r: Recommendation) -> str:
    """Which configuration is recommended, and what is known of its value."""
    config = text.configuration(dict(list(r.config.items())[:MOST_VALUES]))
    if len(r.config) > MOST_VALUES:
        config += f" and {len(r.config) - MOST_VALUES} more"
    objective, c = context.header.objective, context.confirmed
    best = context.best
    limits = "" if best is None else best.limits
    if best is not None and not best.feasible:
        said = f"{limits[0].upper()}{limits[1:]}. Its configuration: {config}"
    else:
        said = f"The best configuration is that of {r.name}: {config}"
        said += f"; it {limits}" if limits else ""
    if c is None or not c.stated:
        trainings = text.plural(r.trainings, "training")
        return f"{said}; {text.rough(r.observed)} is the {objective} observed in {trainings}."
    low, high = c.value.t.low, c.value.t.high
    return (
        f"{said}; its {objective} is {text.like(c.value.mean, high - low)}, the mean of "
        f"{text.plural(c.value.n, 'fresh seed')} (95 % interval {text.interval(low, high)})."
    )


def _gain(context: ReportContext) -> str:
    """How much better than the default the recommended configuration is."""
    g = context[GainSection]
    if isinstance(g, Missing):
        return f"Whether it improves on the default cannot be told: {g.reason}."
    if g.stated:
        return f"Better than the default? {gain.sentence(g)}"
    if g.default_trainings:
        return f"The observed improvement over the default is {text.rough(g.observed)}."
    return "Whether it improves on the default cannot be told yet."


def _mattered(context: ReportContext) -> str:
    """The parameters of most importance."""
    shares = context[ImportanceSection]
    if isinstance(shares, Missing):
        return f"Which parameters matter cannot be told: {shares.reason}."
    if isinstance(shares.near, Missing):
        return f"Which parameters matter near the best cannot be told: {shares.near.reason}."
    sure = [p for p in shares.near.parameters if p.total.low >= MATTERS]
    if not sure:
        return (
            "Which parameters matter near the best is not clear: each one's share in the variation "
            "may be next to nothing."
        )
    named = [f"{p.name} ({text.percent(p.total.value)})" for p in sure[:MOST_NAMED]]
    return (
        "What mattered near the best, by its share in the variation, alone and together with "
        f"others: {text.listed(named)}."
    )
