"""How values show themselves at a prompt: as small tables, and which names of theirs are listed.

A table is text, or HTML for a notebook, with every text escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, ClassVar

from spot_dask.texts import printable

MOST = 20
"""Rows of a table that are shown; a line tells of the others."""

LONGEST = 100

_STYLE = "text-align:left;padding:.15em .8em .15em 0"


@dataclass(frozen=True, repr=False)
class Card:
    """A title, lines of text and a table, all of it plain text.

    ``rows`` are tuples of values, one for each of the ``columns``; None where there is none. What
    is shown of them are texts; the values are there for whoever goes on with them.
    """

    title: str
    lines: Sequence[str] = ()
    columns: Sequence[str] = ()
    rows: Sequence[tuple[Any, ...]] = field(default=())

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self.rows)

    def __getitem__(self, i: int) -> tuple[Any, ...]:
        return self.rows[i]

    def __repr__(self) -> str:
        """The table as text, in columns."""
        cells = [list(map(brief, row)) for row in (self.columns, *self.rows[:MOST])]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        table = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells if row]
        return "\n".join(
            [printable(self.title), *map(printable, self.lines), *table, *self._more()]
        )

    def _repr_html_(self) -> str:
        parts = [f"<strong>{_html(self.title)}</strong>"]
        parts += [f"<div>{_html(line)}</div>" for line in self.lines]
        if self.columns:
            parts += ["<table><thead><tr>", *_cells("th", self.columns), "</tr></thead><tbody>"]
            for row in self.rows[:MOST]:
                parts += ["<tr>", *_cells("td", row), "</tr>"]
            parts.append("</tbody></table>")
        parts += [f"<div>{_html(line)}</div>" for line in self._more()]
        return f"<div>{''.join(parts)}</div>"

    def _more(self) -> list[str]:
        return [f"{MOST} of {len(self.rows)} shown"] if len(self.rows) > MOST else []


class Listed:
    """Its ``dir()``, and so the completion at a prompt, shows what users of the package need.

    That is every name without a leading underscore but those that a class has as ``_unlisted``,
    which other parts of the package use.
    """

    _unlisted: ClassVar[frozenset[str]] = frozenset()

    def __dir__(self) -> list[str]:
        found = super().__dir__()
        return sorted(n for n in found if not n.startswith("_") and n not in self._unlisted)


def brief(value: Any) -> str:
    """A value in one line: four significant digits of a float, nothing for None, texts cut."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    text = printable(f"{value:.4g}" if isinstance(value, float) else str(value))
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def settings_text(config: Iterable[tuple[str, Any]]) -> str:
    """Names and values in one line: ``lr=0.01 width=64``."""
    return " ".join(f"{name}={brief(value)}" for name, value in config)


def counted(n: int, noun: str) -> str:
    """A number with its noun: ``1 evaluation``, ``2 evaluations``."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _cells(tag: str, values: Iterable[Any]) -> list[str]:
    return [f'<{tag} style="{_STYLE}">{_html(brief(value))}</{tag}>' for value in values]


def _html(text: str) -> str:
    return escape(printable(text))
