"""Failed trainings by kind."""

from __future__ import annotations

from collections.abc import Sequence

from spot_dask.report import text
from spot_dask.report.blocks import Block, Cell, Code, Column, Details, Table, Text
from spot_dask.report.facts import FailureGroup, Findings

MOST = 30


class Failed:
    title = "What failed?"
    order = 110

    def render(self, findings: Findings) -> Sequence[Block]:
        groups = findings.failures
        if not groups:
            return [Text("Nothing: no evaluated training failed.")]
        failed = sum(len(g.numbers) for g in groups)
        blocks: list[Block] = [
            Text(
                f"{failed} of {text.plural(len(findings.trials), 'training')} failed. From them a "
                "second model learns where trainings succeed, and the search prefers it there; "
                "a training lost with its worker says nothing about its configuration."
            ),
            _table(groups[:MOST]),
        ]
        if len(groups) > MOST:
            blocks.append(
                Text(f"{len(groups) - MOST} rarer kinds of failure are left out.", "note")
            )
        blocks += [
            Details(f"Traceback of {g.type or g.status}, trial {g.numbers[0]}", [Code(g.traceback)])
            for g in groups[:5]
            if g.traceback
        ]
        return blocks


def _table(groups: Sequence[FailureGroup]) -> Table:
    columns = [
        Column("how"),
        Column("type"),
        Column("message"),
        Column("count", numeric=True),
        Column("trials"),
    ]
    rows = [
        [
            Cell(g.status),
            Cell(g.type or "–", style="code"),
            Cell(g.message or "–"),
            Cell(str(len(g.numbers))),
            Cell(text.listed([str(n) for n in g.numbers])),
        ]
        for g in groups
    ]
    return Table(columns, rows)
