"""What a run says when it is started from Python: a line, and warnings."""

import io
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from spot_dask import Budget, Categorical, FunctionTask, Real, Run, RunWarning, Space, Study
from spot_dask.cli import main


def study(failing: bool = False, **settings: Any) -> Study:
    def training(cfg: dict[str, float]) -> float:
        if failing:
            raise RuntimeError("no such file\nat all \x1b[31m")
        return cfg["x"] ** 2

    return Study(Space(x=Real(-1, 1)), FunctionTask(training), search="random", **settings)


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def said(run: Study, budget: int, tmp_path: Path, **arguments: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run.run(Budget(evaluations=budget), store=tmp_path / "run.zarr", local=0, **arguments)
    own = [w for w in caught if issubclass(w.category, RunWarning)]
    assert all(w.filename == __file__ for w in own)
    return [str(w.message) for w in own]


def test_a_run_in_which_everything_fails_is_warned_of_with_its_first_reason(tmp_path: Path) -> None:
    warned = said(study(failing=True, confirm=0), 30, tmp_path)
    last = warned[-1]
    assert last.startswith("no training succeeded (10 failed)")
    assert "trial 0: failed: RuntimeError: no such file" in last
    assert "\x1b" not in last
    assert "\n" not in last


def test_a_default_that_cannot_be_built_is_warned_of(tmp_path: Path) -> None:
    def training(cfg: dict[str, float]) -> float:
        raise ImportError("no module named nowhere")

    broken = Study(Space(x=Real(-1, 1)), FunctionTask(training))
    assert "ImportError: no module named nowhere" in said(broken, 30, tmp_path)[-1]
    run = Run.open(tmp_path / "run.zarr")  # where the store tells it, too
    assert "ImportError: no module named nowhere" in run.why
    assert run.status()["why"] == run.why
    for command in ("status", "best"):
        shown = CliRunner().invoke(main, [command, str(run.path)]).output
        assert "ImportError: no module named nowhere" in shown


def test_a_budget_within_the_design_is_warned_of_and_an_ample_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    small = said(study(), 5, tmp_path / "small")
    assert "the budget of 5 ends within the initial design of 8" in small[0]
    assert "unconfirmed" in small[1]
    assert said(study(), 30, tmp_path) == []


def test_nothing_is_said_where_that_is_wanted_or_somebody_watches(tmp_path: Path) -> None:
    told: list[str] = []
    (tmp_path / "a").mkdir()
    assert said(study(), 5, tmp_path / "a", progress="none") == []
    watcher = lambda update: told.append(update.message or "")  # noqa: E731
    assert said(study(), 5, tmp_path, watcher=watcher) == []
    assert any("within the initial design" in line for line in told)


def test_another_mode_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="progress is 'rich'; expected 'auto', 'line', 'none'"):
        study().run(Budget(evaluations=5), store=tmp_path / "run.zarr", progress="rich")
    assert not (tmp_path / "run.zarr").exists()


def test_a_terminal_has_one_line_that_is_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    study().run(Budget(evaluations=30), store=tmp_path / "run.zarr", local=0)
    lines = terminal.getvalue().split("\r\x1b[K")
    assert lines[-1].startswith("30/30  best loss ")
    assert lines[-1].endswith("\n")
    assert all(len(line.rstrip("\n")) < 60 for line in lines)


def test_a_script_whose_output_goes_to_a_file_shows_no_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", file := io.StringIO())
    study().run(Budget(evaluations=30), store=tmp_path / "run.zarr", local=0)
    assert file.getvalue() == ""


def test_a_notebook_s_cell_shows_the_line_as_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []

    class Handle:
        def update(self, html: str) -> None:
            shown.append(html)

    def display(html: str, display_id: bool) -> Handle:
        shown.append(html)
        return Handle()

    ipython: Any = types.ModuleType("IPython")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=object())
    ipython.display = types.SimpleNamespace(HTML=str, display=display)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    levels = Categorical(["<script>", "b"], default="<script>")
    task = FunctionTask(lambda cfg: float(cfg["a"] == "b"), objective="<b>")
    Study(Space(a=levels, x=Real(0, 1)), task, search="random").run(
        Budget(evaluations=30), store=tmp_path / "run.zarr", local=0
    )
    assert len(shown) > 1
    assert shown[-1].startswith("<code>30/30  best &lt;b&gt; 0 ")
