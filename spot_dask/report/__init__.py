"""The report of a run: computed once from what its store says, shown in several ways.

``write(ReportContext(header, fold, model, best), path)`` writes the page, and the same as JSON and
as Markdown beside it; ``in_short`` has it in a few lines. A new section is one
file in ``sections``.
"""

from __future__ import annotations

from spot_dask.report.context import ReportContext
from spot_dask.report.page import as_markdown, check_path, html, in_short, to_json, write

__all__ = ["ReportContext", "as_markdown", "check_path", "html", "in_short", "to_json", "write"]
