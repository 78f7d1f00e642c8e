"""How to get this result again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from spot_dask.infill import leaning
from spot_dask.report import text
from spot_dask.report.blocks import Block, Cell, Code, Details, Text, how, table
from spot_dask.report.context import ReportContext
from spot_dask.space import Space


def _beliefs(context: ReportContext) -> dict[str, str]:
    """What the user believed of good values, and how far from it the best is."""
    prior = context.settings.get("prior", {})
    found = {}
    best = {} if context.best is None else context.best.config
    away = leaning.off(context.space, prior, best)
    for name, belief in leaning.described(context.space, prior).items():
        told = "" if name not in best else f"; the best has {text.value(best[name])}"
        far = f", {away[name]:.1f} spreads away" if name in away else ""
        found[f"belief about {name}"] = belief + told + far
    return found


def _ranges(context: ReportContext) -> dict[str, str]:
    """When ranges were changed, and what they were then."""
    found = {}
    for asked, ranges in context.fold.ranges:
        box, before = (Space.from_json(ranges[name]) for name in ("within", "before"))
        lines = (x.replace(" here,", " then,").replace(" there", " before")
                 for x in box.difference(before))  # fmt: skip
        found[f"ranges changed after {text.plural(asked, 'trial')}"] = "; ".join(lines)
    return found


def _scales(scores: Mapping[str, float], used: str) -> str:
    """The scale in use and what the others are worth, in log density per evaluation."""
    if not used:
        return "–"
    others = [f"{name} {s - scores[used]:+.2f}" for name, s in scores.items() if name != used]
    return used + (f" (log density per evaluation: {', '.join(others)})" if others else "")


class RunSection:
    title = "How can this be reproduced?"
    order = 170

    def facts(self, context: ReportContext) -> dict[str, Any]:
        """The header of the store, the number of sessions, and how the last one ended.

        ``ended`` is empty where the last session did not end in good order or still runs. ``host``
        coordinated it, ``workers`` trained. ``scores`` are the leave-one-out log densities per
        evaluation of the scales of the objective that were tried, ``transform`` the one in use.
        """
        known = "run_id name created objective direction settings study versions space space_hash"
        header = {name: getattr(context.header, name) for name in known.split()}
        opened, model = context.fold.opened, context.inference
        return {
            **header,
            "sessions": context.fold.sessions,
            "ended": context.fold.closed or "",
            "host": "" if opened is None else opened.host,
            "workers": sorted({e.outcome.worker for e in context.evaluations} - {""}),
            "scores": {} if model is None else model.scores,
            "transform": "" if model is None else model.transform.name,
        }

    def render(self, found: Mapping[str, Any], context: ReportContext) -> Sequence[Block]:
        header, study = context.header, context.header.study
        versions = [f"{name} {version}" for name, version in sorted(header.versions.items())]
        unclosed = "the last session did not end in good order, or is still running"
        rows = {
            "run": f"{header.name} ({header.run_id})",
            "begun": text.moment(header.created),
            "sessions": found["sessions"],
            "ended": found["ended"] or unclosed,
            "seed": header.settings.get("seed", "–"),
            "search space": header.space_hash[:16],
            "coordinator": found["host"] or "–",
            "trained on": text.listed(found["workers"]) or "–",
            "scale of the objective": _scales(found["scores"], found["transform"]),
            "versions": ", ".join(versions) or "–",
        }
        rows |= _beliefs(context) | _ranges(context)
        cells = [[Cell(name, style="muted"), str(said)] for name, said in rows.items()]
        blocks: list[Block] = [table(("what", "value"), cells)]
        if study.get("file"):
            words = ["spot-dask", "run", f"{study['file']}:{study.get('name') or 'study'}"]
            for override in study.get("overrides") or ():
                words += ["--set", str(override)]
            command = " ".join(shlex.quote(word) for word in words)
            blocks += [Text("The run was started like this:"), Code(command)]
        else:
            blocks.append(Text("The study was run from Python; its file is not known."))
        settings = json.dumps(header.settings, indent=2, ensure_ascii=False, sort_keys=True)
        # One parameter per line.
        space = "\n".join(json.dumps(p, ensure_ascii=False) for p in header.space["parameters"])
        blocks += [Details("Settings", [Code(settings)]), Details("Search space", [Code(space)])]
        if study.get("text"):
            blocks.append(Details("Study file", [Code(str(study["text"]))]))
        said = (
            "Read from the header of the store, its sessions and its evaluations. Scales of the "
            "objective are compared by the leave-one-out log density of the model of inference, "
            "Jacobian included."
        )
        return [*blocks, how(said, n=len(context.evaluations))]
