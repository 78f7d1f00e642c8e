"""``spot-dask help``: the documentation, which is part of the package.

A topic is a file of ``spot_dask/docs``. Its ``README.md``, which a browser shows for the folder, is
the index that is read here: a heading is a group, and a line of a list is a topic with its title
and a sentence on it. So the list of topics is one small file, read without anything heavy.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from spot_dask.cli import options as opt
from spot_dask.errors import did_you_mean, shown

DOCS = Path(__file__).parents[1] / "docs"
INDEX = DOCS / "README.md"

_GROUP = re.compile(r"## (.+)")
_TOPIC = re.compile(r"- \[(.+)\]\(([\w-]+)\.md\): (.+)")
OTHER_WORDS = {
    "joblib": "the-model",
    "kubernetes": "clusters",
    "mlflow": "trackers",
    "noise": "what-best-means",
    "optuna": "coming-from",
    "pandas": "data-and-metrics",
    "prior": "warm-start",
    "ray": "coming-from",
    "slurm": "clusters",
    "spotpython": "coming-from",
    "ssh": "clusters",
    "tensorboard": "trackers",
    "tls": "clusters",
}
"""Words that people look for, with the topic where they stand."""

_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Topic:
    """A page of the documentation, as the index lists it."""

    topic: str
    group: str
    title: str
    summary: str

    @property
    def path(self) -> Path:
        """The page's file."""
        return DOCS / f"{self.topic}.md"


def topics() -> Iterator[Topic]:
    """All topics in the order of the index."""
    group = ""
    for line in INDEX.read_text(encoding="utf-8").splitlines():
        if heading := _GROUP.fullmatch(line):
            group = heading[1]
        elif listed := _TOPIC.fullmatch(line):
            yield Topic(listed[2], group, listed[1], listed[3])


def meant(word: str, known: Collection[str], commands: Collection[str]) -> str | None:
    """The topic that a word stands for, in letters of any size; None where it is none of them.

    Itself or its file, else a word of ``OTHER_WORDS``, else the only topic that begins so. A
    command is no beginning of a topic.
    """
    wanted = word.removesuffix(".md").lower()
    if wanted in known:
        return wanted
    if wanted in commands:
        return None
    if wanted in OTHER_WORDS:
        return OTHER_WORDS[wanted]
    found = [topic for topic in known if wanted and topic.startswith(wanted)]
    return found[0] if len(found) == 1 else None


def on_a_terminal(page: str) -> str:
    """A page with its links in words: on a terminal a topic is reached by its name."""

    def told(link: re.Match[str]) -> str:
        text, target = link[1], link[2]
        if "://" in target:
            return f"{text} ({target})"
        if target.startswith("#"):
            return text
        file = target.partition("#")[0]
        if "/" not in file:
            return f"{text} (`help {file.removesuffix('.md')}`)"
        return f"{text} (`{file.removeprefix('../../')}` of the repository)"

    return _LINK.sub(told, page)


class TopicName(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.4
    """A topic, which a shell completes, or a command."""

    name = "topic"

    def shell_complete(self, ctx: Any, param: Any, incomplete: str) -> list[CompletionItem]:
        return [
            CompletionItem(topic.topic, help=topic.title)
            for topic in topics()
            if topic.topic.startswith(incomplete)
        ]


class HelpCommand(click.Command):
    """A command that leaves stdout as it is, for a pager to take."""

    context_class = opt.CommandContext


@click.command(cls=HelpCommand, context_settings=opt.ENVIRONMENT)
@click.argument("topic", type=TopicName(), required=False)
@opt.json_option
@opt.verbose_option
@click.pass_context
def help(ctx: click.Context, topic: str | None, as_json: bool) -> None:
    """Show a page of the documentation, or list its topics.

    It is part of the package and needs no network. TOPIC may also be the beginning of one, a word
    such as optuna or slurm, or a command, whose --help is shown.
    """
    known = {each.topic: each for each in topics()}
    if topic is None:
        if as_json:
            opt.emit("help", {"topics": [asdict(each) for each in known.values()]})
        else:
            opt.show(_listed(ctx, known.values()))
        return
    commands = ctx.parent and ctx.parent.command
    names = commands.list_commands(ctx) if isinstance(commands, click.Group) else []
    if (name := meant(topic, known, names)) is not None:
        found = known[name]
        page = found.path.read_text(encoding="utf-8")
        if as_json:
            opt.emit("help", {**asdict(found), "text": page})
        else:
            opt.show_page(page.removesuffix("\n"), on_a_terminal)
        return
    if topic in names and isinstance(commands, click.Group) and not as_json:
        command = commands.get_command(ctx, topic)
        assert command is not None
        opt.show(command.get_help(command.context_class(command, ctx.parent, topic)))
        return
    near = did_you_mean(topic, [*known, *names])
    raise click.UsageError(f"no topic {shown(topic)}{near or '; `spot-dask help` lists them'}")


def _listed(ctx: click.Context, known: Collection[Topic]) -> str:
    """The topics by group, as ``--help`` shows commands."""
    formatter, width = ctx.make_formatter(), max(len(each.topic) for each in known)
    for group, members in groupby(known, lambda topic: topic.group):
        with formatter.section(group):
            formatter.write_dl([(each.topic.ljust(width), each.title) for each in members])
    formatter.write_paragraph()
    formatter.write_text(
        "`spot-dask help TOPIC` shows a page, `spot-dask help COMMAND` a command's options. "
        "`scripts/`, `tests/` and `cluster/`, which pages name, are in the repository."
    )
    return formatter.getvalue().strip("\n")
