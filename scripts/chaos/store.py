"""Chaos for the store: do to coordinators what can happen to them, and count what is lost."""

from __future__ import annotations

import random
import sys
import tempfile
import time
from dataclasses import astuple, fields
from pathlib import Path

import click

from chaos.broken import WRITERS
from chaos.scenarios import SCENARIOS, attempt
from chaos.story import LARGE, Tally
from spot_dask.store import curves


@click.command(context_settings={"show_default": True})
@click.option("--scenario", "names", multiple=True, type=click.Choice(list(SCENARIOS)))
@click.option("--scale", default=1.0, help="Of the full size.")
@click.option("--seed", default=0)
@click.option("--writer", type=click.Choice(list(WRITERS)), default="correct")
@click.option("--folder", type=click.Path(file_okay=False), help="Where to keep the stores.")
def main(names: tuple[str, ...], scale: float, seed: int, writer: str, folder: str | None) -> None:
    """Kill, stop, race and starve coordinators of one store; exit 1 if anything was lost."""
    total = Tally()
    heading = [field.name for field in fields(Tally)]
    click.echo(f"{'scenario':<22}" + "".join(f"{h:>13}" for h in heading) + f"{'seconds':>9}")
    curves.LARGE = LARGE
    with tempfile.TemporaryDirectory(dir=folder) as place, WRITERS[writer]():
        for name in names or SCENARIOS:
            _, times, _ = SCENARIOS[name]
            where = Path(place) / name.replace(" ", "-")
            where.mkdir()
            began = time.monotonic()
            chance = random.Random(f"{seed} {name}")
            tally = attempt(name, where, max(1, round(scale * times)), chance)
            _show(name, tally, time.monotonic() - began)
            total.add(tally)
    _show("total", total, None)
    sys.exit(1 if total.failures else 0)


def _show(name: str, tally: Tally, seconds: float | None) -> None:
    cells = "".join(f"{value:>13,}" for value in astuple(tally))
    click.echo(f"{name:<22}{cells}" + ("" if seconds is None else f"{seconds:>9.0f}"))


if __name__ == "__main__":
    main()
