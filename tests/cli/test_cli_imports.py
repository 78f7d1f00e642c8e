"""What is quick must stay quick: no heavy package is imported before it is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from spot_dask.cli import COMMANDS

HEAVY = ("dask", "distributed", "zarr", "numpy", "scipy", "torch", "rich")

PROGRAM = """
import json, sys
from spot_dask.cli import main
try:
    main(json.loads(sys.argv[1]), prog_name="spot-dask")
except SystemExit as end:
    code = end.code
print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)
"""


def modules(*args: str, cwd: Path | None = None, **env: str) -> tuple[int, set[str], str]:
    """Exit code, modules imported at the end, and the output of a command."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(args)],
        capture_output=True,
        text=True,
        check=True,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])} | env,
    )
    code, names = json.loads(done.stderr.splitlines()[-1])
    return code, set(names), done.stdout


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--help"], 0),
        (["--version"], 0),
        *(([command, "--help"], 0) for command in COMMANDS),
        (["run"], 2),
        (["run", "study.py", "--wall", "90"], 2),
        (["run", "gone.py", "--local", "many"], 2),
        (["nonsense"], 2),
        (["init", "new"], 0),
        (["help"], 0),
        (["help", "settings"], 0),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_nothing_heavy_is_imported(args: list[str], expected: int, tmp_path: Path) -> None:
    code, names, _ = modules(*args, cwd=tmp_path)
    assert code == expected
    assert not names & set(HEAVY)


def test_shell_completion_imports_nothing_heavy() -> None:
    code, names, output = modules(
        _SPOT_DASK_COMPLETE="bash_complete", COMP_WORDS="spot-dask re", COMP_CWORD="1"
    )
    assert code == 0
    assert {"plain,resume", "plain,report"} <= set(output.split())
    assert not names & set(HEAVY)


def test_the_commands_are_also_those_of_dask_spot() -> None:
    command = [sys.executable, "-m", "dask", "spot", "status", "gone.zarr"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ")
    assert "gone.zarr" in done.stderr


def test_a_command_that_runs_does_import_them(tmp_path: Path) -> None:
    """The test above can fail: the names are those of real modules."""
    _, names, _ = modules("status", str(tmp_path))
    assert "numpy" in names
