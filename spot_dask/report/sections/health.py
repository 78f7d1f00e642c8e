"""Health checks."""

from __future__ import annotations

from collections.abc import Sequence

from spot_dask.report.blocks import Block, Checks, Text
from spot_dask.report.facts import Findings
from spot_dask.report.text import plural


class Health:
    title = "Can this result be trusted?"
    order = 10

    def render(self, findings: Findings) -> Sequence[Block]:
        count = dict.fromkeys(("PASS", "WARN", "FAIL"), 0)
        for check in findings.checks:
            if check.state in count:
                count[check.state] += 1
        summary = (
            f"{plural(count['PASS'], 'check')} passed, {plural(count['WARN'], 'warning')}, "
            f"{count['FAIL']} failed."
        )
        return [Text(summary), Checks(findings.checks)]
