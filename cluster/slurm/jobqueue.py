"""A tuning on SLURM whose workers are submitted by dask-jobqueue.

Usage: jobqueue.py STUDY.py WORKERS. dask-jobqueue starts plain Dask workers: they train just as
well, but a preempted one does not let its trainings end. The process of this script has the
scheduler; run it where it may stay for the whole tuning, such as in a job of its own.
"""

from __future__ import annotations

import sys

from dask_jobqueue import SLURMCluster
from distributed import Client
from distributed.security import Security

from spot_dask.config import load


def cluster(gpus: int = 1, security: Security | None = None) -> SLURMCluster:
    """A cluster without workers; each will be a job with so many GPUs and a slot on each."""
    return SLURMCluster(
        processes=1,
        cores=max(1, gpus),  # slots
        job_cpu=4 * max(1, gpus),
        memory="16GiB",  # of the job; what trainings use
        walltime="1-00:00:00",
        nanny=False,
        worker_extra_args=["--resources", f"GPU={gpus}"] if gpus else [],
        job_extra_directives=[f"--gres=gpu:{gpus}"] if gpus else [],
        # The certificates are written there, for the jobs.
        shared_temp_directory=".",
        protocol="tls://",
        security=security or Security.temporary(),
        scheduler_options={"dashboard_address": "127.0.0.1:0"},
    )


if __name__ == "__main__":
    study = load(sys.argv[1], []).study
    with cluster() as jobs, Client(jobs) as client:
        jobs.scale(jobs=int(sys.argv[2]))
        run = study.run(client=client)
    print(run.report())
