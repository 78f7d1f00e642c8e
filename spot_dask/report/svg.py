"""A matplotlib figure as SVG that belongs to the page around it.

The text stays text, colours of the palette become CSS variables (so one figure serves light and
dark pages), ids are made unique in the page, sizes follow the column. Nothing in it depends on
the time or the machine.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from html import escape

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spot_dask.report.palette import PALETTE

SIZE = (4.9, 3.3)  # inches: about the width of a telephone, so text never shrinks much


def to_svg(
    draw: Callable[[Axes], None],
    name: str,
    title: str,
    description: str,
    size: tuple[float, float] = SIZE,
) -> str:
    """The figure that ``draw`` makes on an Axes; ``name`` is unique in the page."""
    with _style(), warnings.catch_warnings():
        # Glyphs are measured with matplotlib's font but drawn by the browser, which has them all.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.subplots())
        stream = io.StringIO()
        metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(stream, format="svg", transparent=True, metadata=metadata)
    return _embedded(stream.getvalue(), name, title, description)


def _style() -> AbstractContextManager[None]:
    return mpl.rc_context(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "spot-dask",
            # A parameter may be called "$x$"; it is text, not mathematics.
            "text.parse_math": False,
            "text.usetex": False,
            "font.size": 9.5,
            "axes.labelsize": 9.5,
            "axes.unicode_minus": True,
            "path.simplify": False,
        }
    )


def _embedded(svg: str, name: str, title: str, description: str) -> str:
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", body, flags=re.S)
    body = _own_ids(body, name)
    body = re.sub(r'font-family: [^;"]*;? ?', "", body)
    for colour, variable in PALETTE.items():
        body = body.replace(colour, f"var(--{variable})")
    body = re.sub(r"(?<=[ \"(,-])\d+\.\d{3,}", lambda m: f"{float(m[0]):.2f}", body)
    body = re.sub(r"\s*\n\s*", "\n", body)
    box = re.search(r'viewBox="([^"]*)"', body)
    assert box is not None
    labels = (
        f"<title>{escape(title)}</title><desc>{escape(description)}</desc>" if description else ""
    )
    start = (
        f'<svg class="figure" role="img" aria-label="{escape(title)}" viewBox="{box[1]}" '
        f'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">{labels}'
    )
    return start + body[body.index(">") + 1 :].strip()


def _own_ids(body: str, name: str) -> str:
    """Only ids that are referred to, with the figure's name in front."""
    used = set(re.findall(r"(?:url\(#|href=\"#)([^\")]+)", body))

    def renamed(match: re.Match[str]) -> str:
        return f' id="{name}-{match[1]}"' if match[1] in used else ""

    body = re.sub(r' id="([^"]*)"', renamed, body)
    return re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", body)
