"""What a store names is data: commands that read a store, and resume, do not run it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_studies import spot

from spot_dask import Budget, Design, FunctionTask, Real, Run, Space, Study
from spot_dask.study_file import load

STUDY = """\
from spot_dask import Budget, Design, FunctionTask, Real, Space, Study

study = Study(
    Space(x=Real(0.0, 1.0, default=0.5)),
    FunctionTask(lambda cfg: (cfg.x - 0.3) ** 2),
    budget=Budget(evaluations=6),
    design=Design(initial=4),
)
"""

MODULE = """\
from pathlib import Path
from spot_dask.surrogates.kriging import Kriging

Path(__file__).with_name("ran").touch()


class Mine(Kriging):
    pass
"""


class Planted(Study):
    """A study whose store names other components than the study has."""

    names: dict[str, Any]

    @property
    def settings(self) -> dict[str, Any]:
        return super().settings | self.names


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Makes the store of a run with such a header, beside the module ``own`` and ``study.py``."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own.py").write_text(MODULE)
    (tmp_path / "study.py").write_text(STUDY)

    def make(**names: str) -> Path:
        study = Planted(
            Space(x=Real(0.0, 1.0, default=0.5)),
            FunctionTask(lambda cfg: (cfg.x - 0.3) ** 2),
            budget=Budget(evaluations=6),
            design=Design(initial=4),
        )
        study.source = load(str(tmp_path / "study.py")).study.source
        study.names = names
        study.run(local=0, store=tmp_path / "run.zarr")
        return tmp_path / "run.zarr"

    return make


TOUCH = "args=['touch', '{ran}']"


@pytest.mark.parametrize(
    ("component", "name"),
    [
        ("surrogate", f"sklearn:utils._testing.check_output({TOUCH})"),
        ("surrogate", "sklearn:datasets.clear_data_home(data_home='{home}')"),
        ("surrogate", f"mean(kriging, subprocess:Popen({TOUCH}))"),
        ("surrogate", "own:Mine"),
        ("surrogate", "kriging:own"),
        ("infill", f"subprocess:Popen({TOUCH})"),
        ("infill", "own:Mine"),
        ("early_stopping", "own:Mine"),
    ],
)
def test_no_command_that_reads_a_store_runs_what_its_header_names(
    component: str, name: str, planted: Callable[..., Path], tmp_path: Path
) -> None:
    ran, home = tmp_path / "ran", tmp_path / "home"
    home.mkdir()
    store = planted(**{component: name.format(ran=ran, home=home)})
    for command in ("status", "best", "report", "verify"):
        assert spot(command, store).stdout
    spot("export", store, "--to", "csv")
    if component != "early_stopping":
        with pytest.raises(ValueError, match=component):
            Run.open(store).deviations()
    refused = spot("resume", store, "--local", "0", "--evaluations", "8", code=2)
    assert refused.stderr.splitlines()[-1].startswith("Error: the run's settings: ")
    assert home.exists()
    assert not ran.exists()


def test_a_surrogate_of_ones_own_is_loaded_with_the_study_that_names_it(
    planted: Callable[..., Path], tmp_path: Path
) -> None:
    store = planted(surrogate="own:Mine")
    assert (
        "the surrogate own:Mine is not loaded; --study FILE loads it" in spot("best", store).stderr
    )
    assert not (tmp_path / "ran").exists()
    spot("best", store, "--study", tmp_path / "study.py")
    assert not (tmp_path / "ran").exists()  # it is another study that does not name it
    (tmp_path / "spot.toml").write_text('[study]\nfile = "study.py"\nsurrogate = "own:Mine"\n')
    for command in ("status", "best", "report"):
        told = spot(command, store, "--study", tmp_path / "spot.toml")
        assert "not loaded" not in told.stderr
    args = ("--local", "0", "--evaluations", "7", "--no-report", "--study", tmp_path / "spot.toml")
    spot("resume", store, *args)
    assert len(Run.open(store).history.evaluations) == 7


def test_a_planted_budget_is_told_in_one_line(planted: Callable[..., Path]) -> None:
    store = planted(seed="x")
    for command in ("status", "best", "report", "resume"):
        refused = spot(command, store, code=1)
        assert refused.stderr.splitlines()[-1].startswith(
            f"Error: the settings of {store}: seed is"
        )


def test_names_do_not_steer_the_terminal_and_are_cut(planted: Callable[..., Path]) -> None:
    store = planted(surrogate="\x1b[31mred\nline" + "x" * 10_000)
    (told,) = spot("best", store).stderr.splitlines()
    assert told.startswith("the surrogate \\x1b[31mred\\nlinexxx")
    assert len(told) < 500


def test_a_regressor_that_cannot_predict_is_no_error(planted: Callable[..., Path]) -> None:
    store = planted(surrogate="sklearn:neighbors.KNeighborsRegressor(n_neighbors=50)")
    for command in ("status", "best", "report"):
        assert "traceback" not in spot(command, store).stderr
