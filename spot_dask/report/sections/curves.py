"""Learning curves of the best few."""

from __future__ import annotations

from collections.abc import Sequence

from spot_dask.report import figures, text
from spot_dask.report.blocks import Block, Chart, Charts, NotShown, Table, Text, table
from spot_dask.report.facts import Curve, Curves, Findings, Missing
from spot_dask.report.svg import to_svg

MOST = 6


class Converged:
    title = "Did the best trainings converge?"
    order = 80

    def render(self, findings: Findings) -> Sequence[Block]:
        c = findings.curves
        if isinstance(c, Missing):
            return [NotShown(c.reason)]
        shown = sorted(c.metrics, key=lambda name: (name != c.judged, name))[:MOST]
        return [
            Text(_sentence(c)),
            Charts([_chart(c.metrics[name], i, name) for i, name in enumerate(shown)]),
        ]


def _sentence(c: Curves) -> str:
    most = max(len(lines) for lines in c.metrics.values())
    said = f"Values by epoch of the best {text.plural(most, 'trial')} that reported them."
    if c.judged_of:
        said += f" The last epoch was the best in {c.last_is_best} of {c.judged_of}."
    return said


def _chart(lines: tuple[Curve, ...], i: int, metric: str) -> Chart:
    svg = to_svg(
        lambda ax: figures.curves(ax, lines, metric),
        f"curves-{i}",
        f"{metric} by epoch",
        f"Trials {', '.join(str(line.number) for line in lines)}.",
    )
    return Chart(svg, f"{metric} by epoch, the best trial in bold.", _data(lines))


def _data(lines: tuple[Curve, ...]) -> Table:
    longest = max(len(line.values) for line in lines)
    rows = [
        [str(k + 1), *(text.number(c.values[k]) if k < len(c.values) else "–" for c in lines)]
        for k in range(longest)
    ]
    return table(["epoch", *(f"trial {line.number}" for line in lines)], rows)
