"""Numbers, times and values as people read them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from spot_dask.records import Configuration, Value


def number(value: float) -> str:
    """Four significant digits; "–" for NaN."""
    if math.isnan(value):
        return "–"
    if isinstance(value, int) or (value == int(value) if abs(value) < 1e6 else False):
        return str(int(value))
    return f"{value:.4g}"


def rough(value: float) -> str:
    """At most three significant digits, for what is not confirmed."""
    return "–" if math.isnan(value) else f"{value:.3g}"


def percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.0f} %"


def spread(sd: float) -> str:
    """Two significant digits, as fits a standard deviation."""
    return "–" if math.isnan(sd) else f"{sd:.2g}"


def like(value: float, width: float) -> str:
    """A value with as many decimals as an interval of that width deserves."""
    if not (math.isfinite(value) and math.isfinite(width) and width > 0):
        return number(value)
    decimals = 1 - math.floor(math.log10(width))
    if decimals > 8 or abs(value) >= 1e6:
        return number(value)
    return f"{value:.{max(0, decimals)}f}"


def interval(low: float, high: float) -> str:
    return f"{like(low, high - low)} to {like(high, high - low)}"


def seconds(value: float) -> str:
    """A duration in the unit people would choose."""
    if math.isnan(value):
        return "–"
    if value < 10:
        return f"{value:.2g} s"
    if value < 120:
        return f"{value:.0f} s"
    minutes = round(value / 60)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def moment(time: float) -> str:
    """Seconds since the epoch as a UTC date; "–" for NaN."""
    if math.isnan(time):
        return "–"
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M UTC")


def value(item: Value | None) -> str:
    """A parameter's value to five digits; "–" where it is not active."""
    if item is None:
        return "–"
    if isinstance(item, bool):
        return "true" if item else "false"
    return f"{item:.5g}" if isinstance(item, float) else str(item)


def listed(items: Sequence[str], most: int = 12) -> str:
    """Items with commas, cut after the first few with the number left out."""
    more = len(items) - most
    return ", ".join(items[:most]) + (f" and {more} more" if more > 0 else "")


def configuration(config: Configuration) -> str:
    """In a sentence: numbers to three digits, the exact ones stand in the table."""
    return ", ".join(
        f"{name} = {format(v, '.3g') if isinstance(v, float) else value(v)}"
        for name, v in config.items()
    )


def plural(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
