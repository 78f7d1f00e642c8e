"""The studies of the README and of the quickstart, as a reader runs them; see also test_docs.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from docs_pages import ROOT, Page
from e2e_shell import Shell

from spot_dask import Run

pytestmark = [pytest.mark.e2e, pytest.mark.dask]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """With a new interpreter for every command, as a reader has it."""
    shell = Shell(tmp_path)
    yield shell
    shell.close()


def test_the_study_in_the_readme_runs(shell: Shell) -> None:
    (study,) = (block for block in Page(ROOT / "README.md").blocks if block.rest == "study.py")
    (shell.home / "study.py").write_text(study.text)
    done = shell.spot(
        "run", "study.py", "--local", "1", "--evaluations", "3", "--store", "run.zarr", "--report",
        timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    run = Run.open(shell.home / "run.zarr")
    assert len(run.history.ok) == 3
    assert all(e.outcome.metrics["val_loss"] > 0 for e in run.history.ok)


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
