"""All trials."""

from __future__ import annotations

import math
from collections.abc import Sequence

from spot_dask.records import Status
from spot_dask.report import text
from spot_dask.report.blocks import Block, Cell, Column, NotShown, Table, Text
from spot_dask.report.facts import Findings, Missing, Row


class Trials:
    title = "What was tried?"
    order = 130

    def render(self, findings: Findings) -> Sequence[Block]:
        if not findings.trials:
            return [NotShown("no trial has been evaluated")]
        free = [p for p in findings.parameters if not p.fixed]
        names = [p.name for p in free]
        r = findings.recommended
        best = None if isinstance(r, Missing) else r.number
        columns = [
            Column("trial", numeric=True),
            Column("origin"),
            Column("status"),
            Column(findings.run.objective, numeric=True),
            Column("time", numeric=True),
            *(Column(p.name, numeric=p.kind != "categorical") for p in free),
        ]
        rows = [_cells(row, names, row.number == best) for row in findings.trials]
        said = f"{text.plural(len(rows), 'evaluated trial')}"
        if findings.pending:
            said += f"; {findings.pending} more without a result yet"
        return [Text(f"{said}. The recommended one is in bold."), Table(columns, rows, tool=True)]


def _cells(row: Row, names: Sequence[str], best: bool) -> list[Cell]:
    failed = math.isnan(row.y) and row.status != Status.STOPPED
    return [
        Cell(str(row.number), style="strong" if best else ""),
        Cell(row.origin, style="muted"),
        Cell(row.status, style="bad" if failed else "muted"),
        Cell(text.number(row.y), _key(row.y), style="strong" if best else ""),
        Cell(text.seconds(row.seconds), _key(row.seconds)),
        *(Cell(text.value(row.config.get(name))) for name in names),
    ]


def _key(value: float) -> float | None:
    return value if math.isfinite(value) else None
