"""The recommended configuration beside the default."""

from __future__ import annotations

from collections.abc import Sequence

from spot_dask.report import text
from spot_dask.report.blocks import Block, Cell, Code, Column, Details, NotShown, Table, Text
from spot_dask.report.facts import Findings, Missing, Parameter


class Result:
    title = "Which configuration should be used?"
    order = 20

    def render(self, findings: Findings) -> Sequence[Block]:
        r = findings.recommended
        shown = _table(findings)
        if isinstance(r, Missing):
            return [NotShown(r.reason), shown]
        better = "highest" if findings.run.direction == "max" else "lowest"
        return [
            Text(
                f"That of trial {r.number}: the {better} estimate of the model among the "
                "configurations that were tried, not the luckiest single value."
            ),
            shown,
            Details("Copy as JSON", [Code(text.as_json(r.config))]),
        ]


def _table(f: Findings) -> Table:
    shares = {} if isinstance(f.importance, Missing) else {p.name: p for p in f.importance}
    columns = [
        Column("parameter"),
        Column("type"),
        Column("scale"),
        Column("range or levels"),
        Column("default", numeric=True),
        Column("tuned", numeric=True),
        Column("importance", numeric=True),
    ]
    rows = []
    for p in f.parameters:
        share = shares.get(p.name)
        rows.append(
            [
                Cell(p.name, style="code"),
                Cell(p.kind),
                Cell("fixed" if p.fixed else p.scale, style="muted"),
                Cell(_domain(p), style="muted"),
                Cell(text.value(p.default)),
                Cell(
                    text.value(p.tuned) + (f" ({p.bound} bound)" if p.bound else ""), style="strong"
                ),
                Cell("–" if share is None else text.percent(share.total.value)),
            ]
        )
    return Table(columns, rows)


def _domain(p: Parameter) -> str:
    values = [text.value(v) for v in p.domain]
    said = text.listed(values) if p.kind == "categorical" else " to ".join(values)
    return f"{said}; {p.condition}" if p.condition else said
