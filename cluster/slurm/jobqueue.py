"""A command of spot-dask on SLURM, with workers that dask-jobqueue submits for it.

Usage: jobqueue.py WORKERS [--gpus N] [sbatch options of the workers] -- run STUDY ...
Each worker is a job with N GPUs (1 unless told otherwise) and trains on each of them, with --gpus=0
one after the other. What follows -- is a spot-dask command line: run or resume.

dask-jobqueue starts plain Dask workers: they train just as well, but a preempted one does not let
its trainings end. The process of this script has the scheduler; run it where it may stay for the
whole tuning, such as in a job of its own, in a directory that all nodes share.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from dask_jobqueue import SLURMCluster
from distributed.security import Security

from spot_dask.executors.connection import Tls, write_certificates


def cluster(security: Security, gpus: int = 1, options: Sequence[str] = ()) -> SLURMCluster:
    """A cluster without workers; each will be a job with so many GPUs and a slot on each.

    ``options`` are sbatch's and replace what is said here.
    """
    directives = [f"--gres=gpu:{gpus}"] if gpus else []
    if options:
        directives.append(shlex.join(options))
    return SLURMCluster(
        asynchronous=True,
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
        protocol="tls://",
        security=security,
        scheduler_options={"dashboard_address": "127.0.0.1:0"},
    )


async def work(workers: int, gpus: int, options: Sequence[str], command: Sequence[str]) -> int:
    """Exit code of spot-dask with that command line and a cluster of its own."""
    with tempfile.TemporaryDirectory(dir=".", prefix=".certificates-") as folder:
        made = Path(folder).resolve() / "cluster"
        write_certificates(made, days=90)
        files = {"ca_file": "ca.pem", "cert": "cluster.pem", "key": "cluster-key.pem"}
        tls = Tls(**{name: str(made / file) for name, file in files.items()})
        jobs = cluster(tls.security(), gpus, options)
        try:
            refusal = await submit(jobs, workers)
            if refusal:
                print(refusal, file=sys.stderr)
                return 1
            return await spot_dask(command, jobs.scheduler_address, tls)
        finally:
            with suppress(AssertionError):  # jobs that were never submitted cannot be closed
                await jobs.close()


async def submit(jobs: SLURMCluster, workers: int) -> str:
    """Submit the jobs of so many workers; what SLURM says if it refuses one, else nothing."""
    # scale() would submit in the background, where nobody hears of a refusal.
    for _ in range(workers):
        jobs.worker_spec.update(jobs.new_worker_spec())
    try:
        await jobs
    except RuntimeError as error:
        return str(error).partition("stderr:\n")[2].strip() or str(error)
    return ""


async def spot_dask(command: Sequence[str], scheduler: str, tls: Tls) -> int:
    """Exit code of spot-dask. What tells this process to stop is for spot-dask to act upon."""
    environment = {
        "SPOT_DASK_SCHEDULER": scheduler,
        "SPOT_DASK_TLS_CA_FILE": tls.ca_file,
        "SPOT_DASK_TLS_CERT": tls.cert,
        "SPOT_DASK_TLS_KEY": tls.key,
    }
    program = os.environ.get("SPOT_DASK", "spot-dask")
    run = await asyncio.create_subprocess_exec(program, *command, env=os.environ | environment)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, lambda: run.returncode is None and run.terminate())
    loop.add_signal_handler(signal.SIGINT, lambda: None)  # the terminal tells spot-dask as well
    code = await run.wait()
    return code if code >= 0 else 128 - code


def main() -> None:
    parser = argparse.ArgumentParser(
        usage="%(prog)s WORKERS [--gpus N] [sbatch options of the workers] -- run STUDY ...",
        allow_abbrev=False,
    )
    parser.add_argument("workers", type=int)
    parser.add_argument("--gpus", type=int, default=1)
    words = sys.argv[1:]
    end = words.index("--") if "--" in words else len(words)
    given, options = parser.parse_known_args(words[:end])
    command = words[end + 1 :]
    if given.workers < 1 or not command:
        parser.error("give a number of workers and, after --, a command such as: run study.py")
    sys.exit(asyncio.run(work(given.workers, given.gpus, options, command)))


if __name__ == "__main__":
    main()
