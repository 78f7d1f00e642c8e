"""Diagnostics of the surrogate."""

from __future__ import annotations

import math
from collections.abc import Sequence

from spot_dask.report import figures, text
from spot_dask.report.blocks import Block, Chart, Charts, Details, NotShown, Table, Text, table
from spot_dask.report.facts import Findings, Missing, Trust
from spot_dask.report.svg import to_svg

WORST = 20


class Believable:
    title = "Can the model be believed?"
    order = 90

    def render(self, findings: Findings) -> Sequence[Block]:
        t = findings.trust
        if isinstance(t, Missing):
            return [NotShown(t.reason)]
        if math.isnan(t.q2):
            return [
                NotShown("all values of the objective are equal, so there is nothing to predict")
            ]
        name = findings.run.objective
        scatter = to_svg(
            lambda ax: figures.predicted_observed(ax, t, name),
            "predicted-observed",
            "Predicted against observed",
            f"Leave-one-out Q² is {t.q2:.2f}.",
        )
        errors = to_svg(
            lambda ax: figures.residuals(ax, t, name),
            "residuals",
            "Standardised errors",
            f"{text.percent(t.within)} lie between -2 and 2.",
        )
        return [
            Text(_sentence(t)),
            Charts(
                [
                    Chart(scatter, "Each evaluation predicted from all others.", _data(t)),
                    Chart(errors, "Errors in units of their predicted sd."),
                ]
            ),
            Details("How this was computed", [Text(_HOW)]),
        ]


_HOW = (
    "Each evaluation is left out in turn and predicted from all others, in closed form and with "
    "the length scales estimated from all. Q² = 1 means perfect predictions, 0 means no better "
    "than the mean of all values. Failed trainings are left out. Where values far above the bulk "
    "were pulled in for the model, the pulled-in values are shown."
)


def _sentence(t: Trust) -> str:
    how = "well" if t.q2 >= 0.7 else "roughly" if t.q2 >= 0.3 else "hardly better than their mean"
    return (
        f"The model predicts evaluations it has not seen {how}: Q² = {t.q2:.2f}, and "
        f"{text.percent(t.within)} of the errors are within ±2 standard deviations "
        "(about 95 % are expected)."
    )


def _data(t: Trust) -> Table:
    """The worst predictions."""
    rows = sorted(zip(t.observed, t.mean, t.sd, strict=True), key=lambda r: -abs(r[0] - r[1]))[
        :WORST
    ]
    shown = [(text.number(o), text.number(m), text.spread(s)) for o, m, s in rows]
    return table(("observed (largest errors)", "predicted", "sd"), shown)
