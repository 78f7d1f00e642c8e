"""What was taken over from earlier runs."""

from __future__ import annotations

from collections.abc import Sequence

from spot_dask.report import text
from spot_dask.report.blocks import Block, Details, Sentences, Text, table
from spot_dask.report.facts import Findings, WarmStart

MOST = 200
COUNTS = {"data": "evaluations", "prior": "hints"}


class Warm:
    title = "What was known beforehand?"
    order = 120

    def render(self, findings: Findings) -> Sequence[Block]:
        starts = findings.warm_starts
        if not starts:
            return [Text("Nothing: this run did not take evaluations from another one.")]
        dropped = [reason for w in starts for reason in w.dropped]
        assumed = [f"{w.source}: {what}" for w in starts for what in w.assumed]
        rows = [(w.source, COUNTS[w.mode], str(w.taken), str(len(w.dropped))) for w in starts]
        blocks: list[Block] = [
            *(Text(_told(mode, [w for w in starts if w.mode == mode])) for mode in _modes(starts)),
            table(("source", "counts as", "taken", "left out"), rows),
        ]
        if assumed:
            blocks.append(Details("What was assumed", [Sentences(assumed)]))
        if dropped:
            blocks.append(Details("Why they were left out", [Sentences(dropped[:MOST])]))
        return blocks


def _modes(starts: Sequence[WarmStart]) -> list[str]:
    return sorted({w.mode for w in starts})


def _told(mode: str, starts: Sequence[WarmStart]) -> str:
    taken = text.plural(sum(w.taken for w in starts), "evaluation")
    sources = text.plural(len(starts), "source")
    left = sum(len(w.dropped) for w in starts)
    what = {
        "data": "of this objective informed the model",
        "prior": "of related objectives hinted at where to look; no figure of this report and not "
        "the recommendation rests on them",
    }[mode]
    return f"{taken} from {sources} {what}. Left out because they do not fit: {left}."
