"""The colours of figures. On a page each becomes the CSS variable of its name."""

from __future__ import annotations

INK = "#1c2430"
MUTED = "#66707f"
GRID = "#e3e6ea"
ACCENT = "#2558c4"
SECOND = "#b9530f"
BAND = "#cfdcf6"
POINT = "#8b96a6"
FAINT = "#c3cad4"

PALETTE = {
    INK: "ink",
    MUTED: "muted",
    GRID: "grid",
    ACCENT: "accent",
    SECOND: "second",
    BAND: "band",
    POINT: "point",
    FAINT: "faint",
}
