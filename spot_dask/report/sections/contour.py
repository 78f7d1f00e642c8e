"""Pairs of parameters: how they act together, in a section and on average."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable

from spot_dask.inference import Inference
from spot_dask.records import Configuration, Value
from spot_dask.report import figures, text
from spot_dask.report.blocks import Block, Chart, Charts, DataTable, Text, how, table
from spot_dask.report.context import (
    SEED,
    Axis,
    Floats,
    Missing,
    ReportContext,
    floats,
    known,
    thinned,
)
from spot_dask.report.sections.importance import LITTLE, ImportanceSection, RegionImportance
from spot_dask.stats import FloatArray, Paths, Snap
from spot_dask.stats.effects import pair_draws, raw_sample, section

SIDE = 20  # values along each side
AVERAGED = 12  # values along each side of an average
SAMPLE = 16  # configurations that it is computed over
DRAWS = 64
DATA = 8  # rows and columns of the table of numbers
MOST = 3  # pairs
VAGUE = 0.5  # of the sd of the process: above it the model knows next to nothing


@dataclass(frozen=True)
class Contour:
    """The model in the plane of two parameters.

    All others are as in the recommended configuration, or, where ``over`` says what is averaged
    over, of any value there. ``median[a][b]`` is the objective (user's sign) at (x[a], y[b]),
    ``vague[a][b]`` whether the model's standard deviation there is more than half of what it is
    without any data. ``interaction`` is the share of the variance near the best that the two
    explain only together.
    """

    x_axis: Axis
    y_axis: Axis
    x: tuple[Value, ...]
    y: tuple[Value, ...]
    median: tuple[Floats, ...]
    vague: tuple[tuple[bool, ...], ...]
    points: tuple[tuple[Value, Value], ...]
    best: tuple[Value, Value]
    interaction: float
    over: str = ""


class ContourSection:
    title = "How do parameters act together?"
    order = 95

    def facts(self, context: ReportContext) -> tuple[Contour, ...] | Missing:
        """The planes of the pairs that interact most near the best: sections, then averages.

        Averages are over the whole space where the model may speak of it, else near the best.
        """
        importance, model, best = context[ImportanceSection], context.explained, context.best
        if isinstance(importance, Missing):
            return importance
        if isinstance(importance.near, Missing):
            return importance.near
        assert not isinstance(model, Missing)  # importance is the model's
        assert best is not None
        if sum(name in best.config for name in model.space.free) < 2:
            return Missing("fewer than two parameters are active in the recommended configuration")
        pairs = chosen(importance.near, best.config)
        found = [contour_of(context, model, best.config, pair, share) for pair, share in pairs]
        rng = np.random.default_rng(SEED)
        paths, sample = model.paths(DRAWS, rng), raw_sample(SAMPLE, model.space.d, rng)
        averages = (average_of(context, model, paths, sample, section) for section in found)
        return tuple(found) + tuple(average for average in averages if average is not None)

    def render(self, found: tuple[Contour, ...], context: ReportContext) -> Sequence[Block]:
        name = context.header.objective
        strongest = found[0]
        said = (
            f"The model's {name} over pairs of parameters, all others as in the recommended "
            "configuration. "
        )
        if strongest.interaction < LITTLE:
            said += "No pair interacts visibly near the best."
        else:
            said += (
                f"{strongest.x_axis.name} and {strongest.y_axis.name} interact most: together "
                f"they explain {text.percent(strongest.interaction)} of the variation near the "
                "best beyond what each explains alone."
            )
        sections = [c for c in found if not c.over]
        explanation = (
            "Sections of the model's median through the recommended configuration, for the "
            f"{text.plural(len(sections), 'pair')} with the largest interaction near the best (of "
            "parameters that are active there). Evaluations stand where their two parameters "
            "place them; their other parameters differ, so their values need not match the colour "
            "below them. Averages for the same pairs: each of "
            f"{DRAWS} functions drawn from the model's posterior, its mean over {SAMPLE} "
            "configurations of all other parameters, and the median of these means. The "
            "configurations fill the whole space where the model may speak of it, else the "
            "near-optimal region. Hatched: the standard deviation is more than half of what the "
            "model's would be without data, so it only guesses there."
        )
        charts = [_chart(c, i, name) for i, c in enumerate(found)]
        return [Text(said), Charts(charts), how(explanation, n=known(context), seed=SEED)]


def chosen(near: RegionImportance, best: Configuration) -> list[tuple[tuple[str, str], float]]:
    """The pairs to show, names in order of importance, with the share of their interaction."""
    rank = {p.name: i for i, p in enumerate(near.parameters)}
    pairs = [p for p in near.pairs if p.first in best and p.second in best][:MOST]
    found = []
    for p in pairs:
        first, second = sorted((p.first, p.second), key=rank.__getitem__)
        found.append(((first, second), p.share.value))
    return found


def contour_of(
    context: ReportContext,
    model: Inference,
    best: Configuration,
    names: tuple[str, str],
    interaction: float,
) -> Contour:
    space = model.space
    row = space.encode([best])[0]
    x_axis, y_axis = (Axis.of(space, name) for name in names)
    inside = model.evidence.inside
    x, grid_x = x_axis.values(space, inside, row, SIDE)
    y, grid_y = y_axis.values(space, inside, row, SIDE)
    columns = (list(space.free).index(names[0]), list(space.free).index(names[1]))

    def both(rows: FloatArray) -> FloatArray:
        return np.stack(model.predict(rows))

    mean, sd = section(both, space.snap, row, columns, (grid_x, grid_y))
    tried = [e.trial.config for e in thinned(context.ranked)]
    first, second = names
    return Contour(
        x_axis=x_axis,
        y_axis=y_axis,
        x=x,
        y=y,
        median=tuple(floats(line) for line in model.user(mean)),
        vague=tuple(tuple(bool(v) for v in line) for line in sd > vague_from(model)),
        points=tuple((t[first], t[second]) for t in tried if first in t and second in t),
        best=(best[first], best[second]),
        interaction=interaction,
    )


def average_of(
    context: ReportContext, model: Inference, paths: Paths, sample: FloatArray, section: Contour
) -> Contour | None:
    """The average over the other parameters, from raw rows (m x d) that fill the unit cube.

    None where the two are never active together.
    """
    space, near = model.space, context.near
    assert not isinstance(near, Missing)  # there is a section
    whole = not isinstance(context.whole, Missing)
    region: Snap = model.evidence.inside if whole else near.box
    rows = region(sample)
    names = section.x_axis.name, section.y_axis.name
    rows = rows[[all(name in c for name in names) for c in space.decode(space.snap(rows))]]
    if not len(rows):
        return None
    x, grid_x = section.x_axis.values(space, region, rows[0], AVERAGED)
    y, grid_y = section.y_axis.values(space, region, rows[0], AVERAGED)
    columns = (list(space.free).index(names[0]), list(space.free).index(names[1]))
    draws = pair_draws(paths, space.snap, rows, columns, (grid_x, grid_y))
    vague = draws.std(axis=0) > vague_from(model)
    return replace(
        section,
        x=x,
        y=y,
        median=tuple(floats(line) for line in model.user(np.median(draws, axis=0))),
        vague=tuple(tuple(bool(v) for v in line) for line in vague),
        points=(),  # whose values are no averages
        over="the whole space" if whole else "what is near the best",
    )


def vague_from(model: Inference) -> float:
    """The standard deviation of z from which on the model knows next to nothing."""
    return VAGUE * float(np.sqrt(np.median([s.s2 for s in model.process.sets])))


def _chart(c: Contour, i: int, name: str) -> Chart:
    shown = (
        f"Averaged over all other parameters in {c.over}."
        if c.over
        else "Dots: evaluations. Diamond: the recommended configuration. Interaction near the "
        f"best: {text.percent(c.interaction)}."
    )
    at = f"{c.x_axis.name} = {text.value(c.best[0])}, {c.y_axis.name} = {text.value(c.best[1])}"
    return figures.chart(
        lambda ax: draw_contour(ax, c, name),
        f"contour-{i}",
        f"{name} over {c.x_axis.name} and {c.y_axis.name}{', averaged' if c.over else ''}",
        f"Best configuration at {at}.",
        shown,
        _coarse(c),
        (figures.SIZE[0] * 1.1, figures.SIZE[1] * 1.2),
    )


def _coarse(c: Contour) -> DataTable:
    """A few rows and columns of the grid."""
    columns, lines = (
        list(range(n)) if n <= DATA else [round(i * (n - 1) / (DATA - 1)) for i in range(DATA)]
        for n in (len(c.x), len(c.y))
    )
    titles = [f"{c.y_axis.name} \\ {c.x_axis.name}", *(text.value(c.x[a]) for a in columns)]
    rows = [[text.value(c.y[b]), *(text.rough(c.median[a][b]) for a in columns)] for b in lines]
    return table(titles, rows)


def draw_contour(ax: Axes, c: Contour, objective: str) -> None:
    """The model in the plane of two parameters, evaluations as dots, the best as a diamond."""
    x, y = c.x_axis.place(c.x), c.y_axis.place(c.y)
    z = np.array(c.median).T
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
        vague = np.array(c.vague, dtype=np.float64).T
        if vague.any():
            ax.contourf(x, y, vague, levels=[0.5, 1.5], colors="none", hatches=["///"])
    inside = ax.get_xlim(), ax.get_ylim()
    tried_x = c.x_axis.place(a for a, _ in c.points)
    tried_y = c.y_axis.place(b for _, b in c.points)
    figures.dots(ax, tried_x, tried_y, "#ffffff", 4.6)
    figures.dots(ax, tried_x, tried_y, "#30353c", 2.6)
    best = c.x_axis.place(c.best[:1])[0], c.y_axis.place(c.best[1:])[0]
    # What is recommended under constraints need not be where the objective is good.
    if all(min(ends) <= place <= max(ends) for place, ends in zip(best, inside, strict=True)):
        ax.plot(
            *best,
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
