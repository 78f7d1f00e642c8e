"""Progress of a run: a live screen on a terminal, otherwise one line for every evaluation.

Everything goes to stderr; stdout belongs to results.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from spot_dask.cli.text import clock, number, values
from spot_dask.records import Evaluation
from spot_dask.session import Listener, Update

FAILURES_SHOWN = 3
RUNNING_SHOWN = 8


@dataclass(frozen=True)
class Goal:
    """What a run is after: its objective and its budget (None: no limit; wall in seconds)."""

    objective: str
    direction: str
    evaluations: int | None
    wall: float | None

    def signed(self, y: float) -> float:
        """A minimised value in the user's direction."""
        return y if self.direction == "min" else -y

    def share(self, update: Update, elapsed: float) -> float:
        """How much of the budget is used, from 0 to 1."""
        done = len(update.history.evaluations)
        used = 0.0 if self.evaluations is None else done / self.evaluations
        return min(1.0, max(used, 0.0 if self.wall is None else elapsed / self.wall))

    def count(self, update: Update) -> str:
        done = len(update.history.evaluations)
        return f"{done}" if self.evaluations is None else f"{done}/{self.evaluations}"


@contextmanager
def watch(mode: str, goal: Goal) -> Iterator[Listener]:
    """A listener that shows a run's progress while the context lasts."""
    if mode == "auto":
        mode = "rich" if sys.stderr.isatty() else "plain"
    if mode == "none":
        yield lambda update: None
    elif mode == "plain":
        yield Plain(goal, lambda line: click.echo(line, err=True))
    else:
        console = Console(stderr=True)
        screen = Screen(goal)
        with Live(screen, console=console, refresh_per_second=4, transient=True):
            yield screen.listen(lambda message: console.print(Text(message)))


class Plain:
    """One line for every finished evaluation and every message."""

    def __init__(self, goal: Goal, echo: Callable[[str], None]) -> None:
        self._goal = goal
        self._echo = echo

    def __call__(self, update: Update) -> None:
        if update.message is not None:
            self._echo(update.message)
        if update.last is not None:
            self._echo("  ".join(self._parts(update, update.last)))

    def _parts(self, update: Update, last: Evaluation) -> Iterator[str]:
        goal = self._goal
        yield goal.count(update)
        yield f"trial {last.trial.number}"
        yield f"{goal.objective} {number(goal.signed(last.y))}" if last.ok else failure(last)
        best = update.history.incumbent
        if best is not None:
            yield f"best {number(goal.signed(best.y))} (trial {best.trial.number})"
        if last.outcome.seconds == last.outcome.seconds:  # not NaN: the training did start
            yield clock(last.outcome.seconds)
        yield f"{len(update.running)} running"


def failure(evaluation: Evaluation) -> str:
    """Why an evaluation failed, in one line."""
    error = evaluation.outcome.error
    reason = "" if error is None else f": {error.type}: {error.message}"
    return f"{evaluation.outcome.status}{reason}"


class Screen:
    """The live screen; rich renders it several times a second, so that its clocks tick."""

    def __init__(self, goal: Goal) -> None:
        self._goal = goal
        self._update: Update | None = None
        self._at = time.monotonic()
        self._failures: deque[Evaluation] = deque(maxlen=FAILURES_SHOWN)

    def listen(self, tell: Callable[[str], None]) -> Listener:
        """A listener that keeps the screen up to date and hands messages to ``tell``."""

        def listener(update: Update) -> None:
            if update.message is not None:
                tell(update.message)
            if update.last is not None and not update.last.ok:
                self._failures.append(update.last)
            self._update, self._at = update, time.monotonic()

        return listener

    def __rich__(self) -> RenderableType:
        update = self._update
        if update is None:
            return Text("starting ...")
        rows = [self._bar(update), self._incumbent(update), self._workers(update)]
        failures = [Text(f"trial {e.trial.number} {failure(e)}", "red") for e in self._failures]
        hint = Text("Ctrl-C: finish running and stop", style="dim")
        return Group(*rows, *failures, hint)

    def _bar(self, update: Update) -> RenderableType:
        elapsed = update.elapsed + time.monotonic() - self._at
        left = remaining(self._goal, update, elapsed)
        eta = "" if left is None else f"about {clock(left)} left"
        grid = Table.grid(padding=(0, 2))
        bar = ProgressBar(total=1.0, completed=self._goal.share(update, elapsed), width=40)
        grid.add_row(bar, self._goal.count(update), clock(elapsed), eta)
        return grid

    def _incumbent(self, update: Update) -> Text:
        best = update.history.incumbent
        if best is None:
            return Text("best: none yet")
        y = number(self._goal.signed(best.y))
        head = f"best: {self._goal.objective} {y}  trial {best.trial.number}  "
        return Text(head, style="bold").append(values(best.trial.config), style="not bold")

    def _workers(self, update: Update) -> Text:
        busy = f"{len(update.running)} of {update.slots} slots busy, {update.workers} worker(s)"
        now = time.time()
        running = [
            f"trial {lease.trial.number} {clock(max(0.0, now - lease.since))}"
            for lease in update.running[:RUNNING_SHOWN]
        ]
        more = len(update.running) - RUNNING_SHOWN
        return Text("  ".join([busy, *running, *([f"and {more} more"] if more > 0 else [])]))


def remaining(goal: Goal, update: Update, elapsed: float) -> float | None:
    """Seconds a run will still take: median duration of a training times what is left per slot."""
    limits = [] if goal.wall is None else [max(0.0, goal.wall - elapsed)]
    seconds = [e.outcome.seconds for e in update.history.ok]
    if goal.evaluations is not None and seconds and update.slots:
        left = goal.evaluations - len(update.history.evaluations)
        limits.append(max(0, left) * statistics.median(seconds) / update.slots)
    return min(limits, default=None)
