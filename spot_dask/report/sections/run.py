"""How to get this result again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spot_dask.report import text
from spot_dask.report.blocks import Block, Cell, Code, Details, Text, table
from spot_dask.report.context import ReportContext


@dataclass(frozen=True)
class RunFacts:
    """Where the numbers come from; ``ended`` is why the last session closed, "" if it did not."""

    run_id: str
    name: str
    created: float
    objective: str
    direction: str
    sessions: int
    ended: str
    settings: Mapping[str, Any]
    study: Mapping[str, Any]
    versions: Mapping[str, str]
    space: Mapping[str, Any]
    space_hash: str


class RunSection:
    title = "How can this be reproduced?"
    order = 140

    def facts(self, context: ReportContext) -> RunFacts:
        h = context.header
        return RunFacts(
            run_id=h.run_id,
            name=h.name,
            created=h.created,
            objective=h.objective,
            direction=h.direction,
            sessions=context.fold.sessions,
            ended=context.fold.closed or "",
            settings=h.settings,
            study=h.study,
            versions=h.versions,
            space=h.space,
            space_hash=h.space_hash,
        )

    def render(self, found: RunFacts, context: ReportContext) -> Sequence[Block]:
        versions = ", ".join(
            f"{name} {version}" for name, version in sorted(found.versions.items())
        )
        unclosed = "the last session did not end in good order, or is still running"
        rows = {
            "run": f"{found.name} ({found.run_id})",
            "begun": text.moment(found.created),
            "sessions": str(found.sessions),
            "ended": found.ended or unclosed,
            "seed": str(found.settings.get("seed", "–")),
            "search space": found.space_hash[:16],
            "versions": versions or "–",
        }
        cells = [[Cell(name, style="muted"), said] for name, said in rows.items()]
        blocks: list[Block] = [table(("what", "value"), cells)]
        if command := _command(found.study):
            blocks += [Text("The run was started like this:"), Code(command)]
        else:
            blocks.append(Text("The study was run from Python; its file is not known."))
        settings = json.dumps(found.settings, indent=2, ensure_ascii=False, sort_keys=True)
        # One parameter per line.
        space = "\n".join(json.dumps(p, ensure_ascii=False) for p in found.space["parameters"])
        blocks += [Details("Settings", [Code(settings)]), Details("Search space", [Code(space)])]
        if found.study.get("text"):
            blocks.append(Details("Study file", [Code(str(found.study["text"]))]))
        return blocks


def _command(study: Mapping[str, Any]) -> str:
    """The command line that starts the same run anew; "" where the study's file is not known."""
    if not study.get("file"):
        return ""
    words = ["spot-dask", "run", f"{study['file']}:{study.get('name') or 'study'}"]
    for override in study.get("overrides") or ():
        words += ["--set", str(override)]
    return " ".join(shlex.quote(word) for word in words)
