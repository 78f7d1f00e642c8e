"""Chaos for the store: do to coordinators what can happen to them, and count what is lost."""

from __future__ import annotations

import itertools
import random
import sys
import tempfile
import time
from dataclasses import astuple, fields
from pathlib import Path

import click

from chaos.broken import FOUND_BY, WRITERS
from chaos.scenarios import SCENARIOS, attempt
from chaos.story import LARGE, Tally
from spot_dask.store import curves

TRIES = 4
"""How often a scenario may miss a broken writer: a race that it loses to nobody shows nothing."""


@click.command(context_settings={"show_default": True})
@click.option("--scenario", "names", multiple=True, type=click.Choice(list(SCENARIOS)))
@click.option("--scale", default=1.0, help="Of the full size.")
@click.option("--quick", is_flag=True, help="The size of the test suite instead.")
@click.option("--seed", default=0)
@click.option("--writer", type=click.Choice(list(WRITERS)), default="correct")
@click.option("--sabotage", is_flag=True, help="See that every broken writer is found, instead.")
@click.option("--folder", type=click.Path(file_okay=False), help="Where to keep the stores.")
def main(
    names: tuple[str, ...],
    scale: float,
    quick: bool,
    seed: int,
    writer: str,
    sabotage: bool,
    folder: str | None,
) -> None:
    """Kill, stop, race and starve coordinators of one store; exit 1 if anything was lost.

    With --sabotage, exit 1 if a writer that leaves out what a promise rests on was not found.
    """
    curves.LARGE = LARGE
    title = "writer" if sabotage else "scenario"
    heading = [field.name for field in fields(Tally)]
    click.echo(f"{title:<22}" + "".join(f"{h:>13}" for h in heading) + f"{'seconds':>9}")
    number = itertools.count()
    with tempfile.TemporaryDirectory(dir=folder) as place:

        def play(name: str, writer: str, row: str) -> Tally:
            """Try a scenario on a writer, in a folder of its own, and show the row."""
            _, full, small = SCENARIOS[name]
            where = Path(tempfile.mkdtemp(dir=place))
            chance = random.Random(f"{seed} {next(number)} {name}")
            began = time.monotonic()
            with WRITERS[writer]():
                times = small if quick or sabotage else max(1, round(scale * full))
                tally = attempt(name, where, times, chance)
            _show(row, tally, time.monotonic() - began)
            return tally

        if sabotage:
            missed = [
                writer
                for writer, name in FOUND_BY.items()
                if not any(play(name, writer, writer).failures for _ in range(TRIES))
            ]
            click.echo(f"not found: {', '.join(missed) or 'none'}")
            sys.exit(1 if missed else 0)
        total = Tally()
        for name in names or SCENARIOS:
            total.add(play(name, writer, name))
    _show("total", total, None)
    sys.exit(1 if total.failures else 0)


def _show(name: str, tally: Tally, seconds: float | None) -> None:
    cells = "".join(f"{value:>13,}" for value in astuple(tally))
    click.echo(f"{name:<22}{cells}" + ("" if seconds is None else f"{seconds:>9.0f}"))


if __name__ == "__main__":
    main()
