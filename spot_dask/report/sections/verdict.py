"""The verdict in a few sentences."""

from __future__ import annotations

from collections.abc import Sequence

from spot_dask.report.blocks import Block, Sentences
from spot_dask.report.facts import Findings


class Verdict:
    title = "What came out?"
    order = 0

    def render(self, findings: Findings) -> Sequence[Block]:
        return [Sentences(findings.verdict)]
