"""A comparison of runs as sentences, as a page and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from spot_dask import __version__
from spot_dask.compare import (
    ComparedRun,
    ConfigurationPair,
    RunsComparison,
    SearchComparison,
    SearchCurve,
)
from spot_dask.report import figures, text
from spot_dask.report.blocks import Block, Chart, DataTable, How, Sentences, Text, how, table
from spot_dask.report.page import Head, Part, page
from spot_dask.texts import markdown as escaped

COLOURS = (figures.ACCENT, figures.SECOND, figures.MUTED, figures.INK, figures.POINT)
STYLES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1)))


def html(found: RunsComparison) -> str:
    """The comparison as a self-contained page."""
    count = sum(len(group.runs) for group in found.groups)
    aim = f"{'Maximised' if found.direction == 'max' else 'Minimised'} {found.objective}"
    labels = " against ".join(group.label for group in found.groups)
    head = Head(
        labels, "Comparison", f"{aim} · {count} runs", f"Written by spot-dask {__version__}."
    )
    return page(head, parts(found))


def markdown(found: RunsComparison) -> str:
    """The comparison as Markdown: sentences and tables."""
    lines = [f"# {escaped(' against '.join(group.label for group in found.groups))}", ""]
    for part in parts(found):
        lines += [f"## {escaped(part.title)}", ""]
        for block in part.blocks:
            lines += [*_md_block(block), ""]
    return "\n".join(lines).rstrip() + "\n"


def parts(found: RunsComparison) -> list[Part]:
    """The sections of the page."""
    shown = [Part("result", "Which is better?", [Sentences(list(sentences(found)))])]
    if found.pairs:
        shown.append(Part("pairs", "Which configuration is better?", _pair_blocks(found)))
    if found.searches is not None:
        shown.append(
            Part(
                "searches", "Which way to search is better?", _search_blocks(found, found.searches)
            )
        )
    shown.append(Part("runs", "What did each run find?", [runs_table(found)]))
    return shown


def sentences(found: RunsComparison) -> Iterator[str]:
    """What came out, one statement each."""
    for pair in found.pairs:
        yield _pair_sentence(pair, found.objective)
    if found.searches is not None:
        yield from _search_sentences(found.searches, found.objective)
    for note in found.notes:
        yield f"{note[0].upper()}{note[1:]}."


def runs_table(found: RunsComparison) -> DataTable:
    """One row per run."""
    titles = ("group", "seed", "evaluations", "failed", "observed", "confirmed", "default", "store")
    rows = [_row(run) for group in found.groups for run in group.runs]
    return table(titles, rows)


def _row(run: ComparedRun) -> tuple[object, ...]:
    confirmed = "unconfirmed"
    if run.value is not None:
        t, n = run.value.t, text.plural(run.value.n, "seed")
        between = f"{text.interval(t.low, t.high)}, " if run.value.n > 2 else ""
        confirmed = f"{text.number(run.value.mean)} ({between}{n})"
    default = "–" if run.default is None else text.number(run.default.mean)
    return (
        run.label, str(run.seed), str(run.evaluations), str(run.failed),
        text.rough(run.observed), confirmed, default, run.store,
    )  # fmt: skip


def _pair_sentence(pair: ConfigurationPair, objective: str) -> str:
    low, high = pair.interval.low, pair.interval.high
    how_many = (
        f"{pair.n[0]} seeds in common"
        if pair.method == "paired"
        else f"{pair.n[0]} and {pair.n[1]} different seeds, Welch's test"
    )
    said = f"95 % interval {text.interval(low, high)}; {how_many}; p = {_p(pair.p_holm)}"
    if low > 0 or high < 0:
        first, second = (pair.first, pair.second) if low > 0 else (pair.second, pair.first)
        return (
            f"The configuration of {first} is better than that of {second}: {objective} differs "
            f"by {text.like(abs(pair.gain), high - low)} ({said})."
        )
    return (
        f"The configurations of {pair.first} and {pair.second} are not shown to differ: "
        f"the difference in favour of {pair.first} is {text.like(pair.gain, high - low)} ({said})."
    )


def _search_sentences(found: SearchComparison, objective: str) -> Iterator[str]:
    basis = "means over fresh seeds" if found.confirmed else "best observed values, unconfirmed"
    yield f"Runs are judged by {objective} ({basis})."
    for label, (median, interval, coverage) in found.bands.items():
        n = len(found.values[label])
        yield (
            f"{label}: median {text.number(median)} of {n} runs ({text.percent(coverage)} interval "
            f"{text.number(interval.low)} to {text.number(interval.high)})."
        )
    for pair in found.pairs:
        share, between = pair.better.probability, pair.better.interval
        yield (
            f"A run of {pair.first} ends better than one of {pair.second} with probability "
            f"{text.percent(share)} (95 % interval {text.percent(between.low)} to "
            f"{text.percent(between.high)}; p = {_p(pair.p_holm)})."
        )
    if found.ranking is not None:
        ranks = ", ".join(
            f"{label} {rank:.2f}"
            for label, rank in zip(found.ranked, found.ranking.mean_ranks, strict=True)
        )
        yield (
            f"Mean ranks over {len(found.seeds)} study seeds: {ranks} (Friedman p = "
            f"{_p(found.ranking.p)}; ranks that differ by more than "
            f"{found.ranking.critical_difference:.2f} differ at 5 %)."
        )


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


def _pair_blocks(found: RunsComparison) -> list[Block]:
    titles = ("first", "second", "first better by", "95 % interval", "p", "p (Holm)", "values")
    rows = [
        (p.first, p.second, text.number(p.gain), text.interval(p.interval.low, p.interval.high),
         _p(p.p), _p(p.p_holm), f"{p.n[0]} and {p.n[1]}, {p.method}")
        for p in found.pairs
    ]  # fmt: skip
    return [
        table(titles, rows),
        how(
            "Only trainings under fresh seeds enter, which no choice depended on. Where two runs "
            "have the same study seed, their confirmations have the same seeds, and differences "
            "by seed are compared (paired t interval); otherwise means (Welch's t). p is two-sided."
            " This compares the configurations that were found, not the ways to search."
        ),
    ]


def _search_blocks(found: RunsComparison, searches: SearchComparison) -> list[Block]:
    blocks: list[Block] = [*_charts(found, searches)]
    if searches.ranking is not None:
        rows = [
            (searches.ranked[p.first], searches.ranked[p.second], text.number(p.wins), _p(p.p),
             _p(p.p_holm))
            for p in searches.ranking.pairs
        ]  # fmt: skip
        n = len(searches.seeds)
        blocks.append(table(("first", "second", f"wins of {n}", "p (Wilcoxon)", "p (Holm)"), rows))
        groups = [", ".join(searches.ranked[i] for i in alike) for alike in searches.ranking.alike]
        if groups:
            blocks.append(Text(f"Not told apart by ranks: {'; '.join(groups)}."))
    blocks.append(
        how(
            "The unit is a run. The interval of a median lies between two of the runs and is exact "
            "(Thompson 1936). The probability that a run ends better is U / (m n) with Newcombe's "
            "interval and the p of Mann and Whitney, adjusted by Holm. Ranks are those of runs with"
            " the same study seed: Friedman's test, Nemenyi's critical difference, and Wilcoxon's "
            "signed-rank tests adjusted by Holm (Demšar 2006). All of it is about this objective, "
            "not about methods in general.",
            n=sum(map(len, searches.values.values())),
        )
    )
    return blocks


def _charts(found: RunsComparison, searches: SearchComparison) -> Iterator[Chart]:
    best = "highest" if found.direction == "max" else "lowest"
    yield figures.chart(
        lambda ax: draw_anytime(ax, searches, found),
        "anytime",
        "Best value by number of evaluations",
        f"The {best} {found.objective} that runs had observed by then.",
        f"The {best} value observed so far: median of the runs, and an interval of "
        f"{text.percent(searches.curves[0].band.coverage)}. Observed values are flattered by luck.",
    )
    yield figures.chart(
        lambda ax: draw_reached(ax, searches),
        "reached",
        "Targets reached by number of evaluations",
        "The share of targets, spread over all values that runs observed.",
        "The share of 50 targets that the runs of each group had reached by then.",
    )


def draw_anytime(ax: Axes, searches: SearchComparison, found: RunsComparison) -> None:
    """The median best-so-far of each group with its band."""
    shown = []
    for curve, colour, style in _styled(searches.curves):
        median, low, high = (
            np.where(np.isfinite(part), found.sign * part, np.nan)
            for part in (curve.band.median, curve.band.low, curve.band.high)
        )
        ax.fill_between(searches.counts, low, high, color=colour, alpha=0.15, linewidth=0)
        ax.plot(searches.counts, median, color=colour, linestyle=style, linewidth=1.6)
        shown += [median, low, high]
    figures.frame(ax, "evaluations of the search", figures.short(found.objective, 30))
    figures.value_scale(ax, *shown)
    figures.plain_ticks(ax.xaxis)
    figures.legend(ax, _handles(searches.curves))


def draw_reached(ax: Axes, searches: SearchComparison) -> None:
    """The share of targets that each group has reached."""
    for curve, colour, style in _styled(searches.curves):
        ax.step(
            searches.counts, curve.reached, where="post", color=colour, linestyle=style,
            linewidth=1.6,
        )  # fmt: skip
    figures.frame(ax, "evaluations of the search", "share of targets reached")
    ax.set_ylim(0, 1.02)
    figures.plain_ticks(ax.xaxis, ax.yaxis)
    figures.legend(ax, _handles(searches.curves))


def _styled(curves: Sequence[SearchCurve]) -> Iterator[tuple[SearchCurve, str, Any]]:
    for i, curve in enumerate(curves):
        yield curve, COLOURS[i % len(COLOURS)], STYLES[i // len(COLOURS) % len(STYLES)]


def _handles(curves: Sequence[SearchCurve]) -> list[Line2D]:
    return [
        Line2D([], [], color=colour, linestyle=style, label=figures.short(curve.label, 24))
        for curve, colour, style in _styled(curves)
    ]


def _md_block(block: Block) -> list[str]:
    if isinstance(block, Sentences):
        return [f"- {escaped(item)}" for item in block.items]
    if isinstance(block, Text):
        return [escaped(block.text)]
    if isinstance(block, How):
        return [f"*{escaped(block.explanation)}*"]
    if isinstance(block, Chart):
        return [f"({escaped(block.caption)})"]
    if isinstance(block, DataTable):
        rows = [[escaped(cell.text) for cell in row] for row in block.rows]
        head = [escaped(column.title) for column in block.columns]
        return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
    raise TypeError(f"{type(block).__name__} has no Markdown here")
