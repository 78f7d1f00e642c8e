"""How each parameter acts: through the recommended configuration, and on average."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from spot_dask.inference import Inference
from spot_dask.records import Value
from spot_dask.report import figures, text
from spot_dask.report.blocks import Block, Chart, Charts, DataTable, NotShown, Text, how, table
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
from spot_dask.report.sections.importance import ImportanceSection
from spot_dask.stats import FloatArray, Paths
from spot_dask.stats.effects import band, contrasts, effect_draws, raw_sample

SIZE = (4.2, 2.7)
DRAWS = 128
SAMPLE = 32  # configurations an average effect is computed over
GRID = 15  # values at which effects are computed
SHOWN = 12
MOST_CONTRASTS = 10

LineStyle = Literal["-", "--"]


@dataclass(frozen=True)
class EffectCurve:
    """The objective (user's sign) as one parameter varies: median and ends of the 95 % band.

    The band is simultaneous: with probability 95 % all of the curve lies in it. g values each.
    """

    median: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class LevelContrast:
    """Difference of the objective (user's sign) of two levels, first minus second.

    With the ends of simultaneous 95 % intervals: with probability 95 % all of a parameter hold.
    """

    first: Value
    second: Value
    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class MainEffect:
    """How a parameter acts at values (g), and the evaluations (p).

    ``section`` is with all others as in the recommended configuration, None where the parameter is
    not active there; ``average`` over the whole space, None where the model may not speak of it.
    ``condition`` is not empty where the average is that among configurations with the parameter
    active. ``contrasts`` are those of the section's levels.
    """

    axis: Axis
    values: tuple[Value, ...]
    section: EffectCurve | None
    average: EffectCurve | None
    points: tuple[tuple[Value, float], ...]
    condition: str
    contrasts: tuple[LevelContrast, ...]


class EffectsSection:
    title = "How does each parameter act?"
    order = 90

    def facts(self, context: ReportContext) -> tuple[MainEffect, ...] | Missing:
        importance, model = context[ImportanceSection], context.explained
        if isinstance(importance, Missing):
            return importance
        assert not isinstance(model, Missing)  # importance is the model's
        rng = np.random.default_rng(SEED)
        sample = model.evidence.inside(raw_sample(SAMPLE, model.space.d, rng))
        paths = model.paths(DRAWS, rng)
        named = importance.order[:SHOWN]
        effects = (_effect(context, model, paths, sample, name) for name in named)
        return tuple(e for e in effects if e is not None)

    def render(self, found: tuple[MainEffect, ...], context: ReportContext) -> Sequence[Block]:
        name, free = context.header.objective, len(context.space.free)
        said = (
            "What the model expects as one parameter varies and all others stay as in the "
            "recommended configuration, first what matters most near the best in the model."
        )
        if len(found) != free:
            said += f" Shown are {len(found)} of {free}."
        limits = effect_limits(found)
        blocks: list[Block] = [
            Text(said),
            Charts([_chart(e, i, name, limits) for i, e in enumerate(found)]),
            *(_contrasts(e) for e in found if e.contrasts),
        ]
        if isinstance(context.whole, Missing):
            blocks.append(NotShown(f"{context.whole.reason} (averages over the whole space)"))
        explanation = (
            f"Blue: {DRAWS} functions drawn from the model's posterior along a line through the "
            "recommended configuration: median and simultaneous 95 % band, computed on the scale "
            f"{context.on_scale(name)} and transformed back. Dashed, where the model may speak of "
            f"the whole space: the mean on that scale over {SAMPLE} space-filling configurations "
            "of all other parameters, with its own band. Bands tell how well the model knows the "
            "effect, not how much single trainings scatter. Differences of levels have "
            "simultaneous 95 % intervals (Tukey's comparison for draws). Grey dots are the "
            "evaluations, whose other parameters differ. All charts share one vertical range; "
            "what lies far outside is not drawn."
        )
        return [*blocks, how(explanation, n=known(context), seed=SEED)]


def _effect(
    context: ReportContext, model: Inference, paths: Paths, sample: FloatArray, name: str
) -> MainEffect | None:
    """None where the parameter is active neither in the best nor in the sample (m x d, raw)."""
    space, j, best = model.space, list(model.space.free).index(name), context.best
    assert best is not None  # the model has seen a success
    active = np.array([name in config for config in space.decode(space.snap(sample))])
    in_best = name in best.config
    whole = not isinstance(context.whole, Missing) and active.any()
    if not in_best and not whole:
        return None
    axis = Axis.of(space, name)
    row = space.encode([best.config])[0] if in_best else sample[active][0]
    values, grid = axis.values(space, model.evidence.inside, row, GRID)
    section = average = None
    compared: tuple[LevelContrast, ...] = ()
    if in_best:
        draws = effect_draws(paths, space.snap, row[None], j, grid)
        section = _curve(model, draws)
        compared = _compared(model, draws, values) if axis.kind == "categorical" else ()
    if whole:
        average = _curve(model, effect_draws(paths, space.snap, sample[active], j, grid))
    seen = thinned([e for e in context.ranked if name in e.trial.config])
    return MainEffect(
        axis=axis,
        values=values,
        section=section,
        average=average,
        points=tuple((e.trial.config[name], context.sign * e.y) for e in seen),
        condition="" if active.all() else f"Among configurations with {name} active.",
        contrasts=compared,
    )


def _curve(model: Inference, draws: FloatArray) -> EffectCurve:
    """From draws of z (count x g); ends are in the order of the user's sign."""
    found = band(draws)
    ends = model.user(np.stack([found.simultaneous_low, found.simultaneous_high]))
    low, high = np.sort(ends, axis=0)
    return EffectCurve(floats(model.user(np.median(draws, axis=0))), floats(low), floats(high))


def _compared(
    model: Inference, draws: FloatArray, values: Sequence[Value]
) -> tuple[LevelContrast, ...]:
    """All pairs of levels, the most different ones (in standard deviations) first."""
    found = contrasts(model.user(draws))
    sd = np.where(found.band.sd > 0, found.band.sd, np.inf)
    order = np.argsort(-np.abs(found.band.mean) / sd, kind="stable")
    return tuple(
        LevelContrast(
            values[found.pairs[k, 0]],
            values[found.pairs[k, 1]],
            float(found.band.mean[k]),
            float(found.band.simultaneous_low[k]),
            float(found.band.simultaneous_high[k]),
        )
        for k in order
    )


def _contrasts(e: MainEffect) -> DataTable:
    shown = e.contrasts[:MOST_CONTRASTS]
    title = f"levels of {e.axis.name}"
    if len(shown) < len(e.contrasts):
        title += f" ({len(shown)} of {len(e.contrasts)} pairs)"
    rows = [
        (
            f"{text.value(c.first)} − {text.value(c.second)}",
            text.like(c.difference, c.high - c.low),
            text.interval(c.low, c.high),
        )
        for c in shown
    ]
    return table((title, "difference", "simultaneous 95 % interval"), rows)


def _chart(e: MainEffect, i: int, objective: str, limits: tuple[float, float]) -> Chart:
    titles, columns = [e.axis.name], [[text.value(v) for v in e.values]]
    for title, curve in (("median", e.section), ("average", e.average)):
        if curve is not None:
            ends = list(zip(curve.median, curve.low, curve.high, strict=True))
            titles += [title, "95 % band"]
            columns.append([text.like(m, high - low) for m, low, high in ends])
            columns.append([text.interval(low, high) for _, low, high in ends])
    curve = e.section or e.average
    assert curve is not None  # an effect has one of them
    return figures.chart(
        lambda ax: draw_effect(ax, e, objective, limits),
        f"effect-{i}",
        f"Effect of {e.axis.name}",
        f"From {text.number(min(curve.median))} to {text.number(max(curve.median))}.",
        e.condition,
        table(titles, list(zip(*columns, strict=True))),
        SIZE,
    )


def draw_effect(
    ax: Axes, e: MainEffect, objective: str, limits: tuple[float, float] | None = None
) -> None:
    """The objective as one parameter varies, its 95 % band, and the evaluations."""
    x = e.axis.place(e.values)
    figures.frame(ax, figures.short(e.axis.name, 40), figures.short(objective, 30))
    figures.scale(ax, "x", e.axis, e.values)
    seen = e.axis.place(v for v, _ in e.points)
    figures.dots(ax, seen, np.array([y for _, y in e.points]), figures.POINT, 2.8)
    handles = []
    kinds: list[tuple[EffectCurve | None, str, float, LineStyle, str]] = [
        (e.average, figures.SECOND, 0.12, "--", "average"),
        (e.section, figures.ACCENT, -0.12, "-", "others as recommended"),
    ]
    for curve, colour, shift, style, label in kinds:
        if curve is None:
            continue
        at = x + (shift if e.average is not None and e.section is not None else 0.0)
        _draw_curve(ax, curve, at if e.axis.kind == "categorical" else x, e.axis, colour, style)
        handles.append(Line2D([], [], color=colour, linestyle=style, label=label))
    if e.axis.kind == "categorical":
        ax.set_xlim(-0.6, len(e.axis.levels) - 0.4)
    if len(handles) > 1:
        figures.legend(ax, handles[::-1])
    figures.plain_ticks(ax.yaxis)
    if limits is not None:
        ax.set_ylim(*limits)


def _draw_curve(
    ax: Axes, curve: EffectCurve, x: FloatArray, axis: Axis, colour: str, style: LineStyle
) -> None:
    median, low, high = (np.array(part) for part in (curve.median, curve.low, curve.high))
    if axis.kind == "categorical":
        ax.vlines(x, low, high, color=colour, alpha=0.35, linewidth=7)
        ax.plot(x, median, color=colour, linestyle="none", marker="D", markersize=6)
    else:
        ax.fill_between(x, low, high, color=colour, linewidth=0, alpha=0.2)
        ax.plot(x, median, color=colour, linewidth=2, linestyle=style)


def effect_limits(effects: Sequence[MainEffect]) -> tuple[float, float]:
    """One vertical range for all effects: what can be compared must be drawn alike.

    It holds all medians and the bulk of the bands and of the evaluations.
    """
    curves = [c for e in effects for c in (e.section, e.average) if c is not None]
    medians = [v for c in curves for v in c.median]
    ranges = [(min(medians), max(medians))] if medians else [(math.inf, -math.inf)]
    values = [v for e in effects for _, v in e.points]
    bands = [v for c in curves for v in (*c.low, *c.high)]
    ranges += [figures.bulk(np.array(part)) for part in (values, bands) if part]
    return figures.padded(min(low for low, _ in ranges), max(high for _, high in ranges), 0.05)
