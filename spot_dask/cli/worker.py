"""``spot-dask worker``, ``scheduler`` and ``certificates``: a cluster of one's own."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click

from spot_dask import endings
from spot_dask.cli import options as opt
from spot_dask.settings import duration


@click.command(cls=opt.Command, context_settings=opt.ENVIRONMENT)
@click.argument("scheduler", type=opt.PATH)
@click.option(
    "--slots",
    type=click.IntRange(1),
    help="Most trainings at a time.  [default: one on each core, at least one on each GPU]",
)
@click.option(
    "--grace",
    type=opt.DURATION,
    default="20s",
    help="How long trainings may go on after SIGTERM; then they are left to other workers.",
)
@click.option("--name", help="The worker's name; unique in the cluster.")
@click.option("--host", help="Address of this machine at which the cluster reaches the worker.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Its port (0: any).")
@click.option(
    "--local-directory",
    metavar="DIR",
    type=click.Path(file_okay=False),
    help="For temporary files.",
)
@opt.tls_options
@opt.verbose_option
def worker(scheduler: str, grace: str, **options: Any) -> None:
    """Train on this machine for the cluster of SCHEDULER.

    SCHEDULER is an address (tls://host:8786) or the file that `spot-dask scheduler` writes. The
    worker waits for a scheduler that is not there yet, and again when it is gone. It finds the
    machine's GPUs by itself (CUDA_VISIBLE_DEVICES limits them). At SIGTERM or Ctrl-C it takes no
    more trainings and leaves when those that run have ended, at the latest after --grace; a
    second signal ends it at once. -v shows what Dask logs, too.
    """
    connection = opt.connection(scheduler, options)
    _log()
    from spot_dask.executors.service import WorkerSettings, run_worker

    run_worker(connection, WorkerSettings(grace=duration(grace), **options))


@click.command(cls=opt.Command, context_settings=opt.ENVIRONMENT)
@click.option("--host", help="Where to listen.  [default: this machine only; with TLS everywhere]")
@click.option("--port", type=click.IntRange(0, 65535), default=8786, help="Its port (0: any).")
@click.option(
    "--dashboard",
    metavar="HOST:PORT",
    default="127.0.0.1:8787",
    help="Where to show Dask's dashboard; it is not protected.",
)
@click.option(
    "--scheduler-file",
    "file",
    metavar="FILE.json",
    type=opt.PATH,
    help="Write the address there, for workers and runs.",
)
@opt.tls_options
@opt.verbose_option
def scheduler(**options: Any) -> None:
    """Run the scheduler of a cluster.

    It is for `spot-dask worker ADDR` and `spot-dask run --scheduler ADDR`. Whoever reaches its port
    can run code as you, on all its workers. Without certificates it is plain TCP at 127.0.0.1,
    which other users of this machine reach, too; with those that `spot-dask certificates` makes,
    only who has them.
    """
    tls, insecure = opt.tls(options), options.pop("insecure")
    _log()
    from spot_dask.executors.service import SchedulerSettings, run_scheduler

    if options["file"] is not None and not options["file"].endswith(".json"):
        raise click.UsageError(f"--scheduler-file is {options['file']!r}; it must end in .json")
    run_scheduler(SchedulerSettings(**options), tls, insecure)


@click.command(cls=opt.Command, context_settings=opt.ENVIRONMENT)
@click.argument("directory", type=opt.PATH)
@click.option("--days", type=click.IntRange(1), default=365, help="How long they are valid.")
@opt.verbose_option
def certificates(directory: str, days: int) -> None:
    """Make the certificates of one cluster in DIRECTORY.

    It must not exist yet. Whoever has one of its keys can run code on the whole cluster.
    """
    if Path(directory).exists():
        raise click.UsageError(f"{directory} exists already; name a new directory")
    from spot_dask.executors.connection import write_certificates

    write_certificates(directory, days)
    opt.say(
        f"--tls-ca-file {directory}/ca.pem --tls-cert {directory}/cluster.pem "
        f"--tls-key {directory}/cluster-key.pem"
    )


def _log() -> None:
    """A service tells what happens to it, in our words; Dask's come with -v."""
    opt.log_to_stderr("%(asctime)s %(message)s")
    ours = logging.getLogger("spot_dask")
    if ours.level == logging.NOTSET:
        ours.setLevel(logging.INFO)
        import distributed  # noqa: F401 - sets levels of its own

        endings.silence()
