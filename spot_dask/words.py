"""Numbers, durations and configurations as people read them, in one line."""

from __future__ import annotations

from spot_dask.records import Configuration, Evaluation, Value
from spot_dask.texts import printable

LONGEST_TEXT = 300
"""Characters of a text that are shown in a line."""

LONGEST_ERROR = 160
"""Characters of an error that is one of several."""


def number(value: float) -> str:
    """Four significant digits, as short as they can be written."""
    return f"{value:.4g}"


def rough(value: float) -> str:
    """Three significant digits: what is not confirmed is not known better."""
    return f"{value:.3g}"


def value_text(value: Value) -> str:
    """A parameter's value: reals to six digits, true and false as TOML writes them."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def values(config: Configuration) -> str:
    """A configuration in one line: ``lr=0.01 width=64``."""
    return " ".join(f"{name}={value_text(value)}" for name, value in config.items())


def clock(seconds: float) -> str:
    """A duration to two units: ``1.3 s``, ``2 min 05 s``, ``3 h 07 min``, ``2 d 04 h``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600:02d} h"


def failure(evaluation: Evaluation) -> str:
    """Why an evaluation failed, in one line, of which the beginning is shown."""
    error = evaluation.outcome.error
    reason = "" if error is None else f": {error.type}: {error.message}"
    return printable(f"{evaluation.outcome.status}{reason}", LONGEST_ERROR)
