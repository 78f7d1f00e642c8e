"""What sections are made of. A section returns blocks; only the page template writes HTML.

Texts are plain: the template escapes them, so nothing a user wrote can become markup. The one
exception is ``Chart.svg``, made by ``spot_dask.report.svg`` from escaped texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from spot_dask.report.facts import Check, Findings


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    style: Literal["plain", "lead", "note", "warning"] = "plain"
    kind: Literal["text"] = "text"


@dataclass(frozen=True)
class Sentences:
    """A list of short sentences."""

    items: Sequence[str]
    kind: Literal["sentences"] = "sentences"


@dataclass(frozen=True)
class NotShown:
    """Why there is nothing to see."""

    reason: str
    kind: Literal["missing"] = "missing"


@dataclass(frozen=True)
class Cell:
    """A table cell; ``sort`` is what it is sorted by where the text would sort wrongly."""

    text: str
    sort: float | None = None
    style: Literal["", "strong", "bad", "muted", "code"] = ""


@dataclass(frozen=True)
class Column:
    """A table column."""

    title: str
    numeric: bool = False


@dataclass(frozen=True)
class Table:
    """A table; ``tool`` gives it sorting and a filter in browsers that run scripts."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    tool: bool = False
    kind: Literal["table"] = "table"


@dataclass(frozen=True)
class Chart:
    """A figure with its caption and the numbers it shows."""

    svg: str
    caption: str
    data: Table | None = None
    kind: Literal["chart"] = "chart"


@dataclass(frozen=True)
class Charts:
    """Figures side by side where there is room."""

    items: Sequence[Chart]
    kind: Literal["charts"] = "charts"


@dataclass(frozen=True)
class Code:
    """Text to be copied."""

    text: str
    kind: Literal["code"] = "code"


@dataclass(frozen=True)
class Checks:
    """Health checks."""

    items: Sequence[Check]
    kind: Literal["checks"] = "checks"


@dataclass(frozen=True)
class Details:
    """Blocks folded away until wanted; open on paper."""

    summary: str
    blocks: Sequence[Block]
    kind: Literal["details"] = "details"


Block = Text | Sentences | NotShown | Table | Chart | Charts | Code | Checks | Details


class Section(Protocol):
    """A section: a module in ``spot_dask.report.sections`` with these three names."""

    title: str
    order: int

    def render(self, findings: Findings) -> Sequence[Block]:
        """The blocks of the section; never empty."""
        ...


def table(titles: Sequence[str], rows: Sequence[Sequence[str | float | int]]) -> Table:
    """A plain table; columns that hold a number anywhere are aligned as numbers."""
    from spot_dask.report.text import number

    columns = [
        Column(title, any(not isinstance(row[i], str) for row in rows))
        for i, title in enumerate(titles)
    ]
    cells = [[Cell(v if isinstance(v, str) else number(v)) for v in row] for row in rows]
    return Table(columns, cells)
