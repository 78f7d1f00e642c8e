"""Findings as a page and as JSON."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from spot_dask import plugins
from spot_dask.codec import number_to_json
from spot_dask.report.blocks import Block, Section
from spot_dask.report.facts import Findings
from spot_dask.report.text import moment

SCHEMA = "spot-dask/report/1"


@dataclass(frozen=True)
class Shown:
    """A section as it stands on the page."""

    id: str
    title: str
    blocks: Sequence[Block]


def write(findings: Findings, path: Path) -> None:
    """Write the page to ``path`` and the same numbers as JSON beside it (suffix ``.json``)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(html(findings), encoding="utf-8", newline="\n")
    document = json.dumps(to_json(findings), indent=1, ensure_ascii=False, allow_nan=False)
    path.with_suffix(".json").write_text(document + "\n", encoding="utf-8", newline="\n")


def html(findings: Findings) -> str:
    """The page: self-contained, the same for the same findings."""
    script = _resource("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_resource("page.html")).render(
        f=findings,
        begun=moment(findings.run.created),
        sections=[
            Shown(name, section.title, section.render(findings)) for name, section in _sections()
        ],
        css=Markup(_resource("page.css")),
        js=Markup(script),
        # Only this very script may run: markup that slipped in could not.
        script_hash=f"sha256-{digest}",
    )


def to_json(findings: Findings) -> dict[str, Any]:
    """Every number of the page; NaN and infinities as strings, a missing part as its reason."""
    plain: dict[str, Any] = _plain(findings)
    return {"schema": SCHEMA, **plain}


def _plain(item: Any) -> Any:
    if dataclasses.is_dataclass(item):
        return {f.name: _plain(getattr(item, f.name)) for f in dataclasses.fields(item)}
    if isinstance(item, Mapping):
        return {str(k): _plain(v) for k, v in item.items()}
    if isinstance(item, (list, tuple)):
        return [_plain(v) for v in item]
    return number_to_json(item) if isinstance(item, float) else item


@cache
def _sections() -> list[tuple[str, Section]]:
    """The sections found in the folder, by file name, in their order."""
    folder = "spot_dask.report.sections"
    named: list[tuple[str, Section]] = [
        (name, plugins.find(folder, "render", name)) for name in plugins.names(folder, "render")
    ]
    return sorted(named, key=lambda item: (item[1].order, item[0]))


@cache
def _resource(name: str) -> str:
    return (files("spot_dask.report") / name).read_text(encoding="utf-8")
