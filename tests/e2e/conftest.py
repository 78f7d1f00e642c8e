"""A shell of its own for every end-to-end test."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e_shell import Shell, wait_until


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path)
    yield shell
    shell.close()


@pytest.fixture
def cluster(shell: Shell) -> str:
    """A scheduler and two workers, started as processes of their own; the scheduler's address."""
    file = shell.home / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    shell.start(
        [*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--dashboard-address",
         "127.0.0.1:0", "--scheduler-file", str(file)]
    )  # fmt: skip
    wait_until(lambda: file.exists() and "tcp://" in file.read_text())
    address = re.search(r"tcp://[\d.:]+", file.read_text())
    assert address is not None
    for _ in range(2):
        shell.start(
            [*dask, "worker", address[0], "--nthreads", "1", "--memory-limit", "0",
             "--dashboard-address", "127.0.0.1:0", "--local-directory", str(shell.home)]
        )  # fmt: skip
    return address[0]
