"""A shell of its own for every end-to-end test, a cluster of processes for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e_shell import Cluster, Shell


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path)
    yield shell
    shell.close()


@pytest.fixture(scope="session")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    shell = Shell(tmp_path_factory.mktemp("cluster"))
    yield Cluster(shell)
    shell.close()


@pytest.fixture
def cluster(processes: Cluster) -> Cluster:
    """A scheduler, which has seen the runs of earlier tests, and two workers."""
    processes.two_workers()
    return processes
