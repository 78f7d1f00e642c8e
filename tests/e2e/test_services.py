"""spot-dask scheduler and worker as processes: TLS, leaving in good order, coming back."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from distributed import Client
from e2e_shell import Shell, wait_until

from spot_dask import Run

pytestmark = [pytest.mark.e2e, pytest.mark.dask]


class Services:
    """A scheduler that tells its address in a file, workers, and a study that can be held up."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        self.file = shell.home / "scheduler.json"
        self.store = shell.home / "run.zarr"
        self.log, self.hold = shell.home / "begun", shell.home / "hold"
        self.flags: list[str] = []

    def scheduler(self) -> subprocess.Popen[str]:
        self.file.unlink(missing_ok=True)
        process = self.shell.begin(
            "scheduler", "--host", "127.0.0.1", "--port", "0", "--dashboard", "127.0.0.1:0",
            "--scheduler-file", self.file, *self.flags,
        )  # fmt: skip
        wait_until(self.file.exists)
        return process

    def worker(self, *options: str) -> subprocess.Popen[str]:
        return self.shell.begin(
            "worker", self.file, "--local-directory", self.shell.home, *self.flags,
            *(options or ["--slots", "1"]),
        )  # fmt: skip

    def run(self, study: Path) -> subprocess.Popen[str]:
        return self.shell.begin(
            "run", study, "--scheduler", self.file, "--store", self.store, *self.flags
        )  # fmt: skip

    def held_study(self) -> Path:
        """A study whose trainings, but the first few, go on as long as a file is there."""
        self.hold.touch()
        return self.shell.held_study(self.log, self.hold)

    def begun(self) -> list[int]:
        """Trials of the trainings that were begun."""
        return [int(line.split()[0]) for line in self._lines()]

    def still_running(self) -> list[int]:
        pids = [int(line.split()[1]) for line in self._lines()]
        return [pid for pid in pids if Path("/proc", str(pid), "exe").exists()]

    def workers(self) -> list[str]:
        """The names of the workers that the scheduler knows."""
        address = json.loads(self.file.read_text())["address"]
        with Client(address, set_as_default=False) as client:
            known = client.scheduler_info(n_workers=-1)["workers"].values()
        return [worker["name"] for worker in known]

    def evaluated(self) -> list[int]:
        return sorted(e.trial.number for e in Run.open(self.store).history.ok)

    def _lines(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def services(shell: Shell) -> Services:
    return Services(shell)


def listening(pid: int) -> set[str]:
    """The local addresses (hexadecimal) at which a process listens."""
    links = (str(file.readlink()) for file in Path(f"/proc/{pid}/fd").iterdir())
    sockets = {m[1] for m in map(re.compile(r"socket:\[(\d+)\]").fullmatch, links) if m}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == "0A" and inode in sockets:
                found.add(local.partition(":")[0])
    return found


def test_a_run_over_tls_and_who_is_refused(services: Services) -> None:
    shell = services.shell
    for name in ("certificates", "others"):
        made = shell.spot("certificates", name)
        assert made.returncode == 0, made.stderr
        services.flags = services.flags or made.stdout.split()
    scheduler, worker = services.scheduler(), services.worker("--slots", "2")
    run = services.run(shell.study())
    _, told = run.communicate(timeout=120)
    assert run.returncode == 0, told
    assert services.evaluated() == list(range(12))
    assert listening(scheduler.pid) == listening(worker.pid) == {"0100007F"}  # 127.0.0.1
    url = re.search(r"tls://[\d.:]+", services.file.read_text())
    assert url is not None
    theirs = [flag.replace("certificates/", "others/") for flag in services.flags]
    refused = [
        shell.begin("run", "study.py", "--scheduler", address, *flags)
        for address, flags in (
            (url[0], []),  # no certificates
            (url[0].replace("tls", "tcp"), []),  # no encryption
            (url[0], theirs),  # of another authority
        )
    ]
    for process in refused:  # each waits for its connection as long as the others
        _, told = process.communicate(timeout=120)
        assert process.returncode == 5, told
        assert "Traceback" not in told
    exposed = shell.spot("scheduler", "--host", "0.0.0.0", "--port", "0")
    assert exposed.returncode == 5
    assert "plain TCP at 0.0.0.0 is open to other machines" in exposed.stderr


def test_a_worker_that_is_told_to_go_finishes_its_training(services: Services) -> None:
    services.scheduler()
    leaving = services.worker("--slots", "1", "--grace", "60s")
    run = services.run(services.held_study())
    wait_until(lambda: 4 in services.begun())
    for pid in [*services.still_running(), leaving.pid]:  # as some service managers do
        os.kill(pid, signal.SIGTERM)
    services.worker()
    wait_until(lambda: 5 in services.begun())  # what is new is trained on the other worker
    assert leaving.poll() is None
    services.hold.unlink()
    _, told = run.communicate(timeout=120)
    assert run.returncode == 0, told
    assert leaving.wait(timeout=30) == 0
    assert services.evaluated() == list(range(12))
    assert Counter(services.begun()) == dict.fromkeys(range(12), 1)


def test_a_training_that_outlasts_the_grace_is_trained_again_elsewhere(services: Services) -> None:
    services.scheduler()
    leaving = services.worker("--slots", "1", "--grace", "1s")
    run = services.run(services.held_study())
    wait_until(lambda: 4 in services.begun())
    leaving.send_signal(signal.SIGTERM)
    assert leaving.wait(timeout=30) == 0
    assert services.still_running() == []
    services.hold.unlink()
    services.worker()
    _, told = run.communicate(timeout=120)
    assert run.returncode == 0, told
    assert services.evaluated() == list(range(12))
    assert Counter(services.begun())[4] == 2


def test_a_worker_finds_a_scheduler_that_was_restarted(services: Services) -> None:
    worker = services.worker()  # before there is any
    scheduler = services.scheduler()
    run = services.run(services.held_study())
    wait_until(lambda: 4 in services.begun())
    scheduler.kill()
    assert run.wait(timeout=60) == 5
    wait_until(lambda: services.still_running() == [], seconds=30)
    services.scheduler()
    services.hold.unlink()
    resumed = services.shell.spot("resume", services.store, "--scheduler", services.file)
    assert resumed.returncode == 0, resumed.stderr
    assert services.evaluated() == list(range(12))
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=30) == 0


@pytest.mark.parametrize(
    ("before", "complaint"),
    [
        ("import sys; sys.modules['spot_dask'] = None", "cannot import spot_dask"),
        ("import spot_dask; spot_dask.__version__ = '0.0.1'", "has spot-dask 0.0.1"),
        (
            "from spot_dask.worker import supervisor\n"
            "ours = supervisor.version().rpartition('.')[0]\n"
            "supervisor.version = lambda: f'{ours}.99'",
            r"has spot-dask \S+ on Python 3\.99",
        ),
    ],
    ids=["without", "another-version", "another-python"],
)
def test_a_worker_with_another_spot_dask_is_named(
    before: str, complaint: str, services: Services
) -> None:
    services.scheduler()
    program = (
        f"{before}\nfrom distributed.cli.dask_worker import main\n"
        "main(['--no-nanny', '--nthreads', '1', '--host', '127.0.0.1', '--scheduler-file', "
        f"{str(services.file)!r}, '--local-directory', {str(services.shell.home)!r}])"
    )
    services.shell.start([sys.executable, "-c", program])
    run = services.run(services.shell.study())
    _, told = run.communicate(timeout=60)
    assert run.returncode == 5
    assert re.search(rf"Error: the worker tcp://127\.0\.0\.1:\d+ {complaint}.*; install", told)
    good = services.worker()
    wait_until(lambda: len(services.workers()) == 2)
    done = services.shell.spot("resume", services.store, "--scheduler", services.file)
    assert done.returncode == 0, done.stderr
    assert re.search(complaint, done.stderr)
    assert good.poll() is None


def test_a_scheduler_with_another_spot_dask_is_named(services: Services) -> None:
    program = (
        "import spot_dask; spot_dask.__version__ = '0.0.1'\n"
        "from distributed.cli.dask_scheduler import main\n"
        "main(['--host', '127.0.0.1', '--port', '0', '--no-dashboard', '--scheduler-file', "
        f"{str(services.file)!r}])"
    )
    services.shell.start([sys.executable, "-c", program])
    wait_until(services.file.exists)
    run = services.run(services.shell.study())
    _, told = run.communicate(timeout=60)
    assert run.returncode == 5
    assert re.search(r"Error: the scheduler at \S+ has spot-dask 0\.0\.1 .*; install", told)


def test_a_worker_without_a_library_of_the_study_is_named_and_costs_no_evaluation(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = services.shell.home / "library"
    library.mkdir()
    (library / "only_here.py").write_text("")
    services.scheduler()
    services.worker("--slots", "4", "--name", "without")
    wait_until(lambda: "without" in services.workers())
    monkeypatch.setenv("PYTHONPATH", str(library), prepend=os.pathsep)
    study = services.shell.study(body="only_here.__name__")
    study.write_text(f"import only_here\n{study.read_text()}")
    services.worker("--slots", "1", "--name", "with")
    wait_until(lambda: "with" in services.workers())
    run = services.run(study)
    _, told = run.communicate(timeout=120)
    assert run.returncode == 0, told
    complaint = (
        r"the worker tcp://\S+ cannot load the study's task \(ModuleNotFoundError: .*only_here"
    )
    assert len(re.findall(complaint, told)) == 1
    history = Run.open(services.store).history
    assert sorted(e.trial.number for e in history.ok) == list(range(12))
    assert len({e.outcome.worker for e in history.ok}) == 1
