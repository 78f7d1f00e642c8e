"""``spot-dask export``: the evaluations of a store as a file that other programs read."""

from __future__ import annotations

import sys

import click

from spot_dask.cli import options as opt

STDOUT = "-"


@click.command(context_settings=opt.ENVIRONMENT)
@click.argument("store")
@click.option(
    "--to",
    type=click.Choice(["csv", "jsonl", "parquet", "zarr"]),
    required=True,
    help="The format; parquet needs pyarrow (pip install 'spot-dask[tables]').",
)
@click.option(
    "-o",
    "--output",
    metavar="PATH",
    help="Where to write it [default: evaluations.* in a folder beside STORE]; - is stdout.",
)
@click.option("--curves", is_flag=True, help="The learning curves instead (csv only).")
@click.option("--force", is_flag=True, help="Replace an earlier export.")
@opt.json_option
@opt.verbose_option
def export(
    store: str, to: str, output: str | None, curves: bool, force: bool, as_json: bool
) -> None:
    """Write the evaluations of the run in STORE to a file; the last line is its path.

    One row per evaluation. jsonl, parquet and zarr hold the learning curves as well.
    """
    if curves and to != "csv":
        raise click.UsageError(f"--curves is for --to csv; {to} holds the curves anyway")
    if output == STDOUT and (as_json or to not in ("csv", "jsonl")):
        raise click.UsageError("-o - is for --to csv or jsonl, without --json; give a path")
    from spot_dask.run import Run

    run = Run.open(store)
    kind = "curves.csv" if curves else to
    if output == STDOUT:
        from spot_dask.store.export import TEXT_FORMATS

        TEXT_FORMATS[kind](run.table, sys.stdout, run.header.run_id)
        return
    path = run.export(kind, output, force=force)
    if as_json:
        document = {"store": store, "path": str(path), "format": to, "rows": len(run.table)}
        opt.emit("export", document)
    else:
        click.echo(str(path))
