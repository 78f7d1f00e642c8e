"""The short form of the page of proof: a page of the documentation, made of the same stored files.

Every figure in it is computed from or read in ``stored/``; a test holds the page to that.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from benchmarks import stored
from benchmarks.comparison import NAMES, OURS, Compared, cpu_per_batch
from benchmarks.evidence import (
    QS,
    TABLES,
    Evidence,
    coverage_rows,
    missed,
    not_measured,
    shown,
    shown_bits,
    shown_count,
)

PAGE = stored.FOLDER.parents[2] / "spot_dask" / "docs" / "benchmarks.md"
STATED = ("tuned", "default", "gain", "P(tuned beats default)", "not falsely better")
TOLD = ("published: TPE", "published: SMAC", "published: Random")


def documentation(evidence: Evidence) -> str:
    """The page as Markdown."""
    parts = [
        "# Benchmarks",
        "What was measured beside other tuners, losses first, and how to measure it again.",
        "In the repository, `./scripts/benchmarks/page` makes one offline page with every figure, "
        "its command, date and commit, from stored results; this is its short form. The machine "
        "had two cores and was busy, so times are CPU seconds.",
        "## Where it is behind",
        *_losses(evidence),
        "## The search",
        *_search(evidence),
        "## Where trainings fail",
        *_failures(evidence),
        "## What a report states",
        *_statements(evidence),
        "## What it costs",
        *_costs(evidence),
    ]
    return "\n\n".join(map(_wrapped, parts)) + "\n"


def _wrapped(part: str) -> str:
    """A paragraph in lines as long as those of the other pages."""
    whole = part.startswith(("#", "|", "- "))
    return part if whole else "\n".join(textwrap.wrap(part, 110, break_on_hyphens=False))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown without spaces, which would count as words."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"|{'|'.join(line)}|" for line in lines)


def _losses(evidence: Evidence) -> list[str]:
    """Kinds of problems, lost problems, missed aims, and what is not measured."""
    rows = [row for beside in evidence.beside.values() for row in beside if row.behind]
    rows.sort(key=lambda row: -row.ratio.value)
    cells = [
        [NAMES[row.peer], row.kind, shown(row.ratio), f"{row.pairs} on {row.problems}"]
        for row in rows
    ]
    lost = ", ".join(
        f"{len(beside[0].lost)} of {beside[0].problems} beside {NAMES[peer]}"
        for peer, beside in evidence.beside.items()
    )
    aims = []
    for section in TABLES:
        below = missed(evidence, section)
        told = "; ".join(f"{m.what}: {m.seen} (aim {m.aim})" for m in below)
        aims += [f"- {below[0].section}, {below[0].measure}: {told}"] if below else []
    return [
        "Kinds of problems on which regret is higher than a peer's, or than that of `log_ei`, the "
        "default of before:",
        _table(["beside", "problems", "ratio of regrets", "pairs on problems"], cells),
        f"Problems lost by mean regret: {lost}.",
        "Aims that are missed:",
        "\n".join(aims),
        f"Not measured: {'; '.join(not_measured(evidence))}.",
    ]


def _search(evidence: Evidence) -> list[str]:
    cells = [_beside(evidence, rows[0]) for rows in evidence.beside.values()]
    head = ["beside", "problems", "pairs", "ratio after 32", "after 64", "collapses (theirs)",
            "CPU s a batch"]  # fmt: skip
    ours = cpu_per_batch(evidence.verification, OURS)
    return [
        "Ratios of regret to a peer's at its own defaults, 64 evaluations, 8 at a time, with 95 % "
        "intervals over problems, then seeds; below 1 is better. The problems were named before "
        "anything ran on them, nothing was chosen by what they show, and "
        "`scripts/benchmarks/verification.log` tells each reading. A collapse ends above half of "
        "random search's regret.",
        _table(head, cells),
        f"A batch of ours takes {ours:.2f} CPU seconds there.",
    ]


def _beside(evidence: Evidence, row: Compared) -> list[str]:
    what = f"{row.problems}" if row.kind == "all" else f"{row.problems}, {row.kind}"
    return [
        NAMES[row.peer], what, str(row.pairs), shown(row.halfway), shown(row.ratio),
        f"{row.collapses[0]} ({row.collapses[1]})",
        f"{cpu_per_batch(evidence.verification, row.peer):.2f}",
    ]  # fmt: skip


def _failures(evidence: Evidence) -> list[str]:
    rows = [
        [f"{row.name}, q = {q}", shown_bits(row.best), shown_count(row.failed), str(row.runs)]
        for q in QS
        for row in evidence.trained(q)
        if row.runs >= 3
    ]
    rows += [
        [row.title, shown_bits(row.best), shown_count(row.failed), str(row.runs)]
        for row in evidence.elsewhere
        if row.title in TOLD
    ]
    return [
        "A language model of 50 M parameters with 14 mixed parameters; most random configurations "
        "run out of memory. Searches see a model of 10,199 published trainings, and begin with the "
        "published defaults. Published runs are real trainings, cut off after 64. These data were "
        "material for developing how failures are learnt: no verdict on unseen problems.",
        _table(["who", "best bits per byte", "failed of 64", "runs"], rows),
    ]


def _statements(evidence: Evidence) -> list[str]:
    rows = [row for row in coverage_rows(evidence) if row[0] in STATED]
    cells = [[row[0], row[1], row[2], f"{row[5]} of {row[4]}", row[7]] for row in rows]
    return [
        "How often what is stated after confirmation is true, in % of simulated studies:",
        _table(["statement", "nominal", "observed", "cells too low", "lowest"], cells),
    ]


def _costs(evidence: Evidence) -> list[str]:
    proposal = stored.table("proposal", evidence.folder)
    kills = stored.table("kills", evidence.folder)
    overhead = stored.table("overhead", evidence.folder)
    use = stored.table("utilisation", evidence.folder)
    parts = []
    if proposal is not None:
        cells = [list(row[:5]) for row in proposal.rows]
        parts += ["CPU seconds of a proposal, fit included, n evaluations, q at a time:",
                  _table(list(proposal.columns[:5]), cells)]  # fmt: skip
    told = []
    if use is not None:
        seen = [f"{row[2]} {row[3]}" for row in use.rows if row[0] == "8 real" and row[1] == ".5"]
        told.append(f"- Slots kept busy, over list scheduling, 8 real slots: {', '.join(seen)}.")
    if overhead is not None:
        ratios = sorted(float(row[3]) for row in overhead.rows)
        told.append(f"- TorchTask over a tight loop: {ratios[0]:.2f} to {ratios[-1]:.2f}.")
    if kills is not None:
        lost = sum(int(row[3]) for row in kills.rows)
        faults = sum(int(row[1].replace(",", "")) for row in kills.rows)
        told.append(f"- Acknowledged evaluations lost in {faults:,} kills and faults: {lost}.")
    return [*parts, "\n".join(told)] if told else parts
