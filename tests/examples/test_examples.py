"""Every file in ``scripts/examples`` runs, with a small budget; a new one needs no edit here.

Python files and notebooks that lie there, and the TOML files in its folders. What has a study is
run by ``spot-dask run``; a Python file without one, or with a ``__main__``, by itself in an
interpreter of its own, under SPOT_DASK_EVALUATIONS.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from spot_dask import Run
from spot_dask.cli import main
from spot_dask.executors import cluster
from spot_dask.worker import supervisor

pytestmark = pytest.mark.e2e

EXAMPLES = Path(__file__).parent.parent.parent / "scripts" / "examples"
FILES = sorted([*EXAMPLES.glob("*.py"), *EXAMPLES.glob("*/*.toml")])
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
EVALUATIONS = "2"


def named(path: Path) -> str:
    """A file as README.md in the folder names it."""
    return path.relative_to(EXAMPLES).as_posix()


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment that a user's shell has, in a directory of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPOT_DASK_EVALUATIONS", EVALUATIONS)
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    supervisor.close()


@pytest.mark.parametrize("path", FILES, ids=named)
def test_an_example_runs(path: Path) -> None:
    text = path.read_text()
    if "__main__" in text or not re.search(r"^(study = |\[study\])", text, re.MULTILINE):
        words = [sys.executable, str(path)]
        done = subprocess.run(
            words, capture_output=True, text=True, check=False, preexec_fn=on_one_core
        )
        assert done.returncode == 0, done.stderr
        stores = [*Path().glob("runs/*.zarr")]
    else:
        stores = [Path("run.zarr")]
        words = ["run", str(path), "--evaluations", EVALUATIONS, "--local", "0", "--no-report"]
        result = CliRunner().invoke(main, [*words, "--store", str(stores[0])])
        assert result.exit_code == 0, result.output
    for store in stores:
        evaluations = Run.open(store).history.evaluations
        assert len(evaluations) >= int(EVALUATIONS)
        assert not any(e.failed for e in evaluations), [e.outcome.error for e in evaluations]


def on_one_core() -> None:
    """Have a process train one at a time: two would only import all twice."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


@pytest.mark.parametrize("path", NOTEBOOKS, ids=named)
def test_a_notebook_runs_from_its_first_cell_to_its_last(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "local_slots", lambda limits: 1)
    document = json.loads(path.read_text())
    assert (document["nbformat"], document["nbformat_minor"]) >= (4, 5)
    assert len({cell["id"] for cell in document["cells"]}) == len(document["cells"])
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for cell in document["cells"]:
        assert cell["cell_type"] in ("code", "markdown")
        if cell["cell_type"] == "code":
            shown = run_cell("".join(cell["source"]), namespace)
            getattr(shown, "_repr_html_", lambda: None)()
    assert len(namespace["run"].history.evaluations) == int(EVALUATIONS)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=named)
def test_a_notebook_keeps_outputs_that_are_small_and_without_errors(path: Path) -> None:
    """They are those of one run from the first cell to the last, without this machine's paths."""
    cells = [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
    assert [c["execution_count"] for c in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert not [o for o in outputs if o["output_type"] == "error"]
    pictures = [o["data"]["image/png"] for o in outputs if "image/png" in o.get("data", {})]
    assert len(pictures) >= 4
    assert max(map(len, pictures)) < 60_000
    assert path.stat().st_size < 200_000
    told = json.dumps([{k: v for k, v in o.items() if k != "data"} for o in outputs])
    assert "/tmp/" not in told
    assert "Warning" not in told


def run_cell(source: str, namespace: dict[str, Any]) -> Any:
    """Execute a cell as a notebook does; the value of its last expression."""
    body = ast.parse(source).body
    last = body.pop() if isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), "cell", "exec"), namespace)
    if last is None:
        return None
    return eval(compile(ast.Expression(last.value), "cell", "eval"), namespace)


def test_the_page_of_examples_names_every_file() -> None:
    page = (EXAMPLES / "README.md").read_text()
    linked = set(re.findall(r"\]\(([\w./-]+)\)", page))
    wanted = {named(p).partition("/")[0] for p in (*FILES, *NOTEBOOKS)}
    assert wanted <= linked
    assert all((EXAMPLES / target).exists() for target in linked)
