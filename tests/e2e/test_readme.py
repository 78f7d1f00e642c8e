"""What the README and the examples show works as it stands there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from e2e_shell import Shell
from matplotlib import pyplot

from spot_dask import Budget, FunctionTask, Run, Study
from spot_dask.tasks import Config

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.e2e, pytest.mark.dask]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """With a new interpreter for every command, as a reader has it."""
    shell = Shell(tmp_path)
    yield shell
    shell.close()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def test_the_study_in_the_readme_runs(shell: Shell) -> None:
    (shell.home / "study.py").write_text(blocks("python")[0])
    done = shell.spot(
        "run", "study.py", "--local", "1", "--evaluations", "3", "--store", "run.zarr", "--report",
        timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    run = Run.open(shell.home / "run.zarr")
    assert len(run.history.ok) == 3
    assert all(e.outcome.metrics["val_accuracy"] > 0 for e in run.history.ok)


def test_asking_and_telling_as_in_the_readme_runs() -> None:
    code = next(block for block in blocks("python") if "history.tell" in block)
    study = {"__name__": "readme"}
    exec(blocks("python")[0], study)
    study["my_training"] = lambda **config: float(config["lr"])
    exec(f"from spot_dask import History\n{code}", study)
    assert len(study["history"].evaluations) == 4  # type: ignore[attr-defined]


def test_what_the_readme_shows_in_python_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = (block for block in blocks("python") if "run.narrowed" in block)
    names: dict[str, Any] = {"__name__": "readme", "Budget": Budget}
    exec(blocks("python")[0], names)
    space = names["space"]
    task = FunctionTask(lambda cfg: (cfg.lr - 0.01) ** 2 + 0.1 * cfg.dropout)
    names["study"] = Study(space, task, isolation="thread", durability="process")
    monkeypatch.chdir(tmp_path)
    pyplot.switch_backend("agg")
    exec(code.replace("evaluations=40)", "evaluations=40), local=0"), names)
    pyplot.close("all")
    assert names["run"].gain() is not None
    assert len(names["run"].history.evaluations) == 40


def test_the_loop_with_a_checkpoint_in_the_readme_goes_on(tmp_path: Path) -> None:
    (code,) = (block for block in blocks("python") if "trial.checkpoint" in block)
    study: dict[str, Any] = {"__name__": "readme"}
    exec(blocks("python")[0], study)
    exec(
        f"from spot_dask import replacing\n{code.replace('...', 'trial.epochs.append(epoch)')}",
        study,
    )
    trial = SimpleNamespace(checkpoint=tmp_path, epochs=[])
    study["train"](Config(study["space"].default), trial)
    begun, weights = torch.load(tmp_path / "net.pt", weights_only=True)
    torch.save((begun - 2, weights), tmp_path / "net.pt")
    study["train"](Config(study["space"].default), trial)
    assert trial.epochs == [*range(20), 18, 19]


@pytest.mark.parametrize(
    "command", re.findall(r"`spot-dask (\w+)", (ROOT / "README.md").read_text())
)
def test_every_command_of_the_readme_exists(shell: Shell, command: str) -> None:
    assert shell.spot(command, "--help").returncode == 0


def test_the_shipped_example_trains_on_real_images(shell: Shell) -> None:
    example = ROOT / "scripts/examples/digits.py"
    done = shell.spot(
        "run", example, "--local", "2", "--evaluations", "4", "--store", "run.zarr",
        "--set", "design.initial=4", "--report",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    run = Run.open(shell.home / "run.zarr")
    assert len(run.history.ok) == 4
    assert all(len(e.outcome.curves["val_loss"]) == 10 for e in run.history.ok)
    assert min(e.y for e in run.history.ok) < 1.0
    assert (shell.home / "run" / "report.html").exists()
