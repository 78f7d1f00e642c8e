"""Where in the search space trainings fail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter

from spot_dask.records import Configuration, Evaluation, Status
from spot_dask.report import figures, text
from spot_dask.report.blocks import Block, Cell, Text, how, table
from spot_dask.report.context import Missing, ReportContext
from spot_dask.space import Categorical, Space
from spot_dask.stats.failures import (
    FailureRate,
    FailureRegion,
    FailuresBy,
    failure_region,
    failures_by,
)
from spot_dask.stats.regression import Predictor

SHOWN_GROUPS = 24
SURE = 0.05
INACTIVE = "not active"


@dataclass(frozen=True)
class FailureRates:
    """The rate over all ``n`` trainings, by parameter, by machine, and the region that explains it.

    ``region`` is None where no region has a higher rate; ``conditions`` are those of the region
    in words.
    """

    overall: FailureRate
    by: tuple[FailuresBy, ...]
    by_worker: tuple[FailureRate, ...]
    region: FailureRegion | None
    conditions: str


class FailureRatesSection:
    title = "Which configurations fail?"
    order = 165

    def facts(self, context: ReportContext) -> FailureRates | Missing:
        """Failure rates; a training lost with its worker says nothing of its configuration."""
        told = [e for e in context.evaluations if e.outcome.status is not Status.LOST]
        failed = np.array([e.failed for e in told], dtype=bool)
        if not failed.any():
            return Missing("no training failed by itself")
        predictors = configured(context.space, [e.trial.config for e in told])
        region = None if failed.all() else failure_region(predictors, failed)
        (overall,) = failures_by([Predictor("all", np.zeros(len(told)), ("all",))], failed)
        return FailureRates(
            overall.rates[0],
            failures_by(predictors, failed) if predictors else (),
            _by_worker(told, failed),
            region,
            "" if region is None else " and ".join(map(str, region.conditions)),
        )

    def render(self, found: FailureRates, context: ReportContext) -> Sequence[Block]:
        blocks: list[Block] = [Text(_told_region(found), "lead")]
        parameters = sorted(found.by, key=lambda f: f.p_holm)
        groups = failure_groups(found)
        rows = [
            [
                f.name,
                rate.label,
                f"{rate.failed} of {rate.n}",
                _share(rate),
                Cell(f"{f.p_holm:.2g}", f.p_holm, "strong" if f.p_holm < SURE else ""),
            ]
            for f in parameters
            for rate in f.rates
        ]
        shown = groups[:SHOWN_GROUPS]
        caption = "Rate of failures with its 95 % interval"
        if len(shown) < len(groups):
            caption += f"; {len(shown)} of {len(groups)} groups shown, all are in the data"
        if shown:
            blocks.append(
                figures.chart(
                    lambda ax: draw_failures(ax, shown),
                    "failure-rates",
                    "Failure rate by parameter",
                    f"{found.overall.failed} of {found.overall.n} trainings failed.",
                    f"{caption}.",
                    table(("parameter", "values", "failed", "rate (95 %)", "p (Holm)"), rows),
                    size=(figures.SIZE[0], 0.8 + 0.24 * max(4, len(shown))),
                )
            )
        workers = [(r.label or "–", f"{r.failed} of {r.n}", _share(r)) for r in found.by_worker]
        more = [table(("worker", "failed", "rate (95 %)"), workers)] if len(workers) > 1 else []
        blocks.append(
            how(
                "Intervals are Wilson's. p is Fisher's exact test of the levels, or that of Mann "
                "and Whitney of the numbers, adjusted for the number of parameters (Holm). The "
                "region is the best of all with one or two conditions, by likelihood; a second "
                "condition has to add more than a search among so many finds by chance, and its p "
                "is multiplied by the number of regions looked at. The search avoids where "
                "trainings fail, so rates describe what was tried.",
                *more,
                n=found.overall.n,
            )
        )
        return blocks


def configured(space: Space, configs: Sequence[Configuration]) -> list[Predictor]:
    """The free parameters as predictors; a number with inactive values by its active part alone.

    Where a parameter is not active a number has its mean, and a factor a level of its own.
    """
    found = []
    for name in space.free:
        parameter, values = space.parameters[name], [c.get(name) for c in configs]
        if isinstance(parameter, Categorical):
            labels = [text.value(v) if v is not None else INACTIVE for v in values]
            levels = [*map(text.value, parameter.levels)]
            levels += [INACTIVE] if INACTIVE in labels and INACTIVE not in levels else []
            place = np.array([float(levels.index(label)) for label in labels])
            found.append(Predictor(name, place, tuple(levels)))
            continue
        numbers = np.array([np.nan if v is None else float(v) for v in values])
        if np.isfinite(numbers).any():
            found.append(Predictor(name, np.where(np.isnan(numbers), np.nanmean(numbers), numbers)))
    return found


def _by_worker(told: Sequence[Evaluation], failed: Iterable[bool]) -> tuple[FailureRate, ...]:
    names = sorted(Counter(e.outcome.worker for e in told))
    place = np.array([float(names.index(e.outcome.worker)) for e in told])
    (by,) = failures_by([Predictor("worker", place, tuple(names))], np.array(failed))
    return by.rates


def _share(rate: FailureRate) -> str:
    low, high = rate.interval.low, rate.interval.high
    return f"{text.percent(rate.rate)} ({100 * low:.0f} to {100 * high:.0f} %)"


def _told_region(found: FailureRates) -> str:
    overall, region = found.overall, found.region
    said = f"{_share(overall)} of {text.plural(overall.n, 'training')} failed"
    if region is None:
        if overall.failed == overall.n:
            return f"{said}, so nothing tells them from others."
        return f"{said}; no parameter tells where."
    inside, outside = region.inside, region.outside
    if region.p >= SURE:
        return f"{said}; no parameter tells where beyond what chance does."
    where = (
        f"{inside.failed} of {inside.n} where {found.conditions}, {outside.failed} of {outside.n} "
        "elsewhere"
    )
    return f"{said}: {where} (p = {region.p:.2g} after all regions looked at)."


def failure_groups(found: FailureRates) -> list[tuple[str, FailureRate]]:
    """The rates with the names of their parameters, the surest first."""
    parameters = sorted(found.by, key=lambda f: f.p_holm)
    return [(f.name, rate) for f in parameters for rate in f.rates]


def draw_failures(ax: Axes, groups: Sequence[tuple[str, FailureRate]]) -> None:
    """Rates with their intervals, the parameters that tell most at the top."""
    figures.frame(ax, "share of trainings that failed", "", grid="x")
    y = np.arange(len(groups), dtype=np.float64)
    rate = np.array([r.rate for _, r in groups])
    low = np.array([r.interval.low for _, r in groups])
    high = np.array([r.interval.high for _, r in groups])
    ax.hlines(y, low, high, color=figures.BAND, linewidth=5)
    figures.dots(ax, rate, y, figures.ACCENT, 6)
    labels = [
        f"{figures.short(name, 12)}: {figures.short(r.label, 24)}"
        if i == 0 or groups[i - 1][0] != name
        else figures.short(r.label, 24)
        for i, (name, r) in enumerate(groups)
    ]
    ax.yaxis.set_major_locator(FixedLocator([*map(float, range(len(labels)))]))
    ax.yaxis.set_major_formatter(
        FuncFormatter(lambda v, _: labels[round(v)] if 0 <= round(v) < len(labels) else "")
    )
    ax.set_xlim(0, 1)
    ax.set_ylim(len(groups) - 0.5, -0.5)
