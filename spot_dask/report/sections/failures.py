"""Failed trainings by kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spot_dask.records import Evaluation
from spot_dask.report import text
from spot_dask.report.blocks import Block, Cell, Code, Details, Heading, Text, how, table
from spot_dask.report.context import ReportContext

SHOWN_KINDS = 30
SHOWN_TRACEBACKS = 5


@dataclass(frozen=True)
class FailureGroup:
    """The trials that failed with one status, exception type and message, by number."""

    status: str
    type: str
    message: str
    numbers: tuple[int, ...]
    traceback: str


class FailuresSection:
    title = "What failed?"
    order = 160

    def facts(self, context: ReportContext) -> tuple[FailureGroup, ...]:
        """Failed trials grouped by how they failed, the most frequent group first."""
        groups: dict[tuple[str, str, str], list[Evaluation]] = {}
        for e in context.evaluations:
            if e.failed:
                error = e.outcome.error
                key = ("", "") if error is None else (error.type, error.message)
                groups.setdefault((e.outcome.status.value, *key), []).append(e)
        return tuple(
            FailureGroup(
                *key,
                numbers=tuple(e.trial.number for e in group),
                traceback=next((e.outcome.error.traceback for e in group if e.outcome.error), ""),
            )
            for key, group in sorted(groups.items(), key=lambda g: (-len(g[1]), g[0]))
        )

    def render(self, found: tuple[FailureGroup, ...], context: ReportContext) -> Sequence[Block]:
        if not found:
            return [Text("Nothing: no evaluated training failed.")]
        failed = sum(len(g.numbers) for g in found)
        rows = [
            [
                g.status,
                Cell(g.type or "–", style="code"),
                g.message or "–",
                str(len(g.numbers)),
                text.listed([str(n) for n in g.numbers]),
            ]
            for g in found[:SHOWN_KINDS]
        ]
        blocks: list[Block] = [
            Text(
                f"{failed} of {text.plural(len(context.evaluations), 'training')} failed. From "
                "them a second model learns where trainings succeed, and the search prefers it "
                "there; a training lost with its worker says nothing about its configuration."
            ),
            table(["how", "type", "message", Heading("count", numeric=True), "trials"], rows),
        ]
        if rarer := len(found) - len(rows):
            blocks.append(Text(f"{rarer} rarer kinds of failure are left out.", "note"))
        blocks += [
            Details(f"Traceback of {g.type or g.status}, trial {g.numbers[0]}", [Code(g.traceback)])
            for g in found[:SHOWN_TRACEBACKS]
            if g.traceback
        ]
        return [
            *blocks,
            how(
                "Counts of the trainings as the store has them, by state, type and message of "
                "what went wrong.",
                n=len(context.evaluations),
            ),
        ]
