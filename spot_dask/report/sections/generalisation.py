"""Whether what is good in validation is good on test data, which the search never saw."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from spot_dask.records import Configuration, Evaluation
from spot_dask.report import figures, text
from spot_dask.report.blocks import Block, Charts, Text, how, table
from spot_dask.report.context import Floats, Missing, ReportContext
from spot_dask.stats.generalisation import RankCorrelation, generalisation
from spot_dask.stats.intervals import MeanEstimate, mean_interval

WEAK = 0.5
"""Rank correlation below which the validation value is a poor guide."""

VALIDATION = ("validation_", "valid_", "val_")


@dataclass(frozen=True)
class GeneralisationFound:
    """Validation and test values (n each, user's sign) in the order of arrival.

    ``gap`` is by how much the test value is worse, on average. ``incumbent_test`` (n) is the test
    value of the best by validation so far, ``reachable`` (n) the best of those so far;
    ``overtuning`` is how much worse the last is than that, ``relative`` the same as a share of
    what the search had gained by then. ``tuned`` and ``default`` are means of the test metric under
    fresh seeds.
    """

    metric: str
    numbers: tuple[int, ...]
    validation: Floats
    test: Floats
    gap: MeanEstimate
    correlation: RankCorrelation
    incumbent_test: Floats
    reachable: Floats
    overtuning: float
    relative: float
    tuned: MeanEstimate | None
    default: MeanEstimate | None


def name_of_test(objective: str, names: Collection[str]) -> str:
    """The metric that is the objective on test data; empty where there is none."""
    bare = next((objective.removeprefix(p) for p in VALIDATION if objective.startswith(p)), "")
    wanted = (f"test_{bare or objective}", f"test_{objective}")
    return next((name for name in wanted if name in names), "")


class GeneralisationSection:
    title = "Does it hold on test data?"
    order = 140

    def facts(self, context: ReportContext) -> GeneralisationFound | Missing:
        """Compare validation with test values; the tuner and the choice of the best ignore them."""
        told = [e for e, _ in context.arrivals if e.ok]
        objective = context.header.objective
        metric = name_of_test(objective, {name for e in told for name in e.outcome.metrics})
        if not metric:
            return Missing(
                f"no test value of {objective} was recorded; a task that returns "
                f"test_{objective.removeprefix('val_')} beside it has it compared here"
            )
        settled = [context.settled[n] for e in told if (n := e.trial.number) in context.settled]
        pairs = [e for e in settled if math.isfinite(_tested(e, metric))]
        if not pairs:
            return Missing(f"{metric} was never finite")
        sign = context.sign
        y, t = np.array([e.y for e in pairs]), sign * np.array([_tested(e, metric) for e in pairs])
        found = generalisation(y, t)
        incumbent = t[list(found.incumbents)]
        config = None if context.best is None else dict(context.best.config)
        default = dict(context.space.default)
        return GeneralisationFound(
            metric,
            tuple(e.trial.number for e in pairs),
            context.signed(y),
            context.signed(t),
            found.gap,
            found.correlation,
            context.signed(incumbent),
            context.signed(np.minimum.accumulate(incumbent)),
            float(found.overtuning[-1]),
            float(found.relative[-1]),
            _fresh(told, config, metric),
            _fresh(told, default, metric) if config != default else None,
        )

    def render(self, found: GeneralisationFound, context: ReportContext) -> Sequence[Block]:
        objective, n = context.header.objective, len(found.test)
        blocks: list[Block] = [Text(_ranks(found, objective), "lead"), Text(_overtuning(found))]
        for name, value in (("recommended", found.tuned), ("default", found.default)):
            if value is not None:
                blocks.append(Text(_on_fresh_seeds(name, value, found.metric)))
        scatter = figures.chart(
            lambda ax: draw_test(ax, found, objective),
            "generalisation-pairs",
            "Test against validation",
            f"{n} evaluations, rank correlation {found.correlation.rho:.2f}.",
            "Every evaluation of the search.",
            table(
                ("trial", objective, found.metric),
                [
                    (str(i), v, t)
                    for i, v, t in zip(found.numbers, found.validation, found.test, strict=True)
                ],
            ),
        )
        curve = figures.chart(
            lambda ax: draw_overtuning(ax, found),
            "generalisation-overtuning",
            "Test value of the best by validation",
            f"At the end it is {text.rough(found.overtuning)} worse than it has been.",
            "The best by validation so far, as the test data see it.",
        )
        blocks += [
            Charts([scatter, curve]),
            how(
                "Test values are reported and never used: neither by the search nor to choose. The "
                "rank correlation is Spearman's with the interval of Bonett and Wright. Overtuning "
                "is the test value of the final best by validation minus the best test value of "
                "any that was best by validation before (Schneider, Bischl and Feurer 2025). "
                "Values under the search's seeds are flattered by the choice among them; those on "
                "fresh seeds are not.",
                n=n,
            ),
        ]
        return blocks


def _tested(e: Evaluation, metric: str) -> float:
    return e.outcome.metrics.get(metric, math.nan)


def _fresh(
    told: Sequence[Evaluation], config: Configuration | None, metric: str
) -> MeanEstimate | None:
    own = [e for e in told if e.trial.confirms and dict(e.trial.config) == config]
    values = [v for e in own if math.isfinite(v := _tested(e, metric))]
    return mean_interval(values) if values else None


def _ranks(found: GeneralisationFound, objective: str) -> str:
    c = found.correlation
    if math.isnan(c.rho):
        return (
            f"Whether {objective} and {found.metric} agree cannot be told from "
            f"{text.plural(c.n, 'evaluation')}."
        )
    said = (
        f"{objective} and {found.metric} rank the configurations with a correlation of "
        f"{c.rho:.2f} (95 %: {c.interval.low:.2f} to {c.interval.high:.2f}, n = {c.n})"
    )
    if c.interval.low > WEAK:
        return f"{said}: what is good in validation is good on test data."
    if c.rho < WEAK:
        return f"{said}: the validation value is a poor guide; cross-validation may be a better."
    return f"{said}: a fair guide, if that holds."


def _overtuning(found: GeneralisationFound) -> str:
    gap = found.gap
    said = f"On test data the objective is {text.rough(gap.mean)} worse on average"
    if gap.mean < 0:
        said = f"On test data the objective is {text.rough(-gap.mean)} better on average"
    if found.overtuning == 0:
        return f"{said}. The final best by validation is also the best of its predecessors on it."
    said += (
        f". The final best by validation is {text.rough(found.overtuning)} worse on it than one "
        "that it replaced"
    )
    if found.relative > 1:
        return f"{said}, and worse than the first evaluation: the search has overtuned."
    if math.isnan(found.relative):
        return f"{said}."
    return f"{said}: {text.percent(found.relative)} of what had been gained was lost again."


def _on_fresh_seeds(name: str, value: MeanEstimate, metric: str) -> str:
    said = f"{metric} of the {name} configuration on {text.plural(value.n, 'fresh seed')}: "
    if value.n < 3:
        return f"{said}{text.rough(value.mean)}."
    low, high = value.t.low, value.t.high
    return f"{said}{text.like(value.mean, high - low)} (95 %: {text.interval(low, high)})."


def draw_test(ax: Axes, found: GeneralisationFound, objective: str) -> None:
    """Test values against validation values."""
    x, y = np.array(found.validation), np.array(found.test)
    figures.frame(ax, figures.short(objective, 34), figures.short(found.metric, 34), grid="both")
    figures.dots(ax, x, y, figures.ACCENT, 4.5)
    figures.value_scale(ax, x, side="x")
    figures.value_scale(ax, y)


def draw_overtuning(ax: Axes, found: GeneralisationFound) -> None:
    """The test value of the incumbent, and the best that it has been."""
    n = len(found.test)
    x, test = np.arange(1, n + 1), np.array(found.incumbent_test)
    best, dash = np.array(found.reachable), (0, (4, 2))
    figures.frame(ax, "evaluations", figures.short(found.metric, 34))
    ax.step(x, test, where="post", color=figures.ACCENT, linewidth=2)
    ax.step(x, best, where="post", color=figures.SECOND, linewidth=1.6, linestyle=dash)
    figures.plain_ticks(ax.xaxis)
    figures.value_scale(ax, test, best)
    figures.legend(
        ax,
        [
            Line2D([], [], color=figures.ACCENT, linewidth=2, label="best by validation"),
            Line2D([], [], color=figures.SECOND, linestyle=dash, label="best so far"),
        ],
    )
