"""The figures and statements of the report from Python."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from spot_dask import Budget, Categorical, Design, FunctionTask, Real, Run, Space, Study
from spot_dask.report import figures
from spot_dask.report.context import Missing
from spot_dask.report.plots import Plots

SPACE = Space(
    lr=Real(1e-4, 1.0, default=0.5, scale="log"),
    kind=Categorical(["a", "b"], default="a"),
    rate=Real(0.0, 1.0, default=0.5).when(kind="b"),
    held=Real(0.0, 1.0, default=0.5).hold(0.5),
)
ARGUMENTS: dict[str, tuple[str, ...]] = {"effects": ("lr",), "contour": ("lr", "kind")}
FIGURES = [name for name, _ in inspect.getmembers(Plots, inspect.isfunction) if name[0] != "_"]


def noisy(cfg: Any, trial: Any) -> dict[str, float]:
    key = [trial.seed, round(1e6 * cfg.lr)]
    noise = 0.05 * float(np.random.default_rng(key).normal())
    for epoch in range(1, 4):
        trial.report(epoch, loss=4.0 - epoch)
    if cfg.lr > 0.2 and cfg.kind == "b":
        raise RuntimeError("diverged")
    loss = 1.0 + (np.log10(cfg.lr) + 2) ** 2 + (0.3 if cfg.kind == "a" else 0.0)
    return {"loss": loss + noise, "test_loss": loss + 0.1 - noise}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    design = Design(initial=20)
    study = Study(SPACE, FunctionTask(noisy), design=design, confirm=0.3, durability="process")
    store = tmp_path_factory.mktemp("plots") / "run.zarr"
    return study.run(Budget(evaluations=46), local=0, store=store)


@pytest.fixture
def agg() -> Iterator[None]:
    before = mpl.get_backend()
    pyplot.switch_backend("agg")
    yield
    pyplot.close("all")
    pyplot.switch_backend(before)


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_drawn_on_given_axes_and_on_new_ones(
    name: str, run: Run, agg: None
) -> None:
    draw, arguments = getattr(run.plot, name), ARGUMENTS.get(name, ())
    given = Figure().subplots()
    assert draw(*arguments, ax=given) is given
    drawn = given.lines or given.collections or given.patches
    assert drawn, name
    given.figure.canvas.draw()
    style = dict(mpl.rcParams)
    own = draw(*arguments)
    assert isinstance(own, Axes)
    own.figure.canvas.draw()
    assert dict(mpl.rcParams) == style


def test_statements_are_those_of_the_report(run: Run) -> None:
    from spot_dask.report.sections.effects import EffectsSection
    from spot_dask.report.sections.importance import ImportanceSection

    found = run.importances()
    assert not isinstance(found, Missing)
    assert found is run.context[ImportanceSection]
    assert not isinstance(found.near, Missing)
    assert found.near.parameters[0].name == "lr"
    effects = run.context[EffectsSection]
    assert not isinstance(effects, Missing)
    assert [run.effects(e.axis.name) for e in effects] == list(effects)


@pytest.mark.parametrize("name", ["lrr", "held"])
def test_what_is_no_parameter_is_refused_with_those_that_are(name: str, run: Run) -> None:
    for call in (run.effects, run.plot.effects):
        with pytest.raises(ValueError, match=f"no free parameter {name!r}, there are lr, kind"):
            call(name)
    with pytest.raises(ValueError, match="no curves of 'los'; there are loss"):
        run.plot.curves(metric="los")


def test_what_the_report_does_not_show_is_refused_with_the_reason(tmp_path: Path) -> None:
    study = Study(SPACE, FunctionTask(lambda cfg: cfg.lr), durability="process")
    run = study.run(Budget(evaluations=3), local=0, store=tmp_path / "few.zarr")
    few = run.importances()
    assert isinstance(few, Missing)
    assert run.effects("lr") == few
    for name in ("gain", "severity", "importance", "effects", "contour", "trust", "curves"):
        with pytest.raises(ValueError, match="no figure, because "):
            getattr(run.plot, name)(*ARGUMENTS.get(name, ()))


def test_dots_are_seen_in_a_raster_image_too() -> None:
    """As a notebook shows figures; a line of no length is one in an SVG only."""
    for scale, at in (
        ("linear", [0.0, 1.0, 2.0]), ("linear", [0.0, 0.0, 0.0]), ("log", [1e-6, 1e-3, 1.0]),
    ):  # fmt: skip
        figure = Figure(figsize=(3, 2))
        canvas = FigureCanvasAgg(figure)
        axes = figure.subplots()
        axes.set_xscale(scale)
        axes.set_axis_off()
        figures.dots(axes, np.array(at), np.array([1.0, 2.0, 3.0]), "#000000", 8.0)
        canvas.draw()
        dark = np.asarray(canvas.buffer_rgba())[:, :, 0] < 100
        assert dark.sum() > 150


def test_a_backend_that_is_loaded_for_the_first_figure_stays_interactive(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As that of a notebook, which would show no other figure of the session."""
    made = pyplot.figure

    def figure(*given: Any, **named: Any) -> Figure:
        mpl.interactive(True)
        return made(*given, **named)

    monkeypatch.setattr(pyplot, "figure", figure)
    try:
        run.plot.progress()
        assert mpl.is_interactive()
    finally:
        mpl.interactive(False)
        pyplot.close("all")
