"""The report of a run: computed once from what its store says, shown as a page and as JSON.

``write(ReportContext(header, fold, model, best), path)`` writes both. A new section is one file in
``sections``.
"""

from __future__ import annotations

from spot_dask.report.context import ReportContext
from spot_dask.report.page import html, to_json, write

__all__ = ["ReportContext", "html", "to_json", "write"]
