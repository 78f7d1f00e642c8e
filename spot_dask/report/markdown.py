"""The report as GitHub-flavoured Markdown, short enough for a pull request.

Blocks as on the page, without what is too long for a comment: figures, the data under them and
long tables, each of which says what it leaves out. Texts are escaped, so a name can neither become
markup nor mention a user or an issue.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from spot_dask.report.blocks import (
    Block,
    Chart,
    Charts,
    CheckList,
    Code,
    DataTable,
    Details,
    How,
    NotShown,
    Sentences,
    Text,
)
from spot_dask.texts import markdown as escaped
from spot_dask.texts import visible

MOST_ROWS = 12
MOST_CODE = 20
"""Lines of code that are shown."""

MARKS = {"PASS": "✅ PASS", "WARN": "⚠️ WARN", "FAIL": "❌ FAIL", "NONE": "–"}


def markdown(title: str, under: str, sections: Sequence[tuple[str, Sequence[Block]]]) -> str:
    """The document: a title, a line under it, and sections by their headings."""
    parts = [f"# {escaped(title)}", escaped(under)]
    for heading, blocks in sections:
        parts.append(f"## {escaped(heading)}")
        parts += [part for block in blocks for part in _lines(block) if part]
    parts.append("Figures, all data and how each number was computed: `report.html` beside this.")
    return "\n\n".join(parts) + "\n"


def _lines(block: Block) -> Iterator[str]:
    """A block as paragraphs."""
    match block:
        case Text(text, style):
            yield f"> {escaped(text)}" if style == "warning" else escaped(text)
        case Sentences(items):
            yield "\n".join(f"- {escaped(item)}" for item in items)
        case NotShown(reason):
            yield f"*Not shown because {escaped(reason)}.*"
        case CheckList(items):
            rows = [(MARKS[c.state], escaped(c.title), escaped(c.message)) for c in items]
            yield _table(("", "check", "seen"), (False, False, False), rows)
        case DataTable():
            yield from _data(block)
        case Chart() | Charts():
            figures = block.items if isinstance(block, Charts) else [block]
            captions = [escaped(figure.caption) for figure in figures]
            yield "\n".join(f"*Figure in the HTML report: {c}*" for c in captions if c)
        case Code(text):
            yield _fenced(text)
        case How():
            body = escaped(f"{block.explanation} {block.sample}".strip())
            yield f"<details><summary>How this was computed</summary>\n\n{body}\n\n</details>"
        case Details(summary):
            yield f"*{escaped(summary)}: in the HTML report.*"


def _data(block: DataTable) -> Iterator[str]:
    """A table, and how many of its rows are left out."""
    if not block.rows:
        return
    titles = tuple(escaped(c.title) for c in block.columns)
    rows = [tuple(escaped(cell.text) for cell in row) for row in block.rows[:MOST_ROWS]]
    yield _table(titles, tuple(c.numeric for c in block.columns), rows)
    if len(rows) < len(block.rows):
        yield f"*{len(rows)} of {len(block.rows)} rows shown; all are in the HTML report.*"


def _table(titles: Sequence[str], numeric: Sequence[bool], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---:" if right else "---" for right in numeric]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (titles, rule, *rows))


def _fenced(text: str) -> str:
    """Code that holds no fence of its own length."""
    lines = visible(text).splitlines()
    if more := len(lines) - MOST_CODE:
        lines = [*lines[:MOST_CODE], f"… {more} more lines"] if more > 0 else lines
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([fence, *lines, fence])
