"""Texts of a user, a training or a store, made safe for where they are shown.

Whatever shows a text hands it to what reads it as more than a text: a terminal moves its cursor
and changes its title, a browser reverses what follows U+202E, Markdown mentions users, a shell
expands, a spreadsheet computes. Each of them has one function here, which all pass through; none
of them changes what a store holds.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable
from typing import Any

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
"""How a cell begins that a spreadsheet computes, or one that was kept from it."""

_NUMBER = re.compile(r"[+-](Infinity|\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")

_MARKDOWN = re.compile(r"([\\`*_\[\]|~$]|^[>+#-]|(?<=^\d)[.)])")
_PLAIN = frozenset(map(chr, range(32, 127))) - {"\\", "'"}
_COMMAND = re.compile(r"(`spot-dask [\w ./=-]+`)")
"""A command of ours in a sentence, which Markdown may show as code."""
_CALLS = re.compile(r"([@#])(?=\w)")


def printable(text: str, most: int | None = None) -> str:
    """A text in one line, in which every character that is not seen is written as an escape.

    These are control characters (also those of C1), line ends, spaces but the usual one, marks of
    direction, of no width or for private use, and lone surrogates: ``\\x1b``, ``\\u202e``. Of a
    text longer than ``most`` the beginning is shown.
    """
    if most is not None and len(text) > most:
        return f"{printable(text[:most])}..."
    return (
        text
        if text.isprintable()
        else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    )


def visible(text: str) -> str:
    """As ``printable``, but over several lines: line feeds stay, and tabs become spaces."""
    return "\n".join(printable(line) for line in text.expandtabs().split("\n"))


def in_template(value: Any) -> Any:
    """A value on its way into a page of jinja's, whose ``finalize`` this is: texts are visible.

    Markup (which is what a figure is) has its own texts made visible by who made it.
    """
    return visible(value) if type(value) is str else value


def markdown(text: str) -> str:
    """A text that GitHub shows as it is, on one line: no markup, no mention of a user or issue.

    Only a command of spot-dask in backticks is code.
    """
    flat = printable(" ".join(text.split()))
    parts = [
        _MARKDOWN.sub(r"\\\1", part) if i % 2 == 0 else part
        for i, part in enumerate(_COMMAND.split(flat))
    ]
    return _CALLS.sub(r"\1<!-- -->", "".join(parts).replace("&", "&amp;").replace("<", "&lt;"))


def json_document(document: str) -> str:
    """A document in JSON, whose texts hold what is not seen as escapes: the same values."""
    if document.replace("\n", "").isprintable():
        return document
    return "".join(c if c == "\n" or c.isprintable() else json.dumps(c)[1:-1] for c in document)


def toml_text(text: str) -> str:
    """A text as a string of TOML, with escapes for what is not seen.

    TOML has no lone surrogates: ``\\ud800`` stands for one.
    """
    quoted = json.dumps(encodable(text), ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in quoted)


def shell(words: Iterable[str]) -> str:
    """Words as a shell reads them; what is not seen is written as in ``$'\\x1b'``."""
    return " ".join(map(_word, words))


def encodable(text: str, encoding: str = "utf-8") -> str:
    """A text with escapes for what cannot be encoded, such as a lone surrogate."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.encode(encoding, "backslashreplace").decode(encoding)
    return text


def csv_cell(text: str) -> str:
    """A text as a cell that no spreadsheet computes: an apostrophe goes before a formula.

    So it does before a text that begins with apostrophes and then as a formula, so that
    ``csv_text`` has the very text again. Numbers such as -1 stay as they are.
    """
    text = encodable(text)
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def csv_text(cell: str) -> str:
    """The text of a cell that ``csv_cell`` has written."""
    is_kept = cell.startswith("'") and _FORMULA.match(cell)
    return cell[1:] if is_kept else cell


def _word(word: str) -> str:
    if word.isprintable():
        return shlex.quote(word)
    # A byte by its number: what a shell makes of \u depends on its locale.
    try:
        data = word.encode("utf-8", "surrogateescape")  # a path, which may be of any bytes
    except UnicodeEncodeError:
        data = word.encode("utf-8", "surrogatepass")
    return "".join(["$'", *(chr(b) if chr(b) in _PLAIN else f"\\x{b:02x}" for b in data), "'"])
