"""How a run stands, for whoever started it from Python: a line that is written over again.

On a terminal the line is on stderr; in a notebook it is a part of the cell's output. Elsewhere, as
in a script whose output goes to a file, there is none: what needs attention is warned of.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

from spot_dask.errors import RunWarning, shown
from spot_dask.progress import Goal, Standing, Update, View, Watcher
from spot_dask.records import Evaluation, History
from spot_dask.standing import count, estimate, left
from spot_dask.texts import encodable, printable
from spot_dask.words import failure

logger = logging.getLogger(__name__)

MODES = ("auto", "line", "none")
LINE_SECONDS = 0.2
"""The least time between two lines; the last one is always written."""


def check_mode(mode: str) -> None:
    """Raise ValueError for a mode that there is not."""
    if mode not in MODES:
        raise ValueError(f"progress is {shown(mode)}; expected {', '.join(map(repr, MODES))}")


@contextmanager
def live(mode: str, goal: Goal) -> Iterator[Watcher | None]:
    """A watcher that shows a run as a line while the context lasts; None where nothing is shown.

    ``mode`` is "line", "none" or "auto": a line in a notebook and on a terminal.
    """
    notebook = _notebook()
    if mode == "none" or (mode == "auto" and notebook is None and not sys.stderr.isatty()):
        yield None
        return
    line = Line(goal, _on_terminal if notebook is None else notebook)
    try:
        yield line
    finally:
        line.show()
        if notebook is None:
            sys.stderr.write("\n")


class Line:
    """The newest standing of a run, written by ``write`` several times a second at most."""

    def __init__(self, goal: Goal, write: Callable[[str], object]) -> None:
        self._view, self._write = View(goal), write
        self._written = 0.0

    def __call__(self, update: Update) -> None:
        self._view.take(update)
        if update.message is not None:
            logger.info(update.message)
        if time.monotonic() - self._written >= LINE_SECONDS:
            self.show()

    def show(self) -> None:
        """Write how the run stands now."""
        standing = self._view.standing()
        if standing is not None:
            self._written = time.monotonic()
            self._write(told(standing))


def told(standing: Standing) -> str:
    """How a run stands, in one line."""
    parts = [count(standing)]
    if standing.best is not None:
        name = "best" if standing.best.feasible else "nearest to the constraints"
        parts.append(f"{name} {standing.goal.objective} {estimate(standing.best)}")
    if standing.failures:
        parts.append(", ".join(f"{n} {kind}" for kind, n in sorted(standing.failures.items())))
    return printable("  ".join([*parts, f"{standing.busy} running", *left(standing)]))


def fruitless(history: History) -> str | None:
    """What is to be said of a run in which nothing succeeded; None where something did."""
    done = sorted(history.evaluations, key=lambda e: e.trial.number)
    if not done or history.ok or history.imports:
        return None
    kinds = Counter(e.outcome.status.value for e in done)
    counts = ", ".join(f"{n} {kind}" for kind, n in kinds.items())
    first: Evaluation = done[0]
    return (
        f"no training succeeded ({counts}), so there is no best configuration; the first, trial "
        f"{first.trial.number}: {failure(first)}"
    )


def warn(message: str) -> None:
    """Warn whoever started a run from Python, at the line where that was."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("spot_dask."):
        level, frame = level + 1, frame.f_back
    warnings.warn(printable(message), RunWarning, stacklevel=level)


def _on_terminal(line: str) -> None:
    """Write over the last line, which is never broken."""
    width = shutil.get_terminal_size().columns - 1
    text = line if len(line) <= width else f"{line[: width - 3]}..."
    with contextlib.suppress(ValueError, OSError):  # a stream that was closed ends no run
        sys.stderr.write(f"\r\x1b[K{encodable(text, sys.stderr.encoding or 'utf-8')}")
        sys.stderr.flush()


def _notebook() -> Callable[[str], object] | None:
    """What shows a line in the cell that runs now; None outside of a notebook."""
    ipython: Any = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return None
    handles: list[Any] = []

    def write(line: str) -> None:
        shown_line = ipython.display.HTML(f"<code>{escape(line)}</code>")
        if handles:
            handles[0].update(shown_line)
        else:
            handles.append(ipython.display.display(shown_line, display_id=True))

    return write
