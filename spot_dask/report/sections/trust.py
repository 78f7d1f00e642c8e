"""Diagnostics of the model of inference: predictions of evaluations that were left out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from spot_dask.inference.gate import LEAST_P, LEAST_Q2, LEAST_WITHIN, FillingCheck
from spot_dask.report import figures, text
from spot_dask.report.blocks import Block, Charts, NotShown, Text, how, table
from spot_dask.report.context import Floats, Missing, ReportContext, floats, known

WORST = 20
FAR = 3.0


@dataclass(frozen=True)
class LengthScale:
    """Median length scale of a parameter over the sets of hyperparameters, in ranges of it.

    ``low`` and ``high`` are the smallest and the largest of the sets.
    """

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Trust:
    """Leave-one-out predictions: of the trials ``numbers``, observed, predicted median, and z.

    ``observed``, ``predicted`` and the ends of 95 % intervals ``low`` and ``high`` are in the
    user's sign and unit, ``errors`` in units of their predicted standard deviation; ``normal`` are
    the normal quantiles that belong to them (n each). ``q2`` is computed on the model's ``scale``:
    1 for perfect predictions, NaN where all values are equal; ``within`` is the share of errors
    within 2 sd, ``far`` the numbers of trials beyond 3. ``scores`` are leave-one-out log densities
    per evaluation by transformation, of which one was ``chosen`` or forced. ``noise`` are
    standard deviations of the error and of the seeds as shares of that of all values.
    """

    numbers: tuple[int, ...]
    observed: Floats
    predicted: Floats
    low: Floats
    high: Floats
    errors: Floats
    normal: Floats
    q2: float
    within: float
    far: tuple[int, ...]
    scale: str
    filling: FillingCheck
    lengths: tuple[LengthScale, ...]
    noise: tuple[float, float]
    chosen: str
    forced: bool
    scores: dict[str, float]
    left_out: int


class TrustSection:
    title = "Can the model be believed?"
    order = 110

    def facts(self, context: ReportContext) -> Trust | Missing:
        model, loo, filling = context.inferred, context.left_out, context.filling
        if isinstance(model, Missing):
            return model
        assert not isinstance(loo, Missing)  # there is a model
        assert not isinstance(filling, Missing)
        reach = 1.959963984540054 * loo.sd
        ends = np.sort(model.user(np.stack([loo.mean - reach, loo.mean + reach])), axis=0)
        theoretical, _, order = loo.quantiles()
        normal = np.empty(len(loo.y))
        normal[order] = theoretical
        numbers = model.evidence.numbers
        scales = np.array([s.scales for s in model.process.sets])
        return Trust(
            numbers=tuple(int(k) for k in numbers),
            observed=floats(model.evidence.v),
            predicted=floats(model.user(loo.mean)),
            low=floats(ends[0]),
            high=floats(ends[1]),
            errors=floats(context.sign * loo.z),
            normal=floats(context.sign * normal),
            q2=loo.q2,
            within=loo.share_within(2),
            far=tuple(int(k) for k in numbers[np.abs(loo.z) > FAR]),
            scale=context.on_scale(context.header.objective),
            filling=filling,
            lengths=tuple(
                LengthScale(name, float(np.median(s)), float(s.min()), float(s.max()))
                for name, s in zip(model.space.free, scales.T, strict=True)
            ),
            noise=model.noise,
            chosen=model.transform.name,
            forced=model.forced,
            scores=model.scores,
            left_out=model.left_out,
        )

    def render(self, found: Trust, context: ReportContext) -> Sequence[Block]:
        if math.isnan(found.q2):
            return [
                NotShown("all values of the objective are equal, so there is nothing to predict")
            ]
        name = context.header.objective
        worst = sorted(range(len(found.errors)), key=lambda i: -abs(found.errors[i]))[:WORST]
        rows = [
            (_trial(found.numbers[i]), text.number(found.observed[i]),
             text.number(found.predicted[i]), text.interval(found.low[i], found.high[i]),
             text.spread(found.errors[i]))
            for i in worst
        ]  # fmt: skip
        title = f"trial ({len(rows)} largest errors of {len(found.errors)})"
        scatter = figures.chart(
            lambda ax: draw_predicted(ax, found, name),
            "predicted-observed",
            "Predicted against observed",
            f"Leave-one-out Q² is {found.q2:.2f}.",
            "Each evaluation predicted from all others, with 95 % intervals.",
            table((title, "observed", "predicted", "95 % interval", "error / sd"), rows),
        )
        errors = figures.chart(
            lambda ax: draw_residuals(ax, found, name),
            "residuals",
            "Standardised errors",
            f"{text.percent(found.within)} lie between -2 and 2.",
            "Errors in units of their predicted sd.",
        )
        quantiles = figures.chart(
            lambda ax: draw_quantiles(ax, found),
            "quantiles",
            "Normal quantiles of the errors",
            "Errors of a model that is right lie on the dashed line.",
            "Against normal quantiles; the largest errors with their trials.",
        )
        return [
            *(Text(said) for said in _said(found)),
            Charts([scatter, errors, quantiles]),
            _hyperparameters(found),
            *_transformations(found, name),
            how(_explanation(found), n=known(context)),
        ]


def _said(found: Trust) -> list[str]:
    well = "well" if found.q2 >= 0.7 else "roughly"
    if found.q2 < 0.3:
        well = "hardly better than their mean"
    said = [
        f"Where the search went, the model predicts evaluations it has not seen {well}: "
        f"Q² = {found.q2:.2f}, and {text.percent(found.within)} of the errors are within ±2 "
        "standard deviations (about 95 % are expected)."
    ]
    if found.far:
        named = text.listed([_trial(number) for number in found.far])
        said.append(f"Beyond ±{FAR:.0f} standard deviations: {named}.")
    check = found.filling
    if check.failure:
        said.append(f"It is not asked about the whole space: {check.failure}.")
    else:
        said.append(
            f"The {check.n} evaluations that fill the whole space are predicted with Q² = "
            f"{check.q2:.2f} ({text.percent(check.within)} within ±2 standard deviations), so it "
            "may speak of the whole space."
        )
    return said


def _trial(number: int) -> str:
    return "imported" if number < 0 else f"trial {number}"


def _hyperparameters(found: Trust) -> Block:
    rows: list[tuple[str, str, str]] = [
        (p.name, f"{p.value:.2g}", f"{p.low:.2g} to {p.high:.2g}") for p in found.lengths
    ]
    error, seed = found.noise
    rows.append(("noise of a training, in sd of all values", f"{error:.2g}", ""))
    rows.append(("noise of the seed, in sd of all values", f"{seed:.2g}", ""))
    return table(("length scale of", "median, in ranges", "over the sets"), rows)


def _transformations(found: Trust, name: str) -> list[Block]:
    if len(found.scores) < 2:
        return []
    best = max(found.scores.values())
    rows = [
        (option + (" (used)" if option == found.chosen else ""), f"{score - best:+.2f}")
        for option, score in sorted(found.scores.items(), key=lambda item: -item[1])
    ]
    return [table((f"scale of {name}", "log density per evaluation, to the best"), rows)]


def _explanation(found: Trust) -> str:
    said = (
        "The model of inference is a Gaussian process with a product Matérn-5/2 kernel, a noise "
        "term and an effect of the seed, fitted to the true values of all successful evaluations "
        f"on the scale {found.scale}, with its hyperparameters averaged over. "
    )
    if found.forced:
        said += "The scale was chosen by the setting transform. "
    else:
        said += (
            "The scale is that of the highest leave-one-out log density, Jacobian included; "
            'transform = "log" and the like force another. '
        )
    said += (
        "Each evaluation is left out in turn and predicted from all others in closed form "
        "(Dubrule 1983), with the hyperparameters estimated from all. Q² = 1 means perfect "
        "predictions, 0 no better than the mean of all values. Evaluations that fill the space "
        "(default, initial design, explored ones) are judged apart, because the search looks "
        f"around what it chose: at least {found.filling.needed} of them, Q² of {LEAST_Q2} or more, "
        f"{text.percent(LEAST_WITHIN)} within 2 standard deviations and a joint p of {LEAST_P} or "
        "more (Bastos & O'Hagan 2009) are asked for before the whole space is spoken of."
    )
    if found.left_out:
        said += f" {text.plural(found.left_out, 'evaluation')} were too many for the model."
    return said


def draw_predicted(ax: Axes, t: Trust, objective: str) -> None:
    """Each evaluation against its prediction from all the others, with 95 % intervals."""
    parts = (t.observed, t.predicted, t.low, t.high)
    observed, predicted, low, high = (np.array(part) for part in parts)
    label = f"observed {figures.short(objective, 30)}"
    figures.frame(ax, label, "predicted from the others", grid="both")
    # Bars of hundreds of points would be a wall.
    if len(predicted) <= 150:
        ax.vlines(observed, low, high, color=figures.BAND, linewidth=1.6)
    figures.dots(ax, observed, predicted, figures.ACCENT, 4.5)
    least, most = figures.bulk(np.concatenate([observed, predicted]))
    limits = figures.padded(min(least, float(observed.min())), max(most, float(observed.max())))
    ax.plot(limits, limits, color=figures.MUTED, linewidth=1, linestyle=(0, (4, 3)))
    if observed.min() > 0 and observed.max() > 10 * observed.min():
        limits = float(observed.min()) / 1.2, float(observed.max()) * 1.2
        ax.set_xscale("log")
        ax.set_yscale("log")
    else:
        figures.plain_ticks(ax.xaxis, ax.yaxis)
    ax.set_xlim(*limits)
    ax.set_ylim(*limits)


def draw_residuals(ax: Axes, t: Trust, objective: str) -> None:
    """Standardised errors against predictions: nearly all belong between the dashed lines."""
    predicted, z = np.array(t.predicted), np.array(t.errors)
    figures.frame(ax, f"predicted {figures.short(objective, 30)}", "error / sd")
    for bound in (-2.0, 2.0):
        ax.axhline(bound, color=figures.MUTED, linewidth=1, linestyle=(0, (4, 3)))
    ax.axhline(0, color=figures.GRID, linewidth=1)
    figures.dots(ax, predicted, z, figures.ACCENT, 4.5)
    if predicted.min() > 0 and predicted.max() > 10 * predicted.min():
        ax.set_xscale("log")
        figures.plain_ticks(ax.yaxis)
    else:
        figures.plain_ticks(ax.xaxis, ax.yaxis)
    finite = np.abs(z[np.isfinite(z)])
    reach = max(3.2, float(finite.max(initial=0.0)) * 1.08)
    ax.set_ylim(-reach, reach)


def draw_quantiles(ax: Axes, t: Trust) -> None:
    """Standardised errors against normal quantiles, the three largest with their trials."""
    normal, z = np.array(t.normal), np.array(t.errors)
    figures.frame(ax, "normal quantile", "error / sd", grid="both")
    reach = 1.08 * max(3.0, float(np.abs(z[np.isfinite(z)]).max(initial=0.0)))
    ax.plot((-reach, reach), (-reach, reach), color=figures.MUTED, linewidth=1,
            linestyle=(0, (4, 3)))  # fmt: skip
    figures.dots(ax, normal, z, figures.ACCENT, 4.5)
    for i in np.argsort(-np.abs(z), kind="stable")[:3]:
        if t.numbers[i] >= 0 and np.isfinite(z[i]):
            ax.annotate(
                str(t.numbers[i]), (normal[i], z[i]), xytext=(5, 2), textcoords="offset points",
                fontsize=8, color=figures.MUTED,
            )  # fmt: skip
    ax.set_xlim(-3.2, 3.2)
    ax.set_ylim(-reach, reach)
    figures.plain_ticks(ax.xaxis, ax.yaxis)
