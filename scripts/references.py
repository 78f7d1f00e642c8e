"""The reference pages of the documentation, made from what the code itself says.

``scripts/references`` writes them; a test makes them again and compares, so that no page tells of
an option, a setting or a function that is not there.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import inspect
import json
import re
import sys
import types as types_of_python
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import click

import spot_dask
from spot_dask import (
    baselines,
    cli,
    core_models,
    early_stopping,
    errors,
    infill,
    plugins,
    settings,
    surrogates,
    trackers,
    warmstart,
)
from spot_dask.cli import check
from spot_dask.cli import run as run_commands
from spot_dask.glance import Glance
from spot_dask.records import Header, Origin, Status
from spot_dask.report import page as report_page
from spot_dask.report import sections
from spot_dask.store import layout, tables
from spot_dask.store.table import DTYPES, Column, tabulate

DOCS = Path(__file__).parent.parent / "spot_dask" / "docs"

# --- texts ------------------------------------------------------------------------------------


def page(title: str, *paragraphs: str) -> str:
    """A page of these paragraphs; the first is the sentence that the index has."""
    return "\n\n".join([f"# {title}", *(text.strip("\n") for text in paragraphs)]) + "\n"


def table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    lines = [[*headings], ["---" for _ in headings], *([*row] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def cell(text: str) -> str:
    """A text in a cell of a table: one line, without a border of its own."""
    return " ".join(text.split()).replace("|", "\\|")


def prose(text: str) -> str:
    """A docstring's paragraph as Markdown: its code has one backtick."""
    return re.sub(r"``([^`]+)``", r"`\1`", " ".join(text.split()))


def first_paragraph(thing: object) -> str:
    """What a docstring says first."""
    return prose((inspect.getdoc(thing) or "").partition("\n\n")[0])


# --- settings ---------------------------------------------------------------------------------


def settings_page() -> str:
    """The table of all settings, from their declarations."""
    return page(
        "Settings",
        "Every setting of a study, with its key, values, default and flag.",
        """\
A setting has one meaning wherever it is given:

- as a flag of `spot-dask run`, such as `--seed 3`;
- in the environment: `SPOT_DASK_SEED=3`;
- by its key: `--set seed=3`, `--set design.initial=16`, `--set space.lr.high=0.1`;
- in a TOML file, where keys without a dot are in the table `[study]`, beside
  `file = "study.py:name"`, which names the study;
- in Python: `Study(..., seed=3, budget=Budget(evaluations=40), design=Design(initial=16))`. Times
  are seconds there, and `client`, `local` and `store` are arguments of `study.run`.

Where a setting is given twice, the first of these counts: a flag, the environment, `--set`, the
TOML file, the study in Python.

`space.NAME = value` fixes a parameter. `space.NAME.FIELD` changes its `low`, `high`, `scale`,
`levels` or `default`.

A run keeps its settings. `spot-dask resume` takes the seed, the surrogate and all else that the
store records from the store. It changes the budget by `--evaluations`, `--epochs`, `--wall` and
`--until`. `gpus`, `timeout`, `memory`, `isolation` and `checkpoints` are not recorded: it takes
them from the study.""",
        "## All settings",
        settings.reference(),
    )


# --- the command line -------------------------------------------------------------------------


def commands_page() -> str:
    """Each command with its arguments and options, from click."""
    context = click.Context(cli.main, info_name="spot-dask")
    found = [(name, cli.main.get_command(context, name)) for name in cli.COMMANDS]
    overview = [
        (f"[`spot-dask {name}`](#spot-dask-{name})", cell(command.get_short_help_str(1000)))
        for name, command in found
        if command is not None
    ]
    return page(
        "Command line",
        "Every command of `spot-dask`, with its arguments and options.",
        "`STUDY` is `file.py`, `file.py:name` or `file.toml`. `STORE` is where a run keeps its "
        "evaluations: a path, or `s3://bucket/run.zarr`. An option of a command may also be given "
        "in the environment: `--local 4` as `SPOT_DASK_LOCAL=4`. Commands end with the codes in "
        "[statuses and exit codes](statuses.md). `dask spot` has the same commands.",
        'For completion in bash, add `eval "$(_SPOT_DASK_COMPLETE=bash_source spot-dask)"` to '
        "`~/.bashrc`; `zsh_source` and `fish_source` are there, too.",
        table(("command", "what it does"), overview),
        *(_command(name, command) for name, command in found if command is not None),
    )


def _command(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=f"spot-dask {name}", max_content_width=10_000)
    usage = " ".join(["spot-dask", name, *command.collect_usage_pieces(context)])
    records = [(param, param.get_help_record(context)) for param in command.get_params(context)]
    options = [(f"`{cell(record[0])}`", cell(record[1])) for _, record in records if record]
    paragraphs = [
        f"## spot-dask {name}",
        f"```text\n{usage}\n```",
        prose_of_help(command.help or ""),
        table(("option", ""), options),
    ]
    return "\n\n".join(paragraphs)


def prose_of_help(text: str) -> str:
    """The paragraphs of a command's help."""
    return "\n\n".join(prose(paragraph) for paragraph in inspect.cleandoc(text).split("\n\n"))


# --- Python -----------------------------------------------------------------------------------

GROUPS = {
    "Studies and runs": ("study", "run", "settings", "search_cv", "series"),
    "Search spaces": ("space",),
    "Tasks": ("tasks",),
    "Core models": ("core_models",),
    "Records": ("records", "tuner"),
    "Warm starts and trackers": ("warmstart", "trackers"),
    "Errors": ("errors",),
}
"""Heading -> the rooms whose public names stand below it; others stand below the last heading."""

OTHERS = "Others"

RETURNED = {"tasks.fitted": "Fitted"}
"""Classes that methods return and nobody makes: what their attributes and methods are is told."""


def python_page() -> str:
    """The public names of the package with their signatures and what they are for."""
    grouped: dict[str, list[str]] = {heading: [] for heading in (*GROUPS, OTHERS)}
    for name in dir(spot_dask):
        home = spot_dask._HOMES.get(name)
        if home is not None:
            grouped[_heading(home)].append(name)
    parts = []
    for heading, names in grouped.items():
        if names:
            parts += [f"## {heading}", *map(_public, sorted(names, key=str.lower))]
    parts.append("## What methods return")
    parts += [_returned(home, name) for home, name in RETURNED.items()]
    return page(
        "Python",
        "The public names of `spot_dask`, with their signatures and methods.",
        "All of them are imported from `spot_dask` itself: `from spot_dask import Study`. "
        "Docstrings tell more: `help(spot_dask.Study)`.",
        *parts,
    )


def _heading(home: str) -> str:
    room = home.partition(".")[0]
    return next((heading for heading, rooms in GROUPS.items() if room in rooms), OTHERS)


def _public(name: str) -> str:
    thing = getattr(spot_dask, name)
    if not inspect.isclass(thing):
        return f"### `{name}{_signature(thing)}`\n\n{first_paragraph(thing)}"
    is_error = issubclass(thing, BaseException)
    bare = is_error or getattr(thing, "_is_protocol", False)
    head = f"### `{name}{'' if bare else _signature(thing)}`"
    found = [] if is_error else [*_members(thing)]
    return "\n\n".join([head, first_paragraph(thing), *(["\n".join(found)] if found else [])])


def _returned(home: str, name: str) -> str:
    """A class that a method returns: what it is, its public attributes and its methods."""
    kind = getattr(importlib.import_module(f"spot_dask.{home}"), name)
    shown = [f"`{f.name}`" for f in dataclasses.fields(kind) if f.repr]
    paragraphs = [prose(text) for text in (inspect.getdoc(kind) or "").split("\n\n")]
    attributes = f"Its attributes: {', '.join(shown)}."
    return "\n\n".join([f"### `{name}`", *paragraphs, attributes, "\n".join(_members(kind))])


def _signature(thing: Any) -> str:
    """Names and defaults of the arguments; those of a table of settings stand on their own page."""
    try:
        signature = inspect.signature(thing)
    except ValueError:
        return "(...)"
    parameters = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in signature.parameters.values()
        if parameter.name not in ("self", "cls") and not parameter.name.startswith("_")
    ]
    if inspect.isclass(thing) and issubclass(thing, settings.Settings):
        own = [p for p in parameters if p.default is p.empty]
        return f"({', '.join(p.name for p in own)}, **settings)"
    text = str(inspect.Signature(parameters))
    return re.sub(r"<(?:factory|function|class|object)[^>]*>", "...", text)


def _members(kind: type) -> Iterator[str]:
    """The public methods and properties of a class of ours that have a docstring."""
    for name, member in inspect.getmembers_static(kind):
        if name in getattr(kind, "_unlisted", ()):
            continue
        inner = inspect.unwrap(getattr(member, "__func__", getattr(member, "fget", member)))
        inner = getattr(inner, "func", inner)  # of a cached property
        ours = str(getattr(inner, "__module__", "")).startswith("spot_dask")
        if name.startswith("_") or not ours or not inspect.isfunction(inner):
            continue
        if not inspect.getdoc(inner):
            continue
        is_method = inspect.isfunction(member) or isinstance(member, classmethod | staticmethod)
        shown = f"{name}{_signature(inner) if is_method else ''}"
        yield f"- `{shown}`: {first_paragraph(inner)}"


# --- components -------------------------------------------------------------------------------

FOLDERS = (
    ("Surrogates", "surrogate", surrogates, "fit", ("sklearn", "mean")),
    ("Infill criteria", "infill", infill, "propose", ()),
    ("Rules of early stopping", "early_stopping", early_stopping, "stops", ()),
    ("Ways to search", "search", baselines, "propose", ()),
    ("Trackers", "trackers", trackers, "evaluated", ()),
    ("Core models", "", core_models, "build", ("torchvision",)),
    ("Formats of warm starts", "", warmstart, "read", ()),
)
"""Heading, setting, folder, its method, and files that need more than a name."""


def components_page() -> str:
    """The names that a setting such as surrogate takes, with the settings of each."""
    parts = []
    for heading, setting, folder, method, more in FOLDERS:
        names = [*plugins.names(folder.__name__, method), *more]
        rows = [_component(folder.__name__, method, name) for name in sorted(set(names))]
        told = f"For the setting `{setting}`." if setting else ""
        parts += [f"## {heading}", *([told] if told else []), table(("name", "", "settings"), rows)]
    return page(
        "Components",
        "The surrogates, criteria, rules, searches, trackers and models that have a name.",
        "A component is given by its name, with settings in parentheses where wanted: "
        '`surrogate="kriging(starts=4)"`. One of yours is `"package.module:Name"`, or an object.',
        *parts,
    )


def _component(folder: str, method: str, name: str) -> tuple[str, str, str]:
    module = importlib.import_module(f"{folder}.{name}")
    (kind,) = plugins._extensions(module.__name__, method) or [None]
    fields = dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()
    known = [
        f"`{field.name}={field.default!r}`"
        for field in fields
        if field.init and field.default is not dataclasses.MISSING
    ]
    about = (module.__doc__ or "").partition("\n\n")[0]
    return f"`{name}`", cell(prose(about)), cell(", ".join(known))


# --- tables and the store ---------------------------------------------------------------------


def evaluations_page() -> str:
    """The columns of the evaluations, and where a store keeps what."""
    space = spot_dask.Space(lr=spot_dask.Real(1e-4, 1.0, scale="log"))
    header = Header(
        "", "", 0.0, space.to_json(), "", "loss", "min", {"constraints": {"latency": "<= 1"}}
    )
    columns = tabulate(header, ()).columns
    rows = [
        ("`objective`", "real", "the objective, in the direction of the study")
        if column.name == "objective"
        else (f"`{column.name}`", column.kind, cell(_about_column(column)))
        for column in columns
        if not column.name.startswith("config.")
    ]
    rows += [
        ("`config.PARAMETER`", "real, integer, factor", "missing where it is not active"),
        ("`metric.NAME`", "real", "each metric that a training has reported"),
    ]
    kinds = [(kind, f"`{dtype.name if kind != 'text' else 'string'}`")
             for kind, dtype in DTYPES.items()]  # fmt: skip
    trees = [
        literal_block(inspect.getdoc(module) or "").replace("``", "") for module in (layout, tables)
    ]
    return page(
        "Evaluations and the store",
        "The columns of the table of evaluations, and the layout of a store.",
        "One row is one evaluation, in the order of the journal. `run.to_dataframe()`, "
        "`run.to_xarray()`, `spot-dask export` and the store's own tables have the same columns. "
        "The first two need `pip install 'spot-dask[tables]'`.",
        table(("column", "kind", ""), rows),
        "`constraints` is there where the study has any. Of k folds, replicate r is fold r % k. "
        "Zarr and xarray also have `curve.NAME`, the points of all learning curves one after the "
        "other, and `curve_size.NAME`, how many points each evaluation has. JSON lines and Parquet "
        "have lists; `--to csv --curves` writes curves in long form. A `/` in a metric's name is "
        "written `~2F`.",
        "## Kinds",
        table(("kind", "in Zarr"), kinds),
        "A time counts microseconds since 1970 (UTC). A factor is an index into the attribute "
        "`categories` of its column. What is missing is the `_FillValue` of the column. Numbers "
        "that are not finite are kept by every export; CSV and JSON lines have `NaN`, `Infinity` "
        "and `-Infinity`. In CSV an apostrophe stands before a text that a spreadsheet would "
        "compute.",
        "## Layout",
        "A store is a Zarr v3 hierarchy. Any Zarr reader opens it, and it holds no pickles.",
        "```text\n{}\n{}\n```".format(*trees),
        "The journal, `log`, is the truth. The tables are made from it while the run grows and "
        "when it ends: the newest two are kept, older ones for an hour. A reader without "
        "spot-dask finds the newest by the attribute `latest` of `run.zarr/tables`.",
        f"Beside a store `run.zarr` are `run/report.html` with its `.json` and `.md`, exports in "
        f"`run/`, and where they are wanted `run.zarr.checkpoints` and `run.zarr.artifacts`. The "
        f"format is `{layout.FORMAT}`, schema {layout.SCHEMA[0]}.{layout.SCHEMA[1]}.",
    )


def _about_column(column: Column) -> str:
    levels = f": {', '.join(map(str, column.levels))}" if column.levels else ""
    units = f", in {column.units}" if column.units else ""
    return f"{column.long_name}{units}{levels}"


def literal_block(docstring: str) -> str:
    """The indented block of a docstring, such as a tree of files."""
    after = docstring.partition("::\n\n")[2]
    lines = [line[4:] for line in after.splitlines() if line.startswith("    ")]
    return "\n".join(lines)


# --- statuses and exit codes ------------------------------------------------------------------


def statuses_page() -> str:
    """How evaluations, runs and commands end."""
    state = inspect.getdoc(Glance.state) or ""
    return page(
        "Statuses and exit codes",
        "How an evaluation, a run and a command may end, and where configurations come from.",
        "## Statuses of evaluations",
        "The column `status`. All of them count in the budget.",
        table(("status", ""), described(Status)),
        "`imported` is the status of evaluations that were taken over by a warm start.",
        "## Origins of configurations",
        "The column `origin`.",
        table(("origin", ""), described(Origin)),
        "`imported` is the origin of evaluations that were taken over by a warm start.",
        "## States of runs",
        "`spot-dask status` tells one of these, and `run.state` is it.",
        prose(state.partition("\n\n")[0]),
        prose(state.partition("\n\n")[2]),
        "## Exit codes",
        table(("code", "means"), ((f"{code}", means) for code, means in exit_codes())),
    )


def described(kind: type[StrEnum]) -> Iterator[tuple[str, str]]:
    """The values of an enumeration and the comments that stand behind them."""
    source = inspect.getsource(kind)
    for member in kind:
        found = re.search(rf"    {member.name} = .*?  # (.*)", source)
        assert found, f"{kind.__name__}.{member.name} has no comment"
        yield f"`{member.value}`", prose(found[1])


def exit_codes() -> Iterator[tuple[int, str]]:
    """The codes that commands end with; those of errors are the errors' own."""
    by_code: dict[int, list[str]] = {}
    for kind in vars(errors).values():
        if inspect.isclass(kind) and issubclass(kind, errors.SpotDaskError):
            by_code.setdefault(kind.exit_code, []).append(f"`{kind.__name__}`")
    yield 0, "done"
    yield 1, f"another error, or a damaged store ({', '.join(by_code[1])})"
    yield 2, f"wrong usage, a wrong study, or no store ({', '.join(by_code[2])})"
    yield run_commands.NO_SUCCESS, "no training has succeeded"
    yield check.FAILED, "`spot-dask check` found a failure"
    yield errors.ClusterError.exit_code, "the scheduler is unreachable or lost (`ClusterError`)"
    told = {code: name for name, code in reversed(run_commands.SIGNALS.items())}
    for code, name in sorted(told.items()):
        others = [other for other, its in run_commands.SIGNALS.items() if its == code]
        yield code, f"stopped by {' or '.join(f'`{other}`' for other in others) or name}"


# --- JSON -------------------------------------------------------------------------------------


def report_json_page() -> str:
    """The keys of report.json, section by section."""
    parts = []
    types: dict[str, type] = {}
    for name, section in sections.found():
        parts += [f"## {name}", f"*{section.title}*", _facts(section, types)]
    parts.append("## Types")
    shown: set[str] = set()
    while left := sorted(types.keys() - shown):
        parts += [f"### {left[0]}", _fields(types[left[0]], types)]
        shown.add(left[0])
    return page(
        "report.json",
        "The numbers of a report as JSON: the keys of `report.json`, section by section.",
        f"The document has the schema `{report_page.SCHEMA}`. Values of the objective have the "
        "sign that the study gives them. A number that is not finite is a text: `NaN`, "
        '`Infinity`, `-Infinity`. A section that is not shown is `{"reason": ...}`, which tells '
        "why.",
        prose((inspect.getdoc(report_page.to_json) or "").partition("\n\n")[2]),
        table(
            ("key", ""),
            [
                ("`schema`", "the version of this format"),
                ("`about`", "`name`, `run_id`, `objective`, `direction`, `evaluations`"),
                ("`pending`", "trials without an evaluation yet"),
                ("`recommended`", "the number of the recommended trial, or null"),
                ("`methods`", "by section: `title`, `says`, `how`, `n` and `seed`"),
                ("one for each section", "its facts, listed below"),
            ],
        ),
        "## JSON of commands",
        "With `--json` a command writes one document to stdout, whose `schema` is "
        "`spot-dask/COMMAND/1`. The recommended configuration, as `best` and `status` have it:",
        prose((inspect.getdoc(spot_dask.Run.best_json) or "").partition("\n\n")[2]),
        *parts,
    )


def _facts(section: Any, types: dict[str, type]) -> str:
    """What a section's key holds; dataclasses within it are added to the types."""
    hint = typing.get_type_hints(type(section).facts)["return"]
    told = [kind for kind in _union(hint) if kind.__name__ != "Missing"]
    if len(told) == 1 and dataclasses.is_dataclass(told[0]):
        return _fields(told[0], types)
    names = [_type_text(kind, types) for kind in told]
    return f"A value: {' or '.join(names)}."


def _union(hint: Any) -> tuple[Any, ...]:
    is_union = typing.get_origin(hint) in (typing.Union, types_of_python.UnionType)
    return typing.get_args(hint) if is_union else (hint,)


def _fields(kind: type, types: dict[str, type]) -> str:
    """A dataclass: what its docstring says, and its fields."""
    doc = inspect.getdoc(kind) or ""
    says = "" if doc.startswith(f"{kind.__name__}(") else prose(doc)
    hints = typing.get_type_hints(kind)
    fields = [field for field in dataclasses.fields(kind) if not field.name.startswith("_")]
    rows = [(f"`{field.name}`", _type_text(hints[field.name], types)) for field in fields]
    return "\n\n".join(text for text in (says, table(("key", "value"), rows)) if text)


def _type_text(hint: Any, types: dict[str, type]) -> str:
    """A type as JSON has it; dataclasses in it are named, and added to the types."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        types.setdefault(hint.__name__, hint)
        return f"[{hint.__name__}](#{hint.__name__.lower()})"
    parts, origin = typing.get_args(hint), typing.get_origin(hint)
    if origin is typing.Literal:
        return " or ".join(f"`{json.dumps(part)}`" for part in parts)
    if len(_union(hint)) > 1:
        return " or ".join(dict.fromkeys(_type_text(part, types) for part in parts))
    if origin is tuple:
        inner = [_type_text(part, types) for part in parts if part is not ...]
        return f"list of {', '.join(dict.fromkeys(inner))}"
    if origin is not None and issubclass(origin, Mapping):
        return f"object of {_type_text(parts[1], types)}"
    if isinstance(hint, type) and issubclass(hint, Sequence) and hint is not str:
        return "list"
    return JSON_NAMES.get(hint, str(getattr(hint, "__name__", hint)))


JSON_NAMES = {
    str: "text", int: "number", float: "number", bool: "true or false", type(None): "null",
    Any: "value", dict: "object",
}  # fmt: skip
"""What types of Python are in JSON."""


PAGES: dict[str, Callable[[], str]] = {
    "commands": commands_page,
    "settings": settings_page,
    "components": components_page,
    "python": python_page,
    "evaluations": evaluations_page,
    "statuses": statuses_page,
    "report-json": report_json_page,
}
"""The topic of each page that is made, and what makes it."""


def main(words: Sequence[str] | None = None, folder: Path = DOCS) -> int:
    """Write all pages, or compare them; returns 1 where one that is compared is another."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, name what differs")
    only_check = parser.parse_args(words).check
    differ = 0
    for topic, make in PAGES.items():
        file, made = folder / f"{topic}.md", make()
        if not only_check:
            file.write_text(made, encoding="utf-8")
        elif not file.exists() or file.read_text(encoding="utf-8") != made:
            differ += 1
            print(f"{file.name} is not what the code says: ./scripts/references writes it")
    return int(differ > 0)


if __name__ == "__main__":
    sys.exit(main())
