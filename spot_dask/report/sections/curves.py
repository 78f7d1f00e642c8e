"""Learning curves of the best few, and whether their last epoch was their best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from spot_dask.report import figures, text
from spot_dask.report.blocks import Block, Chart, Charts, Text, how, table
from spot_dask.report.context import Floats, Missing, ReportContext, floats

SHOWN_CURVES = 5
SHOWN_METRICS = 6
LEAST_JUDGED = 5

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
    best one in ``last_is_best`` of ``judged_of`` curves, those of the best quarter of the trials
    (five at least). ``best_epochs`` are the epochs (from 1) that were best, and ``epochs`` the
    lengths, of all curves that are judged, the best trial first. ``reported`` trials have curves.
    """

    metrics: Mapping[str, tuple[LearningCurve, ...]]
    judged: str
    last_is_best: int
    judged_of: int
    best_epochs: tuple[int, ...]
    epochs: tuple[int, ...]
    reported: int


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
        objective = context.header.objective
        judged = objective if any(objective in e.outcome.curves for e in reported) else ""
        curves = [np.array(e.outcome.curves.get(judged, ())) for e in reported] if judged else []
        found = [
            np.where(np.isfinite(v), context.sign * v, math.inf)
            for v in curves
            if len(v) > 1 and np.isfinite(v).any()
        ]
        top = found[: max(LEAST_JUDGED, math.ceil(len(found) / 4))]
        return BestCurves(
            metrics,
            judged,
            last_is_best=sum(bool(v[-1] <= v.min()) for v in top),
            judged_of=len(top),
            best_epochs=tuple(int(np.argmin(v)) + 1 for v in found),
            epochs=tuple(map(len, found)),
            reported=len(reported),
        )

    def render(self, found: BestCurves, context: ReportContext) -> Sequence[Block]:
        most = max(len(lines) for lines in found.metrics.values())
        shown = sorted(found.metrics, key=lambda name: (name != found.judged, name))
        charts = [
            _chart(found.metrics[name], i, name) for i, name in enumerate(shown[:SHOWN_METRICS])
        ]
        if found.best_epochs:
            charts.insert(1, _histogram(found))
        said = f"Curves of the best {most} of {text.plural(found.reported, 'trial')} that reported"
        if len(shown) > SHOWN_METRICS:
            said += f"; {SHOWN_METRICS} of {len(shown)} metrics shown"
        return [
            Text(_sentence(found), "lead"),
            Charts(charts),
            Text(f"{said}.", "note"),
            how(
                "A curve's best epoch is the first with its best value. Judged are the curves of "
                "the best quarter of the trials, at least five, by the objective. A curve that is "
                "still falling may mean too few epochs, a schedule that ends there, or patience "
                "that was never needed.",
                n=found.judged_of,
            ),
        ]


def _sentence(found: BestCurves) -> str:
    if not found.judged_of:
        return "Whether training converged cannot be told: the objective has no value by epoch."
    share = found.last_is_best / found.judged_of
    said = (
        f"In {found.last_is_best} of the {found.judged_of} best trials the last epoch was the best"
    )
    if share > 0.5:
        return f"{said}: more epochs may improve them further."
    return f"{said}: most had converged."


def _histogram(found: BestCurves) -> Chart:
    ends = sum(b == n for b, n in zip(found.best_epochs, found.epochs, strict=True))
    return figures.chart(
        lambda ax: draw_best_epochs(ax, found),
        "curves-epochs",
        "Best epoch of each training",
        f"In {ends} of {len(found.epochs)} trainings it is the last one.",
        f"The epoch of the best value in {text.plural(len(found.epochs), 'training')}; the last "
        f"one in {ends} of them.",
    )


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
    figures.value_scale(ax, *(np.array(line.values, dtype=np.float64) for line in lines))
    figures.legend(ax, handles[::-1])


def draw_best_epochs(ax: Axes, found: BestCurves) -> None:
    """How often each epoch was the best, of all trainings and of those that are judged."""
    last = max(found.epochs)
    edges = np.linspace(0.5, last + 0.5, min(last, 30) + 1)
    figures.frame(ax, "best epoch", "trainings")
    ax.hist(found.best_epochs, bins=list(edges), color=figures.FAINT)
    ax.hist(found.best_epochs[: found.judged_of], bins=list(edges), color=figures.ACCENT)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    label = f"best {found.judged_of}"
    handles = [figures.dot_handle(figures.FAINT, "all"), figures.dot_handle(figures.ACCENT, label)]
    figures.legend(ax, handles)
