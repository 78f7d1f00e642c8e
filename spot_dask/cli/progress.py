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

from spot_dask.cards import counted
from spot_dask.cli.options import LONGEST_TEXT, clock, number, rough, say, values
from spot_dask.progress import BestSoFar, Goal, Standing, Training, Update, View, Watcher, fold_of
from spot_dask.records import Evaluation
from spot_dask.texts import printable
from spot_dask.tuner.foretold import FEWEST, Foretold

FAILURES_SHOWN = 3
RUNNING_SHOWN = 8
FIXED_ROWS = 8  # of the screen, beside running trainings and failures
BAR_WIDTH = 20
FRAME_SECONDS = 0.25
STATUS_SECONDS = 60.0
"""How often a log is told that nothing happens."""

STDERR = 2
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


# ---------------------------------------------------------------- what is said


def news(standing: Standing, last: Evaluation) -> Iterator[str]:
    """An evaluation that has just arrived, and how the run stands then, in parts of a line."""
    goal = standing.goal
    yield count(standing)
    fold = "" if last.trial.confirms else fold_of(last.trial.replicate, goal.folds)
    yield f"trial {last.trial.number}{f' (fold {fold})' if fold else ''}"
    if last.ok:
        yield f"{goal.objective} {number(goal.signed(last.y))}"
    elif last.stopped:
        epochs = last.outcome.epochs
        yield f"stopped early, after {epochs} epoch{'' if epochs == 1 else 's'}"
    else:
        yield failure(last)
    if standing.best is not None:
        name = "best" if standing.best.feasible else "nearest to the constraints"
        yield f"{name} {estimate(standing.best)}"
    if last.outcome.seconds == last.outcome.seconds:  # not NaN: the training did start
        yield clock(last.outcome.seconds)
    yield f"{standing.busy} running"
    yield from left(standing)


def status(standing: Standing) -> Iterator[str]:
    """How a run stands while nothing happens, in parts of a line."""
    yield count(standing)
    yield slots(standing)
    if standing.running:
        yield f"the oldest: {training(standing.running[0], standing.goal.objective, True)}"
    yield clock(standing.elapsed)
    yield from left(standing)


def left(standing: Standing) -> Iterator[str]:
    """What ends the run: the time left for its evaluations, or the wall time if that is sooner."""
    seconds, wall = standing.left, standing.wall_left
    if standing.stopping is not None:
        yield f"ending ({standing.stopping})"
    elif standing.paused:
        yield "paused"
    elif seconds is not None and (wall is None or seconds < wall):
        if standing.done < (standing.goal.evaluations or 0):
            yield f"about {clock(seconds)} left"
    elif wall is not None:
        yield f"wall time ends in {clock(wall)}"


def count(standing: Standing) -> str:
    """How many evaluations there are, of how many."""
    limit, epochs = standing.goal.evaluations, standing.goal.epochs
    done = f"{standing.done}" if limit is None else f"{standing.done}/{limit}"
    return done if epochs is None else f"{done} ({standing.epochs}/{epochs} epochs)"


def estimate(best: BestSoFar) -> str:
    """The recommended value, how far it is to be trusted, and its trial."""
    where = "imported" if best.trial is None else f"trial {best.trial}"
    seeds = basis(best.trainings, best.confirmed, best.folds)
    if best.low is None or best.high is None:
        return f"{rough(best.value)} ({seeds}) {where}"
    between = f"{number(best.low)} to {number(best.high)}"
    return f"{number(best.value)} ({between}; {seeds}) {where}"


def basis(trainings: int, confirmed: bool, folds: bool = False) -> str:
    """What a value rests on: so many trainings, by which it was confirmed or not.

    Those of the search are on as many ``folds`` or under as many seeds.
    """
    if confirmed:
        return f"confirmed, {counted(trainings, 'seed')}"
    return f"unconfirmed, {counted(trainings, 'fold' if folds else 'seed')}"


def slots(standing: Standing) -> str:
    """How many slots are busy, and how many evaluations have failed, by kind."""
    workers = f"{standing.workers} worker" + ("" if standing.workers == 1 else "s")
    busy = f"{standing.busy} of {standing.slots} slots busy on {workers}"
    kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(standing.failures.items()))
    return f"{busy}; not ok: {kinds}" if kinds else busy


def model(judged: Foretold | None) -> Iterator[tuple[str, str]]:
    """How well the model predicts its own proposals, and a warning if it does not; with styles."""
    if judged is not None and judged.n >= FEWEST:
        yield judged.sentence, ""
        if judged.warning is not None:
            yield judged.warning, "yellow"


def training(running: Training, objective: str, where: bool) -> str:
    """A running training, and ``where`` it runs, in one line."""
    fold = f" (fold {running.fold})" if running.fold else ""
    parts = [f"trial {running.trial}{fold}", clock(running.seconds)]
    if running.epoch is not None:
        parts.append(f"epoch {running.epoch}")
    if running.value is not None:
        parts.append(f"{objective} {number(running.value)}")
    if where:
        parts.append(running.worker.partition("://")[2] or running.worker)
    return "  ".join(parts)


def failure(evaluation: Evaluation) -> str:
    """Why an evaluation failed, in one line."""
    error = evaluation.outcome.error
    reason = "" if error is None else f": {error.type}: {error.message}"
    return printable(f"{evaluation.outcome.status}{reason}", LONGEST_TEXT)


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
            with drawing:
                console.print(text, soft_wrap=True)  # a path stays one that can be copied

        over = threading.Event()

        def draw() -> None:
            while not over.wait(FRAME_SECONDS):
                with drawing:
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
    before = os.dup(STDERR)
    source, sink = os.pipe()
    over, end = os.pipe()
    os.dup2(sink, STDERR)
    os.close(sink)
    thread = threading.Thread(
        target=_relay, args=(source, over, show), name="spot-dask-stderr", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(before, STDERR)
        os.close(end)  # not the pipe's own end: a process that goes on may hold that
        thread.join()
        for descriptor in (before, source, over):
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
