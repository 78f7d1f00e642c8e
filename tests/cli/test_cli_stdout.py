"""stdout belongs to one writer: the result of a command, whoever else writes to descriptor 1."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from keyword import iskeyword
from pathlib import Path

import pytest

from spot_dask.cli import COMMANDS
from spot_dask.cli.options import Command

STUDY = """
import atexit, ctypes, os, subprocess
from spot_dask import Budget, Design, FunctionTask, Real, Space, Study

C = ctypes.CDLL(None)

def shout(where):
    print("python", where)
    os.write(1, f"descriptor {where}\\n".encode())
    C.printf(b"library %s\\n", where.encode())      # which keeps it until it is flushed or ends
    subprocess.run(["echo", "child", where])

shout("import")
atexit.register(shout, "exit")

class Loud:
    def fit(self, X, y):
        shout("model")
        return self

    def predict(self, X):
        return X[:, 0], X[:, 0] * 0 + 1.0

def loss(cfg):
    shout("training")
    return cfg.x

study = Study(Space(x=Real(0, 1)), FunctionTask(loss), budget=Budget(evaluations=3),
              design=Design(initial=2), surrogate=Loud())
"""

CODE = "import sys; from spot_dask.cli import main; sys.argv[0] = 'spot-dask'; main()"


def spot(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CODE, *words], cwd=folder, capture_output=True, text=True, check=True
    )


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("loud")
    (folder / "study.py").write_text(STUDY)
    words = ("study.py", "--local", "0", "--store", "run.zarr", "--no-report", "--json")
    return folder, spot(folder, "run", *words)


def test_a_run_prints_one_document(
    ran: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    _, ended = ran
    assert json.loads(ended.stdout)["schema"] == "spot-dask/run/1"
    for who in ("python", "descriptor", "library", "child"):
        for where in ("import", "training", "exit"):
            assert f"{who} {where}" in ended.stderr


@pytest.mark.parametrize("command", ["status", "best", "report"])
def test_a_model_of_the_study_does_not_write_among_results(
    command: str, ran: tuple[Path, subprocess.CompletedProcess[str]]
) -> None:
    ended = spot(ran[0], command, "run.zarr", "--study", "study.py", "--json")
    assert json.loads(ended.stdout)["schema"] == f"spot-dask/{command}/1"
    assert "library model" in ended.stderr


def test_every_command_alone_writes_to_stdout() -> None:
    for name, module in COMMANDS.items():
        if name == "help":  # it runs no study, and a pager needs the terminal
            continue
        attribute = f"{name}_" if iskeyword(name) else name
        assert isinstance(getattr(importlib.import_module(module), attribute), Command), name
