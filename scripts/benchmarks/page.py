"""One offline page of all that was measured, losses first, from the stored results.

Nothing is run: the page is made of the CSV files in ``stored/`` in seconds. ``--keep FILE`` first
puts the runs of a file of ``quality`` there.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from benchmarks import comparison, drawings, short_form, stored
from benchmarks.comparison import NAMES, OURS, Compared, cpu_per_batch
from benchmarks.coverage import OVER_ALL
from benchmarks.data import VARIABLE
from benchmarks.evidence import (
    EARLIER,
    QS,
    TABLES,
    Evidence,
    Tabled,
    coverage_rows,
    missed,
    not_measured,
    shown,
    shown_bits,
    shown_count,
)
from benchmarks.results import Results
from benchmarks.stored import StoredRun
from spot_dask.report import blocks
from spot_dask.report.blocks import Block, Cell, Code, Details, NotShown, Sentences, Text
from spot_dask.report.page import Head, Part, page


@click.command()
@click.option("--out", default="runs/benchmarks/page.html", show_default=True, type=Path)
@click.option("--stored", "folder", default=stored.FOLDER, type=Path, help="Folder of the CSVs.")
@click.option("--picture", type=Path, help="Write the chart of the README, a PNG, here, too.")
@click.option("--documentation", is_flag=True, help="Write its short form, spot_dask/docs, too.")
@click.option("--keep", type=click.Path(exists=True, path_type=Path), help="Runs of quality's.")
@click.option("--into", default="verification", show_default=True, help="NAME.csv of --stored.")
@click.option("--label", "labels", multiple=True, help="THEIRS=OURS: a label in --keep's file.")
@click.option("--only", multiple=True, help="With --keep: this label (ours) alone; repeatable.")
@click.option("--keep-published", is_flag=True, help="Store nanochat's published runs (--data).")
@click.option("--data", type=click.Path(file_okay=False), help="Folder with the data of suites.")
def main(
    out: Path,
    folder: Path,
    picture: Path | None,
    documentation: bool,
    keep: Path | None,
    into: str,
    labels: Sequence[str],
    only: Sequence[str],
    keep_published: bool,
    data: str | None,
) -> None:
    """Write the page from the stored results."""
    if data is not None:
        os.environ[VARIABLE] = data
    if keep is not None:
        names = dict(label.split("=", 1) for label in labels)
        runs = stored.compact(Results(keep).runs(), names, only)
        click.echo(f"{into}: {stored.keep(into, runs, folder)} runs, {len(runs)} of {keep}")
    if keep_published:
        stored.keep_nanochat(folder)
    evidence = Evidence(folder)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(proof(evidence), encoding="utf-8")
    click.echo(out)
    if picture is not None:
        click.echo(f"{picture}: {draw_picture(evidence, picture)}")
    if documentation:
        short_form.PAGE.write_text(short_form.documentation(evidence), encoding="utf-8")
        click.echo(short_form.PAGE)


def proof(evidence: Evidence) -> str:
    """The page."""
    dates = [origin.date for origin in evidence.origins]
    head = Head(
        "What spot-dask is worth, and where it is behind",
        "Benchmarks",
        f"Measured {min(dates)} to {max(dates)}" if dates else "Nothing is stored",
        "Made by scripts/benchmarks/page from the CSV files in scripts/benchmarks/stored.",
    )
    sections: list[tuple[str, str, Callable[[Evidence], list[Block]]]] = [
        ("short", "In short", in_short),
        ("losses", "Losses, and aims that are missed", losses),
        ("quality", "The search beside others", quality),
        ("nanochat", "Where trainings fail: a language model", crash_regions),
    ]
    parts = [Part(id, title, made(evidence)) for id, title, made in sections]
    parts += [_tabled(evidence, table) for table in TABLES]
    parts.insert(
        [p.id for p in parts].index("importance"),
        Part("coverage", "Is what a report states true?", coverage(evidence)),
    )
    return page(head, [*parts, Part("origins", "When what was measured", provenance(evidence))])


def in_short(evidence: Evidence) -> list[Block]:
    """What a reader takes along, losses first."""
    below = [row for table in TABLES for row in missed(evidence, table)]
    said = [_behind(peer, rows) for peer, rows in evidence.beside.items()]
    said = [text for text in said if text]
    if below:
        what = "line misses its aim" if len(below) == 1 else "lines miss their aims"
        said.append(f"{len(below)} measured {what}; the next section names each.")
    for peer, rows in evidence.beside.items():
        whole = rows[0]
        said.append(
            f"Regret is {shown(whole.ratio)} times that of {NAMES[peer]} on {whole.problems} "
            f"problems {_of_kind(whole)} that nothing was chosen on ({whole.pairs} pairs of "
            "runs, 64 evaluations, 8 at a time)."
        )
    for q in QS:
        rows = evidence.trained(q)
        if rows:
            told = ", ".join(
                f"{r.name} {r.best.value:.4f} ({r.failed.value:.0f} of 64)" for r in rows
            )
            said.append(f"Bits per byte of a language model, with failures, q = {q}: {told}.")
    return [Sentences(said)]


def _of_kind(row: Compared) -> str:
    return "of all kinds" if row.kind == "all" else f"of kind {row.kind}"


def _behind(peer: str, rows: Sequence[Compared]) -> str:
    """A sentence on the kinds of problems on which a peer is ahead; empty where there are none."""
    behind = [f"{row.kind} ({shown(row.ratio)})" for row in rows if row.behind]
    return f"Behind {NAMES[peer]} on problems of kind {', '.join(behind)}." if behind else ""


def losses(evidence: Evidence) -> list[Block]:
    """Where we are behind, what missed its aim, and what is not measured."""
    found: list[Block] = []
    behind = sorted(
        (row for rows in evidence.beside.values() for row in rows if row.behind),
        key=lambda row: -row.ratio.value,
    )
    if behind:
        cells = [
            [NAMES[r.peer], r.kind, shown(r.ratio), f"{r.pairs} on {r.problems}",
             "yes" if r.ratio.low > 1 else "no"]
            for r in behind
        ]  # fmt: skip
        found += [
            Text("Behind a peer, or behind our own earlier criterion:"),
            blocks.table(["beside", "problems", "ratio of regrets", "pairs on problems",
                          "interval above 1"], cells),
        ]  # fmt: skip
    lost = [(p, loss) for p, rows in evidence.beside.items() for loss in rows[0].lost]
    if lost:
        cells = [
            [loss.problem, loss.kind, NAMES[p], f"{loss.ours:.2f}", f"{loss.theirs:.2f}",
             str(loss.pairs)]
            for p, loss in lost
        ]  # fmt: skip
        counts = ", ".join(
            f"{len(rows[0].lost)} of {rows[0].problems} beside {NAMES[p]}"
            for p, rows in evidence.beside.items()
        )
        head = ["problem", "kind", "beside", "our regret", "theirs", "pairs"]
        found += [
            Text(f"Problems lost, by mean regret: {counts}."),
            Details("Every problem that is lost", [blocks.table(head, cells)]),
        ]
    below = [row for table in TABLES for row in missed(evidence, table)]
    if below:
        found += [
            Text("Aims that are missed:"),
            blocks.table(
                ["what", "seen", "aim"],
                [[f"{m.section}: {m.what}", f"{m.measure} {m.seen}", m.aim] for m in below],
            ),
        ]
    low = [row for row in coverage_rows(evidence) if int(row[5])]
    if low:
        head = ["statement", "nominal %", "observed %", "cells too low", "lowest cell"]
        cells = [[r[0], r[1], r[2], f"{r[5]} of {r[4]}", r[7]] for r in low]
        found += [
            Text(
                "Statements that hold less often than they say, by more than 2 points in some "
                "cell. Those of BCa and of the model are not stated as 95 % intervals."
            ),
            blocks.table(head, cells),
        ]
    found.append(Text(f"Not measured: {'; '.join(not_measured(evidence))}."))
    return found


def quality(evidence: Evidence) -> list[Block]:
    """Ratios by kind, ranks and courses on the verification problems."""
    if not evidence.verification:
        return [_absent(evidence, "verification")]
    found: list[Block] = [
        Text(
            "The problems were named before anything ran on them and nothing was chosen by what "
            "they show; scripts/benchmarks/verification.log tells every reading. All have 64 "
            "evaluations in batches of 8, the same noise and the same durations. CPU seconds were "
            "taken on a busy machine, of different hours."
        )
    ]
    for peer, rows in evidence.beside.items():
        found += [
            drawings.ratios(rows, f"ratios-{peer}", f"Beside {NAMES[peer]}"),
            Details(f"Numbers, beside {NAMES[peer]}", [_ratio_table(rows)]),
        ]
    groups = _groups(evidence)
    for what, runs, labels in groups:
        courses = comparison.courses(runs, labels)
        ranks, problems = comparison.mean_ranks(runs, labels)
        caption = f"{what}: {problems} problems, {courses[0].runs} runs of each on the same seeds."
        found.append(drawings.regret_courses(courses, f"course-{len(labels)}", caption))
        head = [f"{what}, {problems} problems", "mean rank", "CPU s of proposals per batch of 8"]
        cells = [
            [
                NAMES[label],
                f"{ranks[label]:.1f} of {len(labels)}",
                f"{cpu_per_batch(runs, label):.2f}",
            ]
            for label in sorted(labels, key=lambda name: ranks[name])
        ]
        found.append(blocks.table(head, cells))
    return [*found, *_again(evidence, "verification")]


def _groups(evidence: Evidence) -> list[tuple[str, list[StoredRun], list[str]]]:
    """All problems with those who ran all; each kind on which others have run, too."""
    runs = evidence.verification
    labels = [OURS, *evidence.rivals, "random"]
    problems = {run.problem: run.kind for run in runs if run.optimiser == OURS}
    done = {label: {run.problem for run in runs if run.optimiser == label} for label in labels}
    full = [label for label in labels if done[label] >= set(problems)]
    found = [("All kinds", runs, full)] if len(full) > 1 else []
    for kind in dict.fromkeys(problems.values()):
        names = {p for p, k in problems.items() if k == kind}
        there = [label for label in labels if done[label] >= names]
        if len(there) > len(full):
            mine = [run for run in runs if run.kind == kind]
            found.append((kind.capitalize(), mine, there))
    return found


def _ratio_table(rows: Sequence[Compared]) -> Block:
    cells = [
        [r.kind, f"{r.pairs} on {r.problems}", shown(r.halfway), shown(r.ratio), shown(r.wins),
         f"{r.collapses[0]} ({r.collapses[1]})", f"{len(r.lost)} of {r.problems}"]
        for r in rows
    ]  # fmt: skip
    head = ["problems", "pairs", "ratio after 32", "ratio after 64", "wins",
            "collapses (theirs)", "problems lost"]  # fmt: skip
    return blocks.table(head, cells)


def crash_regions(evidence: Evidence) -> list[Block]:
    """Best values and failures on the nanochat data, beside peers and published runs."""
    by_q = {q: evidence.trained(q) for q in QS}
    if not any(by_q.values()):
        return [_absent(evidence, "nanochat")]
    elsewhere = evidence.elsewhere
    found: list[Block] = [
        Text(
            "Trainings of a language model of 50 M parameters on one GPU, 14 mixed parameters; "
            "most random configurations run out of memory. Searches see a model of failure and "
            "of bits per byte that is fitted to 10,199 published trainings; all begin with the "
            "published defaults. The published runs are real trainings, cut off after 64."
        ),
        Text(
            "These data were material for developing how failures are learnt, so this is no "
            "verdict on problems that nothing was chosen on. Differences between ours and the "
            "published runs are also differences between the model and real trainings: random "
            "search in both shows how far they agree.",
            "note",
        ),
    ]
    for q, rows in by_q.items():
        if not rows:
            found.append(Text(f"Not run with q = {q}."))
            continue
        cells = [
            [row.title, shown_bits(row.best), shown_count(row.failed), str(row.runs)]
            for row in sorted([*rows, *elsewhere], key=lambda row: row.best.value)
        ]
        head = [f"q = {q}, after 64", "best bits per byte", "failed of 64", "runs"]
        found += [
            drawings.failures([*rows, *elsewhere], f"failures-{q}", f"q = {q}"),
            drawings.bits_courses([*rows, *elsewhere], f"bits-{q}", f"q = {q}"),
            blocks.table(head, cells),
        ]
    if not elsewhere:
        found.append(_absent(evidence, "published"))
    return [*found, *_again(evidence, "nanochat", "published")]


def coverage(evidence: Evidence) -> list[Block]:
    """How often what is stated is true."""
    rows = coverage_rows(evidence)
    if not rows:
        return [_absent(evidence, "coverage")]
    cells = len({(s.scenario, s.budget) for s in evidence.shares})
    return [
        Text(
            f"{cells} cells of simulated studies with known truth, {evidence.shares[0].searches} "
            "searches each, confirmed with 5 fresh seeds: nominal against observed shares in %, "
            "over the cells with noise. Too low or high: by more than 2 points."
        ),
        blocks.table(OVER_ALL, rows),
        *_again(evidence, "coverage"),
    ]


def provenance(evidence: Evidence) -> list[Block]:
    """Every stored file with date, commit and command."""
    cells = [[f"{o.file}.csv", o.what, o.date, o.commit] for o in evidence.origins]
    if not cells:
        return [NotShown("origins.csv is not stored")]
    return [
        Text("Figures of earlier commits were not measured again at this one unless it is said."),
        blocks.table(["file", "what", "date", "commit"], cells),
    ]


def _tabled(evidence: Evidence, section: Tabled) -> Part:
    found = stored.table(section.name, evidence.folder)
    if found is None:
        return Part(section.name, section.title, [_absent(evidence, section.name)])
    rows = [
        [Cell(value, style="bad" if verdict == "no" else "") for value in row]
        for row, verdict in zip(found.rows, found.verdicts, strict=True)
    ]
    parts: list[Block] = [Text(section.says), blocks.table(found.columns, rows)]
    return Part(section.name, section.title, [*parts, *_again(evidence, section.name)])


def _absent(evidence: Evidence, name: str) -> Block:
    commands = _commands(evidence, name)
    again = f"; {commands[0]} measures it" if commands else ""
    return NotShown(f"{name}.csv is not stored{again}")


def _again(evidence: Evidence, *names: str) -> list[Block]:
    commands = [command for name in names for command in _commands(evidence, name)]
    return (
        [Text("Measured again by:", "note"), Code("\n".join(map(wrapped, commands)))]
        if commands
        else []
    )


def _commands(evidence: Evidence, name: str) -> list[str]:
    return list(dict.fromkeys(o.command for o in evidence.origins if o.file == name))


def wrapped(command: str) -> str:
    """A command in lines of 76 letters that a shell takes as one."""
    lines = textwrap.wrap(command, 76, subsequent_indent="    ", break_on_hyphens=False,
                          break_long_words=False)  # fmt: skip
    return " \\\n".join(lines)


def draw_picture(evidence: Evidence, path: Path) -> str:
    """Write the chart of the README: regrets over all kinds of problems beside those who ran all of
    them, and failures of 64; its words for who cannot see it."""
    what, runs, labels = _groups(evidence)[0]
    courses = comparison.courses(runs, [label for label in labels if label != EARLIER])
    rows = [row for row in evidence.trained(8) if row.runs >= 3] + evidence.elsewhere[:2]
    problems = f"{courses[0].problems} problems ({what.lower()}), 8 at a time"
    heads = (
        f"Regret (1: random search's mean)\n{problems}",
        "Trainings that failed, of 64\na language model, 8 at a time",
    )
    drawings.picture(path, courses, rows, heads)
    ends = ", ".join(f"{NAMES[c.label]} {c.rel[-1]:.2f}" for c in courses)
    failed = ", ".join(f"{row.title} {row.failed.value:.0f}" for row in rows)
    return (
        f"Regret after 64 evaluations on {problems}, in units of random search's: {ends}. "
        f"Failed trainings of 64 of a language model: {failed}."
    )


if __name__ == "__main__":
    main()
