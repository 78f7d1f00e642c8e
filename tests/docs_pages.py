"""Pages of documentation taken apart: blocks of code, links, headings, and what they name."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "spot_dask" / "docs"

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<text>.*?)^(?P=indent)```[ ]*$",
    re.MULTILINE | re.DOTALL,
)
_NOT_RUN = re.compile(r"<!-- not run: (.+?) -->\s*$", re.DOTALL)
_EVALUATIONS = re.compile(r"<!-- evaluations: (\d+) -->")
_LINK = re.compile(r"\]\(<?([^)\s>]+)>?\)")
_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_PROMPT = re.compile(r"^\$ ")
_ENDS = ("|", "||", "&&", "&", ";", ">", ">>", "2>", "<", "#", "2>&1")


@dataclass(frozen=True)
class Block:
    """A fenced block of code of a page, which begins on a line."""

    language: str
    rest: str
    text: str
    line: int
    not_run: str

    def commands(self) -> Iterator[list[str]]:
        """The words after ``spot-dask`` of each such command in a block of a shell.

        Lines of a ``console`` are commands where they begin with ``$``.
        """
        lines = self.text.replace("\\\n", " ").splitlines()
        if self.language == "console":
            lines = [_PROMPT.sub("", line) for line in lines if _PROMPT.match(line)]
        for line in lines:
            yield from spot_commands(line)


def spot_commands(line: str) -> Iterator[list[str]]:
    """The words after each ``spot-dask`` in a line of a shell."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split, lexer.commenters = True, "#"
    words: list[str] | None = None
    for word in lexer:
        if word in _ENDS:
            if words is not None:
                yield words
            words = None
        elif words is not None:
            words.append(word)
        elif word.rpartition("/")[2] == "spot-dask":
            words = []
    if words is not None:
        yield words


class Page:
    """A file of Markdown."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = path.read_text(encoding="utf-8")

    @property
    def name(self) -> str:
        """The file's path in the repository."""
        return self.path.relative_to(ROOT).as_posix() if self.path.is_relative_to(ROOT) else "page"

    @property
    def is_ours(self) -> bool:
        """Whether it is about this program alone: pages on clusters tell of others, too."""
        return self.name in ("README.md", "page") or self.path.parent in (DOCS, DOCS.parent)

    @cached_property
    def blocks(self) -> list[Block]:
        """The blocks of code in order."""
        found = []
        for match in _FENCE.finditer(self.text):
            indent, (language, _, rest) = match["indent"], match["info"].strip().partition(" ")
            text = re.sub(rf"^{indent}", "", match["text"], flags=re.MULTILINE)
            line = self.text.count("\n", 0, match.start()) + 2
            before = _NOT_RUN.search(self.text[: match.start()])
            found.append(Block(language, rest, text, line, before[1] if before else ""))
        return found

    @cached_property
    def prose(self) -> str:
        """The text without its blocks of code."""
        return _FENCE.sub("", self.text)

    @property
    def words(self) -> int:
        """What ``wc -w`` counts."""
        return len(self.text.split())

    @property
    def title(self) -> str:
        """The first line."""
        return self.text.partition("\n")[0].removeprefix("# ")

    @property
    def summary(self) -> str:
        """The second paragraph, in one line."""
        return " ".join(self.text.split("\n\n")[1].split())

    @property
    def evaluations(self) -> int:
        """How many evaluations a run of the page has in the tests, at most."""
        told = _EVALUATIONS.search(self.text)
        return int(told[1]) if told else 2

    @property
    def spans(self) -> list[str]:
        """What stands in backticks within a line."""
        return _SPAN.findall(self.prose)

    @property
    def links(self) -> list[str]:
        """Where links and pictures lead."""
        return _LINK.findall(_SPAN.sub("", self.prose))

    @cached_property
    def anchors(self) -> set[str]:
        """What a link to a heading may end in, as GitHub makes it of the heading."""
        found: set[str] = set()
        for heading in _HEADING.findall(self.prose):
            plain = _LINK.sub("", heading).replace("[", "").replace("`", "").lower()
            slug = base = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
            number = 0
            while slug in found:
                number += 1
                slug = f"{base}-{number}"
            found.add(slug)
        return found


def pages() -> list[Page]:
    """Every page of the documentation but its index."""
    return [Page(path) for path in sorted(DOCS.glob("*.md")) if path.name != "README.md"]


def all_pages() -> list[Page]:
    """Every page that users read, in the repository."""
    paths = [ROOT / "README.md", *DOCS.glob("*.md"), *ROOT.glob("cluster/*/README.md")]
    paths += [*ROOT.glob("cluster/README.md"), *ROOT.glob("scripts/*/README.md")]
    paths += [ROOT / "tests/README.md", ROOT / "spot_dask/README.md"]
    return [Page(path) for path in sorted(paths)]
