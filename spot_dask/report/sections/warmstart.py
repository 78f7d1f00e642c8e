"""What was taken over from earlier runs."""

from __future__ import annotations

from collections.abc import Sequence

from spot_dask.report import text
from spot_dask.report.blocks import Block, Details, Sentences, Text, table
from spot_dask.report.facts import Findings

MOST = 200


class Warm:
    title = "What was known beforehand?"
    order = 120

    def render(self, findings: Findings) -> Sequence[Block]:
        starts = findings.warm_starts
        if not starts:
            return [Text("Nothing: this run did not take evaluations from another one.")]
        taken = sum(w.taken for w in starts)
        dropped = [reason for w in starts for reason in w.dropped]
        rows = [(w.source, str(w.taken), str(len(w.dropped))) for w in starts]
        blocks: list[Block] = [
            Text(
                f"{text.plural(taken, 'evaluation')} of {text.plural(len(starts), 'earlier run')} "
                f"informed the model; left out because they do not fit: {len(dropped)}."
            ),
            table(("run", "taken", "left out"), rows),
        ]
        if dropped:
            blocks.append(Details("Why they were left out", [Sentences(dropped[:MOST])]))
        return blocks
