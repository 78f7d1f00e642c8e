"""The charts of a page: what they are drawn with, and their way into it as SVG.

A section draws on a matplotlib Axes with the functions here and calls ``chart``. The text stays
text, colours of the palette become CSS variables (so one figure serves light and dark pages), ids
are made unique in the page, sizes follow the column. Nothing depends on the time or the machine,
and nothing touches pyplot or any other global state.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable, Sequence
from html import escape
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis as PlotAxis
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_svg import RendererSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator
from matplotlib.transforms import Bbox

from spot_dask.records import Value
from spot_dask.report import text
from spot_dask.report.blocks import Chart, DataTable
from spot_dask.report.context import Axis
from spot_dask.stats import FloatArray
from spot_dask.texts import printable, visible

SIZE = (4.9, 3.3)  # inches: about the width of a telephone, so text never shrinks much

DOTS = 72  # an inch
PAD = 3.0  # dots around everything

PALETTE = (INK, MUTED, GRID, ACCENT, SECOND, BAND, POINT, FAINT) = (
    "#1c2430", "#66707f", "#e3e6ea", "#2558c4", "#b9530f", "#cfdcf6", "#8b96a6", "#c3cad4",
)  # fmt: skip
VARIABLES = ("ink", "muted", "grid", "accent", "second", "band", "point", "faint")
"""The CSS variables of the page that the colours of the palette become."""

LONG = re.compile(r"(?<=[ \"(,-])\d+\.\d{3,}")
"""A number with many decimals."""

STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "spot-dask",
    # A parameter may be called "$x$"; it is text, not mathematics.
    "text.parse_math": False,
    "text.usetex": False,
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.labelsize": 9.5,
    "axes.unicode_minus": True,
    "path.simplify": False,
}


def chart(
    draw: Callable[[Axes], None],
    name: str,
    title: str,
    description: str,
    caption: str,
    data: DataTable | None = None,
    size: tuple[float, float] = SIZE,
) -> Chart:
    """The figure that ``draw`` makes on an Axes, with its caption and the numbers it shows.

    ``name`` is unique in the page; title and description serve those who cannot see the figure;
    ``size`` is in inches.
    """
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        # Glyphs are measured with matplotlib's font but drawn by the browser, which has them all.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        figure = Figure(figsize=size, dpi=DOTS, facecolor="none")
        draw(figure.subplots())
        stream = io.StringIO()
        metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        width, height = (DOTS * side for side in size)
        renderer = _Renderer(width, height, stream, image_dpi=DOTS, metadata=metadata)
        _lay_out(figure, renderer)
        figure.draw(renderer)
        renderer.finalize()
    return Chart(_embedded(stream.getvalue(), name, title, description), caption, data)


_SVG: Any = RendererSVG  # without types


class _Renderer(_SVG):  # type: ignore[misc]
    """Draws texts as they are shown: without what a page would obey, or no font has."""

    def draw_text(self, gc: Any, x: float, y: float, s: str, *args: Any, **kwargs: Any) -> None:
        super().draw_text(gc, x, y, printable(s), *args, **kwargs)

    def get_text_width_height_descent(self, s: str, prop: Any, ismath: Any) -> Any:
        return super().get_text_width_height_descent(printable(s), prop, ismath)


def _lay_out(figure: Figure, renderer: RendererBase) -> None:
    """Fit the axes between their labels and the legend above them.

    Labels have the same size whatever that of the axes, so it is enough to measure them once;
    matplotlib's constrained layout does it twice and then draws all once more, to nowhere.
    """
    inside = Bbox.union([ax.get_window_extent(renderer) for ax in figure.axes])
    outside = Bbox.union([ax.get_tightbbox(renderer) or ax.bbox for ax in figure.axes])
    legends = [legend.get_window_extent(renderer).height for legend in figure.legends]
    width, height = figure.bbox.size
    top = outside.y1 - inside.y1 + sum(PAD + tall for tall in legends)
    figure.subplots_adjust(
        left=(PAD + inside.x0 - outside.x0) / width,
        bottom=(PAD + inside.y0 - outside.y0) / height,
        right=1 - (PAD + outside.x1 - inside.x1) / width,
        top=1 - (PAD + top) / height,
    )
    for ax in figure.axes:
        ax.patch.set_visible(False)


def _embedded(svg: str, name: str, title: str, description: str) -> str:
    """A figure of matplotlib's as an element of the page."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", body, flags=re.S)
    used = set(re.findall(r"<[^>]+(?:url\(#|href=\"#)([^\")]+)", body))

    def changed(tag: re.Match[str]) -> str:
        # Only ids that are referred to stay, with the figure's name in front.
        text = re.sub(
            r' id="([^"]*)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", tag[0]
        )
        text = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", text)
        text = re.sub(r'font-family: [^;"]*;? ?', "", text)
        for colour, variable in zip(PALETTE, VARIABLES, strict=True):
            text = text.replace(colour, f"var(--{variable})")
        # Numbers of drawing commands to a hundredth of a dot.
        return LONG.sub(lambda m: f"{float(m[0]):.2f}", text)

    # Within tags: a text may look like any of these.
    body = re.sub("<[^>]+>", changed, body)
    body = re.sub(r"\s*\n\s*", "\n", body)
    box = re.search(r'viewBox="([^"]*)"', body)
    assert box is not None
    labels = (
        f"<title>{escape(visible(title))}</title><desc>{escape(visible(description))}</desc>"
        if description
        else ""
    )
    start = (
        f'<svg class="figure" role="img" aria-label="{escape(visible(title))}" viewBox="{box[1]}" '
        f'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">{labels}'
    )
    return start + body[body.index(">") + 1 :].strip()


# --- what charts are drawn with ---------------------------------------------------------------


def frame(ax: Axes, x: str, y: str, grid: Literal["x", "y", "both"] = "y") -> None:
    """Labels and grid of a chart."""
    for side in ("top", "right", "left", "bottom"):
        ax.spines[side].set_visible(False)
    ax.tick_params(length=0, colors=MUTED)
    ax.grid(True, axis=grid, color=GRID, linewidth=0.8)
    ax.set_axisbelow(True)
    ax.set_xlabel(x, color=MUTED)
    ax.set_ylabel(y, color=MUTED)


def plain_ticks(*axes: PlotAxis) -> None:
    """Few ticks with plain numbers, no offset and no powers of ten."""
    for axis in axes:
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        axis.set_major_formatter(FuncFormatter(lambda v, _: text.number(round(v, 12))))


def value_scale(ax: Axes, *parts: FloatArray, side: Literal["x", "y"] = "y") -> None:
    """The scale of values of the objective: a log axis where that shows more, else plain ticks.

    Where they are positive and spread over more than a decade.
    """
    values = np.concatenate([np.asarray(part, dtype=np.float64).ravel() for part in parts])
    values = values[np.isfinite(values)]
    axis = ax.xaxis if side == "x" else ax.yaxis
    if not len(values) or values.min() <= 0 or values.max() / 10 <= values.min():
        plain_ticks(axis)
        return
    (ax.set_xscale if side == "x" else ax.set_yscale)("log")
    decades = math.log10(values.max()) - math.log10(values.min())
    axis.set_major_locator(LogLocator(10, subs=(1, 2, 5) if decades < 2.5 else (1,), numticks=7))
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:.4g}"))
    axis.set_minor_locator(NullLocator())


_NO_LENGTH = 1e-9


def dots(ax: Axes, x: FloatArray, y: FloatArray, colour: str, size: float = 4.0) -> None:
    """Round points as one path: a tenth of the size of a marker each.

    They are lines of no length in an SVG. A raster image has none such, so they end beside it.
    """
    keep = np.isfinite(x) & np.isfinite(y)
    if not keep.any():
        return
    at = np.column_stack([x[keep], y[keep]])
    ends = at.copy()
    ends[:, 0] += _NO_LENGTH * np.maximum(np.abs(at[:, 0]), np.ptp(at[:, 0]) or 1.0)
    codes = np.tile(np.array([Path.MOVETO, Path.LINETO], dtype=np.uint8), len(at))
    path = Path(np.stack([at, ends], axis=1).reshape(-1, 2), codes)
    path.should_simplify = False
    patch = PathPatch(path, facecolor="none", edgecolor=colour, linewidth=size, capstyle="round")
    patch.set_snap(False)
    # An artist, not a patch: of those matplotlib looks at each point for the limits.
    ax.add_artist(patch)
    ax.update_datalim(at)
    ax.autoscale_view()


def dot_handle(colour: str, label: str) -> Line2D:
    """The entry of dots in a legend."""
    return Line2D([], [], color=colour, marker="o", markersize=4, linestyle="none", label=label)


def legend(ax: Axes, handles: Sequence[Line2D]) -> None:
    """The legend, beside the chart's own area, so that it can never hide a point."""
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


def limit_to_bulk(ax: Axes, *parts: FloatArray) -> None:
    """Limit the y axis to the bulk of each part of the values, and say how many lie outside.

    Single values far away (a diverged training) would press all others into a line.
    """
    finite = [part[np.isfinite(part)] for part in parts]
    log = ax.get_yscale() == "log"
    ranges = [bulk(np.log(part) if log else part) for part in finite if len(part)]
    low, high = padded(min(r[0] for r in ranges), max(r[1] for r in ranges))
    if log:  # within what floats hold, beside values at their ends, too
        low, high = (math.exp(min(max(end, -700.0), 700.0)) for end in (low, high))
    ax.set_ylim(low, high)
    values = np.concatenate(finite)
    if outside := int(np.sum((values < low) | (values > high))):
        ax.annotate(
            f"{text.plural(outside, 'value')} outside the range shown",
            (1, 1),
            xycoords="axes fraction",
            xytext=(0, 2),
            textcoords="offset points",
            ha="right",
            va="bottom",
            color=MUTED,
            fontsize=8,
        )


def bulk(v: FloatArray) -> tuple[float, float]:
    """The range of values (n) without those far outside the middle half (Tukey's far out)."""
    first, third = np.quantile(v, [0.25, 0.75])
    reach = 3 * (third - first)
    inside = v[(v >= first - reach) & (v <= third + reach)]
    return float(inside.min()), float(inside.max())


def padded(low: float, high: float, share: float = 0.06) -> tuple[float, float]:
    """A range with a margin of that share at both ends."""
    margin = share * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin


def scale(ax: Axes, side: Literal["x", "y"], axis: Axis, values: Sequence[Value]) -> None:
    """Scale and ticks of a parameter's axis: levels, powers or plain numbers."""
    plot = ax.xaxis if side == "x" else ax.yaxis
    if axis.kind == "categorical":
        plot.set_major_locator(FixedLocator(list(range(len(axis.levels)))))
        names = [short(text.value(level), 14) for level in axis.levels]
        plot.set_major_formatter(
            FuncFormatter(lambda v, _: names[round(v)] if 0 <= round(v) < len(names) else "")
        )
        return
    numbers = [float(v) for v in values]
    if axis.scale == "linear" or not numbers or min(numbers) <= 0 or min(numbers) == max(numbers):
        plain_ticks(plot)
        return
    base = 2.0 if axis.scale == "power2" else 10.0
    (ax.set_xscale if side == "x" else ax.set_yscale)("log", base=base)
    decades = math.log(max(numbers) / min(numbers), base)
    subs = (1.0, 2.0, 5.0) if decades < 1.5 else (1.0, 3.0) if decades < 2.5 else (1.0,)
    subs = subs if base == 10 else (1.0,)
    plot.set_major_locator(LogLocator(base, subs=subs, numticks=7))
    plot.set_major_formatter(FuncFormatter(lambda v, _: f"{v:.4g}"))
    plot.set_minor_locator(NullLocator())


def short(label: str, most: int) -> str:
    """A label cut to so many letters, each of which is seen."""
    label = printable(label)
    return label if len(label) <= most else f"{label[: most - 1]}…"
