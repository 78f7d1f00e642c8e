"""Which parameters cost time, and whether something cheaper is as good."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from scipy import special

from spot_dask.inference import Inference, rows
from spot_dask.records import Configuration
from spot_dask.report import figures, text
from spot_dask.report.blocks import Block, Text, how, table
from spot_dask.report.context import SEED, Missing, ReportContext, thinned
from spot_dask.space import Categorical
from spot_dask.stats.best import joint_draws
from spot_dask.stats.paired import holm
from spot_dask.stats.regression import Predictor, regression
from spot_dask.stats.tradeoff import pareto_front

DRAWS = 4000
LIKELY = 0.9
MOST = 200
SPARE = 5  # degrees of freedom that a table of time needs
SHOWN_FACTORS = 12
SURE = 0.05


@dataclass(frozen=True)
class TimedConfiguration:
    """A configuration by its first trial: median training time (s) and the model's median value.

    ``as_good`` is the probability that it is at most the tolerance worse than the recommended one.
    """

    number: int
    seconds: float
    value: float
    as_good: float


@dataclass(frozen=True)
class TimeFactor:
    """By which factor a parameter changes the training time, with its 95 % interval and Holm's p.

    Of a number it is that from the lower to the upper bound of its range, on its scale.
    """

    label: str
    factor: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Tradeoff:
    """Value against time (n configurations), the front that none dominates, the cheapest as good.

    ``tolerance`` is what may be lost, in the user's units where it was given (``mde``), else one
    standard deviation of the noise that the model assumes. ``cheapest`` is None where none that
    takes less time is likely as good. ``factors`` are empty, and ``explained`` is NaN, with too few
    evaluations for them.
    """

    configurations: tuple[TimedConfiguration, ...]
    front: tuple[int, ...]
    recommended: TimedConfiguration
    cheapest: TimedConfiguration | None
    tolerance: str
    factors: tuple[TimeFactor, ...]
    explained: float
    left_out: int


class TradeoffSection:
    title = "Is something cheaper as good?"
    order = 155

    def facts(self, context: ReportContext) -> Tradeoff | Missing:
        model, best = context.inferred, context.best
        if isinstance(model, Missing) or best is None:
            return model if isinstance(model, Missing) else Missing("no evaluation has succeeded")
        timed = _timed(context)
        key = _key(best.config)
        if key not in timed:
            return Missing("no training of the recommended configuration has recorded its time")
        chosen = _cheap_and_good(timed, key, model)
        draws = joint_draws(
            model.joint,
            rows(context.space, [config for config, _, _ in chosen]),
            DRAWS,
            np.random.default_rng(SEED),
        )
        i = next(k for k, (config, _, _) in enumerate(chosen) if _key(config) == key)
        mde = context.settings.get("mde")
        chances = _as_good(draws, i, model, mde)
        values = model.user(model.mean(rows(context.space, [c for c, _, _ in chosen])))
        found = tuple(
            TimedConfiguration(number, seconds, float(v), float(p))
            for (_, number, seconds), v, p in zip(chosen, values, chances, strict=True)
        )
        cheaper = [c for c in found if c.as_good >= LIKELY and c.seconds < found[i].seconds]
        front = pareto_front(model.sign * values, [c.seconds for c in found])
        factors, explained = _factors(context)
        return Tradeoff(
            found,
            tuple(found[k].number for k in front),
            found[i],
            min(cheaper, key=lambda c: (c.seconds, -c.as_good), default=None),
            f"{text.number(mde)} (--mde)" if mde else "one standard deviation of the noise",
            factors,
            explained,
            len(timed) - len(chosen),
        )

    def render(self, found: Tradeoff, context: ReportContext) -> Sequence[Block]:
        objective = context.header.objective
        on_front = [c for c in found.configurations if c.number in found.front]
        front = [
            (str(c.number), text.seconds(c.seconds), c.value, text.percent(c.as_good))
            for c in sorted(on_front, key=lambda c: c.seconds)
        ]
        caption = "The line joins what no other beats in both; the recommended one is dark"
        if found.left_out:
            caption += f"; {found.left_out} that are slower and worse are left out"
        blocks: list[Block] = [
            Text(_cheapest(found), "lead"),
            figures.chart(
                lambda ax: draw_tradeoff(ax, found, objective),
                "tradeoff",
                "Expected value against training time",
                f"{len(found.configurations)} configurations, {len(front)} on the front.",
                f"{caption}.",
                table(("trial", "time", objective, "as good"), front),
            ),
            Text(_what_costs(found)),
        ]
        shown = [f for f in found.factors if f.p < SURE][:SHOWN_FACTORS]
        if shown:
            cells = [
                (
                    f.label,
                    f"× {f.factor:.2g}",
                    f"{f.low:.2g} to {f.high:.2g}",
                    "< 0.0001" if f.p < 1e-4 else f"{f.p:.2g}",
                )
                for f in shown
            ]
            blocks.append(table(("parameter", "time", "95 %", "p (Holm)"), cells))
            if len(shown) < len(found.factors):
                cut = f"{len(shown)} of {len(found.factors)} shown, those beyond doubt."
                blocks.append(Text(cut, "note"))
        blocks.append(
            how(
                "Values are medians of the model of inference, times medians of the trainings of a "
                "configuration. A configuration counts as likely as good if its value is at most "
                f"{found.tolerance} worse than that of the recommended one in {LIKELY:.0%} of "
                f"{DRAWS:,} joint draws from the posterior. Factors of time are those of a "
                "regression of the logarithm of the time on all parameters.",
                n=len(found.configurations),
                seed=SEED,
            )
        )
        return blocks


Timed = tuple[Configuration, int, float]
"""A configuration, its first trial and its median time."""


def _key(config: Configuration) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, repr(v)) for name, v in config.items()))


def _timed(context: ReportContext) -> dict[tuple[tuple[str, str], ...], Timed]:
    """The configurations that succeeded and whose time is known."""
    times: dict[tuple[tuple[str, str], ...], list[tuple[Configuration, int, float]]] = {}
    for e in context.evaluations:
        if e.ok and e.outcome.seconds > 0 and context.competes(e.trial.config):
            found = (e.trial.config, e.trial.number, e.outcome.seconds)
            times.setdefault(_key(e.trial.config), []).append(found)
    return {
        key: (group[0][0], group[0][1], float(np.median([s for _, _, s in group])))
        for key, group in times.items()
    }


def _cheap_and_good(
    timed: Mapping[tuple[tuple[str, str], ...], Timed],
    key: tuple[tuple[str, str], ...],
    model: Inference,
) -> list[Timed]:
    """The configurations to compare: all, or the best by the model, the recommended among them."""
    everything = list(timed.values())
    if len(everything) <= MOST:
        return everything
    mean = model.mean(rows(model.space, [config for config, _, _ in everything]))
    kept = set(np.argsort(mean, kind="stable")[:MOST].tolist())
    return [t for i, t in enumerate(everything) if i in kept or _key(t[0]) == key]


def _as_good(draws: np.ndarray, i: int, model: Inference, mde: float | None) -> np.ndarray:
    """The share of draws of z (count x m) in which each (m) is at most the tolerance worse."""
    if mde:
        v = model.sign * model.user(draws)
        return np.asarray((v - v[:, [i]] <= mde).mean(axis=0))
    tolerance = float(np.hypot(*model.noise))
    return np.asarray((draws - draws[:, [i]] <= tolerance).mean(axis=0))


def _factors(context: ReportContext) -> tuple[tuple[TimeFactor, ...], float]:
    """The factors of time, those that tell most first, and the R² of the regression of its log."""
    told = [e for e in context.evaluations if e.ok and e.outcome.seconds > 0]
    space = context.space
    if not told or not space.free:
        return (), math.nan
    X = rows(space, [e.trial.config for e in told])
    predictors = []
    for j, name in enumerate(space.free):
        parameter = space.parameters[name]
        active = np.array([name in e.trial.config for e in told])
        if isinstance(parameter, Categorical):
            values = [repr(e.trial.config.get(name)) for e in told]
            seen = [level for level in parameter.levels if repr(level) in values]
            index = {repr(level): float(i) for i, level in enumerate(seen)}
            place = np.array([index.get(value, 0.0) for value in values])
            if len(seen) > 1:  # compared with the first level that was tried
                predictors.append(Predictor(name, place, tuple(map(text.value, seen))))
        elif active.any():
            mean = X[active, j].mean()
            predictors.append(Predictor(name, np.where(active, X[:, j], mean)))
    found = regression(predictors, np.log([e.outcome.seconds for e in told]))
    known = [c for c in found.coefficients[1:] if c.estimable and c.se > 0]
    if found.df < SPARE or not known:
        return (), math.nan
    reach = float(special.stdtrit(found.df, 0.975))
    adjusted = holm([c.p for c in known])
    middle, half = np.array([c.value for c in known]), reach * np.array([c.se for c in known])
    with np.errstate(over="ignore"):
        ends = np.exp([middle, middle - half, middle + half]).T
    order = sorted(range(len(known)), key=lambda k: (adjusted[k], -abs(known[k].t)))
    labels, table_p = [c.label for c in known], [float(p) for p in adjusted]
    found_factors = [
        TimeFactor(labels[k], float(ends[k, 0]), float(ends[k, 1]), float(ends[k, 2]), table_p[k])
        for k in order
    ]
    return tuple(found_factors), found.r2


def _cheapest(found: Tradeoff) -> str:
    best, other = found.recommended, found.cheapest
    takes = f"a training of the recommended configuration takes {text.seconds(best.seconds)}"
    if other is None:
        return (
            f"Nothing cheaper is known to be as good: {takes}, and no faster configuration is with "
            f"a probability of {LIKELY:.0%} at most {found.tolerance} worse."
        )
    return (
        f"That of trial {other.number} takes {text.seconds(other.seconds)}, where {takes}; with a "
        f"probability of {text.percent(other.as_good)} it is at most {found.tolerance} worse."
    )


def _what_costs(found: Tradeoff) -> str:
    if math.isnan(found.explained):
        return "Which parameters cost time cannot be told from so few evaluations."
    sure = [f for f in found.factors if f.p < SURE]
    said = f"The parameters explain {text.percent(found.explained)} of the variation of time (log)"
    if not sure:
        return f"{said}; none of them by itself beyond doubt."
    named = [f"{f.label} (× {f.factor:.2g})" for f in sure]
    return f"{said}; what changes it beyond doubt: {text.listed(named, 5)}."


def draw_tradeoff(ax: Axes, found: Tradeoff, objective: str) -> None:
    """The model's value of each configuration against its time, and the front."""
    shown = thinned(found.configurations)
    x, y = np.array([c.seconds for c in shown]), np.array([c.value for c in shown])
    front = [c for c in found.configurations if c.number in found.front]
    front = sorted(front, key=lambda c: c.seconds)
    fx, fy = np.array([c.seconds for c in front]), np.array([c.value for c in front])
    figures.frame(ax, "time of a training (s)", figures.short(objective, 40), grid="both")
    figures.dots(ax, x, y, figures.FAINT)
    ax.step(fx, fy, where="post", color=figures.ACCENT, linewidth=1.6)
    figures.dots(ax, fx, fy, figures.ACCENT, 5)
    best = found.recommended
    figures.dots(ax, np.array([best.seconds]), np.array([best.value]), figures.INK, 8)
    figures.value_scale(ax, x, fx, side="x")
    figures.value_scale(ax, y, fy)
