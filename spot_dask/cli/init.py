"""``spot-dask init``: a study that runs as it is."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import click

from spot_dask.cli import options as opt
from spot_dask.errors import StudyError

TEMPLATES = ("study.py", "spot.toml")


@click.command(context_settings=opt.ENVIRONMENT)
@click.argument("directory", metavar="[DIR]", default=".")
@opt.verbose_option
def init(directory: str) -> None:
    """Write study.py and spot.toml into DIR (default: here); they run as they are."""
    target = Path(directory)
    for name in TEMPLATES:
        if (target / name).exists():
            raise StudyError(f"{target / name} exists already; name another directory")
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name in TEMPLATES:
            source = files("spot_dask.cli").joinpath("templates", f"{name}.template")
            (target / name).write_bytes(source.read_bytes())
    except OSError as error:
        raise StudyError(f"cannot write to {target}: {error.strerror}") from error
    click.echo(f"wrote {target / 'study.py'} and {target / 'spot.toml'}")
    click.echo(f"run it with: spot-dask run {target / 'spot.toml'}")
