"""The report as a page and as JSON."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from spot_dask.codec import number_to_json
from spot_dask.report import sections, text
from spot_dask.report.blocks import Block, NotShown
from spot_dask.report.context import Missing, ReportContext

SCHEMA = "spot-dask/report/1"


def write(context: ReportContext, path: Path) -> None:
    """Write the page to ``path`` and the same numbers as JSON beside it (suffix ``.json``)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(html(context), encoding="utf-8", newline="\n")
    document = json.dumps(to_json(context), indent=1, ensure_ascii=False, allow_nan=False)
    path.with_suffix(".json").write_text(document + "\n", encoding="utf-8", newline="\n")


def html(context: ReportContext) -> str:
    """The page: self-contained, the same for the same run."""
    shown = []
    for name, section in sections.found():
        try:
            facts = context[type(section)]
            missing = isinstance(facts, Missing)
            blocks = [NotShown(facts.reason)] if missing else [*section.render(facts, context)]
        except Exception as error:
            raise ValueError(f"the section {name!r} of the report raises {error!r}") from error
        if not blocks or not all(isinstance(block, Block) for block in blocks):
            raise ValueError(
                f"the section {name!r} of the report renders no blocks: {blocks!r:.80}"
            )
        shown.append(Part(name, section.title, blocks))
    run, n = context.header, len(context.evaluations)
    aim = f"{'Maximised' if run.direction == 'max' else 'Minimised'} {run.objective}"
    head = Head(
        run.name,
        "Tuning report",
        f"{aim} · begun {text.moment(run.created)} · {n} evaluations",
        f"Written by spot-dask {run.versions.get('spot-dask', '')} from run {run.run_id}. The "
        "numbers of this page are in the JSON file beside it.",
    )
    return page(head, shown)


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
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
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
    """Every number of the page; NaN and infinities as strings, a missing part as its reason."""
    facts: dict[str, Any] = {"pending": context.fold.pending, "recommended": context.recommended}
    facts |= {name: context[type(section)] for name, section in sections.found()}
    return {"schema": SCHEMA, **_plain(facts)}


def _plain(item: Any) -> Any:
    if dataclasses.is_dataclass(item):
        return {f.name: _plain(getattr(item, f.name)) for f in dataclasses.fields(item)}
    if isinstance(item, Mapping):
        return {str(k): _plain(v) for k, v in item.items()}
    if isinstance(item, (list, tuple)):
        return [_plain(v) for v in item]
    return number_to_json(item) if isinstance(item, float) else item
