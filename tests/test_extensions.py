"""The promise of ``spot_dask/README.md``: an extension is one file of less than 40 lines.

Each example is put into a folder that the package looks into as well as its own; the command line
then runs, resumes and reports a study with it. The setting that is one declaration is in
``test_settings.py``.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from test_layers import FLOORS, complaints

import house
from house import House, Module
from spot_dask import Run
from spot_dask.cli import main
from spot_dask.report import sections

PACKAGE = Path(__file__).parent.parent / "spot_dask"

CRITERION = '''\
"""Probability of improvement, ranked among random candidates."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from spot_dask.infill import Request
from spot_dask.surrogates import FloatArray, Posterior


@dataclass(frozen=True)
class Improvement:
    """Proposes the candidates that are the most likely to be better than the best."""

    candidates: int = 500

    def propose(
        self, posterior: Posterior, request: Request, rng: np.random.Generator
    ) -> FloatArray:
        """The q best of the candidates."""
        space = request.space
        rows = np.unique(space.snap(rng.random((self.candidates, space.d))), axis=0)
        new = [i for i, key in enumerate(space.row_keys(rows)) if key not in request.forbidden]
        best = posterior.predict(space.features(request.evaluated))[0].min()
        mean, sd = posterior.predict(space.features(rows[new]))
        return rows[new][np.argsort(-ndtr((best - mean) / sd))[: request.q]]
'''

SURROGATE = '''\
"""Inverse distance weighting."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Weights:
    """The evaluations, each of which counts the more the nearer it is."""

    X: np.ndarray
    y: np.ndarray
    power: float

    def predict(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation at X."""
        distance = np.linalg.norm(X[:, None, :] - self.X[None, :, :], axis=2) + 1e-9
        weights = distance**-self.power
        weights /= weights.sum(axis=1, keepdims=True)
        return weights @ self.y, self.y.std() * distance.min(axis=1)


@dataclass(frozen=True)
class InverseDistance:
    """The nearer an evaluation, the more it counts."""

    power: float = 2.0

    def fit(self, X: np.ndarray, y: np.ndarray) -> Weights:
        """The evaluations as a posterior."""
        return Weights(X, y, self.power)
'''

SECTION = '''\
"""How long do trainings take?"""

import statistics
from collections.abc import Sequence

from spot_dask.report import text
from spot_dask.report.blocks import Block, Text
from spot_dask.report.context import Missing, ReportContext


class DurationsSection:
    """The median of the times."""

    title = "How long do trainings take?"
    order = 95

    def facts(self, context: ReportContext) -> float | Missing:
        """Seconds."""
        if not context.ranked:
            return Missing("no training has succeeded")
        return statistics.median(e.outcome.seconds for e in context.ranked)

    def render(self, found: float, context: ReportContext) -> Sequence[Block]:
        """One sentence."""
        return [Text(f"Half of the trainings took at most {text.seconds(found)}.")]
'''

EXAMPLES = {
    "infill/improvement.py": CRITERION,
    "surrogates/inverse_distance.py": SURROGATE,
    "report/sections/durations.py": SECTION,
}

STUDY = """\
from spot_dask import FunctionTask, Integer, Real, Space, Study
space = Space(x=Real(0.0, 1.0, default=0.5), n=Integer(0, 9, default=3))
study = Study(space, FunctionTask(lambda cfg: (cfg.x - 0.3) ** 2 + (cfg.n - 6) ** 2), {more})
"""


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory: what lies in its folders is as if it were in those of the package."""
    for name in EXAMPLES:
        folder = tmp_path / Path(name).parent
        folder.mkdir(parents=True, exist_ok=True)
        package = importlib.import_module(f"spot_dask.{'.'.join(Path(name).parent.parts)}")
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
        (tmp_path / name).write_text(EXAMPLES[name])
    (tmp_path / "distances.py").write_text(SURROGATE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    sections.found.cache_clear()
    yield tmp_path
    sections.found.cache_clear()
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def spot(*words: str, code: int = 0) -> str:
    """What the command line says."""
    done = CliRunner().invoke(main, [*words])
    assert done.exit_code == code, done.output
    return done.output


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_extension_is_short(name: str) -> None:
    assert len(EXAMPLES[name].splitlines()) < 40


def test_extensions_need_no_edit_elsewhere() -> None:
    modules = House.read(PACKAGE).modules
    for path, source in EXAMPLES.items():
        name = path.removesuffix(".py").replace("/", ".")
        modules[name] = Module(name, source, False)
    assert sorted(complaints(House(modules), FLOORS)) == []


@pytest.mark.parametrize(
    "more",
    [
        "infill='improvement(candidates=200)'",
        "surrogate='inverse_distance'",
        "surrogate='mean(kriging, distances:InverseDistance(power=3.0))', infill='improvement'",
    ],
)
def test_a_run_with_extensions_is_made_resumed_and_reported(folders: Path, more: str) -> None:
    (folders / "study.py").write_text(STUDY.format(more=more))
    here = ["--local", "0", "--no-report"]
    spot("run", "study.py", *here, "--store", "r.zarr", "--evaluations", "11")
    resumed = spot("resume", "r.zarr", *here, "--evaluations", "13")
    assert "done: 13 evaluations (0 failed)" in resumed
    spot("report", "r.zarr", "--study", "study.py")
    assert "Half of the trainings took at most" in (folders / "r" / "report.html").read_text()
    assert json.loads((folders / "r" / "report.json").read_text())["durations"] > 0
    origins = [e.trial.origin.value for e in Run.open("r.zarr").history.evaluations]
    assert origins.count("infill") >= 4
    assert "fallback" not in origins


def test_a_component_that_only_the_command_line_named_is_told_at_resume(folders: Path) -> None:
    (folders / "study.py").write_text(STUDY.format(more=""))
    spot("run", "study.py", "--local", "0", "--store", "r.zarr", "--evaluations", "9",
         "--no-report", "--set", "surrogate=distances:InverseDistance")  # fmt: skip
    said = spot("resume", "r.zarr", "--local", "0", "--evaluations", "10", code=2)
    assert "write surrogate='distances:InverseDistance' in the study" in said
    (folders / "mended.py").write_text(STUDY.format(more="surrogate='distances:InverseDistance'"))
    spot("resume", "r.zarr", "--local", "0", "--evaluations", "10", "--study", "mended.py")


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (("def propose", "def suggest"), "infill.broken has no public class with 'propose'"),
        (("def propose", "def propose("), "infill.broken cannot be loaded: SyntaxError"),
        (("request.q]]", "request.q]]\n\n\nclass Other(Improvement):\n    pass"),
         "infill.broken has Improvement, Other with 'propose'"),
        (("best = ", "best = x"), "infill 'broken': propose raises NameError"),
        (("[: request.q]]", "[0]]"), "infill 'broken': propose returns shape (2,)"),
    ],
)  # fmt: skip
def test_a_broken_file_is_told_at_once(folders: Path, changed: tuple[str, str], told: str) -> None:
    (folders / "infill" / "broken.py").write_text(CRITERION.replace(*changed))
    (folders / "study.py").write_text(STUDY.format(more=""))
    assert told in spot("check", "study.py", "--set", "infill=broken", code=2)
    if "cannot be loaded" in told:
        said = spot("check", "study.py", "--set", "infill=improvment", code=2)
        assert "no infill named 'improvment'; there are: averaged_ei, broken, constant_liar" in said


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (("return statistics", "return 1 / 0 + statistics"), "raises ZeroDivisionError"),
        (("[Text(", "[str("), "renders no blocks: ["),
    ],
)
def test_a_broken_section_is_named_and_costs_itself_alone(
    folders: Path, changed: tuple[str, str], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    (folders / "report" / "sections" / "durations.py").write_text(SECTION.replace(*changed))
    (folders / "study.py").write_text(STUDY.format(more=""))
    spot("run", "study.py", "--local", "0", "--store", "r.zarr", "--evaluations", "2")
    assert f"the section 'durations' of the report {told}" in caplog.text
    page = (folders / "r" / "report.md").read_text()
    assert f"the section failed: it {told}" in page.replace("\\", "")
    assert page.count("the section failed") == 1


def test_modules_without_a_name_stand_on_the_floor_of_their_folder() -> None:
    rank = house.ranks("infill\ninfill.ucb infill.*", ["infill.ucb", "infill.own", "store.own"])
    assert rank == {"infill": 0, "infill.ucb": 1, "infill.own": 1}
