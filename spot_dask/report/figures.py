"""The charts of a report, each a function of an Axes and the facts it shows.

They serve notebooks too: ``figures.importance(ax, findings.importance)``. No function touches
pyplot or any other global state.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.axis import Axis as PlotAxis
from matplotlib.cm import ScalarMappable
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from spot_dask.records import Value
from spot_dask.report import text
from spot_dask.report.facts import Axis, Contour, Curve, Effect, Importance, Progress, Trust
from spot_dask.report.palette import ACCENT, BAND, FAINT, GRID, INK, MUTED, POINT, SECOND

FloatArray = npt.NDArray[np.float64]

LINES = (ACCENT, SECOND, INK, POINT, MUTED)
DASHES: tuple[tuple[float, tuple[float, ...]], ...] = (
    (0, ()),
    (0, (5, 2)),
    (0, (1, 1.5)),
    (0, (5, 2, 1, 2)),
    (0, (8, 3)),
)


# --- the frame every chart shares -------------------------------------------------------------


def _frame(ax: Axes, x: str, y: str, grid: Literal["x", "y", "both"] = "y") -> None:
    for side in ("top", "right", "left", "bottom"):
        ax.spines[side].set_visible(False)
    ax.tick_params(length=0, colors=MUTED, which="both")
    ax.grid(True, axis=grid, color=GRID, linewidth=0.8)
    ax.set_axisbelow(True)
    ax.set_xlabel(x, color=MUTED)
    ax.set_ylabel(y, color=MUTED)


def _plain(axis: PlotAxis, ticks: int = 5) -> None:
    """Few ticks with plain numbers, no offset and no powers of ten."""
    axis.set_major_locator(MaxNLocator(ticks, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda v, _: text.number(round(v, 12))))


def _dots(ax: Axes, x: FloatArray, y: FloatArray, colour: str, size: float = 4.0) -> None:
    """Round points as one path: a tenth of the size of a marker each."""
    keep = np.isfinite(x) & np.isfinite(y)
    if not keep.any():
        return
    at = np.column_stack([x[keep], y[keep]])
    codes = np.tile(np.array([Path.MOVETO, Path.LINETO], dtype=np.uint8), len(at))
    path = Path(np.repeat(at, 2, axis=0), codes)
    path.should_simplify = False
    ax.add_patch(
        PathPatch(path, facecolor="none", edgecolor=colour, linewidth=size, capstyle="round")
    )
    ax.update_datalim(at)
    ax.autoscale_view()


def _legend(ax: Axes, handles: Sequence[Line2D]) -> None:
    # Beside the chart's own area, so that it can never hide a point.
    ax.figure.legend(
        handles=list(handles),
        loc="outside upper left",
        ncols=3 if len(handles) in (3, 5) else 2,
        frameon=False,
        labelcolor=MUTED,
        handlelength=1.6,
        columnspacing=1.2,
        borderpad=0,
    )


def _robust(ax: Axes, *parts: FloatArray) -> int:
    """Limit the y axis to the bulk of each part of the values; returns how many lie outside.

    Single values far away (a diverged training) would press all others into a line.
    """
    finite = [part[np.isfinite(part)] for part in parts]
    ranges = [_bulk(part) for part in finite if len(part)]
    low, high = min(r[0] for r in ranges), max(r[1] for r in ranges)
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    ax.set_ylim(low - margin, high + margin)
    values = np.concatenate(finite)
    return int(np.sum((values < low - margin) | (values > high + margin)))


def _bulk(v: FloatArray) -> tuple[float, float]:
    """The range of values (n) without those far outside the middle half (Tukey's far out)."""
    first, third = np.quantile(v, [0.25, 0.75])
    reach = 3 * (third - first)
    inside = v[(v >= first - reach) & (v <= third + reach)]
    return float(inside.min()), float(inside.max())


def _outside(ax: Axes, n: int) -> None:
    """Say that values lie outside the range shown."""
    if n:
        ax.annotate(
            f"{text.plural(n, 'value')} outside the range shown",
            (1, 1),
            xycoords="axes fraction",
            xytext=(0, 2),
            textcoords="offset points",
            ha="right",
            va="bottom",
            color=MUTED,
            fontsize=8,
        )


def _place(axis: Axis, values: Iterable[Value]) -> FloatArray:
    """Where values stand on a drawn axis: numbers at themselves, levels at their index."""
    if axis.kind != "categorical":
        return np.array([float(v) for v in values])
    index = {(type(level), level): i for i, level in enumerate(axis.levels)}
    return np.array([float(index[type(v), v]) for v in values])


def _scale(ax: Axes, side: Literal["x", "y"], axis: Axis, values: Sequence[Value]) -> None:
    """Scale and ticks of a parameter's axis: levels, powers or plain numbers."""
    plot = ax.xaxis if side == "x" else ax.yaxis
    if axis.kind == "categorical":
        plot.set_major_locator(FixedLocator(list(range(len(axis.levels)))))
        names = [_short(text.value(level)) for level in axis.levels]
        plot.set_major_formatter(
            FuncFormatter(lambda v, _: names[round(v)] if 0 <= round(v) < len(names) else "")
        )
        return
    numbers = [float(v) for v in values]
    if axis.scale == "linear" or not numbers or min(numbers) <= 0 or min(numbers) == max(numbers):
        _plain(plot)
        return
    base = 2.0 if axis.scale == "power2" else 10.0
    (ax.set_xscale if side == "x" else ax.set_yscale)("log", base=base)
    _log_ticks(plot, base, math.log(max(numbers) / min(numbers), base))


def _log_ticks(plot: PlotAxis, base: float, decades: float) -> None:
    subs = (1.0, 2.0, 5.0) if base == 10 and decades < 2.5 else (1.0,)
    plot.set_major_locator(LogLocator(base, subs=subs, numticks=7))
    plot.set_major_formatter(FuncFormatter(lambda v, _: f"{v:.4g}"))
    plot.set_minor_formatter(NullFormatter())


def _short(label: str, most: int = 14) -> str:
    return label if len(label) <= most else f"{label[: most - 1]}…"


# --- the charts -------------------------------------------------------------------------------


def progress(ax: Axes, p: Progress, objective: str, by: Literal["evaluations", "time"]) -> None:
    """Every evaluation, the incumbent, and what random search would be expected to reach."""
    count = np.arange(1, len(p.y) + 1, dtype=np.float64)
    x = count if by == "evaluations" else np.array(p.elapsed) / _unit(p.elapsed)[0]
    y, best, initial = np.array(p.y), np.array(p.best), np.array(p.initial, dtype=bool)
    label = "evaluations" if by == "evaluations" else f"working time ({_unit(p.elapsed)[1]})"
    _frame(ax, label, _short(objective, 40))
    _dots(ax, x[initial], y[initial], FAINT)
    _dots(ax, x[~initial], y[~initial], POINT)
    ax.step(x, best, where="post", color=ACCENT, linewidth=2)
    handles = [
        Line2D([], [], color=ACCENT, linewidth=2, label="best so far"),
        _dot_handle(FAINT, "initial design"),
        _dot_handle(POINT, "chosen by the model"),
    ]
    if by == "evaluations" and p.random:
        k = np.arange(1, len(p.random) + 1)
        ax.plot(k, p.random, color=SECOND, linewidth=1.6, linestyle=(0, (4, 2)))
        handles.append(
            Line2D([], [], color=SECOND, linestyle=(0, (4, 2)), label="random search, expected")
        )
    _plain(ax.xaxis)
    _plain(ax.yaxis)
    ax.set_xlim(0, max(float(x[-1]) * 1.02, 1e-9))
    _outside(ax, _robust(ax, y[initial], y[~initial]))
    _legend(ax, handles)


def _dot_handle(colour: str, label: str) -> Line2D:
    return Line2D([], [], color=colour, marker="o", markersize=4, linestyle="none", label=label)


def _unit(elapsed: Sequence[float]) -> tuple[float, str]:
    """The unit for times up to the largest."""
    longest = max(elapsed, default=0.0)
    if longest >= 2 * 3600:
        return 3600.0, "hours"
    return (60.0, "minutes") if longest >= 120 else (1.0, "seconds")


def importance(ax: Axes, shares: Sequence[Importance]) -> None:
    """Total index as a bar with its interval, the share alone within it."""
    at = np.arange(len(shares), dtype=np.float64)[::-1]
    total = np.array([s.total.value for s in shares])
    first = np.array([min(s.first.value, s.total.value) for s in shares])
    low = np.array([s.total.low for s in shares])
    high = np.array([s.total.high for s in shares])
    _frame(ax, "share of the variation explained by the model", "", grid="x")
    ax.barh(at, total, height=0.62, color=BAND)
    ax.barh(at, first, height=0.62, color=ACCENT)
    ax.hlines(at, low, high, color=INK, linewidth=1.4)
    ax.yaxis.set_major_locator(FixedLocator(list(at)))
    names = {a: _short(s.name, 22) for a, s in zip(at, shares, strict=True)}
    ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: names.get(v, "")))
    ax.tick_params(axis="y", colors=INK)
    ax.set_xlim(0, max(0.1, float(high.max()) * 1.04))
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:.0f} %"))
    handles = [
        Line2D([], [], color=ACCENT, linewidth=6, label="alone"),
        Line2D([], [], color=BAND, linewidth=6, label="together with others"),
        Line2D([], [], color=INK, linewidth=1.4, label="95 % sampling interval"),
    ]
    _legend(ax, handles)


def effect(ax: Axes, e: Effect, objective: str, limits: tuple[float, float] | None = None) -> None:
    """The average objective as one parameter varies, its 95 % band, and the evaluations."""
    x = _place(e.axis, e.values)
    _frame(ax, _short(e.axis.name, 40), _short(objective, 30))
    _scale(ax, "x", e.axis, e.values)
    seen = [v for v, _ in e.points]
    y = np.array([value for _, value in e.points])
    _dots(ax, _place(e.axis, seen), y, POINT, 2.8)
    mean, low, high = (np.array(part) for part in (e.mean, e.low, e.high))
    if e.axis.kind == "categorical":
        ax.vlines(x, low, high, color=BAND, linewidth=9)
        ax.plot(x, mean, color=ACCENT, linestyle="none", marker="D", markersize=6)
        ax.set_xlim(-0.6, len(e.axis.levels) - 0.4)
    else:
        ax.fill_between(x, low, high, color=BAND, linewidth=0, alpha=0.75)
        ax.plot(x, mean, color=ACCENT, linewidth=2)
    _plain(ax.yaxis)
    if limits is not None:
        ax.set_ylim(*limits)


def effect_limits(effects: Sequence[Effect]) -> tuple[float, float]:
    """One vertical range for all effects: what can be compared must be drawn alike."""
    bands = [v for e in effects for v in (*e.low, *e.high)]
    values = np.array([v for e in effects for _, v in e.points])
    low, high = _bulk(values) if len(values) else (math.inf, -math.inf)
    low, high = min([low, *bands]), max([high, *bands])
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin


def contour(ax: Axes, c: Contour, objective: str) -> None:
    """The model in the plane of two parameters, evaluations as dots, the best as a diamond."""
    x, y, z = _place(c.x_axis, c.x), _place(c.y_axis, c.y), np.array(c.mean).T
    _frame(ax, _short(c.x_axis.name, 40), _short(c.y_axis.name, 40), grid="both")
    _scale(ax, "x", c.x_axis, c.x)
    _scale(ax, "y", c.y_axis, c.y)
    if "categorical" in (c.x_axis.kind, c.y_axis.kind) or min(z.shape) < 2 or np.ptp(z) == 0:
        # Edges in the colour of the face close the hairlines between cells.
        filled: ScalarMappable = ax.pcolormesh(
            x, y, z, cmap="viridis", shading="nearest", linewidth=0.5, edgecolors="face"
        )
    else:
        filled = ax.contourf(x, y, z, levels=12, cmap="viridis")
    inside = ax.get_xlim(), ax.get_ylim()
    tried = list(c.points)
    px, py = _place(c.x_axis, (a for a, _ in tried)), _place(c.y_axis, (b for _, b in tried))
    _dots(ax, px, py, "#ffffff", 4.6)
    _dots(ax, px, py, "#30353c", 2.6)
    best = _place(c.x_axis, c.best[:1]), _place(c.y_axis, c.best[1:])
    ax.plot(*best, marker="D", markersize=9, color=SECOND, markeredgecolor="#ffffff", clip_on=False)
    ax.set_xlim(*inside[0])
    ax.set_ylim(*inside[1])
    bar = ax.figure.colorbar(filled, ax=ax, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, colors=MUTED)
    bar.set_label(_short(objective, 40), color=MUTED)
    _plain(bar.ax.yaxis)


def curves(ax: Axes, lines: Sequence[Curve], metric: str) -> None:
    """Learning curves, the best trial first."""
    _frame(ax, "epoch", _short(metric, 40))
    handles = []
    for i, line in reversed(list(enumerate(lines))):
        y = np.array(line.values, dtype=np.float64)
        x = np.arange(1, len(y) + 1, dtype=np.float64)
        colour, dash = LINES[i % len(LINES)], DASHES[i % len(DASHES)]
        ax.plot(x, y, color=colour, linestyle=dash, linewidth=2.2 if i == 0 else 1.4)
        _dots(ax, x[-1:], y[-1:], colour, 5)
        label = f"trial {line.number}"
        handles.append(Line2D([], [], color=colour, linestyle=dash, label=label))
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    _plain(ax.yaxis)
    _legend(ax, handles[::-1])


def predicted_observed(ax: Axes, t: Trust, objective: str) -> None:
    """Each evaluation against its prediction from all the others, with 95 % intervals."""
    observed, mean, sd = (np.array(part) for part in (t.observed, t.mean, t.sd))
    _frame(ax, f"observed {_short(objective, 30)}", "predicted from the others", grid="both")
    # Bars of hundreds of points would be a wall.
    if len(mean) <= 150:
        ax.vlines(observed, mean - 1.96 * sd, mean + 1.96 * sd, color=BAND, linewidth=1.6)
    _dots(ax, observed, mean, ACCENT, 4.5)
    low, high = _bulk(np.concatenate([observed, mean]))
    low, high = min(low, float(observed.min())), max(high, float(observed.max()))
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    ends = (low - margin, high + margin)
    ax.plot(ends, ends, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    ax.set_xlim(*ends)
    ax.set_ylim(*ends)
    _plain(ax.xaxis)
    _plain(ax.yaxis)


def residuals(ax: Axes, t: Trust, objective: str) -> None:
    """Standardised errors against predictions: nearly all belong between the dashed lines."""
    observed, mean, sd = (np.array(part) for part in (t.observed, t.mean, t.sd))
    z = np.divide(observed - mean, sd, out=np.zeros_like(sd), where=sd > 0)
    _frame(ax, f"predicted {_short(objective, 30)}", "error / sd")
    for bound in (-2.0, 2.0):
        ax.axhline(bound, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    ax.axhline(0, color=GRID, linewidth=1)
    _dots(ax, mean, z, ACCENT, 4.5)
    reach = max(3.2, float(np.abs(z).max()) * 1.08)
    ax.set_ylim(-reach, reach)
    _plain(ax.xaxis)
    _plain(ax.yaxis)
