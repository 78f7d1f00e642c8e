"""The charts of the page of proof, and the one of the README."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from benchmarks.comparison import NAMES, OURS, Compared, Course, Trained
from benchmarks.stored import MARKS
from spot_dask.report import figures
from spot_dask.report.blocks import Chart
from spot_dask.report.figures import ACCENT, FAINT, INK, MUTED, POINT, SECOND

LEAST_GAP = 0.055
"""Between two labels at the end of lines, as a share of the axis."""


def ratios(rows: Sequence[Compared], name: str, title: str) -> Chart:
    """A ratio and its interval a line, on a log axis; right of 1 we are behind."""

    def draw(ax: Axes) -> None:
        figures.frame(ax, "regret of spot-dask over theirs (below 1 is better)", "", "x")
        ax.set_xscale("log")
        for i, row in enumerate(rows):
            colour = SECOND if row.behind else ACCENT
            ends = np.clip([row.ratio.low, row.ratio.high], 0.05, 20)
            ax.plot(ends, [i, i], color=colour, linewidth=1.6)
            figures.dots(ax, np.array([row.ratio.value]), np.array([float(i)]), colour, 6)
        ax.axvline(1, color=INK, linewidth=0.9)
        ticks = [0.1, 0.2, 0.5, 1, 2, 5, 10]
        low = min(min(row.ratio.low for row in rows), 0.5)
        high = max(max(row.ratio.high for row in rows), 2)
        shown = [t for t in ticks if 0.8 * low <= t <= 1.25 * high]
        ax.set_xlim(0.85 * max(low, 0.05), 1.15 * min(high, 20))
        ax.set_xticks(shown, [f"{t:g}" for t in shown])
        ax.minorticks_off()
        ax.set_yticks(range(len(rows)), [f"{row.kind} ({row.pairs})" for row in rows])
        ax.set_ylim(len(rows) - 0.4, -0.6)

    return figures.chart(
        draw, name, title, "Ratios of mean regrets with 95 % intervals by kind of problem.",
        f"{title}, with 95 % intervals; pairs of runs in brackets. Orange: behind.",
        size=(figures.SIZE[0], 0.75 + 0.27 * len(rows)),
    )  # fmt: skip


def regret_courses(found: Sequence[Course], name: str, caption: str) -> Chart:
    """Regret against evaluations with labels at the ends of the lines."""
    return figures.chart(
        lambda ax: _courses(ax, found), name, "Regret against evaluations",
        "Geometric mean over problems of the regret in units of random search's at the end.",
        caption,
    )  # fmt: skip


def _courses(ax: Axes, found: Sequence[Course]) -> None:
    figures.frame(ax, "evaluations, 8 at a time", "regret, in units of random search's")
    ax.set_yscale("log")
    values = [value for course in found for value in course.rel]
    for i, course in enumerate(_best_last(found)):
        ours = course.label == OURS
        ax.plot(
            MARKS, course.rel, color=ACCENT if ours else INK if i % 2 else POINT,
            linewidth=2.2 if ours else 1.2, linestyle="-" if ours else DASHES[i % len(DASHES)],
        )  # fmt: skip
    ax.set_ylim(0.85 * min(values), 1.15 * max(values))
    ticks = [t for t in (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 2) if min(values) <= t <= max(values)]
    ax.set_yticks(ticks, [f"{t:g}" for t in ticks])
    ax.minorticks_off()
    ax.set_xticks(MARKS[1::2])
    ends = [(NAMES[c.label], c.rel[-1], ACCENT if c.label == OURS else MUTED) for c in found]
    label_ends(ax, ends)


DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))


def _best_last(found: Sequence[Course]) -> list[Course]:
    return sorted(found, key=lambda course: course.label == OURS)


def label_ends(
    ax: Axes, ends: Sequence[tuple[str, float, str]], size: float = 8.5, gap: float = LEAST_GAP
) -> None:
    """Names beside the ends of lines, moved apart; the scales must be set."""
    scale = ax.transScale.transform
    low, high = (scale((1, y))[1] for y in ax.get_ylim())
    ordered = sorted(ends, key=lambda end: end[1])
    places = [(scale((1, value))[1] - low) / (high - low) for _, value, _ in ordered]
    for place, (name, _, colour) in zip(spaced(places, gap), ordered, strict=True):
        ax.annotate(
            name, (1, place), xycoords="axes fraction", xytext=(4, 0), textcoords="offset points",
            va="center", color=colour, fontsize=size,
        )  # fmt: skip


def spaced(places: Sequence[float], gap: float) -> list[float]:
    """Ascending places, each at least ``gap`` above the one before, moved as little as need be:
    runs that touch are merged and centred on the mean of what they hold."""
    groups: list[list[float]] = []
    for place in places:
        groups.append([place])
        while len(groups) > 1 and _start(groups[-1], gap) < _end(groups[-2], gap) + gap:
            last = groups.pop()
            groups[-1] = groups[-1] + last
    return [_start(group, gap) + i * gap for group in groups for i in range(len(group))]


def _start(group: Sequence[float], gap: float) -> float:
    return float(np.mean(group)) - gap * (len(group) - 1) / 2


def _end(group: Sequence[float], gap: float) -> float:
    return _start(group, gap) + gap * (len(group) - 1)


def failures(rows: Sequence[Trained], name: str, what: str) -> Chart:
    """Best value against failures of 64, ours, peers' and published ones."""

    def draw(ax: Axes) -> None:
        figures.frame(ax, "failed trainings of 64", "best bits per byte", "both")
        for row in rows:
            colour = _colour(row)
            x, y = row.failed, row.best
            if not row.published and np.isfinite([x.low, y.low]).all():
                ax.plot([x.low, x.high], [y.value] * 2, color=FAINT, linewidth=1.2)
                ax.plot([x.value] * 2, [y.low, y.high], color=FAINT, linewidth=1.2)
            figures.dots(ax, np.array([x.value]), np.array([y.value]), colour, 6)
        ax.set_xlim(-3, 66)
        low = min(row.best.value for row in rows)
        high = max(row.best.value for row in rows)
        ax.set_ylim(low - 0.06 * (high - low), high + 0.08 * (high - low))
        figures.plain_ticks(ax.yaxis)
        _names(ax, rows, 8)

    return figures.chart(
        draw, name, f"Bits per byte and failures, {what}",
        "Each point is a method: failures of 64 trainings across, best bits per byte upwards.",
        f"{what}: means of runs, with 95 % intervals where they were run here. Blue: spot-dask; "
        "dark: others, run here; orange: published runs. Down and left is better.",
    )  # fmt: skip


def _colour(row: Trained) -> str:
    return SECOND if row.published else ACCENT if row.name == NAMES[OURS] else INK


def _names(ax: Axes, rows: Sequence[Trained], size: float) -> None:
    """Names beside their points: right, left, above or below, where none is covered yet."""
    width, height = 290.0, 190.0  # about the axes, in dots
    left, right = ax.get_xlim()
    low, high = ax.get_ylim()
    points = [
        (
            width * (row.failed.value - left) / (right - left),
            height * (row.best.value - low) / (high - low),
        )
        for row in rows
    ]
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in points]
    for row, (x, y) in sorted(zip(rows, points, strict=True), key=lambda pair: pair[1]):
        wide = 0.58 * size * len(row.name)
        places = [(x + 7, y - 5 + up) for up in (0, 9, -9)] + [
            (x - 7 - wide, y - 5 + up) for up in (0, 9, -9)
        ]
        places += [(x - wide / 2, y + up) for up in (9, -19, 19, -29)]
        boxes = [(at, up, at + wide, up + 10) for at, up in places]
        free = [b for b in boxes if b[0] >= 0 and b[2] <= width and not _covers(b, taken)]
        box = free[0] if free else boxes[0]
        taken.append(box)
        ax.annotate(
            row.name, (box[0] / width, (box[1] + 5) / height), xycoords="axes fraction",
            ha="left", va="center", color=_colour(row), fontsize=size,
        )  # fmt: skip


Box = tuple[float, float, float, float]


def _covers(box: Box, others: Sequence[Box]) -> bool:
    return any(box[0] < o[2] and o[0] < box[2] and box[1] < o[3] and o[1] < box[3] for o in others)


def bits_courses(rows: Sequence[Trained], name: str, what: str) -> Chart:
    """Best value against trainings."""

    def draw(ax: Axes) -> None:
        figures.frame(ax, "trainings", "best bits per byte")
        for i, row in enumerate(reversed(rows)):
            ours = row.name == NAMES[OURS]
            ax.plot(
                MARKS, row.course, color=_colour(row), linewidth=2.2 if ours else 1.1,
                linestyle="-" if ours else DASHES[i % len(DASHES)],
            )  # fmt: skip
        values = [value for row in rows for value in row.course]
        ax.set_ylim(min(values) - 0.001, max(values) + 0.001)
        figures.plain_ticks(ax.yaxis)
        ax.set_xticks(MARKS[1::2])
        label_ends(ax, [(row.name, row.course[-1], _colour(row)) for row in rows], 7.5, 0.05)

    return figures.chart(
        draw, name, f"Bits per byte against trainings, {what}",
        "A line is a method: the mean over its runs of the best value so far.",
        f"{what}: the best value so far, mean over runs; colours as above.",
    )  # fmt: skip


COLOURS = {
    "averaged_ei": "#0072B2", "optuna_gp": "#D55E00", "optuna_tpe": "#CC79A7", "botorch": "#009E73",
    "ax": "#56B4E9", "smac": "#E69F00", "hebo": "#7A7A7A", "random": "#4D4D4D",
}  # fmt: skip
"""Okabe and Ito's colours, which readers who see few colours tell apart."""


def picture(
    path: Path, found: Sequence[Course], rows: Sequence[Trained], heads: Sequence[str]
) -> None:
    """Write the chart of the README as PNG: regret against evaluations, failures of 64."""
    style = {"font.family": "DejaVu Sans", "font.size": 11, "text.parse_math": False}
    with mpl.rc_context(style):
        figure = Figure(figsize=(8, 3.7), dpi=200, facecolor="white")
        _regret_panel(figure.add_axes((0.075, 0.15, 0.27, 0.66)), found, heads[0])
        _failure_panel(figure.add_axes((0.775, 0.05, 0.185, 0.76)), rows, heads[1])
        figure.savefig(path, metadata={"Software": None})
    with Image.open(path) as image:
        reduced = image.convert("RGB").quantize(64)  # a third of the bytes
    reduced.save(path, optimize=True)


def _regret_panel(ax: Axes, found: Sequence[Course], head: str) -> None:
    _courses(ax, found)
    for line, course in zip(ax.get_lines(), _best_last(found), strict=True):
        line.set_color(COLOURS[course.label])
        line.set_linewidth(3 if course.label == OURS else 1.7)
    for label in list(ax.texts):
        label.remove()
    ends = [(_with_value(c), c.rel[-1], COLOURS[c.label]) for c in found]
    label_ends(ax, ends, 10, 0.085)
    for label in ax.texts:
        label.set_fontweight("bold" if label.get_text().startswith("spot-dask") else "normal")
    ax.set_xlabel("evaluations", fontsize=10)
    ax.set_ylabel("")
    ax.text(-0.22, 1.08, head, transform=ax.transAxes, fontsize=11, color=INK)


def _failure_panel(ax: Axes, rows: Sequence[Trained], head: str) -> None:
    ordered = sorted(rows, key=lambda row: row.failed.value)
    ours = [row.name == NAMES[OURS] for row in ordered]
    by_name = {NAMES[label]: colour for label, colour in COLOURS.items()}
    colours = ["#B8BEC8" if row.published else by_name[row.name] for row in ordered]
    ax.barh(range(len(ordered)), [row.failed.value for row in ordered], color=colours, height=0.68)
    names = [
        f"{row.name.partition(' (')[0]}, published" if row.published else row.name
        for row in ordered
    ]
    ax.set_yticks(range(len(ordered)), names)
    for i, row in enumerate(ordered):
        ax.annotate(
            f"{row.failed.value:.0f}", (row.failed.value, i), xytext=(4, 0),
            textcoords="offset points", va="center", fontsize=10, color=INK,
            fontweight="bold" if ours[i] else "normal",
        )  # fmt: skip
        ax.get_yticklabels()[i].set_fontweight("bold" if ours[i] else "normal")
    ax.invert_yaxis()
    for side in ("top", "right", "left", "bottom"):
        ax.spines[side].set_visible(False)
    ax.tick_params(length=0)
    ax.set_xticks([])
    ax.text(-1.2, 1.06, head, transform=ax.transAxes, fontsize=11, color=INK)


def _with_value(course: Course) -> str:
    name = NAMES[course.label]
    return name if course.label == "random" else f"{name} {course.rel[-1]:.2f}".replace(" 0.", " .")
