"""The two most important parameters together."""

from __future__ import annotations

from collections.abc import Sequence

from spot_dask.report import figures, text
from spot_dask.report.blocks import Block, Chart, Details, NotShown, Table, Text, table
from spot_dask.report.facts import Contour, Findings, Missing
from spot_dask.report.svg import SIZE, to_svg

DATA = 8  # rows and columns of the table of numbers


class Together:
    title = "How do the two most important parameters act together?"
    order = 70

    def render(self, findings: Findings) -> Sequence[Block]:
        c = findings.contour
        if isinstance(c, Missing):
            return [NotShown(c.reason)]
        x, y, name = c.x_axis.name, c.y_axis.name, findings.run.objective
        svg = to_svg(
            lambda ax: figures.contour(ax, c, name),
            "contour",
            f"{name} over {x} and {y}",
            f"Best configuration at {x} = {text.value(c.best[0])}, {y} = {text.value(c.best[1])}.",
            (SIZE[0] * 1.1, SIZE[1] * 1.2),
        )
        return [
            Text(
                f"The model's {name} over {x} and {y}, all other parameters as in the recommended "
                "configuration."
            ),
            Chart(svg, "Dots: evaluations. Diamond: the recommended configuration.", _data(c)),
            Details("How this was computed", [Text(_HOW)]),
        ]


_HOW = (
    "A section of the model's mean through the recommended configuration. Evaluations are drawn "
    "where these two parameters place them; their other parameters differ, so their values need "
    "not match the colour below them. Far from any dot the model only guesses."
)


def _data(c: Contour) -> Table:
    """A coarse version of the grid."""
    columns, lines = _few(len(c.x)), _few(len(c.y))
    titles = [f"{c.y_axis.name} \\ {c.x_axis.name}", *(text.value(c.x[a]) for a in columns)]
    rows = [[text.value(c.y[b]), *(text.number(c.mean[a][b]) for a in columns)] for b in lines]
    return table(titles, rows)


def _few(n: int) -> list[int]:
    if n <= DATA:
        return list(range(n))
    return [round(i * (n - 1) / (DATA - 1)) for i in range(DATA)]
