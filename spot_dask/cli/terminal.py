"""A terminal that a live screen has for itself, though others write to stderr.

The study, libraries and the trainings on this machine, which are processes of their own, inherit
file descriptor 2. While a screen is up it leads into a pipe, and what comes out is shown line by
line above the screen.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

STDERR = 2
CHUNK = 1 << 16
LONGEST_LINE = 1 << 14
"""Bytes; what goes on for longer without a line's end is shown in parts."""


@contextmanager
def stderr_of_terminal() -> Iterator[TextIO]:
    """A stream of its own to where stderr leads now."""
    sys.stderr.flush()
    with os.fdopen(os.dup(STDERR), "w") as stream:
        yield stream


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
    while True:
        ready, _, _ = select.select([source, over], [], [])
        if source not in ready:
            break  # it is over, and all that was written is read
        data = os.read(source, CHUNK)
        if not data:
            break
        *lines, rest = (rest + data).split(b"\n")
        if len(rest) > LONGEST_LINE:
            lines, rest = [*lines, rest], b""
        if lines:
            _show(lines, show)
    if rest:
        _show([rest], show)


def _show(lines: list[bytes], show: Callable[[str], None]) -> None:
    with contextlib.suppress(OSError):  # the terminal is gone; who writes must not wait for it
        show("\n".join(_last(line.decode(errors="replace")) for line in lines))


def _last(line: str) -> str:
    """What a terminal would show of a line that was written over itself, as progress bars are."""
    return line.rstrip("\r").rpartition("\r")[2]
