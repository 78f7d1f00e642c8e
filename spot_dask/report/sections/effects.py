"""Main effects: how each parameter acts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from spot_dask.records import Value
from spot_dask.report import figures, text
from spot_dask.report.blocks import Block, Chart, Charts, Text, how, table
from spot_dask.report.context import (
    SEED,
    Axis,
    Floats,
    Missing,
    ReportContext,
    floats,
    joint_of,
    thinned,
)
from spot_dask.report.sections.importance import ImportanceSection
from spot_dask.stats import FloatArray
from spot_dask.stats.effects import Z95, main_effect, raw_sample
from spot_dask.tuner.model import Model

SIZE = (4.2, 2.7)
SAMPLE = 64  # configurations an effect is averaged over
GRID = 25  # values at which an effect is computed
SHOWN = 12


@dataclass(frozen=True)
class MainEffect:
    """The main effect of a parameter at values (g) with its 95 % band, and evaluations (p).

    ``condition`` is not empty where the effect is that among configurations with the parameter
    active.
    """

    axis: Axis
    values: tuple[Value, ...]
    mean: Floats
    low: Floats
    high: Floats
    points: tuple[tuple[Value, float], ...]
    condition: str


class EffectsSection:
    title = "How does each parameter act?"
    order = 60

    def facts(self, context: ReportContext) -> tuple[MainEffect, ...] | Missing:
        importance, model = context[ImportanceSection], context.explained
        if isinstance(importance, Missing):
            return importance
        assert not isinstance(model, Missing)  # importance is the model's
        sample = raw_sample(SAMPLE, model.space.d, np.random.default_rng(SEED))
        effects = (_effect(context, model, sample, p.name) for p in importance[:SHOWN])
        return tuple(e for e in effects if e is not None)

    def render(self, found: tuple[MainEffect, ...], context: ReportContext) -> Sequence[Block]:
        name, free = context.header.objective, len(context.space.free)
        said = "The average effect of each parameter, the most important first."
        if len(found) != free:
            said += f" Shown are {len(found)} of {free}."
        limits = effect_limits(found)
        explanation = (
            f"Each line is the model's mean as one parameter varies, averaged over {SAMPLE} "
            "space-filling configurations of all the others. The band is the 95 % interval of "
            "exactly this average under the model's joint posterior: it tells how well the model "
            "knows the effect, not how much single trainings scatter. Grey dots are the "
            "evaluations. All charts share one vertical range; evaluations far outside it are not "
            "drawn."
        )
        charts = [_chart(e, i, name, limits) for i, e in enumerate(found)]
        return [Text(said), Charts(charts), how(explanation)]


def _effect(
    context: ReportContext, model: Model, sample: FloatArray, name: str
) -> MainEffect | None:
    """None where no configuration of the sample (m x d, raw) has the parameter active."""
    space, j = model.space, list(model.space.free).index(name)
    active = np.array([name in config for config in space.decode(space.snap(sample))])
    if not active.any():
        return None
    axis = Axis.of(space, name)
    values, grid = axis.values(space, sample[active][0], GRID)
    mean, sd = main_effect(joint_of(model), space.snap, sample[active], j, grid)
    mean, margin = context.sign * mean, Z95 * sd
    seen = thinned([e for e in context.ranked if name in e.trial.config])
    return MainEffect(
        axis=axis,
        values=values,
        mean=floats(mean),
        low=floats(mean - margin),
        high=floats(mean + margin),
        points=tuple((e.trial.config[name], context.sign * e.y) for e in seen),
        condition="" if active.all() else f"Among configurations with {name} active.",
    )


def _chart(e: MainEffect, i: int, objective: str, limits: tuple[float, float]) -> Chart:
    rows = [
        (text.value(v), text.like(m, high - low), text.interval(low, high))
        for v, m, low, high in zip(e.values, e.mean, e.low, e.high, strict=True)
    ]
    return figures.chart(
        lambda ax: draw_effect(ax, e, objective, limits),
        f"effect-{i}",
        f"Main effect of {e.axis.name}",
        f"From {text.number(min(e.mean))} to {text.number(max(e.mean))}.",
        e.condition,
        table((e.axis.name, "mean", "95 % interval"), rows),
        SIZE,
    )


def draw_effect(
    ax: Axes, e: MainEffect, objective: str, limits: tuple[float, float] | None = None
) -> None:
    """The average objective as one parameter varies, its 95 % band, and the evaluations."""
    x = e.axis.place(e.values)
    figures.frame(ax, figures.short(e.axis.name, 40), figures.short(objective, 30))
    figures.scale(ax, "x", e.axis, e.values)
    seen = e.axis.place(v for v, _ in e.points)
    figures.dots(ax, seen, np.array([y for _, y in e.points]), figures.POINT, 2.8)
    mean, low, high = (np.array(part) for part in (e.mean, e.low, e.high))
    if e.axis.kind == "categorical":
        ax.vlines(x, low, high, color=figures.BAND, linewidth=9)
        ax.plot(x, mean, color=figures.ACCENT, linestyle="none", marker="D", markersize=6)
        ax.set_xlim(-0.6, len(e.axis.levels) - 0.4)
    else:
        ax.fill_between(x, low, high, color=figures.BAND, linewidth=0, alpha=0.75)
        ax.plot(x, mean, color=figures.ACCENT, linewidth=2)
    figures.plain_ticks(ax.yaxis)
    if limits is not None:
        ax.set_ylim(*limits)


def effect_limits(effects: Sequence[MainEffect]) -> tuple[float, float]:
    """One vertical range for all effects: what can be compared must be drawn alike."""
    bands = [v for e in effects for v in (*e.low, *e.high)]
    values = np.array([v for e in effects for _, v in e.points])
    low, high = figures.bulk(values) if len(values) else (math.inf, -math.inf)
    return figures.padded(min([low, *bands]), max([high, *bands]), 0.05)
