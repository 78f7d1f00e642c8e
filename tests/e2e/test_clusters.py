"""The files of cluster/: what of them can be tried on one machine."""

from __future__ import annotations

import asyncio
import getpass
import importlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from e2e_shell import Shell, wait_until

from spot_dask import Run
from spot_dask.executors.connection import Tls, write_certificates

pytestmark = pytest.mark.e2e

CLUSTER = Path(__file__).parents[2] / "cluster"
SPOT_DASK = str(Path(sys.executable).with_name("spot-dask"))
SCRIPTS = [CLUSTER / name for name in (
    "local/start-cluster", "ssh/start-cluster", "slurm/submit", "slurm/scheduler.sbatch",
    "slurm/worker.sbatch",
)]  # fmt: skip

SLURM_CONF = """
ClusterName=test
SlurmctldHost=localhost
SlurmctldPort={port}
SlurmdPort={port_of_node}
AuthType=auth/none
CredType=cred/none
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool
SlurmctldPidFile={home}/slurmctld.pid
SlurmdPidFile={home}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
MpiDefault=none
ReturnToService=2
KillWait=5
NodeName=localhost NodeAddr=127.0.0.1 CPUs=8 RealMemory=16384 State=UNKNOWN
PartitionName=all Nodes=localhost Default=YES State=UP
"""


def needs(*commands: str) -> pytest.MarkDecorator:
    path = os.environ["PATH"] + ":/usr/sbin"
    missing = [c for c in commands if shutil.which(c, path=path) is None]
    return pytest.mark.skipif(bool(missing), reason=f"no {', '.join(missing)} on this machine")


def output(*command: str | Path, **options: Any) -> str:
    done = subprocess.run(
        command, text=True, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: str(p.relative_to(CLUSTER)))
def test_a_script_is_portable_shell(script: Path) -> None:
    output("sh", "-n", script)
    if shutil.which("shellcheck"):
        output("shellcheck", "--exclude=SC1091", script)


def test_the_units_are_valid(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze on this machine")
    for unit in sorted((CLUSTER / "systemd").glob("*.service")):
        copy = tmp_path / unit.name
        text = unit.read_text()
        assert "/opt/spot-dask/bin/spot-dask" in text
        copy.write_text(text.replace("/opt/spot-dask/bin/spot-dask", SPOT_DASK))
        output("systemd-analyze", "verify", "--man=no", copy)
        assert "KillMode=mixed" in text or "worker" not in unit.name


def documents(name: str) -> list[dict[str, Any]]:
    text = (CLUSTER / "kubernetes" / name).read_text()
    return list(yaml.safe_load_all(text))


def pods(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The specifications of pods in a Deployment or a DaskCluster."""
    spec = document["spec"]
    if document["kind"] == "Deployment":
        return [spec["template"]["spec"]]
    return [spec[part]["spec"] for part in ("worker", "scheduler") if part in spec]


def test_the_manifests_follow_their_schemas() -> None:
    validate = pytest.importorskip("kubernetes_validate").validate
    for document in documents("deployment.yaml"):
        validate(document, "1.33", strict=True)
    (cluster,) = documents("daskcluster.yaml")
    for number, pod in enumerate(pods(cluster)):
        head = {"apiVersion": "v1", "metadata": {"name": f"pod-{number}"}}
        validate({**head, "kind": "Pod", "spec": pod}, "1.33", strict=True)
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "scheduler"}}
    validate({**service, "spec": cluster["spec"]["scheduler"]["service"]}, "1.33", strict=True)


def test_pods_run_commands_that_exist_and_outlive_their_workers_grace() -> None:
    everything = [*documents("deployment.yaml"), *documents("daskcluster.yaml")]
    found = [pod for d in everything if d["kind"] != "Service" for pod in pods(d)]
    assert len(found) == 4
    for pod in found:
        (container,) = pod["containers"]
        command, *args = container["args"]
        known = output(SPOT_DASK, command, "--help")
        assert all(a in known for a in args if a.startswith("--"))
        if command == "worker":
            assert args[args.index("--grace") + 1] == "10m"
            assert pod["terminationGracePeriodSeconds"] > 600


# ------------------------------------------------------------ SLURM


@pytest.mark.dask
def test_dask_jobqueue_asks_for_gpus_and_encrypts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("dask_jobqueue")
    monkeypatch.syspath_prepend(CLUSTER / "slurm")
    write_certificates(tmp_path / "tls", days=1)
    files = (str(tmp_path / "tls" / f"{name}.pem") for name in ("ca", "cluster", "cluster-key"))
    cluster = importlib.import_module("jobqueue").cluster
    options = ["--mem=8G", "--comment=two words"]

    async def script_of_jobs() -> str:
        async with cluster(Tls(*files).security(), 2, options) as jobs:
            return str(jobs.job_script())

    script = asyncio.run(script_of_jobs())
    assert "#SBATCH --gres=gpu:2\n" in script
    assert script.index("#SBATCH --mem=16G\n") < script.index("#SBATCH --mem=8G '--comment=two")
    assert re.search(
        r"dask_worker tls://\S+ .*--nthreads 2 .*--no-nanny .*--resources GPU=2", script
    )
    assert "--tls-ca-file" in script


@pytest.fixture
def slurm(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    """A SLURM cluster of this machine alone."""
    port = 20000 + os.getpid() % 20000
    conf = shell.home / "slurm.conf"
    for folder in ("state", "spool"):
        (shell.home / folder).mkdir()
    conf.write_text(
        SLURM_CONF.format(home=shell.home, user=getpass.getuser(), port=port, port_of_node=port + 1)
    )
    monkeypatch.setenv("SLURM_CONF", str(conf))
    monkeypatch.setenv("SPOT_DASK", SPOT_DASK)
    monkeypatch.setenv("SPOT_DASK_CLUSTER", str(shell.home / "cluster"))
    monkeypatch.setenv("PATH", os.environ["PATH"] + ":/usr/sbin")
    for daemon in (["slurmctld", "-c", "-D"], ["slurmd", "-D", "-N", "localhost"]):
        with (shell.home / f"{daemon[0]}.log").open("w") as log:
            process = subprocess.Popen([*daemon, "-f", str(conf)], stdout=log, stderr=log)
        shell.started.append(process)  # type: ignore[arg-type]
    wait_until(lambda: "idle" in subprocess.getoutput("sinfo --noheader"))
    yield shell
    output("scancel", "--user", getpass.getuser())
    wait_until(lambda: output("squeue", "--noheader") == "", seconds=60)
    for process in shell.started[:2]:
        process.terminate()
        process.wait(timeout=30)


@needs("slurmctld", "slurmd", "sbatch")
@pytest.mark.dask
def test_a_tuning_on_slurm_survives_the_preemption_of_a_worker(slurm: Shell) -> None:
    hold = slurm.home / "hold"
    hold.touch()
    body = (
        "import pathlib\n"
        f"    (pathlib.Path({str(slurm.home)!r}) / f'begun-{{trial.number}}').touch()\n"
        f"    while pathlib.Path({str(hold)!r}).exists() and trial.number >= 4: time.sleep(0.05)"
    )
    study = slurm.study(body=body)
    study.write_text(study.read_text().replace("def train(cfg)", "def train(cfg, trial)"))
    told = output(CLUSTER / "slurm" / "submit", "2", "--cpus-per-task=1", cwd=slurm.home)
    environment = re.findall(r"Submitted batch job (\d+)", told)
    assert len(environment) == 2
    wait_until((slurm.home / "cluster" / "scheduler.json").exists)
    run = slurm.start(
        ["sh", "-c", f". cluster/environment; exec {SPOT_DASK} run {study} --store run.zarr"]
    )
    wait_until(
        lambda: (
            run.poll() is not None
            or {"begun-4", "begun-5"} <= {p.name for p in slurm.home.iterdir()}
        )
    )
    assert run.poll() is None, run.communicate()
    worker = f"{environment[1]}_1"
    output("scancel", "--signal=TERM", worker)  # what preemption does
    logs = slurm.home / "cluster"
    wait_until(lambda: any("leaving: 1 " in p.read_text() for p in logs.glob("*worker*.log")))
    hold.unlink()
    _, progress = run.communicate(timeout=120)
    assert run.returncode == 0, progress
    history = Run.open(slurm.home / "run.zarr").history
    assert sorted(e.trial.number for e in history.ok) == list(range(12))
    # The worker's job went back into the queue by itself.
    wait_until(lambda: "PENDING" in output("squeue", "--jobs", worker, "--format", "%T"))


def jobqueue(slurm: Shell, *words: str | Path) -> subprocess.Popen[str]:
    """The script, with two workers, in the shell's directory."""
    pytest.importorskip("dask_jobqueue")
    script = str(CLUSTER / "slurm" / "jobqueue.py")
    return slurm.start([sys.executable, script, "2", "--gpus=0", *map(str, words)])


@needs("slurmctld", "slurmd", "sbatch")
@pytest.mark.dask
def test_a_tuning_with_dask_jobqueue(slurm: Shell) -> None:
    study = slurm.study()
    run = jobqueue(
        slurm, "--mem=1G", "--comment", "two words", "--", "run", study, "--store", "a.zarr"
    )
    _, told = run.communicate(timeout=120)
    assert run.returncode == 0, told
    assert len(Run.open(slurm.home / "a.zarr").history.ok) == 12
    more = jobqueue(slurm, "--mem=1G", "--", "resume", "a.zarr", "--evaluations", "14")
    _, told = more.communicate(timeout=120)
    assert more.returncode == 0, told
    assert len(Run.open(slurm.home / "a.zarr").history.ok) == 14
    assert not list(slurm.home.glob(".certificates-*"))


RUNNER = """
from dask_jobqueue.slurm import SLURMRunner
from distributed import Client
from spot_dask import Budget
from study import study

with SLURMRunner(scheduler_file="{job_id}.json", worker_options={"nthreads": 1}) as runner:
    with Client(runner) as client:
        client.wait_for_workers(runner.n_workers)
        study.run(Budget(evaluations=6), client=client, store="run.zarr")
"""


@needs("slurmctld", "slurmd", "sbatch")
@pytest.mark.dask
def test_a_tuning_in_one_job_with_slurm_runner(slurm: Shell) -> None:
    pytest.importorskip("dask_jobqueue")
    slurm.study()
    (slurm.home / "main.py").write_text(RUNNER)
    log, words = slurm.home / "job.log", f"srun --mpi=none {sys.executable} main.py"
    told = output("sbatch", "--ntasks=4", f"--output={log}", f"--wrap={words}", cwd=slurm.home)
    wait_until(
        lambda: output("squeue", "--noheader", "--jobs", told.split()[-1]) == "", seconds=150
    )
    assert len(Run.open(slurm.home / "run.zarr").history.ok) == 6, log.read_text()


@needs("slurmctld", "slurmd", "sbatch")
@pytest.mark.dask
def test_jobs_that_slurm_refuses_are_told_in_its_words(slurm: Shell) -> None:
    refused = jobqueue(slurm, "--mem=999G", "--", "run", slurm.study())
    _, told = refused.communicate(timeout=60)
    assert refused.returncode == 1
    last = "Batch job submission failed: Requested node configuration is not available"
    assert told.splitlines()[-1] == f"sbatch: error: {last}"
    assert "Traceback" not in told
    assert output("squeue", "--noheader") == ""
    assert not list(slurm.home.glob("*.zarr"))


@needs("slurmctld", "slurmd", "sbatch")
@pytest.mark.dask
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["int", "term"]
)
def test_dask_jobqueue_cancels_its_jobs_when_told_to_stop(
    slurm: Shell, number: signal.Signals, code: int
) -> None:
    log, hold = slurm.home / "log", slurm.home / "hold"
    hold.touch()
    run = jobqueue(slurm, "--mem=1G", "--", "run", slurm.held_study(log, hold), "--store", "a.zarr")
    wait_until(
        lambda: run.poll() is not None or (log.exists() and log.read_text().count("\n") == 6)
    )
    assert run.poll() is None, run.communicate()
    assert output("squeue", "--noheader", "--format", "%T").split() == ["RUNNING"] * 2
    if number == signal.SIGINT:  # a terminal tells all of its processes
        os.killpg(run.pid, number)
    else:
        run.send_signal(number)
    assert run.stderr is not None
    told = ""
    while "finishing the running trainings" not in told:
        line = run.stderr.readline()
        assert line, told
        told += line
    hold.unlink()
    run.communicate(timeout=60)
    assert run.returncode == code
    begun = log.read_text().splitlines()
    assert len(Run.open(slurm.home / "a.zarr").history.ok) == len(begun) < 12
    wait_until(lambda: output("squeue", "--noheader") == "")
    of_run = {line.split()[1] for line in begun}
    wait_until(lambda: not any(Path("/proc", pid).exists() for pid in of_run))
    assert "SLURMCluster-" not in _commands()


# ------------------------------------------------------------ ssh


@needs("sshd", "ssh", "ssh-keygen")
@pytest.mark.dask
def test_a_tuning_on_a_host_reached_by_ssh(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    port = 20000 + os.getpid() % 10000  # below those that the kernel gives to connections
    for name in ("host", "user"):
        output("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", shell.home / name)
    (shell.home / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {shell.home}/host\nPidFile none\n"
        f"AuthorizedKeysFile {shell.home}/user.pub\nStrictModes no\nUsePAM no\n"
        f"SetEnv PYTHONPATH={os.environ.get('PYTHONPATH', '')}\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    sshd = shutil.which("sshd", path="/usr/sbin:/usr/bin")
    assert sshd is not None
    shell.start([sshd, "-D", "-e", "-f", str(shell.home / "sshd_config")])
    wait_until(lambda: _listens(port))
    (shell.home / "hosts").write_text("# a comment\n127.0.0.1 --slots 2\n")
    monkeypatch.setenv("SPOT_DASK", SPOT_DASK)
    monkeypatch.setenv(
        "SSH",
        f"ssh -p {port} -i {shell.home}/user -o BatchMode=yes -o StrictHostKeyChecking=no "
        "-o UserKnownHostsFile=/dev/null",
    )
    script = shell.start([str(CLUSTER / "ssh/start-cluster"), "hosts", "127.0.0.1", str(port + 1)])
    certificates = shell.home / "certificates"
    wait_until((certificates / "cluster-key.pem").exists)
    flags = ["--tls-ca-file", certificates / "ca.pem", "--tls-cert", certificates / "cluster.pem",
             "--tls-key", certificates / "cluster-key.pem"]  # fmt: skip
    wait_until(lambda: _listens(port + 1))
    address = f"tls://127.0.0.1:{port + 1}"
    done = shell.spot("run", shell.study(), "--scheduler", address, *flags, "--store", "run.zarr")
    assert done.returncode == 0, done.stderr
    assert len(Run.open(shell.home / "run.zarr").history.ok) == 12
    script.send_signal(signal.SIGTERM)
    script.wait(timeout=30)
    wait_until(lambda: f"{address} " not in _commands(), seconds=30)


def _listens(port: int) -> bool:
    lines = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return any(line[1].endswith(f":{port:04X}") and line[3] == "0A" for line in lines)


def _commands() -> str:
    """The command lines of all processes."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(file.read_text().replace("\0", " "))
        except OSError:  # it has ended meanwhile
            continue
    return "\n".join(found)
