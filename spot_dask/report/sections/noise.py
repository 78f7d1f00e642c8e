"""How far two trainings of the same configuration differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter

from spot_dask.records import Evaluation
from spot_dask.report import figures, text
from spot_dask.report.blocks import Block, Text, how, table
from spot_dask.report.context import Floats, Missing, ReportContext
from spot_dask.stats.effects import Z95
from spot_dask.stats.intervals import Interval
from spot_dask.stats.noise import (
    Component,
    ConfigurationEffect,
    NuggetCheck,
    check_nugget,
    components,
    configuration_effect,
    pure_error,
)

SHOWN_CONFIGURATIONS = 12
DIFFERENT = 0.05  # p below which configurations are said to differ
FEW = 4  # degrees of freedom below which a standard deviation is hardly known


@dataclass(frozen=True)
class Repeated:
    """A configuration trained more than once: its first trial, its values, their mean and sd.

    ``role`` is ``recommended``, ``default`` or empty; ``fresh`` of the values are confirmations.
    """

    number: int
    role: str
    values: Floats
    fresh: int
    mean: float
    sd: float


@dataclass(frozen=True)
class NoiseFound:
    """The standard deviation of trainings of one configuration, pooled, with its 95 % interval.

    ``df`` degrees of freedom of ``trainings`` of the ``configurations``. ``seed`` is the share that
    all configurations have in common under a seed, None where no two share one. ``model`` compares
    the variance that the model of inference assumes with that of its own repeated evaluations, on
    the ``scale`` of its transformation; None where these are none. ``difference`` tests whether
    these configurations differ at all; None where only one was trained more than once.
    """

    sd: float
    interval: Interval
    df: int
    trainings: int
    configurations: tuple[Repeated, ...]
    seed: Component | None
    residual: float
    model: NuggetCheck | None
    scale: str
    difference: ConfigurationEffect | None


class NoiseSection:
    title = "How noisy is the objective?"
    order = 120

    def facts(self, context: ReportContext) -> NoiseFound | Missing:
        """What repeated configurations tell; confirmations count, as they are trainings too."""
        groups = _repeated([e for e in context.evaluations if e.ok])
        if not groups:
            return Missing(
                "no configuration was trained twice, so noise cannot be told from effects; "
                "`spot-dask confirm STORE` trains the best and the default under fresh seeds"
            )
        told = [e for group in groups for e in group]
        y = context.sign * np.array([e.y for e in told])
        place = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
        error = pure_error(y, place)
        found = components(y, place, seed=[e.trial.seed for e in told])
        (seed,) = found.effects
        shared = seed.variance > 0  # NaN where no seed is shared
        model = _against_model(context)
        return NoiseFound(
            sd=math.sqrt(found.total) if shared else error.sd,
            interval=found.total_sd_interval if shared else error.sd_interval,
            df=error.df,
            trainings=len(told),
            configurations=tuple(_told(group, context) for group in groups),
            seed=seed if seed.df and found.residual_df else None,
            residual=found.residual,
            model=model,
            scale="" if context.inference is None else context.inference.transform.name,
            difference=_difference(groups),
        )

    def render(self, found: NoiseFound, context: ReportContext) -> Sequence[Block]:
        name = context.header.objective
        shown = found.configurations[:SHOWN_CONFIGURATIONS]
        blocks: list[Block] = [Text(_sentence(found, name), "lead"), Text(_use(found))]
        if context.folds.several:
            blocks.append(
                Text(
                    "Trainings of a configuration are on different folds of the data, so this noise"
                    " is how much folds differ, too; what is common to all configurations on a fold"
                    " is common to a seed."
                )
            )
        if found.seed is not None:
            blocks.append(Text(_seed(found.seed)))
        if found.difference is not None and not math.isnan(found.difference.p):
            blocks.append(Text(_differ(found.difference)))
        if found.model is not None:
            blocks.append(Text(_model(found.model), "plain" if found.model.agrees else "warning"))
        rows = [
            (_label(c), str(len(c.values)), str(c.fresh), text.number(c.mean), text.spread(c.sd))
            for c in found.configurations
        ]
        caption = "Every training of the configurations that were trained more than once"
        if len(shown) < len(found.configurations):
            caption += f"; {len(shown)} of {len(found.configurations)} shown"
        blocks.append(
            figures.chart(
                lambda ax: draw_noise(ax, shown, name),
                "noise",
                "Repeated trainings by configuration",
                f"Their pooled standard deviation is {text.spread(found.sd)}.",
                f"{caption}.",
                table(("configuration", "trainings", "on fresh seeds", "mean", "sd"), rows),
                size=(figures.SIZE[0], 1.1 + 0.32 * max(3, len(shown))),
            )
        )
        blocks.append(
            how(
                "The standard deviation is pooled over configurations: the squares of the "
                "deviations from the mean of each, divided by the degrees of freedom. Its "
                "interval is the chi-square interval of normal noise that is the same everywhere, "
                "with fewer degrees of freedom where configurations share seeds (Satterthwaite). "
                "The share of the seed is a variance component by the method of fitting constants "
                "with its exact F test. Whether configurations differ is tested on fresh seeds "
                "where they have several, by the F test of configurations beyond seeds where they "
                "share seeds, else by Welch's (1951). The model's noise is compared with repeated "
                "evaluations of the search on the scale of its transformation. All of it is about "
                "seeds as the run drew them, and about splits of the data as far as seeds change "
                "them.",
                n=found.trainings,
            )
        )
        return blocks


def _repeated(evaluations: Sequence[Evaluation]) -> list[list[Evaluation]]:
    """Evaluations of the configurations that have several, by their first trial."""
    groups: dict[tuple[tuple[str, str], ...], list[Evaluation]] = {}
    for e in evaluations:
        key = tuple(sorted((name, repr(v)) for name, v in e.trial.config.items()))
        groups.setdefault(key, []).append(e)
    return [group for group in groups.values() if len(group) > 1]


def _told(group: Sequence[Evaluation], context: ReportContext) -> Repeated:
    values = context.sign * np.array([e.y for e in group])
    config = dict(group[0].trial.config)
    role = "default" if config == dict(context.space.default) else ""
    if context.best is not None and config == dict(context.best.config):
        role = "recommended"
    return Repeated(
        group[0].trial.number,
        role,
        tuple(map(float, values)),
        sum(e.trial.confirms for e in group),
        float(values.mean()),
        float(values.std(ddof=1)),
    )


def _difference(groups: Sequence[Sequence[Evaluation]]) -> ConfigurationEffect | None:
    """Whether the configurations differ: by fresh seeds, which had no part in choosing them."""
    if len(groups) < 2:
        return None
    fresh = [[e for e in group if e.trial.confirms] for group in groups]
    told = [new if len(new) > 1 else group for new, group in zip(fresh, groups, strict=True)]
    place = np.repeat(np.arange(len(told)), [len(group) for group in told])
    every = [e for group in told for e in group]
    return configuration_effect([e.y for e in every], place, [e.trial.seed for e in every])


def _against_model(context: ReportContext) -> NuggetCheck | None:
    """The model's noise against the repeated evaluations that it knows, on its own scale."""
    model = context.inference
    groups = _repeated([e for e in context.evaluations if e.ok and not e.trial.confirms])
    if model is None or not groups:
        return None
    told = [e for group in groups for e in group]
    z = model.internal(context.sign * np.array([e.y for e in told]))
    place = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    error, seed = model.noise
    return check_nugget(error**2 + seed**2, pure_error(z, place))


def _sentence(found: NoiseFound, name: str) -> str:
    low, high = found.interval.low, found.interval.high
    configurations = text.plural(len(found.configurations), "configuration")
    said = (
        f"Two trainings of the same configuration differ: the standard deviation of {name} is "
        f"{text.spread(found.sd)} (95 %: {text.spread(low)} to {text.spread(high)}), from "
        f"{found.trainings} trainings of {configurations}"
    )
    if found.sd == 0:
        said = (
            f"Repeated trainings gave the very same {name}: no noise was seen in {found.trainings} "
            f"trainings of {configurations}"
        )
    few = found.df < FEW
    return f"{said}{'; so few trainings hardly tell it' if few else ''}."


def _use(found: NoiseFound) -> str:
    """What the noise means for whoever compares two values."""
    if found.sd == 0:
        return "A difference between two trainings is one between their configurations."
    apart = Z95 * math.sqrt(2) * found.sd
    return (
        "Two configurations with one training each can be told apart only if their values "
        f"differ by more than about {text.spread(apart)}; the mean of 4 trainings each needs half "
        "of that."
    )


def _differ(found: ConfigurationEffect) -> str:
    configurations = text.plural(found.df + 1, "configuration")
    how = f"F = {found.F:.2f}, p = {found.p:.2g}" if math.isfinite(found.F) else f"p = {found.p:g}"
    if found.p < DIFFERENT:
        return f"The means of these {configurations} differ by more than noise ({how})."
    return f"The means of these {configurations} do not differ by more than noise may ({how})."


def _seed(seed: Component) -> str:
    low, high = text.percent(seed.share_interval.low), text.percent(seed.share_interval.high)
    said = (
        f"{text.percent(seed.share)} of that variance (95 %: {low} to {high}; p = "
        f"{seed.p:.2g}) is common to all configurations under one seed"
    )
    if seed.p < 0.05:
        return f"{said}: comparing configurations on the same seeds removes it."
    return f"{said}, which may be none."


def _model(check: NuggetCheck) -> str:
    if math.isnan(check.ratio):
        return "The model assumes no noise, and repeated evaluations show none."
    if math.isinf(check.ratio):
        return (
            "Repeated evaluations show no noise. The model takes for noise what it cannot follow, "
            "so its intervals are too wide."
        )
    said = (
        f"The variance of the noise that the model assumes is {text.rough(check.ratio)} times that "
        f"of the repeated evaluations (95 %: {text.rough(check.interval.low)} to "
        f"{text.rough(check.interval.high)})"
    )
    if check.agrees:
        return f"{said}: they agree."
    wrong = "wide" if check.ratio > 1 else "short"
    return f"{said}: they do not agree, so the model's intervals are too {wrong}."


def _label(c: Repeated) -> str:
    return f"trial {c.number} ({c.role})" if c.role else f"trial {c.number}"


def draw_noise(ax: Axes, shown: Sequence[Repeated], objective: str) -> None:
    """One line for each configuration: its values as dots, their mean as a bar."""
    figures.frame(ax, figures.short(objective, 40), "", grid="x")
    for i, c in enumerate(shown):
        values, place = np.array(c.values), np.full(len(c.values), float(i))
        figures.dots(ax, values, place, figures.POINT, 5)
        ax.vlines(c.mean, i - 0.3, i + 0.3, color=figures.ACCENT, linewidth=2)
    labels = [_label(c) for c in shown]
    ax.yaxis.set_major_locator(FixedLocator(list(range(len(shown)))))
    ax.yaxis.set_major_formatter(
        FuncFormatter(lambda v, _: labels[round(v)] if 0 <= round(v) < len(labels) else "")
    )
    ax.set_ylim(len(shown) - 0.5, -0.5)
    figures.value_scale(ax, *(np.array(c.values) for c in shown), side="x")
