"""The command line: ``spot-dask``, and ``dask spot`` where Dask's own command line is used.

Nothing heavy is imported here or at the top of a command's module, so that help, version, usage
errors and shell completion are quick; a command imports what it needs when it runs.
"""

from __future__ import annotations

import signal
import threading

# Ctrl-C while this is imported ends the command without a traceback; below it is Python's again.
_usual = signal.getsignal(signal.SIGINT)
_guarded = (
    _usual is signal.default_int_handler and threading.current_thread() is threading.main_thread()
)
if _guarded:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import importlib
import logging
import os
import traceback
from collections.abc import Iterable
from keyword import iskeyword
from typing import Any

import click

from spot_dask import __version__
from spot_dask.cli.options import VERBOSE, CommandContext, VisibleLog, say, show, verbose_option
from spot_dask.errors import SpotDaskError, StoreCorrupt, did_you_mean
from spot_dask.secrets import masked
from spot_dask.settings import one_line
from spot_dask.texts import printable

COMMANDS = {
    "run": "spot_dask.cli.run",
    "resume": "spot_dask.cli.run",
    "confirm": "spot_dask.cli.run",
    "explore": "spot_dask.cli.run",
    "stop": "spot_dask.cli.stores",
    "pause": "spot_dask.cli.hands",
    "unpause": "spot_dask.cli.hands",
    "try": "spot_dask.cli.hands",
    "range": "spot_dask.cli.hands",
    "status": "spot_dask.cli.stores",
    "best": "spot_dask.cli.stores",
    "fit": "spot_dask.cli.fit",
    "report": "spot_dask.cli.stores",
    "compare": "spot_dask.cli.compare",
    "space": "spot_dask.cli.stores",
    "export": "spot_dask.cli.stores",
    "verify": "spot_dask.cli.stores",
    "backup": "spot_dask.cli.stores",
    "init": "spot_dask.cli.check",
    "check": "spot_dask.cli.check",
    "scheduler": "spot_dask.cli.worker",
    "worker": "spot_dask.cli.worker",
    "certificates": "spot_dask.cli.worker",
    "help": "spot_dask.cli.help",
}
"""Which module has which command; the module's attribute has its name, with _ after a keyword."""

NO_OPTIONS = {f"SPOT_DASK_{name}" for name in ("TRIAL", "CHECKPOINT", "ARTIFACTS", "CLUSTER")}
"""Variables that programs are given, and that the scripts in cluster/ read."""

INTERRUPTED = 130

LONGEST = 1000
"""Characters of an error that are shown; -v shows all of it."""


class Commands(click.Group):
    """The group of commands: imports one when it is asked for, and tells errors in one line."""

    context_class = CommandContext

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            if not (ctx.resilient_parsing or cmd_name.startswith("-")):
                near = did_you_mean(cmd_name, COMMANDS)
                ctx.fail(f"no command {cmd_name!r}{near or '; --help lists them'}")
            return None
        attribute = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name
        command = getattr(importlib.import_module(COMMANDS[cmd_name]), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write all commands, each with the whole first sentence of its help."""
        rows = [
            (name, command.get_short_help_str(1000))
            for name in self.list_commands(ctx)
            if (command := self.get_command(ctx, name)) is not None
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        try:
            return super().make_context(*args, **kwargs)
        except click.ClickException as error:
            raise _legible(error) from None

    def invoke(self, ctx: click.Context) -> Any:
        for line in misspelt(ctx, os.environ):
            say(line, err=True)
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            raise _legible(error) from None
        except (click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except BaseException as error:  # a study, or what it calls, may raise any
            if ctx.meta.get(VERBOSE):
                show(masked(traceback.format_exc().removesuffix("\n")), err=True)
            code, message = _told(error)
        say(f"Error: {printable(masked(message), LONGEST)}", err=True)
        ctx.exit(code)


def misspelt(ctx: click.Context, environment: Iterable[str]) -> list[str]:
    """A line for each variable that looks like one of ours, and is none."""
    ours = [name for name in environment if name.startswith("SPOT_DASK_")]
    if not ours:
        return []
    commands = (main.get_command(ctx, name) for name in COMMANDS)
    known = {
        name
        for command in commands
        if command is not None
        for option in command.params
        for name in (option.envvar or (), f"SPOT_DASK_{option.name}".upper())
        if isinstance(name, str)
    }
    return [
        f"{name} is set, and no option has that variable{near}"
        for name in ours
        if name not in known | NO_OPTIONS and (near := did_you_mean(name, known))
    ]


def _legible(error: click.ClickException) -> click.ClickException:
    """An error that click tells by itself, in one line that a terminal can show."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return error
    # Without its context: with it, click would write two lines of usage before the error.
    kind = click.UsageError if isinstance(error, click.UsageError) else click.ClickException
    return kind(printable(error.format_message(), LONGEST))


def _told(error: BaseException) -> tuple[int, str]:
    """Exit code and message of whatever ended a command."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, "interrupted"
    if isinstance(error, StoreCorrupt):
        advice = "`spot-dask verify STORE` tells all that is wrong, --salvage NEW saves the rest"
        return error.exit_code, f"{error}; {advice}"
    if isinstance(error, SpotDaskError):
        return error.exit_code, str(error)
    # A defect, of ours or of something we use: still one line, the rest on request.
    return 1, f"{type(error).__name__}: {one_line(error)} (-v shows the traceback)"


# Dask registers a command under its own name, so this is the "spot" of "dask spot".
@click.group("spot", cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="spot-dask")
@verbose_option
def main() -> None:
    """Tune a model's hyperparameters by Kriging-guided search on Dask.

    Start with `spot-dask init`, then `spot-dask run spot.toml`; `spot-dask help` lists the pages
    of the documentation. STUDY is file.py, file.py:name or
    file.toml; STORE is where a run keeps its evaluations: a path, or s3://bucket/run.zarr.

    Options can also be given in the environment: --local as SPOT_DASK_LOCAL, and so on.
    Exit codes: 0 done, 1 error, 2 usage, bad study or no store, 3 no successful trial, 4 check
    found a failure, 5 scheduler unreachable or lost, 129 stopped by SIGHUP, 130 by SIGINT, 143
    by SIGTERM or `spot-dask stop`.
    """
    assert logging.lastResort is not None
    logging.lastResort.setFormatter(VisibleLog())  # for what is logged where nobody asked for a log


if _guarded:
    signal.signal(signal.SIGINT, _usual)
