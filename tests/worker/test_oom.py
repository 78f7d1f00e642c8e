"""A training that the kernel kills for its memory is told from one that anything else kills."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from spot_dask.records import Outcome, Status, Trial
from spot_dask.tasks.function import FunctionTask
from spot_dask.worker import supervisor
from spot_dask.worker.training_process import CGROUPS, oom_kills

cloudpickle.register_pickle_by_value(sys.modules[__name__])

V1 = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"
V2 = "low 0\nhigh 0\nmax 12\noom 2\noom_kill 2\noom_group_kill 0\n"


@pytest.mark.parametrize(
    ("groups", "file", "text", "expected"),
    [
        ("0::/a/b\n", "a/b/memory.events", V2, 2),
        ("0::/\n", "memory.events", V2, 2),
        ("5:cpu:/x\n4:memory:/a\n0::/\n", "memory/a/memory.oom_control", V1, 3),
        ("4:memory:/a\n0::/\n", "memory.events", V2, 2),
        ("0::/a\n", "b/memory.events", V2, None),
        ("0::/a\n", "a/memory.events", "low 0\n", None),
        ("4:memory:/a\n", "memory/a/memory.oom_control", "oom_kill_disable 0\n", None),
        ("", "memory.events", V2, None),
    ],
)
def test_kills_are_counted_where_the_kernel_counts_them(
    groups: str, file: str, text: str, expected: int | None, tmp_path: Path
) -> None:
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(text)
    assert oom_kills(groups, tmp_path) == expected


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A control group (v1) of 400 MiB."""
    group = CGROUPS / "memory" / f"spot-dask-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(400 * 2**20))
        counted = "oom_kill " in (group / "memory.oom_control").read_text()
    except OSError as error:
        pytest.skip(f"no control group of our own: {error}")
    if not counted:
        pytest.skip("this kernel does not count")
    yield group
    supervisor.close()
    with contextlib.suppress(OSError):
        group.rmdir()


def run(function: Any, **config: Any) -> Outcome:
    task = cloudpickle.dumps(FunctionTask(function))
    return supervisor.run_trial(task, Trial(0, config, seed=5), 0, "run")


def enter(cfg: Any) -> float:
    Path(cfg.group, "cgroup.procs").write_text(str(os.getpid()))
    return 1.0


def grow(cfg: Any) -> float:
    return float(len(bytearray(os.urandom(1) * 2**30)))


def be_killed(cfg: Any) -> float:
    os.kill(os.getpid(), signal.SIGKILL)
    return 1.0


def test_the_kernels_kill_is_told_from_others(small_group: Path) -> None:
    for function, status, message in (
        (
            be_killed,
            Status.CRASHED,
            "the training's process was killed by SIGKILL (out of memory?)",
        ),
        (grow, Status.MEMORY, "the kernel killed the training's process: out of memory"),
    ):
        # A warm process: the next training runs in it.
        assert run(enter, group=str(small_group)).ok
        outcome = run(function)
        assert outcome.error is not None
        assert (outcome.status, outcome.error.message) == (status, message)
