"""The report in a few lines, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from spot_dask.report.blocks import Block, CheckList, HealthCheck, Sentences
from spot_dask.report.text import plural

MOST = 12
"""Lines."""


def summary(verdict: Sequence[Block], checks: Sequence[Block], most: int = MOST) -> list[str]:
    """At most so many lines (4 or more): what came out, then what the checks found wrong."""
    said = [s for block in verdict if isinstance(block, Sentences) for s in block.items]
    found = [c for block in checks if isinstance(block, CheckList) for c in block.items]
    lines = said[: most - 3]
    return [*lines, *_told(found, most - len(lines))]


def _told(checks: Sequence[HealthCheck], most: int) -> Iterator[str]:
    """The checks in at most so many lines: how many passed, and those that did not."""
    if not checks:
        return
    bad = sorted((c for c in checks if c.state in ("FAIL", "WARN")), key=lambda c: c.state)
    passed, failed = (sum(c.state == state for c in checks) for state in ("PASS", "FAIL"))
    counts = f"{passed} passed, {plural(len(bad) - failed, 'warning')}, {failed} failed"
    named = bad if len(bad) < most else bad[: most - 2]
    yield f"checks: {counts}"
    yield from (f"{c.state}  {c.title}: {c.message}" for c in named)
    if len(named) < len(bad):
        yield f"and {len(bad) - len(named)} more in the report"
