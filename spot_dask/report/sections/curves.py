"""Learning curves of the best few."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from spot_dask.report import figures, text
from spot_dask.report.blocks import Block, Chart, Charts, Text, table
from spot_dask.report.context import Floats, Missing, ReportContext, floats

SHOWN_CURVES = 5
SHOWN_METRICS = 6

LINES = (figures.ACCENT, figures.SECOND, figures.INK, figures.POINT, figures.MUTED)
DASHES: tuple[Floats, ...] = ((), (5, 2), (1, 1.5), (5, 2, 1, 2), (8, 3))


@dataclass(frozen=True)
class LearningCurve:
    """A learning curve of a trial, one value per epoch."""

    number: int
    values: Floats


@dataclass(frozen=True)
class BestCurves:
    """Learning curves by metric, those of the best trial first.

    ``judged`` is the objective where it was reported by epoch, else empty; its last epoch was the
    best one in ``last_is_best`` of ``judged_of`` curves.
    """

    metrics: Mapping[str, tuple[LearningCurve, ...]]
    judged: str
    last_is_best: int
    judged_of: int


class CurvesSection:
    title = "Did the best trainings converge?"
    order = 130

    def facts(self, context: ReportContext) -> BestCurves | Missing:
        """Learning curves of the best few trials that reported any."""
        reported = [
            e
            for e in context.ranked
            if any(math.isfinite(v) for curve in e.outcome.curves.values() for v in curve)
        ]
        if not reported:
            return Missing("no successful training reported values by epoch")
        best = reported[:SHOWN_CURVES]
        metrics = {
            name: tuple(
                LearningCurve(e.trial.number, floats(e.outcome.curves[name]))
                for e in best
                if name in e.outcome.curves
            )
            for name in sorted({name for e in best for name in e.outcome.curves})
        }
        judged = context.header.objective if context.header.objective in metrics else ""
        full = [np.array(c.values) for c in metrics.get(judged, ()) if len(c.values) > 1]
        minimised = [np.where(np.isfinite(v), context.sign * v, math.inf) for v in full]
        ends = sum(bool(np.isfinite(v[-1]) and v[-1] <= v.min()) for v in minimised)
        return BestCurves(metrics, judged, ends, len(full))

    def render(self, found: BestCurves, context: ReportContext) -> Sequence[Block]:
        most = max(len(lines) for lines in found.metrics.values())
        said = f"Values by epoch of the best {text.plural(most, 'trial')} that reported them."
        if found.judged_of:
            said += f" The last epoch was the best in {found.last_is_best} of {found.judged_of}."
        shown = sorted(found.metrics, key=lambda name: (name != found.judged, name))
        charts = [
            _chart(found.metrics[name], i, name) for i, name in enumerate(shown[:SHOWN_METRICS])
        ]
        return [Text(said), Charts(charts)]


def _chart(lines: Sequence[LearningCurve], i: int, metric: str) -> Chart:
    rows = [
        [str(k + 1), *(text.number(c.values[k]) if k < len(c.values) else "–" for c in lines)]
        for k in range(max(len(line.values) for line in lines))
    ]
    return figures.chart(
        lambda ax: draw_curves(ax, lines, metric),
        f"curves-{i}",
        f"{metric} by epoch",
        f"Trials {', '.join(str(line.number) for line in lines)}.",
        f"{metric} by epoch, the best trial in bold.",
        table(["epoch", *(f"trial {line.number}" for line in lines)], rows),
    )


def draw_curves(ax: Axes, lines: Sequence[LearningCurve], metric: str) -> None:
    """Learning curves, the best trial first."""
    figures.frame(ax, "epoch", figures.short(metric, 40))
    handles = []
    for i, line in reversed(list(enumerate(lines))):
        y = np.array(line.values, dtype=np.float64)
        x = np.arange(1, len(y) + 1, dtype=np.float64)
        colour, dash = LINES[i % len(LINES)], (0, DASHES[i % len(DASHES)])
        ax.plot(x, y, color=colour, linestyle=dash, linewidth=2.2 if i == 0 else 1.4)
        figures.dots(ax, x[-1:], y[-1:], colour, 5)
        label = f"trial {line.number}"
        handles.append(Line2D([], [], color=colour, linestyle=dash, label=label))
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    figures.plain_ticks(ax.yaxis)
    figures.legend(ax, handles[::-1])
