"""Which regions are good: the near-optimal box, and all evaluations in parallel coordinates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from spot_dask.records import Value
from spot_dask.report import figures, text
from spot_dask.report.blocks import Block, NotShown, Text, how, table
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
from spot_dask.space import Categorical, Space
from spot_dask.stats import BoolArray, FloatArray
from spot_dask.stats.region import Box

BEST = 0.1  # share of the evaluations that are drawn bold
MOST = 12  # parameters side by side


@dataclass(frozen=True)
class NearRange:
    """Where a parameter's near-optimal values are: the ends of a range, or levels.

    ``share`` is that of its range, or of its levels. Empty where no near-optimal configuration has
    the parameter active.
    """

    name: str
    values: tuple[Value, ...]
    is_range: bool
    share: float


@dataclass(frozen=True)
class NearRegion:
    """The box of near-optimal configurations.

    ``evaluations`` lie in it, ``configurations`` of ``of`` different ones may be near-optimal;
    ``volume`` is its share of the space. ``delta`` is the difference of the objective on the
    model's scale that counts as none.
    """

    ranges: tuple[NearRange, ...]
    evaluations: int
    configurations: int
    of: int
    volume: float
    delta: float


@dataclass(frozen=True)
class ParallelLine:
    """An evaluation: its parameters' places in [0, 1], NaN where inactive, and if it is bold."""

    number: int
    places: Floats
    best: bool


@dataclass(frozen=True)
class Regions:
    """The near-optimal region and the successful evaluations (a sample where they are many)."""

    near: NearRegion | Missing
    axes: tuple[Axis, ...]
    lines: tuple[ParallelLine, ...]
    evaluations: int


class RegionsSection:
    title = "Which regions are good?"
    order = 100

    def facts(self, context: ReportContext) -> Regions | Missing:
        space = context.space
        if not context.ranked:
            return Missing("no evaluation has succeeded")
        if not space.d:
            return Missing("no parameter is free")
        bold = max(1, round(BEST * len(context.ranked)))
        chosen = context.ranked[:bold] + tuple(thinned(context.ranked[bold:]))
        rows = space.encode([e.trial.config for e in chosen])
        places = np.where(space.active(rows), rows, np.nan)
        return Regions(
            near=near_region(context),
            axes=tuple(Axis.of(space, name) for name in space.free),
            lines=tuple(
                ParallelLine(e.trial.number, floats(place), i < bold)
                for i, (e, place) in enumerate(zip(chosen, places, strict=True))
            ),
            evaluations=len(context.ranked),
        )

    def render(self, found: Regions, context: ReportContext) -> Sequence[Block]:
        bold = sum(line.best for line in found.lines)
        shown = found.axes[:MOST]
        caption = f"Each line is an evaluation, the best {bold} of {found.evaluations} in blue."
        if len(found.lines) < found.evaluations:
            caption += f" {len(found.lines)} of {found.evaluations} evaluations shown."
        if len(shown) < len(found.axes):
            caption += f" {len(shown)} of {len(found.axes)} parameters shown."
        chart = figures.chart(
            lambda ax: draw_parallel(ax, found),
            "parallel",
            "Evaluations in parallel coordinates",
            f"The best {bold} evaluations against all others.",
            caption,
            size=(figures.SIZE[0] * 1.3, figures.SIZE[1]),
        )
        explanation = (
            "A configuration that was evaluated is near-optimal if in at least 5 % of functions "
            "drawn from the model's posterior it is within a difference of the best evaluated one "
            "that counts as none: the setting mde where it is given, else a tenth of the way from "
            "a typical space-filling evaluation to the best. The ranges are those of the smallest "
            "box around these configurations; next to a single integer its neighbours belong to "
            "it, and a real's range is at least a tenth of the whole. Lines have no corner at a "
            "parameter that is not active. `spot-dask space STORE` writes the box as a new space."
        )
        if isinstance(found.near, Missing):
            head: list[Block] = [NotShown(f"{found.near.reason} (the near-optimal region)")]
        else:
            head = [Text(_said(found.near)), _table(found.near)]
        return [*head, chart, how(explanation, n=known(context), seed=SEED)]


def near_region(context: ReportContext) -> NearRegion | Missing:
    """The near-optimal region of a run in its parameters' units."""
    model, near = context.explained, context.near
    if isinstance(model, Missing):
        return model
    assert not isinstance(near, Missing)  # there is a model
    space = model.space
    active = space.active(near.rows[near.chosen])
    whole = model.evidence.region
    ranges = tuple(
        _range(space, i, near.rows[near.chosen], active, near.box, whole) for i in range(space.d)
    )
    volume = float(np.prod([r.share for r in ranges if r.values]))
    return NearRegion(
        ranges, len(near.inside), int(near.chosen.sum()), len(near.rows), volume,
        near.delta * model.scale,
    )  # fmt: skip


def _range(
    space: Space,
    i: int,
    rows: FloatArray,
    active: BoolArray,
    box: Box,
    whole: Box,
) -> NearRange:
    """Of column i of the near-optimal rows (m x d) in a box, as a part of the ``whole``."""
    name = space.free[i]
    parameter = space.parameters[name]
    if not active[:, i].any():
        return NearRange(name, (), False, 1.0)
    row, levels = rows[active[:, i]][0], box.levels.get(i)
    width = float(whole.high[i] - whole.low[i]) or 1.0
    if levels is not None and len(levels):
        at = np.tile(row, (len(levels), 1))
        at[:, i] = levels
        values = tuple(config[name] for config in space.decode(space.snap(at)))
        if isinstance(parameter, Categorical):
            return NearRange(name, values, False, len(values) / len(whole.levels[i]))
        ends = np.unique([levels[0], levels[-1]])
        return NearRange(name, (values[0], values[-1]), True, float(np.ptp(ends)) / width)
    at = np.tile(row, (2, 1))
    at[:, i] = box.low[i], box.high[i]
    values = tuple(config[name] for config in space.decode(space.snap(at)))
    return NearRange(name, values, True, float(box.high[i] - box.low[i]) / width)


def _said(near: NearRegion) -> str:
    narrow = [r.name for r in near.ranges if r.values and r.share < 0.5]
    said = (
        f"{near.configurations} of {text.plural(near.of, 'configuration')} may be near-optimal; "
        f"the box around them holds {text.plural(near.evaluations, 'evaluation')}."
    )
    if narrow:
        return f"{said} It is less than half as wide as the space in {text.listed(narrow)}."
    return f"{said} It narrows no parameter to less than half."


def _table(near: NearRegion) -> Block:
    rows = []
    for r in near.ranges:
        values = [text.value(v) for v in r.values]
        shown = " to ".join(values) if r.is_range else text.listed(values) or "–"
        rows.append((r.name, shown, text.percent(r.share) if r.values else "–"))
    return table(("parameter", "near-optimal range or levels", "share of the space"), rows)


def draw_parallel(ax: Axes, found: Regions) -> None:
    """Evaluations as lines over the parameters, the best above the others."""
    axes = found.axes[:MOST]
    at = np.arange(len(axes), dtype=np.float64)
    figures.frame(ax, "", "place in the range", grid="x")
    for best, colour, width, alpha in (
        (False, figures.POINT, 0.7, 0.35),
        (True, figures.ACCENT, 1.6, 0.9),
    ):
        # One path with gaps: hundreds of lines would make a large page.
        x: list[float] = []
        y: list[float] = []
        for line in found.lines:
            if line.best is best:
                known = [
                    (k, v) for k, v in enumerate(line.places[: len(axes)]) if not math.isnan(v)
                ]
                x += [*(float(k) for k, _ in known), np.nan]
                y += [*(v for _, v in known), np.nan]
        ax.plot(x, y, color=colour, linewidth=width, alpha=alpha)
    ax.xaxis.set_major_locator(FixedLocator(list(at)))
    names = [figures.short(axis.name, 12) for axis in axes]
    ax.xaxis.set_major_formatter(
        FuncFormatter(lambda v, _: names[round(v)] if 0 <= round(v) < len(names) else "")
    )
    ax.tick_params(axis="x", labelrotation=30, colors=figures.INK)
    ax.yaxis.set_major_locator(NullLocator())
    ax.set_ylim(-0.04, 1.04)
