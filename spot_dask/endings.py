"""How processes of ours end: by which signals, without their terminal, and without others' words.

When a cluster ends, its parts lose each other in any order, and Dask, Tornado and asyncio log every
connection that breaks, with tracebacks. What a user needs of that our own messages say.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from pathlib import Path

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that end a process in good order; SIGHUP comes when its terminal is closed."""

LIBRARIES = ("asyncio", "distributed", "tornado")
"""Those whose loggers are silenced, with all loggers below them."""

TERMINALS = ("/dev/pts/", "/dev/tty")

_talkative: list[str] = []  # why they are not


def keep_talking(why: str) -> None:
    """Let the libraries log from now on, whoever silences them, for a reason such as ``-v``."""
    _talkative.append(why)


def silence() -> None:
    """Silence the libraries' loggers, those that there are and those to come."""
    if _talkative:
        return
    known = [name for name in logging.root.manager.loggerDict if name.split(".")[0] in LIBRARIES]
    for name in {*known, *LIBRARIES}:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def heeded() -> list[signal.Signals]:
    """The ending signals that whoever started this process did not have it ignore.

    A shell's script has its background commands ignore SIGINT, since it is the one to end them;
    ``nohup`` has a command ignore SIGHUP.
    """
    return [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]


def forget_terminal() -> None:
    """Write what is still written to a terminal, which is gone, nowhere: each write would fail."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for entry in list(Path("/proc/self/fd").iterdir()):
        with contextlib.suppress(OSError):  # the descriptor that lists them is closed by now
            if str(entry.readlink()).startswith(TERMINALS):  # isatty denies it of one that is gone
                os.dup2(nothing, int(entry.name))
    os.close(nothing)
