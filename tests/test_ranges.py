"""Ranges that are changed while a study goes on: its history is kept, informs, and is repeated."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from spot_dask import Budget, Categorical, FunctionTask, Integer, Real, Run, Space, Study, Tuner
from spot_dask.cli import main
from spot_dask.progress import Update
from spot_dask.records import History
from spot_dask.report.sections.run import RunSection
from spot_dask.store.verify import verify
from spot_dask.store.wishes import RANGES
from spot_dask.tuner.ranges import changed, holds, hull_of, inside, places

SPACE = Space(
    lr=Real(1e-4, 1.0, scale="log", default=0.5),
    width=Integer(8, 256, scale="power2", default=16),
    depth=Integer(1, 9, default=2),
    opt=Categorical(["sgd", "adam", "lion"], default="sgd"),
    momentum=Real(0.0, 1.0, default=0.9).when(opt="sgd"),
)
PLAIN = Space(x=Real(0.0, 1.0, default=0.9), kind=Categorical(["a", "b"], default="a"))


def study(evaluations: int = 12) -> Study:
    task = FunctionTask(lambda cfg: (cfg.x - 0.4) ** 2 + 0.1 * (cfg.kind == "a"))
    return Study(PLAIN, task, seed=1, budget=Budget(evaluations=evaluations), confirm=0.0)


def test_a_range_is_changed_and_its_default_stays_within() -> None:
    box = changed(SPACE, SPACE, {"lr": "1e-3:0.1", "width": "32:", "opt": "sgd, adam"})
    assert box.parameters["lr"] == Real(1e-3, 0.1, scale="log", default=0.1)
    assert box.parameters["width"] == Integer(32, 256, scale="power2", default=32)
    assert box.parameters["opt"] == Categorical(["sgd", "adam"], default="sgd")
    wide = changed(box, SPACE, {"lr": ":10", "opt": "sgd,lion"})
    hull = hull_of(SPACE, wide)
    assert hull.parameters["lr"] == Real(1e-4, 10.0, scale="log", default=0.5)
    assert hull.parameters["opt"] == SPACE.parameters["opt"]
    assert all(holds(hull, config) for config in (SPACE.default, box.default, wide.default))


@pytest.mark.parametrize(
    ("ranges", "why"),
    [
        ({"rate": "0:1"}, "no parameter 'rate'"),
        ({"lr": "0.1"}, "lr: '0.1' is no range; give LOW:HIGH"),
        ({"lr": "a:b"}, "lr: 'a:b' is no range; its ends are numbers"),
        ({"lr": "1:0.1"}, "lr: low 1.0 is above high 0.1"),
        ({"lr": "0:1"}, "lr: low 0.0 does not fit the log scale"),
        ({"depth": "1.5:2"}, "depth: '1.5:2' is no range; its ends are integers"),
        ({"opt": "adam,rms"}, "opt: 'adam,rms' are no levels of it; give some of sgd, adam, lion"),
        ({"opt": "adam"}, "opt: momentum is only there if opt is sgd, so that has to stay"),
    ],
)
def test_what_is_no_range_is_told_in_one_line(ranges: dict[str, str], why: str) -> None:
    with pytest.raises(ValueError, match="^" + why.replace("(", r"\(")) as told:
        changed(SPACE, SPACE, ranges)
    assert "\n" not in str(told.value)


def test_what_is_outside_has_its_place_beyond_the_unit_interval() -> None:
    box = changed(SPACE, SPACE, {"lr": "1e-3:0.1", "depth": "3:6", "width": "32:64"})
    within = [box.default, {**box.default, "lr": 0.03, "depth": 5, "opt": "adam"}]
    within = [box.validate({k: v for k, v in c.items() if k != "momentum"}) for c in within]
    features, which = places(box, within)
    assert which == [0, 1]
    assert features == pytest.approx(box.features(box.encode(within)), abs=1e-9)
    outside: list[Any] = [{**within[0], "lr": 1.0}, {**within[0], "lr": 1e-4, "depth": 1},
                          {**within[0], "width": 256}]  # fmt: skip
    features, which = places(box, outside)
    assert which == [0, 1, 2]
    assert features[0, 0] == pytest.approx(1.5)  # half the range, of two decades, beyond its end
    assert features[1, 0] == pytest.approx(-0.5)
    assert features[1, 2] == pytest.approx((1 - 3 + 0.5) / 4)
    assert features[2, 1] == pytest.approx(1.75)
    fewer = changed(SPACE, SPACE, {"opt": "sgd,adam"})
    assert places(fewer, [{**SPACE.default, "opt": "lion"}])[1] == []


def test_what_is_outside_informs_what_is_proposed() -> None:
    """The slope outside of the new range tells in which direction to go within it."""
    box = changed(PLAIN, PLAIN, {"x": "0.0:0.2"})
    tuner = Tuner(PLAIN, seed=2, within=box)
    history, rng = History(), np.random.default_rng(0)
    for trial in Tuner(PLAIN, seed=2).ask(history, 16):
        y = -float(trial.config["x"]) + 0.001 * float(rng.standard_normal())
        history = history.ask([trial]).tell(trial.result(y))
    inner = tuner._inner(box, history)
    assert inner.beyond
    known = inside(box, history)
    assert 2 <= len(known.ok) < len(history.ok)
    with_all = inner._fitted(inner._surrogate, known, "")
    alone = replace(inner, beyond=())._fitted(inner._surrogate, known, "")
    assert with_all is not None
    assert alone is not None
    assert (len(with_all.y), len(alone.y)) == (len(history.ok), len(known.ok))
    rows = box.encode([{"x": x, "kind": kind} for x in (0.0, 0.2) for kind in "ab"])
    truth = -np.array([0.0, 0.0, 0.2, 0.2])
    errors = [np.abs(m.predict(rows)[0] - truth).max() for m in (with_all, alone)]
    assert errors[0] < errors[1]
    trials = tuner.ask(history, 4)
    assert all(holds(box, t.config) for t in trials)
    assert [t.number for t in trials] == [16, 17, 18, 19]
    best = tuner.recommend(history, tuner.model(history))
    assert best is not None
    assert holds(box, best.config)


def test_a_running_run_searches_other_ranges_and_is_repeated_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spot_dask.session.REQUEST_SECONDS", 0.0)
    path, heard = tmp_path / "a.zarr", []

    def watcher(update: Update) -> None:
        heard.append(update.message or "")
        if update.last is not None and update.last.trial.number == 9:
            Run.open(path).change_ranges({"x": "0.6:0.8", "kind": "b"})

    run = study(18).run(local=0, store=path, watcher=watcher)
    assert "other ranges from now on: x 0.6:0.8, kind b" in heard
    ((asked, _),) = run.fold.ranges
    assert 10 <= asked <= 11
    later = [e.trial.config for e in run.history.evaluations if e.trial.number >= asked]
    assert all(holds(run.within, config) for config in later)
    assert len(later) >= 7
    assert run.space == PLAIN
    assert run.best is not None
    assert holds(run.within, run.best.config)
    assert Run.open(path).deviations() == []
    section = RunSection()
    shown = str(section.render(section.facts(run.context), run.context))
    assert f"ranges changed after {asked} trials" in shown
    assert "x: low 0.6 then, 0.0 before" in shown


def test_a_stopped_run_is_widened_when_it_is_resumed(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    study(12).run(local=0, store=path)
    key = RANGES
    Run.open(path).change_ranges({"x": "-1:2"})
    journal = Run.open(path).journal
    (wish,) = journal.range_wishes()
    kept = journal.backend.get(f"{key}/{wish.name}")
    assert kept is not None
    run = study(12).resume(path, Budget(evaluations=20), local=0)
    xs = [float(e.trial.config["x"]) for e in run.history.evaluations]
    assert min(xs[12:]) < 0.0 or max(xs[12:]) > 1.0
    assert run.space.parameters["x"] == Real(-1.0, 2.0, default=0.9)
    assert Run.open(path).deviations() == []
    assert verify(path).problems == ()
    assert len(Run.open(path).tabulated) == 20
    assert len(run.to_dataframe()) == 20
    assert run.journal.range_wishes() == []
    # As if it had been killed before the request was removed: it is the range that it has.
    journal.backend.put_new(f"{key}/{wish.name}", kept)
    again = study(12).resume(path, Budget(evaluations=22), local=0)
    assert len(again.fold.ranges) == 1
    assert again.journal.range_wishes() == []
    assert again.report().exists()


def test_the_command_tells_what_changes_and_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    study(6).run(local=0, store=path)

    def spot(*words: str, code: int = 0) -> str:
        done = CliRunner().invoke(main, ["range", str(path), *words])
        assert done.exit_code == code, done.output
        return done.output

    assert "is no range" in spot("x=1", code=2)
    assert "expected NAME=LOW:HIGH" in spot("x", code=2)
    told = spot("x=0.2:0.9")
    assert "x: low 0.2 now, 0.0 before" in told
    assert "when it is resumed" in told
    assert "these are the ranges that it has" in spot("x=0.2:0.9", code=2)
    document = json.loads(spot("x=0.3:", "--json"))
    assert document["changes"] == [
        "x: low 0.3 here, 0.0 there",
        "x: high 0.9 here, 1.0 there",
    ]
    run = study(6).resume(path, Budget(evaluations=8), local=0)
    assert run.within.parameters["x"] == Real(0.3, 0.9, default=0.9)
