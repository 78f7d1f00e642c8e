"""Main effects."""

from __future__ import annotations

from collections.abc import Sequence

from spot_dask.report import figures, text
from spot_dask.report.blocks import Block, Chart, Charts, Details, NotShown, Table, Text, table
from spot_dask.report.facts import Effect, Findings, Missing
from spot_dask.report.svg import to_svg

SIZE = (4.2, 2.7)


class Effects:
    title = "How does each parameter act?"
    order = 60

    def render(self, findings: Findings) -> Sequence[Block]:
        effects = findings.effects
        if isinstance(effects, Missing):
            return [NotShown(effects.reason)]
        limits = figures.effect_limits(effects)
        charts = [_chart(e, i, findings.run.objective, limits) for i, e in enumerate(effects)]
        return [
            Text(_sentence(len(effects), findings)),
            Charts(charts),
            Details("How this was computed", [Text(_HOW)]),
        ]


_HOW = (
    "Each line is the model's mean as one parameter varies, averaged over 64 space-filling "
    "configurations of all the others. The band is the 95 % interval of exactly this average "
    "under the model's joint posterior: it tells how well the model knows the effect, not how much "
    "single trainings scatter. Grey dots are the evaluations. All charts share one vertical range; "
    "evaluations far outside it are not drawn."
)


def _sentence(shown: int, f: Findings) -> str:
    free = sum(not p.fixed for p in f.parameters)
    said = "The average effect of each parameter, the most important first."
    return said if shown == free else f"{said} Shown are {shown} of {free}."


def _chart(e: Effect, i: int, objective: str, limits: tuple[float, float]) -> Chart:
    svg = to_svg(
        lambda ax: figures.effect(ax, e, objective, limits),
        f"effect-{i}",
        f"Main effect of {e.axis.name}",
        f"From {text.number(min(e.mean))} to {text.number(max(e.mean))}.",
        SIZE,
    )
    return Chart(svg, e.condition, _data(e))


def _data(e: Effect) -> Table:
    rows = [
        (text.value(v), text.like(m, high - low), text.interval(low, high))
        for v, m, low, high in zip(e.values, e.mean, e.low, e.high, strict=True)
    ]
    return table((e.axis.name, "mean", "95 % interval"), rows)
