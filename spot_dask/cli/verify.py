"""``spot-dask verify``: is every byte of a store as it was written?"""

from __future__ import annotations

import click

from spot_dask.cli import options as opt

DAMAGED = 1


@click.command(context_settings=opt.ENVIRONMENT)
@click.argument("store")
@click.option(
    "--salvage",
    metavar="NEW",
    type=click.Path(),
    help="Write what is intact of a damaged STORE to a new one; STORE itself stays as it is.",
)
@opt.json_option
@opt.verbose_option
@click.pass_context
def verify(ctx: click.Context, store: str, salvage: str | None, as_json: bool) -> None:
    """Check every byte of STORE and tell what is wrong and where; exit code 1 if anything is."""
    from spot_dask.store.verify import verify as check

    verdict = check(store)
    saved = None
    if salvage is not None and verdict.problems:
        from spot_dask.store.verify import salvage as rescue

        saved = rescue(store, salvage)
    if as_json:
        opt.emit(
            "verify",
            {
                "store": store,
                "intact": not verdict.problems,
                "records": verdict.records,
                "objects": verdict.objects,
                "bytes": verdict.size,
                "problems": list(verdict.problems),
                "salvaged": saved
                and {"store": salvage, "kept": saved.kept, "losses": saved.losses},
            },
        )
    else:
        for problem in verdict.problems:
            click.echo(problem)
        count = len(verdict.problems)
        state = "intact" if count == 0 else f"{count} problem{'s' if count > 1 else ''}"
        click.echo(
            f"{store}: {verdict.records} records in {verdict.objects} objects "
            f"({verdict.size:,} bytes): {state}"
        )
        if salvage is not None and saved is None:
            click.echo(f"nothing to salvage: {salvage} is not made")
        for loss in saved.losses if saved is not None else ():
            click.echo(f"not saved: {loss}")
        if saved is not None:
            click.echo(f"{saved.kept} records saved to {salvage}; `spot-dask resume {salvage}`")
    if verdict.problems and saved is None:
        ctx.exit(DAMAGED)
