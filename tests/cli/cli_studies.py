"""Studies and a runner for tests of the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from spot_dask.cli import main

STUDY = """\
from spot_dask import Budget, Categorical, Design, FunctionTask, Integer, Real, Space, Study


def loss(cfg):
    print("training says hello")
    return (cfg.x - 0.3) ** 2 + (0.1 if cfg.kind == "a" else 0.0)


print("the study says hello")
study = Study(
    name="toy",
    space=Space(
        x=Real(0.01, 1.0, default=0.5, scale="log"),
        kind=Categorical(["a", "b"], default="a"),
        width=Integer(8, 32, default=16, scale="power2"),
        rate=Real(0.0, 1.0, default=0.5).when(kind="b"),
    ),
    task=FunctionTask(loss),
    budget=Budget(evaluations=6),
    design=Design(initial=4),
)
"""


def write_study(directory: Path, *changes: tuple[str, str], name: str = "study.py") -> Path:
    """A study file with parts of its text replaced."""
    text = STUDY
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = directory / name
    path.write_text(text)
    return path


def spot(*args: str | Path, code: int = 0, env: dict[str, str] | None = None) -> Result:
    """spot-dask with these arguments, in this process; it must exit with ``code``.

    A run ends without a report, which takes longer than the run, unless one is asked for.
    """
    env = {"SPOT_DASK_REPORT": "false"} | (env or {})
    result = CliRunner().invoke(main, [*map(str, args)], prog_name="spot-dask", env=env)
    assert result.exit_code == code, result.output
    return result


def spot_json(*args: str | Path, code: int = 0) -> dict[str, Any]:
    """The one JSON document that spot-dask prints with ``--json``."""
    document: dict[str, Any] = json.loads(spot(*args, "--json", code=code).stdout)
    return document


def run_study(directory: Path, *args: str, name: str = "run.zarr") -> Path:
    """The store of a finished run of the study, trained in this process."""
    store = directory / name
    study = write_study(directory)
    spot("run", study, "--local", "0", "--store", store, "--progress", "none", *args)
    return store
