"""The report as a page, as Markdown and as JSON: the same sections, rendered once."""

from __future__ import annotations

import base64
import dataclasses
import gc
import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from spot_dask.codec import number_to_json
from spot_dask.errors import StoreError
from spot_dask.outputs import write_texts
from spot_dask.report import sections, text
from spot_dask.report.blocks import Block, How, NotShown, Sentences, Text
from spot_dask.report.context import Missing, ReportContext
from spot_dask.report.markdown import markdown
from spot_dask.report.summary import MOST, summary
from spot_dask.texts import in_template, json_document, printable
from spot_dask.words import LONGEST_TEXT

logger = logging.getLogger(__name__)

SCHEMA = "spot-dask/report/2"

COLLECTED = 70_000
"""So many new objects, a hundred times the usual number, before reference cycles are looked for."""


def write(context: ReportContext, path: Path) -> None:
    """Write the page to ``path``; the same as JSON and as Markdown beside it (.json and .md).

    Each is whole or as it was. Raises OSError.
    """
    with rare_collections():
        document = json_document(
            json.dumps(to_json(context), indent=1, ensure_ascii=False, allow_nan=False)
        )
        texts = {
            path: html(context),
            path.with_suffix(".json"): document + "\n",
            path.with_suffix(".md"): as_markdown(context),
        }
    write_texts(texts)


def check_path(path: Path) -> None:
    """Raise unless a report may be written to ``path``, its .json and its .md beside it.

    ValueError if its name does not end in .html, StoreError if these are there without a report.
    """
    if path.suffix != ".html":
        raise ValueError(f"the report's path is {str(path)!r}; expected one that ends in .html")
    data, words = path.with_suffix(".json"), path.with_suffix(".md")
    for other in (data, words):
        if other.exists() and run_of(data) is None:
            raise StoreError(f"{other} is there and is no report's; give another name than {path}")


def run_of(data: Path) -> str | None:
    """The identity of the run that a report in JSON is of; None where there is no such report."""
    try:
        document = json.loads(data.read_bytes())
        is_report = document["schema"].startswith(SCHEMA.rpartition("/")[0])
        return str(document["about"]["run_id"]) if is_report else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def html(context: ReportContext) -> str:
    """The page: self-contained, the same for the same run."""
    return page(_head(context), context.once(parts))


def as_markdown(context: ReportContext) -> str:
    """The page as GitHub-flavoured Markdown, without figures and long tables."""
    head = _head(context)
    shown = [(part.title, part.blocks) for part in context.once(parts)]
    return markdown(f"{head.name}: {head.kind.lower()}", head.about, shown)


def in_short(context: ReportContext, most: int = MOST) -> list[str]:
    """The report in at most so many lines, for a terminal."""
    blocks = {part.id: part.blocks for part in context.once(parts)}
    return summary(blocks["verdict"], blocks["checks"], most)


def parts(context: ReportContext) -> tuple[Part, ...]:
    """All sections as they are shown, in their order.

    One that fails costs itself alone: a line says so, and the log why.
    """
    with rare_collections():
        found = [_part(name, section, context) for name, section in sections.found()]
    if context.magnitudes is not None:
        # Before all figures, and first among the lines that a terminal shows.
        first, note = found[0], Sentences((context.magnitudes.note,))
        found[0] = dataclasses.replace(first, blocks=[note, *first.blocks])
    return tuple(found)


@contextmanager
def rare_collections() -> Iterator[None]:
    """Look for reference cycles less often: a figure makes so many objects that a quarter of its
    time would go into looking."""
    usual = gc.get_threshold()
    if usual[0]:  # else nobody looks
        gc.set_threshold(max(COLLECTED, usual[0]), *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


def _part(name: str, section: sections.Section, context: ReportContext) -> Part:
    try:
        facts = context[type(section)]
        missing = isinstance(facts, Missing)
        blocks = [NotShown(facts.reason)] if missing else [*section.render(facts, context)]
        what = (
            ""
            if blocks and all(isinstance(block, Block) for block in blocks)
            else (f"renders no blocks: {blocks!r:.80}")
        )
    except Exception as error:  # of a section, which may be the user's: the others are shown
        what = f"raises {error!r}"
    if what:
        what = printable(what, LONGEST_TEXT)
        logger.warning("the section %r of the report %s; the others are shown", name, what)
        context.give_up(type(section), f"the section failed: it {what}")
        blocks = [NotShown(f"the section failed: it {what}")]
    return Part(name, section.title, blocks)


def _head(context: ReportContext) -> Head:
    run, count = context.header, text.plural(len(context.evaluations), "evaluation")
    aim = f"{'Maximised' if run.direction == 'max' else 'Minimised'} {run.objective}"
    return Head(
        run.name,
        "Tuning report",
        f"{aim} · begun {text.moment(run.created)} · {count}",
        f"Written by spot-dask {run.versions.get('spot-dask', '')} from run {run.run_id}. The "
        "numbers of this page are in the JSON file beside it.",
    )


@dataclass(frozen=True)
class Head:
    """The head of a page: a name, what kind of page it is, a line about it, and its last line."""

    name: str
    kind: str
    about: str
    origin: str


@dataclass(frozen=True)
class Part:
    """A section of a page: anchor, heading and blocks."""

    id: str
    title: str
    blocks: Sequence[Block]


def page(head: Head, parts: Sequence[Part]) -> str:
    """A self-contained page of sections, the first of which says what came out."""
    template, css, script = (
        (files("spot_dask.report") / name).read_text(encoding="utf-8")
        for name in ("page.html", "page.css", "page.js")
    )
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        finalize=in_template,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.from_string(template).render(
        head=head,
        sections=parts,
        css=Markup(css),
        js=Markup(script),
        # Only this very script may run: markup that slipped in could not.
        script_hash=f"sha256-{digest}",
    )


def to_json(context: ReportContext) -> dict[str, Any]:
    """Every number of the page: the facts of each section under its name.

    ``methods`` tells of each section its ``title``, what it ``says`` first, ``how`` its numbers
    were computed, from how many evaluations ``n`` and from which ``seed`` (null where it does not
    say). NaN and infinities are strings, a missing part is its reason.
    """
    header = context.header
    about = {name: getattr(header, name) for name in ("name", "run_id", "objective", "direction")}
    facts: dict[str, Any] = {
        "about": about | {"evaluations": len(context.evaluations)},
        "pending": context.fold.pending,
        "recommended": context.recommended,
        "methods": {part.id: _method(part) for part in context.once(parts)},
    }
    facts |= {name: context[type(section)] for name, section in sections.found()}
    return {"schema": SCHEMA, **_plain(facts)}


def _method(part: Part) -> dict[str, Any]:
    how = next((block for block in part.blocks if isinstance(block, How)), None)
    said = next((block.text for block in part.blocks if isinstance(block, Text)), None)
    return {
        "title": part.title,
        "says": said,
        "how": how and how.explanation,
        "n": how and how.n,
        "seed": how and how.seed,
    }


def _plain(item: Any) -> Any:
    if dataclasses.is_dataclass(item):
        return {f.name: _plain(getattr(item, f.name)) for f in dataclasses.fields(item)}
    if isinstance(item, Mapping):
        return {str(k): _plain(v) for k, v in item.items()}
    if isinstance(item, (list, tuple)):
        return [_plain(v) for v in item]
    return number_to_json(item) if isinstance(item, float) else item
