"""Progress of a run: a live screen on a terminal, otherwise lines.

Everything goes to stderr; stdout belongs to results.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import click
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from spot_dask.cli.options import clock, number, values
from spot_dask.cli.terminal import relayed, stderr_of_terminal
from spot_dask.progress import BestSoFar, Goal, Listener, Standing, Training, Update, View
from spot_dask.records import Evaluation

FAILURES_SHOWN = 3
RUNNING_SHOWN = 8
FIXED_ROWS = 5  # of the screen, beside running trainings and failures
BAR_WIDTH = 20
FRAME_SECONDS = 0.25
STATUS_SECONDS = 60.0
"""How often a log is told that nothing happens."""


@contextmanager
def watch(mode: str, goal: Goal) -> Iterator[Listener | None]:
    """A listener that shows a run's progress while the context lasts."""
    if mode == "auto":
        mode = "rich" if sys.stderr.isatty() else "plain"
    if mode == "none":
        yield None
    elif mode == "plain":
        yield Plain(goal, _log)
    else:
        with _screen(goal) as listener:
            yield listener


def _log(line: str) -> None:
    click.echo(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {line}", err=True)


@contextmanager
def _screen(goal: Goal) -> Iterator[Listener]:
    with stderr_of_terminal() as terminal:
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
            with drawing:
                console.print(text, soft_wrap=True)  # a path stays one that can be copied

        def draw() -> None:
            with drawing:
                live.refresh()

        with live, repeated(draw, FRAME_SECONDS), relayed(lambda text: above(Text.from_ansi(text))):
            console.show_cursor(True)  # the third Ctrl-C leaves nobody to show it again
            yield screen.listen(lambda message: above(Text(message)))


@contextmanager
def repeated(work: Callable[[], None], seconds: float) -> Iterator[None]:
    """Have ``work`` done in a thread, so many seconds apart."""
    over = threading.Event()

    def again() -> None:
        while not over.wait(seconds):
            work()

    thread = threading.Thread(target=again, name="spot-dask-screen", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


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
        if update.last is not None:
            self._echo("  ".join(self._news(update.last)))
        elif time.monotonic() - self._written >= STATUS_SECONDS:
            self._echo("  ".join(self._status()))

    def _echo(self, line: str) -> None:
        self._written = time.monotonic()
        self._write(line)

    def _news(self, last: Evaluation) -> Iterator[str]:
        standing = self._view.standing()
        assert standing is not None
        goal = standing.goal
        yield count(standing)
        yield f"trial {last.trial.number}"
        yield f"{goal.objective} {number(goal.signed(last.y))}" if last.ok else unfinished(last)
        if standing.best is not None:
            yield f"best {estimate(standing.best)}"
        if last.outcome.seconds == last.outcome.seconds:  # not NaN: the training did start
            yield clock(last.outcome.seconds)
        yield f"{standing.busy} running"
        yield from _left(standing)

    def _status(self) -> Iterator[str]:
        standing = self._view.standing()
        assert standing is not None
        yield count(standing)
        yield slots(standing)
        if standing.running:
            yield f"the oldest: {training(standing.running[0], standing.goal.objective, True)}"
        yield clock(standing.elapsed)
        yield from _left(standing)


class Screen:
    """The live screen; rich renders it several times a second, so that its clocks tick.

    No line is broken, so that its height, which the next frame is drawn over, is known.
    """

    def __init__(self, goal: Goal) -> None:
        self._view = View(goal)
        self._failures: deque[Evaluation] = deque(maxlen=FAILURES_SHOWN)

    def listen(self, tell: Callable[[str], None]) -> Listener:
        """A listener that keeps the screen up to date and hands messages to ``tell``."""

        def listener(update: Update) -> None:
            if update.message is not None:
                tell(update.message)
            if update.last is not None and update.last.failed:
                self._failures.append(update.last)
            self._view.take(update)

        return listener

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        standing = self._view.standing()
        if standing is None:
            yield Text("starting ...")
            return
        room = max(1, min(RUNNING_SHOWN, console.height - FIXED_ROWS - len(self._failures) - 2))
        yield _budget(standing, options.max_width)
        yield from map(_line, _incumbent(standing))
        yield _line(slots(standing))
        where = standing.workers > 1
        name = standing.goal.objective
        yield from (_line(f"  {training(t, name, where)}") for t in standing.running[:room])
        more = standing.busy - room
        if more > 0:
            yield _line(f"  and {more} more")
        yield from (
            _line(f"trial {e.trial.number} {failure(e)}", style="red") for e in self._failures
        )
        yield _line(_hint(standing), style="dim")


def _line(text: str | Text, style: str = "") -> Text:
    line = Text(text, style=style) if isinstance(text, str) else text
    line.no_wrap, line.overflow = True, "ellipsis"
    return line


def _budget(standing: Standing, width: int) -> Table:
    grid = Table.grid(padding=(0, 2))
    texts = [count(standing), clock(standing.elapsed), *_left(standing)]
    room = width - sum(len(text) + 2 for text in texts)
    bar = ProgressBar(total=1.0, completed=standing.share, width=min(BAR_WIDTH, max(4, room)))
    for _ in [bar, *texts]:
        grid.add_column(no_wrap=True, overflow="ellipsis")
    grid.add_row(bar, *texts)
    return grid


def _incumbent(standing: Standing) -> Iterator[Text]:
    best = standing.best
    if best is None:
        yield Text("best: none yet")
        return
    yield Text(f"best: {standing.goal.objective} {estimate(best)}", style="bold")
    yield Text(f"  {values(best.config)}")


def _left(standing: Standing) -> Iterator[str]:
    """What can be said about the time left: a judgement, a limit, or both where both may end it."""
    left, wall = standing.left, standing.wall_left
    if standing.stopping is not None:
        yield f"ending ({standing.stopping})"
        return
    if left is not None and (wall is None or left < wall):
        if standing.done < (standing.goal.evaluations or 0):
            yield f"about {clock(left)} left"
    elif wall is not None:
        yield f"wall time ends in {clock(wall)}"


def _hint(standing: Standing) -> str:
    if standing.stopping is None:
        return "Ctrl-C: finish running and stop"
    return "finishing what runs; Ctrl-C again: stop it"


def count(standing: Standing) -> str:
    """How many evaluations there are, of how many."""
    limit = standing.goal.evaluations
    return f"{standing.done}" if limit is None else f"{standing.done}/{limit}"


def estimate(best: BestSoFar) -> str:
    """The incumbent's value, its interval where there is one, and its trial."""
    between = (
        ""
        if best.low is None or best.high is None
        else f" ({number(best.low)} to {number(best.high)})"
    )
    return f"{number(best.value)}{between} trial {best.trial}"


def slots(standing: Standing) -> str:
    """What the cluster is busy with, and what has failed."""
    workers = f"{standing.workers} worker" + ("" if standing.workers == 1 else "s")
    busy = f"{standing.busy} of {standing.slots} slots busy on {workers}"
    return "; ".join([busy, *failures(standing.failures)])


def failures(kinds: Mapping[str, int]) -> Iterator[str]:
    """How many evaluations failed, by kind; nothing if none."""
    if kinds:
        each = ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items()))
        yield f"not ok: {each}"


def training(running: Training, objective: str, where: bool) -> str:
    """A training that goes on, and where, in one line."""
    parts = [f"trial {running.trial}", clock(running.seconds)]
    if running.epoch is not None:
        parts.append(f"epoch {running.epoch}")
    if running.value is not None:
        parts.append(f"{objective} {number(running.value)}")
    if where:
        parts.append(running.worker.partition("://")[2] or running.worker)
    return "  ".join(parts)


def unfinished(evaluation: Evaluation) -> str:
    """Why an evaluation has no result, in one line."""
    if not evaluation.stopped:
        return failure(evaluation)
    epochs = max(map(len, evaluation.outcome.curves.values()), default=0)
    return f"stopped early, after {epochs} epoch{'' if epochs == 1 else 's'}"


def failure(evaluation: Evaluation) -> str:
    """Why an evaluation failed, in one line."""
    error = evaluation.outcome.error
    reason = "" if error is None else f": {error.type}: {error.message}"
    return f"{evaluation.outcome.status}{reason}"
