"""What sections are made of. A section returns blocks; only the page template writes HTML.

Texts are plain: the template escapes them, so nothing a user wrote can become markup. The one
exception is ``Chart.svg``, made by ``spot_dask.report.figures`` from escaped texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from spot_dask.report import text

State = Literal["PASS", "WARN", "FAIL", "NONE"]


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    style: Literal["plain", "lead", "note", "warning"] = "plain"


@dataclass(frozen=True)
class Sentences:
    """A list of short sentences."""

    items: Sequence[str]


@dataclass(frozen=True)
class NotShown:
    """Why there is nothing to see; completes "not shown because ..."."""

    reason: str


@dataclass(frozen=True)
class Cell:
    """A table cell; ``sort`` is what it is sorted by where the text would sort wrongly."""

    text: str
    sort: float | None = None
    style: Literal["", "strong", "bad", "muted", "code"] = ""


@dataclass(frozen=True)
class Heading:
    """The head of a table column; numbers are aligned on the right."""

    title: str
    numeric: bool = False


@dataclass(frozen=True)
class DataTable:
    """A table; ``tool`` gives it sorting and a filter in browsers that run scripts."""

    columns: Sequence[Heading]
    rows: Sequence[Sequence[Cell]]
    tool: bool = False

    @property
    def sides(self) -> list[str]:
        """The class of a cell of each column: t for texts in a tool, n for numbers elsewhere."""
        text_class, number_class = ("t", "") if self.tool else ("", "n")
        return [number_class if column.numeric else text_class for column in self.columns]


@dataclass(frozen=True)
class Chart:
    """A figure with its caption and the numbers it shows."""

    svg: str
    caption: str
    data: DataTable | None = None


@dataclass(frozen=True)
class Charts:
    """Figures side by side where there is room."""

    items: Sequence[Chart]


@dataclass(frozen=True)
class Code:
    """Text to be copied."""

    text: str


@dataclass(frozen=True)
class HealthCheck:
    """Something that a reader may rely on: what was looked at and what was seen.

    The state NONE stands for what cannot be told.
    """

    state: State
    title: str
    message: str


@dataclass(frozen=True)
class CheckList:
    """Health checks."""

    items: Sequence[HealthCheck]


@dataclass(frozen=True)
class Details:
    """Blocks folded away until wanted; open on paper."""

    summary: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class How:
    """How the numbers of a section were computed, folded away; report.json has it beside them.

    ``n`` is the number of evaluations that they rest on, ``seed`` that of what was drawn at random;
    None where there is no such number.
    """

    explanation: str
    n: int | None = None
    seed: int | None = None
    more: Sequence[Block] = ()

    @property
    def sample(self) -> str:
        """n and the seed in a sentence; empty where there are none."""
        said = [f"n = {self.n}"] if self.n is not None else []
        if self.seed is not None:
            said.append(f"what is random is drawn from seed {self.seed}")
        return f"{'; '.join(said)}." if said else ""


Block = Text | Sentences | NotShown | DataTable | Chart | Charts | Code | CheckList | Details | How


def table(
    titles: Sequence[str | Heading],
    rows: Sequence[Sequence[object]],
    tool: bool = False,
) -> DataTable:
    """A table of texts, numbers and cells; a column of ints or floats is aligned as numbers."""
    headings = [
        title
        if isinstance(title, Heading)
        else Heading(title, any(isinstance(row[i], (int, float)) for row in rows))
        for i, title in enumerate(titles)
    ]

    def cell(item: object) -> Cell:
        if isinstance(item, Cell):
            return item
        return Cell(text.number(item) if isinstance(item, (int, float)) else str(item))

    return DataTable(headings, [[cell(item) for item in row] for row in rows], tool)


def how(explanation: str, *more: Block, n: int | None = None, seed: int | None = None) -> How:
    """How the numbers of a section were computed: from n evaluations, random parts from a seed."""
    return How(explanation, n, seed, more)
