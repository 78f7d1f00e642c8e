"""The search over evaluations and over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from spot_dask.records import Origin
from spot_dask.report import figures, text
from spot_dask.report.blocks import Block, Charts, Text, how, table
from spot_dask.report.context import Floats, Missing, ReportContext
from spot_dask.stats.progress import expected_best, incumbent_curve


@dataclass(frozen=True)
class SearchProgress:
    """Evaluations in order of arrival (n), the incumbent after each, and random search.

    ``elapsed`` is the working time of the study in seconds when each arrived. ``random[k - 1]`` is
    the expected best of k random evaluations, from the space-filling part of the initial design.
    ``initial`` marks evaluations of the initial design, ``stopped`` those that were stopped early,
    ``fallback`` those that were chosen otherwise, as the surrogate or the criterion failed.
    """

    number: tuple[int, ...]
    elapsed: Floats
    y: Floats
    best: Floats
    initial: tuple[bool, ...]
    random: Floats
    stopped: tuple[bool, ...]
    fallback: tuple[bool, ...]


class ProgressSection:
    title = "How did the search go?"
    order = 50

    def facts(self, context: ReportContext) -> SearchProgress | Missing:
        if not context.ranked:
            return Missing("no evaluation has succeeded")
        told = [e for e, _ in context.arrivals]
        y = np.array([e.y if e.ok else math.nan for e in told])
        drawn = np.array([e.y for e in context.ranked if e.trial.origin is Origin.DESIGN])
        later = (Origin.INFILL, Origin.REPLICATE, Origin.FALLBACK)
        return SearchProgress(
            number=tuple(e.trial.number for e in told),
            elapsed=tuple(elapsed for _, elapsed in context.arrivals),
            y=context.signed(y),
            best=context.signed(incumbent_curve(y)),
            initial=tuple(e.trial.origin not in later for e in told),
            random=context.signed(expected_best(drawn, len(drawn))) if len(drawn) > 1 else (),
            stopped=tuple(e.stopped for e in told),
            fallback=tuple(e.trial.origin is Origin.FALLBACK for e in told),
        )

    def render(self, found: SearchProgress, context: ReportContext) -> Sequence[Block]:
        name = context.header.objective
        # Only the evaluations that improved on all before them.
        steps = [
            i
            for i in range(len(found.best))
            if found.y[i] == found.best[i] and (i == 0 or found.best[i] != found.best[i - 1])
        ]
        rows = []
        for i in steps:
            elapsed, best = text.seconds(found.elapsed[i]), text.number(found.best[i])
            rows.append((str(i + 1), str(found.number[i]), elapsed, best))
        by_evaluations = figures.chart(
            lambda ax: draw_search(ax, found, name, "evaluations"),
            "progress-evaluations",
            "Best value so far by number of evaluations",
            f"{len(found.y)} evaluations; the best value improved {len(steps) - 1} times.",
            "By evaluations.",
            table(("evaluation", "trial", "working time", "best so far"), rows),
        )
        by_time = figures.chart(
            lambda ax: draw_search(ax, found, name, "time"),
            "progress-time",
            "Best value so far by working time",
            f"{text.seconds(found.elapsed[-1])} of working time.",
            "By working time; pauses between sessions are left out.",
        )
        random = [(str(k + 1), text.number(v)) for k, v in enumerate(found.random)]
        expected = [table(("random evaluations", "expected best"), random)] if random else []
        explanation = (
            "The line for random search is the expected best of k evaluations drawn at random "
            "from the space-filling part of the initial design; it ends where the design ends. "
            "The best value so far is an observed one and therefore flattering."
        )
        return [
            Text(_sentence(found, name)),
            Charts([by_evaluations, by_time]),
            how(explanation, *expected),
        ]


def _sentence(p: SearchProgress, objective: str) -> str:
    last = max(i for i in range(len(p.best)) if i == 0 or p.best[i] != p.best[i - 1])
    said = (
        f"The best observed {objective}, {text.number(p.best[-1])}, came as evaluation "
        f"{last + 1} of {len(p.y)} (trial {p.number[last]})."
    )
    if any(p.stopped):
        said += (
            f" {text.plural(sum(p.stopped), 'training')} promised too little, ended early and "
            "gave no result."
        )
    if any(p.fallback):
        said += (
            f" {text.plural(sum(p.fallback), 'trial')} took the place of what the surrogate or the "
            "criterion failed to choose."
        )
    if p.random:
        said += (
            f" {len(p.random)} random evaluations would be expected to reach "
            f"{text.number(p.random[-1])}."
        )
    return said


def draw_search(
    ax: Axes, p: SearchProgress, objective: str, by: Literal["evaluations", "time"]
) -> None:
    """Every evaluation, the incumbent, and what random search would be expected to reach."""
    y, best = np.array(p.y), np.array(p.best)
    initial, fallback = np.array(p.initial, dtype=bool), np.array(p.fallback, dtype=bool)
    chosen = ~(initial | fallback)
    if by == "evaluations":
        x, label = np.arange(1, len(y) + 1, dtype=np.float64), "evaluations"
    else:
        longest = max(p.elapsed)
        unit, name = (3600.0, "hours") if longest >= 2 * 3600 else (60.0, "minutes")
        if longest < 120:
            unit, name = 1.0, "seconds"
        x, label = np.array(p.elapsed) / unit, f"working time ({name})"
    figures.frame(ax, label, figures.short(objective, 40))
    figures.dots(ax, x[initial], y[initial], figures.FAINT)
    figures.dots(ax, x[chosen], y[chosen], figures.POINT)
    figures.dots(ax, x[fallback], y[fallback], figures.INK)
    ax.step(x, best, where="post", color=figures.ACCENT, linewidth=2)
    handles = [
        Line2D([], [], color=figures.ACCENT, linewidth=2, label="best so far"),
        figures.dot_handle(figures.FAINT, "initial design"),
        figures.dot_handle(figures.POINT, "chosen by the model"),
    ]
    if fallback.any():
        handles.append(figures.dot_handle(figures.INK, "the model failed"))
    if by == "evaluations" and p.random:
        k, dash = np.arange(1, len(p.random) + 1), (0, (4, 2))
        ax.plot(k, p.random, color=figures.SECOND, linewidth=1.6, linestyle=dash)
        label = "random search, expected"
        handles.append(Line2D([], [], color=figures.SECOND, linestyle=dash, label=label))
    figures.plain_ticks(ax.xaxis, ax.yaxis)
    ax.set_xlim(0, max(float(x[-1]) * 1.02, 1e-9))
    figures.limit_to_bulk(ax, y[initial], y[~initial])
    figures.legend(ax, handles)
