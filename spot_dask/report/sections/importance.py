"""Sobol indices."""

from __future__ import annotations

from collections.abc import Sequence

from spot_dask.report import figures, text
from spot_dask.report.blocks import Block, Chart, Details, NotShown, Table, Text, table
from spot_dask.report.facts import Findings, Importance, Missing
from spot_dask.report.svg import SIZE, to_svg
from spot_dask.stats.sensitivity import BASE_POINTS

MOST = 20


class Matters:
    title = "Which parameters matter?"
    order = 50

    def render(self, findings: Findings) -> Sequence[Block]:
        shares = findings.importance
        if isinstance(shares, Missing):
            return [NotShown(shares.reason)]
        shown = shares[:MOST]
        svg = to_svg(
            lambda ax: figures.importance(ax, shown),
            "importance",
            "Importance of the parameters",
            "; ".join(f"{s.name} {text.percent(s.total.value)}" for s in shown),
            (SIZE[0], 1.15 + 0.27 * len(shown)),
        )
        return [
            Text(_sentence(shares)),
            Chart(svg, "Each parameter's share, alone and in any combination.", _data(shares)),
            Details("How this was computed", [Text(_HOW)]),
        ]


_HOW = (
    "Sobol indices of the model's mean over the whole search space, every value of every parameter "
    f"being equally likely on its scale: Saltelli sampling with {BASE_POINTS} base points and seed "
    "0, first-order indices after Saltelli (2010), total indices after Jansen (1999), bootstrap "
    "intervals. The intervals tell the error of this sampling; the model's own error is left out. "
    "Where part of the space diverges, that part dominates the shares."
)


def _sentence(shares: tuple[Importance, ...]) -> str:
    top = shares[0]
    small = [s.name for s in shares if s.total.high < 0.02]
    said = (
        f"{top.name} matters most: it takes part in {text.percent(top.total.value)} of the "
        f"variation and explains {text.percent(top.first.value)} alone."
    )
    if small:
        said += f" Without visible effect: {text.listed(small)}."
    return said


def _data(shares: tuple[Importance, ...]) -> Table:
    rows = [
        (
            s.name,
            text.percent(s.first.value),
            f"{text.percent(s.first.low)} to {text.percent(s.first.high)}",
            text.percent(s.total.value),
            f"{text.percent(s.total.low)} to {text.percent(s.total.high)}",
        )
        for s in shares
    ]
    return table(("parameter", "alone (S1)", "95 %", "in all (ST)", "95 %"), rows)
