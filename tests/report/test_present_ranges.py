"""Ranges that were changed: statements about "the space" are about what is searched now."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from report_studies import Builder

from spot_dask import Budget, Categorical, FunctionTask, Integer, Real, Run, Space, Study, Tuner
from spot_dask.cli import main
from spot_dask.inference import evidence, infer
from spot_dask.inference.near import near_optimal
from spot_dask.inference.outlook import candidates, outlook
from spot_dask.inference.present import lies_in, present_box
from spot_dask.records import Origin
from spot_dask.report import ReportContext, html
from spot_dask.report.context import NONE_PRESENT
from spot_dask.report.sections.effects import EffectsSection
from spot_dask.report.sections.importance import ImportanceSection
from spot_dask.report.sections.landscape import LandscapeSection
from spot_dask.report.sections.parameters import ParametersSection
from spot_dask.report.sections.regions import RegionsSection
from spot_dask.report.sections.tradeoff import TradeoffSection
from spot_dask.report.sections.winner import WinnerSection
from spot_dask.tuner.ranges import changed, holds

SPACE = Space(
    lr=Real(1e-4, 1.0, scale="log", default=0.5),
    width=Integer(8, 256, scale="power2", default=16),
    depth=Integer(1, 9, default=2),
    many=Integer(1, 900, default=2),
    opt=Categorical(["sgd", "adam", "lion"], default="sgd"),
    momentum=Real(0.0, 1.0, default=0.9).when(opt="sgd"),
)
RANGES = {"lr": "1e-3:0.1", "width": "32:", "depth": ":4", "many": "3:90", "opt": "sgd,lion"}
NOW = changed(SPACE, SPACE, {**RANGES, "momentum": "0.5:"})

PLAIN = Space(x=Real(0.0, 1.0, default=0.9), y=Real(0.0, 1.0, default=0.5))
RIGHT = changed(PLAIN, PLAIN, {"x": "0.6:1.0"})


def valley(config):
    """The best is at x = 0.3, which the present ranges leave out; where it is, y is all."""
    return (config["x"] - 0.3) ** 2 + (2.0 if config["x"] < 0.5 else 0.0) * (config["y"] - 0.5) ** 2


def context_of(within: Space, n: int = 48) -> ReportContext:
    told = {"hull": PLAIN.to_json(), "within": within.to_json(), "before": PLAIN.to_json()}
    b = Builder(space=PLAIN, settings={"ranges": told} if within != PLAIN else {})
    rng = np.random.default_rng(0)
    rows = PLAIN.snap(np.vstack([[0.602, 0.5], rng.random((n - 1, 2))]))
    rows = rows[(rows[:, 0] <= 0.602) | (rows[:, 0] > 0.64)]
    for config in PLAIN.decode(rows):
        b.tell(config, valley(config) + 0.002 * rng.normal(), origin=Origin.DESIGN)
    context = b.context()
    tuner = Tuner(PLAIN, within=within)
    best = tuner.recommend(b.history, tuner.model(b.history))
    return ReportContext(context.header, context.fold, context.model, best)


@cache
def right() -> ReportContext:
    return context_of(RIGHT)


def test_the_box_of_the_present_ranges_holds_their_configurations_and_no_others() -> None:
    rng = np.random.default_rng(0)
    box = present_box(SPACE, NOW)
    drawn = SPACE.snap(box(rng.random((500, SPACE.d))))
    assert all(holds(NOW, config) for config in SPACE.decode(drawn))
    assert lies_in(SPACE, box, drawn).all()
    anywhere = SPACE.snap(rng.random((4000, SPACE.d)))
    expected = [holds(NOW, config) for config in SPACE.decode(anywhere)]
    assert lies_in(SPACE, box, anywhere).tolist() == expected
    assert sum(expected) > 5
    now = SPACE.encode(NOW.decode(NOW.snap(rng.random((500, NOW.d)))))
    assert lies_in(SPACE, box, now).all()
    levels = {name: len({c.get(name) for c in SPACE.decode(drawn)}) for name in ("depth", "opt")}
    assert levels == {"depth": 4, "opt": 2}


def test_what_is_near_optimal_lies_in_the_present_ranges() -> None:
    context = right()
    near, model = context.near, context.inference
    found = PLAIN.decode(near.rows)
    assert found
    assert all(holds(RIGHT, config) for config in found)
    inside = PLAIN.decode(PLAIN.snap(near.box(np.random.default_rng(0).random((200, 2)))))
    assert all(holds(RIGHT, config) for config in inside)
    assert 0.6 <= min(c["x"] for c in inside) < 0.65
    assert all(holds(RIGHT, config) for config in PLAIN.decode(candidates(model)))
    everywhere = infer(evidence(PLAIN, context.fold.history, 1.0), 1.0)
    assert near_optimal(everywhere, np.random.default_rng(0)).rows[:, 0].min() < 0.6
    # What is hoped for is measured against the best in the present ranges.
    known = outlook(model)
    assert 0 < known.improvement <= known.bound


def test_importances_effects_and_landscape_are_those_of_the_present_ranges() -> None:
    importance = right()[ImportanceSection]
    assert importance.near.parameters[0].name == "x"
    shares = {p.name: p.total.value for p in importance.whole.parameters}
    assert shares["x"] > 0.9
    assert shares["y"] < 0.3
    everywhere = {
        p.name: p.total.value for p in context_of(PLAIN)[ImportanceSection].whole.parameters
    }
    assert everywhere["y"] > 0.4
    effect = next(e for e in right()[EffectsSection] if e.axis.name == "x")
    assert (min(effect.values), max(effect.values)) == (0.6, 1.0)
    assert np.ptp(effect.average.median) < 0.5
    (basin, *_) = right()[LandscapeSection].whole.basins
    assert basin.config["x"] == 0.6


def test_tables_and_rivals_are_about_the_present_ranges() -> None:
    context = right()
    x = next(p for p in context[ParametersSection] if p.name == "x")
    assert x.domain == (0.6, 1.0)
    assert x.bound == "lower"  # wider ranges may hold something better
    (near_x, _) = context[RegionsSection].near.ranges
    low, high = near_x.values
    assert near_x.share == pytest.approx((high - low) / 0.4)
    rivals = context[WinnerSection].rivals
    assert all(holds(RIGHT, rival.config) for rival in rivals)
    numbers = [c.number for c in context[TradeoffSection].configurations]
    assert all(holds(RIGHT, context.fold.trials[n].config) for n in numbers)


def test_where_nothing_lies_in_the_present_ranges_the_report_says_so() -> None:
    context = context_of(changed(PLAIN, PLAIN, {"x": "0.9001:0.9002"}), 24)
    assert context.near.reason == NONE_PRESENT
    assert NONE_PRESENT in html(context)


def test_the_smaller_space_is_part_of_what_is_searched_now(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    study = Study(PLAIN, FunctionTask(valley), seed=1, confirm=0.0, durability="process")
    study.run(Budget(evaluations=24), local=0, store=path)
    before = Run.open(path).narrowed().space.parameters["x"]
    assert before.low < 0.5
    Run.open(path).change_ranges({"x": "0.6:1.0"})
    study.resume(path, Budget(evaluations=32), local=0)
    x = Run.open(path).narrowed().space.parameters["x"]
    assert 0.6 <= x.low < x.high < 0.9
    done = CliRunner().invoke(main, ["space", str(path)])
    assert done.exit_code == 0, done.output
    assert "low = 0.6" in done.output
