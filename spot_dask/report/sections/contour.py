"""The two most important parameters together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable

from spot_dask.records import Value
from spot_dask.report import figures, text
from spot_dask.report.blocks import Block, DataTable, Text, how, table
from spot_dask.report.context import Axis, Floats, Missing, ReportContext, mean_of, thinned
from spot_dask.report.sections.importance import ImportanceSection
from spot_dask.stats.effects import section

SIDE = 30  # values along each side
DATA = 8  # rows and columns of the table of numbers


@dataclass(frozen=True)
class Contour:
    """The model around the recommended configuration: ``mean[a][b]`` at (x[a], y[b])."""

    x_axis: Axis
    y_axis: Axis
    x: tuple[Value, ...]
    y: tuple[Value, ...]
    mean: tuple[Floats, ...]
    points: tuple[tuple[Value, Value], ...]
    best: tuple[Value, Value]


class ContourSection:
    title = "How do the two most important parameters act together?"
    order = 70

    def facts(self, context: ReportContext) -> Contour | Missing:
        """The plane of the two most important parameters that the best configuration has."""
        importance, model, best = context[ImportanceSection], context.explained, context.best
        if isinstance(importance, Missing):
            return importance
        assert not isinstance(model, Missing)  # importance is the model's
        assert best is not None
        names = [p.name for p in importance if p.name in best.config]
        if len(names) < 2:
            return Missing("fewer than two parameters are active in the recommended configuration")
        space, (first, second) = model.space, names[:2]
        row = space.encode([best.config])[0]
        x_axis, y_axis = Axis.of(space, first), Axis.of(space, second)
        x, grid_x = x_axis.values(space, row, SIDE)
        y, grid_y = y_axis.values(space, row, SIDE)
        pair = (list(space.free).index(first), list(space.free).index(second))
        mean = section(mean_of(model), space.snap, row, pair, (grid_x, grid_y))
        tried = [e.trial.config for e in thinned(context.ranked)]
        return Contour(
            x_axis=x_axis,
            y_axis=y_axis,
            x=x,
            y=y,
            mean=tuple(context.signed(line) for line in mean),
            points=tuple((t[first], t[second]) for t in tried if first in t and second in t),
            best=(best.config[first], best.config[second]),
        )

    def render(self, found: Contour, context: ReportContext) -> Sequence[Block]:
        x, y, name = found.x_axis.name, found.y_axis.name, context.header.objective
        at = f"{x} = {text.value(found.best[0])}, {y} = {text.value(found.best[1])}"
        return [
            Text(
                f"The model's {name} over {x} and {y}, all other parameters as in the recommended "
                "configuration."
            ),
            figures.chart(
                lambda ax: draw_contour(ax, found, name),
                "contour",
                f"{name} over {x} and {y}",
                f"Best configuration at {at}.",
                "Dots: evaluations. Diamond: the recommended configuration.",
                _coarse(found),
                (figures.SIZE[0] * 1.1, figures.SIZE[1] * 1.2),
            ),
            how(
                "A section of the model's mean through the recommended configuration. Evaluations "
                "are drawn where these two parameters place them; their other parameters differ, "
                "so their values need not match the colour below them. Far from any dot the model "
                "only guesses."
            ),
        ]


def _coarse(c: Contour) -> DataTable:
    """A few rows and columns of the grid."""
    columns, lines = (
        list(range(n)) if n <= DATA else [round(i * (n - 1) / (DATA - 1)) for i in range(DATA)]
        for n in (len(c.x), len(c.y))
    )
    titles = [f"{c.y_axis.name} \\ {c.x_axis.name}", *(text.value(c.x[a]) for a in columns)]
    rows = [[text.value(c.y[b]), *(text.number(c.mean[a][b]) for a in columns)] for b in lines]
    return table(titles, rows)


def draw_contour(ax: Axes, c: Contour, objective: str) -> None:
    """The model in the plane of two parameters, evaluations as dots, the best as a diamond."""
    x, y = c.x_axis.place(c.x), c.y_axis.place(c.y)
    z = np.array(c.mean).T
    figures.frame(
        ax, figures.short(c.x_axis.name, 40), figures.short(c.y_axis.name, 40), grid="both"
    )
    figures.scale(ax, "x", c.x_axis, c.x)
    figures.scale(ax, "y", c.y_axis, c.y)
    if "categorical" in (c.x_axis.kind, c.y_axis.kind) or min(z.shape) < 2 or np.ptp(z) == 0:
        # Edges in the colour of the face close the hairlines between cells.
        filled: ScalarMappable = ax.pcolormesh(
            x, y, z, cmap="viridis", shading="nearest", linewidth=0.5, edgecolors="face"
        )
    else:
        filled = ax.contourf(x, y, z, levels=12, cmap="viridis")
    inside = ax.get_xlim(), ax.get_ylim()
    tried_x = c.x_axis.place(a for a, _ in c.points)
    tried_y = c.y_axis.place(b for _, b in c.points)
    figures.dots(ax, tried_x, tried_y, "#ffffff", 4.6)
    figures.dots(ax, tried_x, tried_y, "#30353c", 2.6)
    ax.plot(
        c.x_axis.place(c.best[:1]),
        c.y_axis.place(c.best[1:]),
        marker="D",
        markersize=9,
        color=figures.SECOND,
        markeredgecolor="#ffffff",
        clip_on=False,
    )
    ax.set_xlim(*inside[0])
    ax.set_ylim(*inside[1])
    bar = ax.figure.colorbar(filled, ax=ax, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, colors=figures.MUTED)
    bar.set_label(figures.short(objective, 40), color=figures.MUTED)
    figures.plain_ticks(bar.ax.yaxis)
