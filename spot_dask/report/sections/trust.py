"""Diagnostics of the surrogate: leave-one-out predictions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from spot_dask.report import figures, text
from spot_dask.report.blocks import Block, Charts, NotShown, Text, how, table
from spot_dask.report.context import Floats, Missing, ReportContext, floats

WORST = 20


@dataclass(frozen=True)
class Trust:
    """Leave-one-out predictions of the model: observed, predicted mean and sd (n each).

    ``q2`` is 1 for perfect predictions and NaN where all values are equal; ``within`` is the share
    of errors within 2 sd.
    """

    observed: Floats
    mean: Floats
    sd: Floats
    q2: float
    within: float


class TrustSection:
    title = "Can the model be believed?"
    order = 90

    def facts(self, context: ReportContext) -> Trust | Missing:
        loo, model = context.left_out, context.fitted
        if isinstance(model, Missing) and context.not_loaded:
            return model
        if loo is None:
            return Missing("there is no model that can predict its own evaluations from the others")
        y, mean = context.signed(loo.y), context.signed(loo.mean)
        return Trust(y, mean, floats(loo.sd), loo.q2, loo.share_within(2))

    def render(self, found: Trust, context: ReportContext) -> Sequence[Block]:
        if math.isnan(found.q2):
            return [
                NotShown("all values of the objective are equal, so there is nothing to predict")
            ]
        name = context.header.objective
        pairs = sorted(
            zip(found.observed, found.mean, found.sd, strict=True), key=lambda r: -abs(r[0] - r[1])
        )
        worst = [(text.number(o), text.number(m), text.spread(s)) for o, m, s in pairs[:WORST]]
        scatter = figures.chart(
            lambda ax: draw_predicted(ax, found, name),
            "predicted-observed",
            "Predicted against observed",
            f"Leave-one-out Q² is {found.q2:.2f}.",
            "Each evaluation predicted from all others.",
            table(("observed (largest errors)", "predicted", "sd"), worst),
        )
        errors = figures.chart(
            lambda ax: draw_residuals(ax, found, name),
            "residuals",
            "Standardised errors",
            f"{text.percent(found.within)} lie between -2 and 2.",
            "Errors in units of their predicted sd.",
        )
        well = "well" if found.q2 >= 0.7 else "roughly"
        if found.q2 < 0.3:
            well = "hardly better than their mean"
        return [
            Text(
                f"The model predicts evaluations it has not seen {well}: Q² = {found.q2:.2f}, and "
                f"{text.percent(found.within)} of the errors are within ±2 standard deviations "
                "(about 95 % are expected)."
            ),
            Charts([scatter, errors]),
            how(
                "Each evaluation is left out in turn and predicted from all others, in closed form "
                "and with the length scales estimated from all. Q² = 1 means perfect predictions, "
                "0 means no better than the mean of all values. Failed trainings are left out. "
                "Where values far above the bulk were pulled in for the model, the pulled-in "
                "values are shown."
            ),
        ]


def draw_predicted(ax: Axes, t: Trust, objective: str) -> None:
    """Each evaluation against its prediction from all the others, with 95 % intervals."""
    observed, mean, sd = (np.array(part) for part in (t.observed, t.mean, t.sd))
    label = f"observed {figures.short(objective, 30)}"
    figures.frame(ax, label, "predicted from the others", grid="both")
    # Bars of hundreds of points would be a wall.
    if len(mean) <= 150:
        ends = (mean - 1.96 * sd, mean + 1.96 * sd)
        ax.vlines(observed, *ends, color=figures.BAND, linewidth=1.6)
    figures.dots(ax, observed, mean, figures.ACCENT, 4.5)
    low, high = figures.bulk(np.concatenate([observed, mean]))
    low, high = min(low, float(observed.min())), max(high, float(observed.max()))
    limits = figures.padded(low, high)
    ax.plot(limits, limits, color=figures.MUTED, linewidth=1, linestyle=(0, (4, 3)))
    ax.set_xlim(*limits)
    ax.set_ylim(*limits)
    figures.plain_ticks(ax.xaxis, ax.yaxis)


def draw_residuals(ax: Axes, t: Trust, objective: str) -> None:
    """Standardised errors against predictions: nearly all belong between the dashed lines."""
    observed, mean, sd = (np.array(part) for part in (t.observed, t.mean, t.sd))
    z = np.divide(observed - mean, sd, out=np.zeros_like(sd), where=sd > 0)
    figures.frame(ax, f"predicted {figures.short(objective, 30)}", "error / sd")
    for bound in (-2.0, 2.0):
        ax.axhline(bound, color=figures.MUTED, linewidth=1, linestyle=(0, (4, 3)))
    ax.axhline(0, color=figures.GRID, linewidth=1)
    figures.dots(ax, mean, z, figures.ACCENT, 4.5)
    reach = max(3.2, float(np.abs(z).max()) * 1.08)
    ax.set_ylim(-reach, reach)
    figures.plain_ticks(ax.xaxis, ax.yaxis)
