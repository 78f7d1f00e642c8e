"""What commands share: options, and how results are written as text and as JSON."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TextIO, TypeVar, cast

import click
from click.shell_completion import CompletionItem

from spot_dask import endings
from spot_dask.errors import SpotDaskError
from spot_dask.secrets import masked
from spot_dask.settings import (
    DIRECTORY,
    FLAG,
    KEYS,
    GivenValue,
    Setting,
    Settings,
    SettingsTable,
    duration,
)
from spot_dask.texts import encodable, printable, visible

if TYPE_CHECKING:
    from spot_dask.executors.connection import Connection, Tls

F = TypeVar("F", bound=Callable[..., Any])

VERBOSE = "spot_dask.verbose"
WIDEST = 104
"""Columns of a page: longer lines are hard to read, and code of 100 columns fits."""

ENVIRONMENT: dict[str, Any] = {
    "auto_envvar_prefix": "SPOT_DASK",
    "help_option_names": ["-h", "--help"],
    "show_default": True,
}
"""Context settings of a command: --seed may also be given as SPOT_DASK_SEED."""


class Parsed(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.4
    """A text of which ``parse`` makes a value, or raises ValueError.

    A shell completes it from ``choices`` or, of a ``path``, by the files that there are.
    """

    def __init__(
        self,
        name: str,
        parse: Callable[[str], Any],
        choices: Sequence[str] = (),
        path: bool = False,
    ) -> None:
        self.name, self.parse, self.choices, self.path = name, parse, choices, path

    def convert(self, value: Any, param: Any, ctx: click.Context | None) -> Any:
        try:
            return self.parse(value) if isinstance(value, str) else value
        except ValueError as error:
            self.fail(str(error), param, ctx)

    def shell_complete(self, ctx: Any, param: Any, incomplete: str) -> list[CompletionItem]:
        if self.path:
            return [CompletionItem(incomplete, type="file")]
        return [CompletionItem(x) for x in self.choices if x.startswith(incomplete)]


PATH = click.Path()
"""A file, a directory or an address such as s3://bucket/run.zarr; a shell completes it."""

DURATION = Parsed("duration", lambda text: duration(text) and text)
"""A text such as 90m or 1h30m; kept as it is written, refused if it has no unit."""


def setting_options(*tables: str) -> list[Callable[[Any], Any]]:
    """The flags of the settings in some tables, such as budget."""
    return [
        _option(declared)
        for declared in KEYS.values()
        if declared.flag is not None and declared.key[0] in tables
    ]


def setting_option(flag: str) -> Callable[[Any], Any]:
    """The flag of one setting."""
    return next(_option(declared) for declared in KEYS.values() if declared.flag == flag)


def _option(declared: Setting) -> Callable[[Any], Any]:
    kind, flag = declared.kind, str(declared.flag)
    if kind is FLAG:
        return click.option(flag, is_flag=True, default=None, help=declared.help)
    metavar = declared.metavar or kind.metavar
    # A run may be resumed from elsewhere.
    parse = (lambda text: os.path.realpath(text)) if kind is DIRECTORY else declared.from_text
    kept = Parsed(metavar, parse, kind.choices, kind.path)
    return click.option(
        flag, metavar=metavar, help=declared.help, type=kept, multiple=kind.many, show_default=False
    )


def given(options: Mapping[str, Any], table: type[SettingsTable] = Settings) -> list[GivenValue]:
    """The settings that flags give, by their keys, as ``--set`` gives them."""
    flags = {declared.flag: declared for declared in table.all_declared() if declared.flag}
    values = {flag: options[flag.removeprefix("--").replace("-", "_")] for flag in flags}
    return [
        GivenValue(flags[flag].key, list(value) if isinstance(value, tuple) else value, flag)
        for flag, value in values.items()
        if value not in (None, ())
    ]


def _be_verbose(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        ctx.meta[VERBOSE] = True
        endings.keep_talking("-v")
        log_to_stderr("%(asctime)s %(name)s: %(message)s")
        logging.getLogger("spot_dask").setLevel(logging.INFO)


verbose_option = click.option(
    "-v",
    "--verbose",
    is_flag=True,
    expose_value=False,
    callback=_be_verbose,
    help="Tell more, and tracebacks.",
)

json_option = click.option(
    "--json",
    "as_json",
    envvar="SPOT_DASK_JSON",
    is_flag=True,
    help="Write one JSON document to stdout.",
)


_results: ContextVar[TextIO | None] = ContextVar("results", default=None)


@contextmanager
def one_writer() -> Iterator[None]:
    """Keep stdout for ``say``, ``show``, ``emit`` and tables; what all others write is on stderr.

    These are a study, libraries in C that know descriptor 1 only, and the processes that they
    start. Where stdout is descriptor 1 it stays theirs no more, for such may write at the very end.
    A study that closes what it has as stdout or stderr closes nothing: we go on writing there.
    """
    results = sys.stdout
    if results is sys.__stdout__ and results is not None and results.fileno() == 1:
        results.flush()
        results = os.fdopen(os.dup(1), "w", encoding=results.encoding, errors=results.errors)
        os.dup2(2, 1)
    token, errors = _results.set(results), sys.stderr
    if errors is not None:
        vars(errors)["close"] = errors.flush
    try:
        with redirect_stdout(errors):
            yield
    finally:
        _results.reset(token)
        if errors is not None:
            vars(errors).pop("close", None)
        if results is not None:
            with _told_where_it_fails():
                results.flush()


def _stdout() -> TextIO:
    return _results.get() or sys.stdout


def stdout_is_kept() -> bool:
    """Whether descriptor 1 leads to stderr, since stdout has a descriptor of its own."""
    return _results.get() is not None and os.path.samestat(os.fstat(1), os.fstat(2))


class Formatter(click.HelpFormatter):
    """Writes help that fits: in a narrow terminal what options mean is below them."""

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        super().write_dl(rows, min(col_max, self.width // 3), col_spacing)


class CommandContext(click.Context):
    """The context of all commands."""

    formatter_class = Formatter


class Command(click.Command):
    """A command that alone writes to stdout while it runs."""

    context_class = CommandContext

    def invoke(self, ctx: click.Context) -> Any:
        with one_writer():
            return super().invoke(ctx)


def command(argument: str, *options: Callable[[Any], Any]) -> Callable[[Any], click.Command]:
    """A command of one argument with these options, ``--json`` and ``--verbose``."""

    def decorate(function: Any) -> click.Command:
        named = click.argument(argument, type=PATH)
        for option in reversed((named, *options, json_option, verbose_option)):
            function = option(function)
        return click.command(cls=Command, context_settings=ENVIRONMENT)(function)

    return decorate


set_option = click.option(
    "--set",
    "overrides",
    envvar="SPOT_DASK_SET",
    metavar="KEY=VALUE",
    multiple=True,
    type=Parsed("text", str, [f"{declared.name}=" for declared in KEYS.values()]),
    help="Change a setting, such as space.lr.high=0.1 or design.initial=12; repeatable.",
)

study_option = click.option(
    "--study",
    metavar="FILE",
    type=PATH,
    help="The run's study, for what STORE alone does not make run.",
)


def tls_options(command: F) -> F:
    """``--tls-ca-file``, ``--tls-cert``, ``--tls-key`` and ``--insecure``."""
    pem = click.Path(exists=True, dir_okay=False)
    decorators = (
        click.option("--tls-ca-file", metavar="PEM", type=pem, help="The cluster's authority."),
        click.option("--tls-cert", metavar="PEM", type=pem, help="The cluster's certificate."),
        click.option("--tls-key", metavar="PEM", type=pem, help="Its private key."),
        click.option("--insecure", is_flag=True, help="Allow plain TCP to other machines."),
    )
    for decorate in reversed(decorators):
        command = decorate(command)
    return command


def tls(options: MutableMapping[str, Any]) -> Tls | None:
    """The certificates that were given, taken out of the options: all of them or none."""
    files = [options.pop(name) for name in ("tls_ca_file", "tls_cert", "tls_key")]
    if not any(files):
        return None
    if not all(files):
        raise click.UsageError("--tls-ca-file, --tls-cert and --tls-key go together")
    from spot_dask.executors.connection import Tls

    return Tls(*files)


def connection(address: str, options: MutableMapping[str, Any]) -> Connection:
    """The way to a scheduler, with what ``tls_options`` say, which are taken out."""
    certificates, insecure = tls(options), options.pop("insecure")
    from spot_dask.executors.connection import Connection

    return Connection(address, certificates, insecure)


def connection_words(way: Connection) -> list[str]:
    """What to type for the same way to a scheduler."""
    words = ["--scheduler", way.address]
    if way.tls is not None:
        words += ["--tls-ca-file", way.tls.ca_file]
        words += ["--tls-cert", way.tls.cert, "--tls-key", way.tls.key]
    return [*words, "--insecure"] if way.insecure else words


# --- what is written --------------------------------------------------------------------------
#
# Nothing else in the commands writes (a test holds it), so no text reaches a terminal that it
# would not show but obey, or that it has no characters for.


def say(line: str, *, err: bool = False) -> None:
    """Write a line for people to stdout, or with ``err`` to stderr, whatever is in it."""
    _write(printable(line), err)


def show(text: str, *, err: bool = False) -> None:
    """Write several lines for people, such as code."""
    _write(visible(text), err)


def show_page(page: str, on_a_terminal: Callable[[str], str]) -> None:
    """Show a page of ours in Markdown: as it stands, or on a terminal formatted, by a pager.

    What a terminal gets is formatted from what ``on_a_terminal`` makes of the page.
    """
    stream = _stdout()
    if not stream.isatty():
        show(page)
        return
    from rich.console import Console
    from rich.markdown import Markdown
    from rich.theme import Theme

    # No background of its own: it would be dark on a light terminal, or the other way round.
    console = Console(file=stream, theme=Theme({"markdown.code": "bold cyan"}))
    text = encodable(on_a_terminal(page), console.encoding)
    with console.capture() as formatted:
        shown = Markdown(text, code_theme="ansi_dark")
        console.print(shown, width=min(console.width, WIDEST))
    os.environ.setdefault("LESS", "FRX")  # a page that fits is shown without waiting for a key
    with _told_where_it_fails():
        click.echo_via_pager(formatted.get(), color=True)


def _write(text: str, err: bool) -> None:
    stream = sys.stderr if err else _stdout()
    with _told_where_it_fails():
        click.echo(encodable(text, stream.encoding or "utf-8"), file=stream)


@contextmanager
def _told_where_it_fails() -> Iterator[None]:
    """Raise SpotDaskError where what is written does not arrive, unless nobody reads on."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise SpotDaskError(f"the output cannot be written ({error.strerror})") from error


class Terminal(io.TextIOBase):
    """A file of text that shows what is written to it on a terminal, as ``show`` does."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        self._file.write(visible(text))
        return len(text)


@contextmanager
def standard_output() -> Iterator[TextIO]:
    """stdout for data: what is not seen is as it is in a pipe, and made visible on a terminal."""
    stream = _stdout()
    yield cast(TextIO, Terminal(stream)) if stream.isatty() else stream


class VisibleLog(logging.Formatter):
    """Messages of a log, over several lines where they have a traceback, and always visible."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(masked(super().format(record)))


def log_to_stderr(form: str) -> None:
    """Have all loggers write to stderr in this form, unless they are told to write elsewhere."""
    handler = logging.StreamHandler()
    handler.setFormatter(VisibleLog(form))
    logging.basicConfig(handlers=[handler])


def emit(verb: str, document: Mapping[str, Any]) -> None:
    """Write the one JSON document of a command."""
    whole = {"schema": "", **document} | {"schema": f"spot-dask/{verb}/1"}
    show(json.dumps(whole, indent=2, allow_nan=False, default=str))


def show_table(title: str, headings: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Print a table for people."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=_stdout())

    def plain(text: str) -> Text:  # a str would be read as markup
        return Text(encodable(printable(text), console.encoding))

    table = Table(box=box.SIMPLE_HEAD, title=plain(title), title_justify="left")
    for heading in headings:
        table.add_column(plain(heading))
    for row in rows:
        table.add_row(*map(plain, row))
    with _told_where_it_fails():
        console.print(table)
