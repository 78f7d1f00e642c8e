"""The command that compares runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spot_dask import words
from spot_dask.cli import options as opt
from spot_dask.errors import StoreError
from spot_dask.outputs import write_texts
from spot_dask.texts import printable

if TYPE_CHECKING:
    from spot_dask.compare import RunsComparison

SHOWN = ("group", "seed", "observed", "confirmed", "default")
"""The columns for which a terminal has room."""


@click.command(cls=opt.Command, context_settings=opt.ENVIRONMENT)
@click.argument("stores", nargs=-1, required=True, metavar="STORE STORE...", type=opt.PATH)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=opt.PATH,
    help="Write the comparison to a file: .html or .md.",
)
@opt.json_option
@opt.verbose_option
def compare(stores: Sequence[str], output: str | None, as_json: bool) -> None:
    """Compare the runs in STOREs, which have one objective.

    Tuned configurations are compared by their trainings under fresh seeds; ways to search by five
    or more runs each.
    """
    if output is not None and Path(output).suffix not in (".html", ".md"):
        raise click.UsageError(f"-o {output}: expected a file that ends in .html or .md")
    from spot_dask.compare import compare as compared
    from spot_dask.run import Run

    found = compared([Run.open(store) for store in stores])
    if output is not None:
        write(found, Path(output))
    tell(found, output, as_json)


def tell(found: RunsComparison, output: str | None, as_json: bool) -> None:
    """Print a comparison, and where its page is."""
    from spot_dask.compare import to_json
    from spot_dask.compare.page import runs_table, sentences

    if as_json:
        opt.emit("compare", {**to_json(found), "page": output})
        return
    listed = runs_table(found)
    shown = [i for i, column in enumerate(listed.columns) if column.title in SHOWN]
    rows = [[printable(row[i].text, words.LONGEST_TEXT) for i in shown] for row in listed.rows]
    opt.show_table("runs", [listed.columns[i].title for i in shown], rows)
    for sentence in sentences(found):
        opt.say(sentence)
    if output is not None:
        opt.say(output)


def write(found: RunsComparison, path: Path) -> None:
    """Write a comparison as a page or, where the name ends in .md, as Markdown."""
    from spot_dask.compare.page import html, markdown

    content = markdown(found) if path.suffix == ".md" else html(found)
    try:
        write_texts({path: content})
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error.strerror})") from error
