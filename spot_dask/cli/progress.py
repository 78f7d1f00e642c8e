"""Progress of a run: a live screen on a terminal, otherwise lines.

Everything goes to stderr; stdout belongs to results. A live screen has the terminal for itself,
though others write to stderr: the study, libraries and the trainings on this machine, which are
processes of their own, inherit file descriptor 2. While a screen is up it leads into a pipe, and
what comes out is shown line by line above the screen.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from spot_dask.cli.options import say, stdout_is_kept
from spot_dask.progress import Goal, Update, View, Watcher
from spot_dask.records import Evaluation
from spot_dask.standing import (
    count,
    estimate,
    left,
    model,
    news,
    slots,
    status,
    training,
)
from spot_dask.texts import printable
from spot_dask.words import clock, failure, values

FAILURES_SHOWN = 3
RUNNING_SHOWN = 8
FIXED_ROWS = 8  # of the screen, beside running trainings and failures
BAR_WIDTH = 20
FRAME_SECONDS = 0.25
STATUS_SECONDS = 60.0
"""How often a log is told that nothing happens."""

STDOUT, STDERR = 1, 2
CHUNK = 1 << 16
LONGEST_LINE = 1 << 14
"""Bytes; what goes on for longer without a line's end is shown in parts."""


@contextmanager
def watch(mode: str, goal: Goal) -> Iterator[Watcher | None]:
    """A watcher that shows a run's progress while the context lasts.

    ``mode`` is "rich" (the screen), "plain" (lines), "none" or "auto": the screen on a terminal.
    """
    if mode == "auto":
        mode = "rich" if sys.stderr.isatty() else "plain"
    if mode == "none":
        yield None
    elif mode == "plain":
        moment = "%Y-%m-%d %H:%M:%S"
        yield Plain(goal, lambda line: say(f"{time.strftime(moment)}  {line}", err=True))
    else:
        with _screen(goal) as watcher:
            yield watcher


class Plain:
    """A line for every finished evaluation and every message; one a minute if nothing happens."""

    def __init__(self, goal: Goal, echo: Callable[[str], None]) -> None:
        self._view = View(goal)
        self._write = echo
        self._written = time.monotonic()

    def __call__(self, update: Update) -> None:
        self._view.take(update)
        if update.message is not None:
            self._echo(update.message)
        quiet = time.monotonic() - self._written >= STATUS_SECONDS
        if update.last is None and not quiet:
            return
        standing = self._view.standing()
        assert standing is not None
        parts = status(standing) if update.last is None else news(standing, update.last)
        self._echo("  ".join(parts))

    def _echo(self, line: str) -> None:
        self._written = time.monotonic()
        self._write(line)


class Screen:
    """The live screen; rich renders it several times a second, so that its clocks tick.

    No line is broken, so that its height, which the next frame is drawn over, is known.
    """

    def __init__(self, goal: Goal) -> None:
        self._view = View(goal)
        self._failures: deque[Evaluation] = deque(maxlen=FAILURES_SHOWN)

    def listen(self, tell: Callable[[str], None]) -> Watcher:
        """A watcher that keeps the screen up to date and hands messages to ``tell``."""

        def watcher(update: Update) -> None:
            if update.message is not None:
                tell(update.message)
            if update.last is not None and update.last.failed:
                self._failures.append(update.last)
            self._view.take(update)

        return watcher

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        standing = self._view.standing()
        if standing is None:
            yield Text("starting ...")
            return
        texts = [count(standing), clock(standing.elapsed), *left(standing)]
        width = options.max_width - sum(len(text) + 2 for text in texts)
        bar = ProgressBar(total=1.0, completed=standing.share, width=min(BAR_WIDTH, max(4, width)))
        grid = Table.grid(padding=(0, 2))
        for _ in [bar, *texts]:
            grid.add_column(no_wrap=True, overflow="ellipsis")
        grid.add_row(bar, *map(_line, texts))
        yield grid
        name = standing.goal.objective
        if standing.best is None:
            yield _line("best: none yet")
        else:
            yield _line(f"best: {name} {estimate(standing.best)}", "bold")
            yield _line(f"  {values(standing.best.config)}")
            if standing.best.limits:
                style = "" if standing.best.feasible else "yellow"
                yield _line(f"  {standing.best.limits}", style)
        yield _line(slots(standing))
        yield from (_line(f"model: {said}", style) for said, style in model(standing.foretold))
        room = max(1, min(RUNNING_SHOWN, console.height - FIXED_ROWS - len(self._failures) - 2))
        for running in standing.running[:room]:
            yield _line(f"  {training(running, name, standing.workers > 1)}")
        if standing.busy > room:
            yield _line(f"  and {standing.busy - room} more")
        for evaluation in self._failures:
            yield _line(f"trial {evaluation.trial.number} {failure(evaluation)}", "red")
        stops = standing.stopping is not None
        again = "finishing what runs; Ctrl-C again: stop it"
        yield _line(again if stops else "Ctrl-C: finish running and stop", "dim")


def _line(text: str, style: str = "") -> Text:
    return Text(printable(text), style=style, no_wrap=True, overflow="ellipsis")


def coloured(text: str) -> Text:
    """Lines that a program wrote, in its colours; the rest that a terminal would obey is "�"."""
    lines = []
    for line in text.expandtabs().split("\n"):
        shown = Text.from_ansi(line)
        shown.plain = "".join(c if c.isprintable() else "�" for c in shown.plain)
        lines.append(shown)
    return Text("\n").join(lines)


# ---------------------------------------------------------------- the terminal


@contextmanager
def _screen(goal: Goal) -> Iterator[Watcher]:
    sys.stderr.flush()
    with os.fdopen(os.dup(STDERR), "w") as terminal:
        console = Console(file=terminal)
        screen = Screen(goal)
        live = Live(
            screen,
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        # Of two threads that draw at a time, one would go by the height of an older frame.
        drawing = threading.RLock()

        def above(text: Text) -> None:
            # Where the terminal is gone, the run goes on until it hears of that by SIGHUP.
            with drawing, contextlib.suppress(OSError):
                console.print(text, soft_wrap=True)  # a path stays one that can be copied

        over = threading.Event()

        def draw() -> None:
            while not over.wait(FRAME_SECONDS):
                with drawing, contextlib.suppress(OSError):
                    live.refresh()

        with live, relayed(lambda text: above(coloured(text))):
            drawer = threading.Thread(target=draw, name="spot-dask-screen", daemon=True)
            drawer.start()
            console.show_cursor(True)  # the third Ctrl-C leaves nobody to show it again
            try:
                yield screen.listen(lambda message: above(Text(printable(message))))
            finally:
                over.set()
                drawer.join()


@contextmanager
def relayed(show: Callable[[str], None]) -> Iterator[None]:
    """Have everything that is written to stderr shown by ``show``, in whole lines, from a thread.

    At the end nothing is lost that was written before it.
    """
    sys.stderr.flush()
    # Where stdout is kept for results, descriptor 1 leads to the same place.
    lent = (STDERR, STDOUT) if stdout_is_kept() else (STDERR,)
    before = {descriptor: os.dup(descriptor) for descriptor in lent}
    source, sink = os.pipe()
    over, end = os.pipe()
    for descriptor in lent:
        os.dup2(sink, descriptor)
    os.close(sink)
    thread = threading.Thread(
        target=_relay, args=(source, over, show), name="spot-dask-stderr", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        sys.stderr.flush()
        for descriptor, kept in before.items():
            os.dup2(kept, descriptor)
        os.close(end)  # not the pipe's own end: a process that goes on may hold that
        thread.join()
        for descriptor in (*before.values(), source, over):
            os.close(descriptor)


def _relay(source: int, over: int, show: Callable[[str], None]) -> None:
    rest = b""
    more = True
    while more:
        ready, _, _ = select.select([source, over], [], [])
        # Where only ``over`` is ready, all that was written is read.
        data = os.read(source, CHUNK) if source in ready else b""
        more = bool(data)
        *lines, rest = (rest + data).split(b"\n")
        if rest and (len(rest) > LONGEST_LINE or not more):
            lines, rest = [*lines, rest], b""
        if lines:
            # A terminal shows of a line that was written over itself, as progress bars are, the
            # last state.
            texts = [line.decode(errors="replace").rstrip("\r") for line in lines]
            with contextlib.suppress(OSError):  # the terminal is gone; no writer must wait for it
                show("\n".join(text.rpartition("\r")[2] for text in texts))
