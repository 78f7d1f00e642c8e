"""How to get this result again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from spot_dask.report import text
from spot_dask.report.blocks import Block, Cell, Code, Column, Details, Table, Text
from spot_dask.report.facts import Findings, Run


class Reproduce:
    title = "How can this be reproduced?"
    order = 140

    def render(self, findings: Findings) -> Sequence[Block]:
        run = findings.run
        command = _command(run)
        blocks: list[Block] = [_facts(run)]
        if command:
            blocks += [Text("The run was started like this:"), Code(command)]
        else:
            blocks.append(Text("The study was run from Python; its file is not known."))
        blocks.append(Details("Settings", [Code(_pretty(run.settings))]))
        blocks.append(Details("Search space", [Code(_lines(run.space))]))
        if run.study.get("text"):
            blocks.append(Details("Study file", [Code(str(run.study["text"]))]))
        return blocks


def _facts(run: Run) -> Table:
    versions = ", ".join(f"{name} {version}" for name, version in sorted(run.versions.items()))
    rows = [
        ("run", f"{run.name} ({run.run_id})"),
        ("begun", text.moment(run.created)),
        ("sessions", str(run.sessions)),
        ("ended", run.ended or "the last session did not end in good order, or is still running"),
        ("seed", str(run.settings.get("seed", "–"))),
        ("search space", f"{run.space_hash[:16]}"),
        ("versions", versions or "–"),
    ]
    cells = [[Cell(name, style="muted"), Cell(said)] for name, said in rows]
    return Table([Column("what"), Column("value")], cells)


def _command(run: Run) -> str:
    """The command line that starts the same run anew."""
    file = run.study.get("file")
    if not file:
        return ""
    name = run.study.get("name") or "study"
    overrides = [str(o) for o in run.study.get("overrides") or ()]
    words = ["spot-dask", "run", f"{file}:{name}"]
    for override in overrides:
        words += ["--set", override]
    return " ".join(shlex.quote(word) for word in words)


def _pretty(data: Mapping[str, Any]) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False, sort_keys=True)


def _lines(space: Mapping[str, Any]) -> str:
    """One parameter per line."""
    return "\n".join(json.dumps(p, ensure_ascii=False) for p in space["parameters"])
