"""The report of a study: computed once from its store, shown as a page and as JSON.

``findings(header, records, model, best)`` computes, ``write(findings, path)`` shows. A new
section is one file in ``sections``; the charts in ``figures`` also serve notebooks.
"""

from __future__ import annotations

from spot_dask.report.facts import Findings
from spot_dask.report.findings import findings
from spot_dask.report.page import html, to_json, write

__all__ = ["Findings", "findings", "html", "to_json", "write"]
