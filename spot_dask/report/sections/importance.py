"""Sobol indices: which parameters matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from spot_dask.report import figures, text
from spot_dask.report.blocks import Block, Text, how, table
from spot_dask.report.context import SEED, Missing, ReportContext, mean_of
from spot_dask.stats.sensitivity import BASE_POINTS, Estimates, sobol_indices

MOST = 20


@dataclass(frozen=True)
class Share:
    """Share of the variance with the ends of its sampling interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Importance:
    """Sobol indices of a parameter: alone (first) and in any combination (total)."""

    name: str
    first: Share
    total: Share


class ImportanceSection:
    title = "Which parameters matter?"
    order = 50

    def facts(self, context: ReportContext) -> tuple[Importance, ...] | Missing:
        """The parameters by total index, the largest first."""
        model = context.explained
        if isinstance(model, Missing):
            return model
        space, rng = model.space, np.random.default_rng(SEED)
        sobol = sobol_indices(mean_of(model), space.snap, space.d, rng)
        if sobol.variance == 0.0:
            return Missing("the model is constant: no parameter makes a difference")
        shares = [
            Importance(name, _share(sobol.first, i), _share(sobol.total, i))
            for i, name in enumerate(space.free)
        ]
        return tuple(sorted(shares, key=lambda p: (-p.total.value, p.name)))

    def render(self, found: tuple[Importance, ...], context: ReportContext) -> Sequence[Block]:
        top, shown = found[0], found[:MOST]
        said = (
            f"{top.name} matters most: it takes part in {text.percent(top.total.value)} of the "
            f"variation and explains {text.percent(top.first.value)} alone."
        )
        if small := [s.name for s in found if s.total.high < 0.02]:
            said += f" Without visible effect: {text.listed(small)}."
        rows = [
            [
                s.name,
                text.percent(s.first.value),
                f"{text.percent(s.first.low)} to {text.percent(s.first.high)}",
                text.percent(s.total.value),
                f"{text.percent(s.total.low)} to {text.percent(s.total.high)}",
            ]
            for s in found
        ]
        chart = figures.chart(
            lambda ax: draw_importance(ax, shown),
            "importance",
            "Importance of the parameters",
            "; ".join(f"{s.name} {text.percent(s.total.value)}" for s in shown),
            "Each parameter's share, alone and in any combination.",
            table(("parameter", "alone (S1)", "95 %", "in all (ST)", "95 %"), rows),
            (figures.SIZE[0], 1.15 + 0.27 * len(shown)),
        )
        explanation = (
            "Sobol indices of the model's mean over the whole search space, every value of every "
            f"parameter being equally likely on its scale: Saltelli sampling with {BASE_POINTS} "
            f"base points and seed {SEED}, first-order indices after Saltelli (2010), total "
            "indices after Jansen (1999), bootstrap intervals. The intervals tell the error of "
            "this sampling; the model's own error is left out. Where part of the space diverges, "
            "that part dominates the shares."
        )
        return [Text(said), chart, how(explanation)]


def _share(estimates: Estimates, i: int) -> Share:
    """Clipped to [0, 1]: a share outside is an error of sampling."""
    ends = (estimates.value[i], estimates.low[i], estimates.high[i])
    return Share(*(min(1.0, max(0.0, float(v))) for v in ends))


def draw_importance(ax: Axes, shares: Sequence[Importance]) -> None:
    """Total index as a bar with its interval, the share alone within it."""
    at = np.arange(len(shares), dtype=np.float64)[::-1]
    total = np.array([s.total.value for s in shares])
    first = np.array([min(s.first.value, s.total.value) for s in shares])
    low = np.array([s.total.low for s in shares])
    high = np.array([s.total.high for s in shares])
    figures.frame(ax, "share of the variation explained by the model", "", grid="x")
    ax.barh(at, total, height=0.62, color=figures.BAND)
    ax.barh(at, first, height=0.62, color=figures.ACCENT)
    ax.hlines(at, low, high, color=figures.INK, linewidth=1.4)
    ax.yaxis.set_major_locator(FixedLocator(list(at)))
    names = {a: figures.short(s.name, 22) for a, s in zip(at, shares, strict=True)}
    ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: names.get(v, "")))
    ax.tick_params(axis="y", colors=figures.INK)
    ax.set_xlim(0, max(0.1, float(high.max()) * 1.04))
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:.0f} %"))
    handles = [
        Line2D([], [], color=figures.ACCENT, linewidth=6, label="alone"),
        Line2D([], [], color=figures.BAND, linewidth=6, label="together with others"),
        Line2D([], [], color=figures.INK, linewidth=1.4, label="95 % sampling interval"),
    ]
    figures.legend(ax, handles)
