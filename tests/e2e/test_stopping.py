"""Whoever stops what, in which order: our lines and nobody else's, and nothing that goes on."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import psutil
import pytest
from e2e_shell import Process, Shell, wait_until
from test_services import Services

from spot_dask import Run

pytestmark = [pytest.mark.e2e, pytest.mark.dask]

ROOT = Path(__file__).parents[2]
STARTED = ROOT / "cluster" / "local" / "start-cluster"

THEIRS = re.compile(
    r"Traceback|distributed|asyncio|tornado|ConnectionPool|CommClosed|Async instruction|coroutine"
)
"""Words of Dask and of what it is made of, which users can make nothing of."""


def text_of(*processes: Process) -> str:
    """All that processes have said, in our words only."""
    said = "".join(process.communicate(timeout=60)[1] for process in processes)
    assert THEIRS.search(said) is None, said
    return said


def gone(pids: Iterable[int]) -> bool:
    return not any(psutil.pid_exists(pid) for pid in pids)


@pytest.fixture
def services(shell: Shell) -> Services:
    return Services(shell)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_of_a_cluster_on_this_machine(times: int, services: Services) -> None:
    """To the whole group of processes, as a terminal sends it."""
    shell, port, log = services.shell, free_port(), services.shell.home / "cluster.log"
    spot = str(Path(sys.executable).with_name("spot-dask"))
    environment = {**os.environ, "SPOT_DASK": spot}
    with log.open("w") as output:
        cluster = subprocess.Popen(
            ["sh", str(STARTED), "2", str(port)], cwd=shell.home, env=environment,
            stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    try:
        wait_until(lambda: log.read_text().count("serving") == 2)
        members = [child.pid for child in psutil.Process(cluster.pid).children()]
        address = f"tcp://127.0.0.1:{port}"
        run = shell.begin(
            "run", services.held_study(), "--scheduler", address, "--store", services.store
        )
        wait_until(lambda: {4, 5} <= set(services.begun()))
        os.killpg(cluster.pid, signal.SIGINT)
        wait_until(lambda: log.read_text().count("leaving") == 2)
        if times == 1:
            services.hold.unlink()  # the trainings end by themselves
        else:
            os.killpg(cluster.pid, signal.SIGINT)
        assert cluster.wait(timeout=15) == 130
        wait_until(lambda: gone(members) and not services.still_running(), seconds=10)
        assert THEIRS.search(log.read_text()) is None, log.read_text()
        if times == 1:
            told = text_of(run)
            assert run.returncode == 5
            assert told.count("Error: the Dask scheduler is gone") == 1
            assert set(services.evaluated()) == set(range(6))
    finally:
        if cluster.poll() is None:
            os.killpg(cluster.pid, signal.SIGKILL)
            cluster.wait()


@pytest.mark.parametrize("order", ["scheduler", "worker", "run"])
def test_all_are_told_to_end_one_after_the_other(order: str, services: Services) -> None:
    """As where a machine is shut down, in any order."""
    parts = {"scheduler": services.scheduler(), "worker": services.worker()}
    parts["run"] = services.run(services.held_study())
    wait_until(lambda: 4 in services.begun())
    for name in sorted(parts, key=lambda name: name != order):
        os.kill(parts[name].pid, signal.SIGTERM)
        time.sleep(0.2)
    services.hold.unlink()
    text_of(*parts.values())
    assert parts["scheduler"].returncode == parts["worker"].returncode == 0
    assert parts["run"].returncode in (5, 143)
    assert services.still_running() == []
    assert {0, 1, 2, 3} <= set(services.evaluated())


def test_a_scheduler_that_dies_while_a_coordinator_leaves(services: Services) -> None:
    scheduler, worker = services.scheduler(), services.worker()
    run = services.shell.begin(
        "run", services.held_study(), "--scheduler", services.file, "--store", services.store,
        "--detach",
    )  # fmt: skip
    wait_until(lambda: 4 in services.begun())
    scheduler.kill()
    run.send_signal(signal.SIGINT)
    text_of(run)
    assert run.returncode in (5, 130)
    worker.send_signal(signal.SIGHUP)  # it looks for its scheduler
    assert "the scheduler is gone; looking for it" in text_of(worker)
    assert worker.returncode == 0
    assert services.still_running() == []


def test_nohup_keeps_a_worker(services: Services) -> None:
    services.scheduler()
    spot = str(Path(sys.executable).with_name("spot-dask"))
    worker = services.shell.start(["nohup", spot, "worker", str(services.file), "--slots", "1"])
    wait_until(lambda: len(services.workers()) == 1)
    worker.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert worker.poll() is None
    worker.send_signal(signal.SIGTERM)
    text_of(worker)
    assert worker.returncode == 0


# ------------------------------------------------------------ who can reach what


def listeners(pid: int) -> set[tuple[str, int]]:
    """Where a process and all it has started listen; TCP, UDP, and named Unix sockets as port 0."""
    found = set()
    for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
        for each in process.net_connections("all"):
            if isinstance(each.laddr, str):
                found |= {(each.laddr, 0)} if each.laddr else set()
            elif each.status in (psutil.CONN_LISTEN, psutil.CONN_NONE) and each.laddr:
                found.add((each.laddr.ip, each.laddr.port))
    return found


def speaks_http(address: tuple[str, int]) -> bool:
    with socket.create_connection(address, timeout=5) as connection:
        connection.sendall(b"GET /spot HTTP/1.0\r\n\r\n")
        return connection.recv(8) == b"HTTP/1.1"


@pytest.mark.parametrize("local", [0, 1])
def test_nobody_else_can_reach_the_trainings_of_an_embedded_cluster(
    local: int, services: Services
) -> None:
    """No port of Dask's is open: it is in one process. Its web pages show, on loopback only."""
    run = services.shell.begin(
        "run", services.held_study(), "--local", str(local), "--store", services.store
    )
    wait_until(lambda: 4 in services.begun())
    found = listeners(run.pid)
    assert len(found) == 2 * local  # the pages of scheduler and worker
    assert {host for host, _ in found} <= {"127.0.0.1"}
    assert all(map(speaks_http, found))
    services.hold.unlink()
    text_of(run)
    assert run.returncode == 0


def test_what_a_cluster_of_processes_opens(services: Services) -> None:
    parts = [services.scheduler(), services.worker()]
    wait_until(lambda: len(services.workers()) == 1)
    for part in parts:
        found = listeners(part.pid)
        assert {host for host, _ in found} == {"127.0.0.1"}
        assert sorted(map(speaks_http, found)) == [False, True]  # Dask's own, and its pages


def test_a_closed_terminal_ends_a_run_in_good_order(services: Services) -> None:
    """As the kernel tells it; what is still written to the terminal fails no more."""
    ours, theirs = os.openpty()
    spot = str(Path(sys.executable).with_name("spot-dask"))
    run = subprocess.Popen(
        [spot, "run", str(services.held_study()), "--local", "1", "--store", str(services.store),
         "--grace", "1s", "--no-report"],
        cwd=services.shell.home, stdin=theirs, stdout=theirs, stderr=theirs,
        start_new_session=True, env={**os.environ, "TERM": "xterm"},
        preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),  # it controls it now
    )  # fmt: skip
    os.close(theirs)
    try:
        os.set_blocking(ours, False)

        def begun() -> bool:
            with contextlib.suppress(BlockingIOError):  # it must not fill up
                os.read(ours, 1 << 16)
            return 4 in services.begun()

        wait_until(begun)
        os.close(ours)
        assert run.wait(timeout=30) == 129
        assert services.still_running() == []
        found = Run.open(services.store)
        assert (found.state, found.stopped) == ("stopped", "SIGHUP")
        assert {0, 1, 2, 3} <= {e.trial.number for e in found.history.ok}
    finally:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
            run.wait()
