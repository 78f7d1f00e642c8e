"""All trials."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spot_dask.progress import fold_of
from spot_dask.records import Configuration, Failure, FoldPlan, Origin, Status
from spot_dask.report import text
from spot_dask.report.blocks import Block, Cell, Heading, NotShown, Text, how, table
from spot_dask.report.context import Missing, ReportContext
from spot_dask.space import Categorical


@dataclass(frozen=True)
class TrialRow:
    """A trial with its evaluation; ``y`` is NaN where there is none.

    ``seconds`` is the duration of the training, ``elapsed`` the working time of the study, in
    seconds, when the evaluation arrived.
    """

    number: int
    origin: str
    config: Configuration
    seed: int
    replicate: int
    status: str
    y: float
    seconds: float
    elapsed: float
    worker: str
    device: str
    attempt: int
    metrics: Mapping[str, float]
    error: Failure | None


class TrialsSection:
    title = "What was tried?"
    order = 180

    def facts(self, context: ReportContext) -> tuple[TrialRow, ...]:
        """All evaluated trials by number."""
        return tuple(
            TrialRow(
                number=e.trial.number,
                origin=e.trial.origin.value,
                config=e.trial.config,
                seed=e.trial.seed,
                replicate=e.trial.replicate,
                status=e.outcome.status.value,
                y=context.sign * e.y if e.ok else math.nan,
                seconds=e.outcome.seconds,
                elapsed=elapsed,
                worker=e.outcome.worker,
                device=e.outcome.device,
                attempt=e.attempt,
                metrics=e.outcome.metrics,
                error=e.outcome.error,
            )
            for e, elapsed in sorted(context.arrivals, key=lambda a: a[0].trial.number)
        )

    def render(self, found: tuple[TrialRow, ...], context: ReportContext) -> Sequence[Block]:
        if not found:
            return [NotShown("no trial has been evaluated")]
        free, r = context.space.free, context.recommended
        best = set() if isinstance(r, Missing) else {r.number}
        folds = context.folds
        if folds.several and not isinstance(r, Missing):
            best |= {row.number for row in found if row.config == r.config}
        titles: list[str | Heading] = [
            Heading("trial", numeric=True),
            "origin",
            *(["fold"] if folds.several else []),
            "status",
            Heading(context.header.objective, numeric=True),
            Heading("time", numeric=True),
            *(
                Heading(name, numeric=not isinstance(context.space.parameters[name], Categorical))
                for name in free
            ),
        ]
        rows = [_cells(row, free, row.number in best, folds) for row in found]
        said = text.plural(len(rows), "evaluated trial")
        if context.fold.pending:
            said += f"; {context.fold.pending} more without a result yet"
        return [
            Text(f"{said}. The recommended one is in bold."),
            table(titles, rows, tool=True),
            how("As the store has them; times are those of the machine that trained.", n=len(rows)),
        ]


def _cells(row: TrialRow, names: Sequence[str], best: bool, folds: FoldPlan) -> list[Cell]:
    failed = math.isnan(row.y) and row.status != Status.STOPPED
    confirms = row.origin == Origin.CONFIRM
    fold = f"fresh seed {row.replicate}" if confirms else fold_of(row.replicate, folds)
    y, seconds = (v if math.isfinite(v) else None for v in (row.y, row.seconds))
    return [
        Cell(str(row.number), style="strong" if best else ""),
        Cell(row.origin, style="bad" if row.origin == Origin.FALLBACK else "muted"),
        *([Cell(fold, style="muted")] if folds.several else []),
        Cell(row.status, style="bad" if failed else "muted"),
        Cell(text.number(row.y), y, style="strong" if best else ""),
        Cell(text.seconds(row.seconds), seconds),
        *(Cell(text.value(row.config.get(name))) for name in names),
    ]
