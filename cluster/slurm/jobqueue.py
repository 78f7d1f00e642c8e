"""A tuning on SLURM whose workers are submitted by dask-jobqueue.

Usage: jobqueue.py STUDY WORKERS [--gpus N] [sbatch options of the workers]. Each worker is a job
with N GPUs (1 unless told otherwise) and trains on each of them, with --gpus=0 one after the other.

dask-jobqueue starts plain Dask workers: they train just as well, but a preempted one does not let
its trainings end. The process of this script has the scheduler; run it where it may stay for the
whole tuning, such as in a job of its own, in a directory that all nodes share.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Sequence

from dask_jobqueue import SLURMCluster
from distributed import Client
from distributed.security import Security

from spot_dask.config import load
from spot_dask.errors import SpotDaskError
from spot_dask.session import Update


def cluster(gpus: int = 1, options: Sequence[str] = ()) -> SLURMCluster:
    """A cluster without workers; each will be a job with so many GPUs and a slot on each.

    ``options`` are sbatch's and replace what is said here.
    """
    directives = [f"--gres=gpu:{gpus}"] if gpus else []
    if options:
        directives.append(shlex.join(options))
    return SLURMCluster(
        processes=1,
        cores=max(1, gpus),  # slots
        job_cpu=4 * max(1, gpus),
        memory="16GiB",  # of the job; what trainings use
        walltime="1-00:00:00",
        nanny=False,
        # The job is the worker: one that hangs when it is told to end a second time is killed.
        python=f"exec {shlex.quote(sys.executable)}",
        # The memory is the trainings': no worker pauses for what it has itself.
        worker_extra_args=[
            *("--memory-limit", "0", "--resources", f"GPU={gpus}"),
            *("--dashboard-address", "127.0.0.1:0"),
        ],
        job_extra_directives=directives,
        # The certificates are written there, for the jobs.
        shared_temp_directory=".",
        protocol="tls://",
        security=Security.temporary(),
        scheduler_options={"dashboard_address": "127.0.0.1:0"},
    )


def refusal(jobs: SLURMCluster) -> str | None:
    """Why SLURM will not take such a job; None if it will.

    dask-jobqueue submits in the background, where nobody waits for the answer.
    """
    done = subprocess.run(
        ["sbatch", "--test-only"], input=jobs.job_script(), text=True, capture_output=True
    )
    return done.stderr.strip() if done.returncode else None


def tell(update: Update) -> None:
    if update.message:
        print(update.message, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        usage="%(prog)s STUDY WORKERS [--gpus N] [sbatch options of the workers]",
        allow_abbrev=False,
    )
    parser.add_argument("study")
    parser.add_argument("workers", type=int)
    parser.add_argument("--gpus", type=int, default=1)
    given, options = parser.parse_known_args()
    study = load(given.study).study
    with cluster(given.gpus, options) as jobs, Client(jobs) as client:
        reason = refusal(jobs)
        if reason is not None:
            sys.exit(reason)
        jobs.scale(jobs=given.workers)
        run = study.run(client=client, listener=tell)
    print(run.report())


if __name__ == "__main__":
    try:
        main()
    except SpotDaskError as error:
        sys.exit(f"Error: {error}")
