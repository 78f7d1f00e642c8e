"""A shell of its own for every end-to-end test, a cluster of processes for all of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e_shell import Cluster, Shell
from e2e_warm import Warm


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm | None]:
    """What commands are forked from, unless everything is to be as it is for a user."""
    if "SPOT_DASK_TEST_ALL" in os.environ:
        yield None
        return
    warm = Warm()
    yield warm
    warm.close()


@pytest.fixture
def shell(tmp_path: Path, warm: Warm | None) -> Iterator[Shell]:
    shell = Shell(tmp_path, warm)
    yield shell
    shell.close()


@pytest.fixture(scope="session")
def processes(tmp_path_factory: pytest.TempPathFactory, warm: Warm | None) -> Iterator[Cluster]:
    shell = Shell(tmp_path_factory.mktemp("cluster"), warm)
    yield Cluster(shell)
    shell.close()


@pytest.fixture
def cluster(processes: Cluster) -> Cluster:
    """A scheduler, which has seen the runs of earlier tests, and two workers."""
    processes.two_workers()
    return processes
