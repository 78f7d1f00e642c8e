"""What was taken over from earlier runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spot_dask.report import text
from spot_dask.report.blocks import Block, Details, Sentences, Text, how, table
from spot_dask.report.context import ReportContext

SHOWN_REASONS = 200


@dataclass(frozen=True)
class TakenOver:
    """Evaluations taken from a source, and why others were not.

    ``mode`` is ``data`` or ``prior``; ``assumed`` is what the source does not record.
    """

    source: str
    taken: int
    dropped: tuple[str, ...]
    mode: str
    assumed: tuple[str, ...]


class WarmStartsSection:
    title = "What was known beforehand?"
    order = 175

    def facts(self, context: ReportContext) -> tuple[TakenOver, ...]:
        return tuple(
            TakenOver(i.source, len(i.items), tuple(i.dropped), i.mode, tuple(i.assumed))
            for i in context.fold.imports
        )

    def render(self, found: tuple[TakenOver, ...], context: ReportContext) -> Sequence[Block]:
        if not found:
            return [Text("Nothing: this run did not take evaluations from another one.")]
        dropped = [reason for t in found for reason in t.dropped]
        assumed = [f"{t.source}: {what}" for t in found for what in t.assumed]
        counts = {"data": "evaluations", "prior": "hints"}
        rows = [(t.source, counts[t.mode], str(t.taken), str(len(t.dropped))) for t in found]
        blocks: list[Block] = [
            *(_summary(mode, found) for mode in sorted({t.mode for t in found})),
            table(("source", "counts as", "taken", "left out"), rows),
        ]
        if assumed:
            blocks.append(Details("What was assumed", [Sentences(assumed)]))
        if dropped:
            blocks.append(Details("Why they were left out", [Sentences(dropped[:SHOWN_REASONS])]))
        return [
            *blocks,
            how(
                "Counts as the store has them: what the sources held, and what did not fit this "
                "run's space.",
                n=sum(t.taken for t in found),
            ),
        ]


def _summary(mode: str, found: Sequence[TakenOver]) -> Text:
    """What the sources of one mode contributed."""
    sources = [t for t in found if t.mode == mode]
    taken = text.plural(sum(t.taken for t in sources), "evaluation")
    left_out = sum(len(t.dropped) for t in sources)
    what = {
        "data": "of this objective informed the model",
        "prior": "of related objectives hinted at where to look; no figure of this report and not "
        "the recommendation rests on them",
    }[mode]
    return Text(
        f"{taken} from {text.plural(len(sources), 'source')} {what}. Left out because they do not "
        f"fit: {left_out}."
    )
