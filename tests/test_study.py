"""Studies from Python, run one training after another in this process."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor

from spot_dask import (
    Budget,
    Categorical,
    Design,
    FunctionTask,
    History,
    Integer,
    Real,
    Run,
    Space,
    StoreError,
    Study,
)
from spot_dask.early_stopping.asha import Asha
from spot_dask.executors.open import place_of
from spot_dask.progress import Update
from spot_dask.records import Imported, Opened, Origin
from spot_dask.study import default_store
from spot_dask.surrogates.kriging import Kriging
from spot_dask.surrogates.sklearn import SklearnSurrogate
from spot_dask.warmstart import summary

SPACE = Space(x=Real(-1.0, 1.0, default=0.9), kind=Categorical(["a", "b"], default="a"))


def loss(cfg: Any) -> float:
    return (cfg.x - 0.3) ** 2 + 0.1 * (cfg.kind == "a")


def study(**changes: Any) -> Study:
    settings: dict[str, Any] = {
        "design": Design(initial=6),
        "seed": 1,
        "repeats": 0,
        "confirm": 0.0,
    }
    settings |= changes
    return Study(settings.pop("space", SPACE), settings.pop("task", FunctionTask(loss)), **settings)


def noisy(cfg: Any, trial: Any) -> float:
    """Each training has a value of its own, the same when it is run again."""
    key = [trial.seed, round(1e6 * (cfg.x + 1)), int(cfg.kind == "a")]
    return loss(cfg) + 0.3 * float(np.random.default_rng(key).normal())


def test_a_noisy_run_ends_with_replicates_and_is_resumed_among_them(tmp_path: Path) -> None:
    again = study(task=noisy, design=Design(initial=30), replication=0.2)
    run = again.run(Budget(evaluations=40), local=0, store=tmp_path / "a.zarr")
    trials = [e.trial for e in run.history.evaluations]
    origins = [t.origin for t in trials]
    assert Origin.REPLICATE in origins[32:]
    assert Origin.REPLICATE not in origins[:32]
    best = run.best
    assert best is not None
    incumbent = run.status()["incumbent"]
    assert incumbent["trainings"] == len(best.evaluations)
    assert incumbent["observed"] == pytest.approx(np.mean([e.y for e in best.evaluations]))
    document = json.loads(run.report().with_suffix(".json").read_text())
    assert document["recommended"]["trainings"] == len(best.evaluations)
    assert "replicate" in [row["origin"] for row in document["trials"]]

    def stop(update: Update) -> None:
        if len(update.history.evaluations) == 36:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        again.run(Budget(evaluations=40), local=0, store=tmp_path / "b.zarr", watcher=stop)
    resumed = again.resume(tmp_path / "b.zarr", local=0)
    assert [e.trial for e in resumed.history.evaluations] == trials


def test_a_run_from_python_finds_the_optimum_and_remembers_it(tmp_path: Path) -> None:
    mine = study()
    run = mine.run(Budget(evaluations=20), local=0, store=tmp_path / "run.zarr")
    assert run.state == "done"
    assert len(run.history.ok) == 20
    assert mine.best is not None
    assert mine.best.config["kind"] == "b"
    assert abs(float(mine.best.config["x"]) - 0.3) < 0.02
    report = mine.report()
    assert report == tmp_path / "run" / "report.html"
    assert report.with_suffix(".json").exists()


def test_a_study_that_maximises_is_told_in_its_own_sign(tmp_path: Path) -> None:
    task = FunctionTask(lambda cfg: -loss(cfg), objective="score", direction="max")
    run = study(task=task).run(Budget(evaluations=14), local=0, store=tmp_path / "run.zarr")
    incumbent = run.status()["incumbent"]
    assert incumbent["observed"] == pytest.approx(-run.best.evaluations[0].y)  # type: ignore[union-attr]
    assert -0.1 < incumbent["observed"] <= 0
    assert incumbent["mean"] is incumbent["lo"] is None


def test_a_store_is_never_overwritten(tmp_path: Path) -> None:
    study().run(Budget(evaluations=1), local=0, store=tmp_path / "run.zarr")
    with pytest.raises(StoreError, match="resume"):
        study().run(Budget(evaluations=1), local=0, store=tmp_path / "run.zarr")


def test_runs_that_begin_in_one_second_have_stores_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    noon = SimpleNamespace(now=lambda zone: datetime(2026, 11, 26, 12, tzinfo=zone))
    monkeypatch.setattr("spot_dask.study.datetime", noon)
    for name in ("a-20261126-120000", "a-20261126-120000-2", "a-20261126-120000-3"):
        path = default_store("a")
        assert path == Path("runs", f"{name}.zarr")
        path.mkdir(parents=True)


def test_a_resumed_run_repeats_the_uninterrupted_one(tmp_path: Path) -> None:
    study().run(Budget(evaluations=7), local=0, store=tmp_path / "a.zarr")
    study().resume(tmp_path / "a.zarr", Budget(evaluations=12), local=0)
    study().run(Budget(evaluations=12), local=0, store=tmp_path / "b.zarr")
    a, b = (Run.open(tmp_path / name).history.evaluations for name in ("a.zarr", "b.zarr"))
    assert [e.trial for e in a] == [e.trial for e in b]


def test_a_resumed_run_keeps_the_settings_it_began_with(tmp_path: Path) -> None:
    study(seed=5).run(Budget(evaluations=7), local=0, store=tmp_path / "a.zarr")
    study(seed=6).resume(tmp_path / "a.zarr", Budget(evaluations=9), local=0)
    study(seed=5).run(Budget(evaluations=9), local=0, store=tmp_path / "b.zarr")
    a, b = (Run.open(tmp_path / name) for name in ("a.zarr", "b.zarr"))
    assert [e.trial for e in a.history.evaluations] == [e.trial for e in b.history.evaluations]
    assert a.settings["budget"] == {"evaluations": 9, "wall": None, "epochs": None, "until": None}
    sessions = [r.entry for r in a.journal.records() if isinstance(r.entry, Opened)]
    assert len(sessions) == 2


def test_a_store_of_another_space_says_what_differs(tmp_path: Path) -> None:
    study().run(Budget(evaluations=1), local=0, store=tmp_path / "run.zarr")
    other = study(space=SPACE.modify(x={"high": 2.0}))
    with pytest.raises(StoreError, match=r"another search space \(x: high"):
        other.resume(tmp_path / "run.zarr", local=0)


def test_a_store_of_another_objective_is_refused(tmp_path: Path) -> None:
    study().run(Budget(evaluations=1), local=0, store=tmp_path / "run.zarr")
    other = study(task=FunctionTask(loss, objective="error"))
    with pytest.raises(StoreError, match="minimises loss"):
        other.resume(tmp_path / "run.zarr", local=0)


def test_a_warm_start_maps_parameters_and_says_what_it_dropped(tmp_path: Path) -> None:
    study().run(Budget(evaluations=12), local=0, store=tmp_path / "old.zarr")
    space = Space(
        x=Real(0.0, 1.0, default=0.9),
        kind=Categorical(["a", "b"], default="a"),
        extra=Integer(1, 5, default=1),
    )
    run = study(space=space).run(
        Budget(evaluations=4), local=0, store=tmp_path / "new.zarr",
        warm_start=[tmp_path / "old.zarr"],
    )  # fmt: skip
    imported = next(r.entry for r in run.journal.records() if isinstance(r.entry, Imported))
    assert 0 < len(imported.items) < 12
    assert all(item.config["extra"] == 1 for item in imported.items)
    assert all("x" in reason for reason in imported.dropped)
    assert f"took {len(imported.items)} of 12" in summary(imported)
    assert run.history.evaluations[0].trial.origin is Origin.DEFAULT
    assert run.history.evaluations[-1].trial.origin is Origin.INFILL


def test_a_warm_start_needs_the_same_objective(tmp_path: Path) -> None:
    study().run(Budget(evaluations=1), local=0, store=tmp_path / "old.zarr")
    other = study(task=FunctionTask(loss, objective="error", direction="max"))
    with pytest.raises(StoreError, match=r"its objective is loss .*, this study's is error"):
        other.run(local=0, store=tmp_path / "new.zarr", warm_start=[tmp_path / "old.zarr"])
    assert not (tmp_path / "new.zarr").exists()


def test_nothing_but_failures_stops_the_run_early(tmp_path: Path) -> None:
    def broken(cfg: Any) -> float:
        raise RuntimeError("no such layer")

    run = study(task=FunctionTask(broken)).run(
        Budget(evaluations=40), local=0, store=tmp_path / "run.zarr"
    )
    assert run.state == "failing"
    assert len(run.history.evaluations) == 10
    assert run.best is None
    assert {e.outcome.error.message for e in run.history.failed if e.outcome.error} == {
        "no such layer"
    }


def test_wall_time_counts_over_sessions(tmp_path: Path) -> None:
    run = study().run(Budget(wall=0.3), local=0, store=tmp_path / "run.zarr")
    assert run.ended == "wall"
    before = len(run.history.evaluations)
    run = study().resume(tmp_path / "run.zarr", local=0)
    assert run.ended == "wall"
    assert len(run.history.evaluations) == before


def test_user_configurations_are_evaluated_after_the_default(tmp_path: Path) -> None:
    run = study(start=({"x": 0.25},)).run(
        Budget(evaluations=2), local=0, store=tmp_path / "run.zarr"
    )
    assert [dict(e.trial.config) for e in run.history.evaluations] == [
        {"x": 0.9, "kind": "a"},
        {"x": 0.25, "kind": "a"},
    ]


def test_the_watcher_hears_of_every_evaluation(tmp_path: Path) -> None:
    heard: list[Update] = []
    study().run(Budget(evaluations=3), local=0, store=tmp_path / "run.zarr", watcher=heard.append)
    assert [u.last.trial.number for u in heard if u.last is not None] == [0, 1, 2]
    assert len(heard[-1].history.evaluations) == 3


def test_asking_and_telling_needs_no_cluster() -> None:
    tuner, history = study().tuner, History()
    while len(history.evaluations) < 16:
        trials = tuner.ask(history, q=4)
        history = history.ask(trials)
        for trial in trials:
            history = history.tell(trial.result((float(trial.config["x"]) - 0.3) ** 2))
    assert history.incumbent is not None
    assert history.incumbent.y < 0.01


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": -1}, "seed is -1"),
        ({"seed": "a"}, "seed is 'a'"),
        ({"batch": 2.5}, "batch is 2.5"),
        ({"replication": 0.7}, "replication is 0.7"),
        ({"replication": True}, "replication is True"),
        ({"task": 3}, "task is 3"),
        ({"batch": 0}, "batch is 0"),
        ({"sync": True}, "expected batch"),
        ({"start": ({"y": 1},)}, "'y'"),
        ({"start": {"x": 1}}, r"start is {'x': 1}; expected a list"),
        ({"budget": 40}, r"budget is 40; expected a Budget\(evaluations=\.\.\., wall=\.\.\., "),
        ({"budget": None}, "budget is None; expected a Budget"),
        ({"design": 12}, "design is 12; expected a Design"),
        ({"space": {"x": 1}}, r"space is {'x': 1}; expected a Space"),
        ({"surrogate": "krigin"}, "no surrogate named 'krigin'"),
        ({"infill": "qei"}, "no infill named 'qei'"),
    ],
)
def test_wrong_settings_are_told_when_the_study_is_made(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        study(**changes)


def test_wrong_arguments_of_a_run_are_told_before_it_begins(tmp_path: Path) -> None:
    store, new = tmp_path / "run.zarr", tmp_path / "new.zarr"
    study().run(Budget(evaluations=2), local=0, store=store)
    for call in (study().run, lambda n, **more: study().resume(store, n, local=0)):
        with pytest.raises(ValueError, match="budget is 40; expected a Budget"):
            call(40, local=0, store=new)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"warm_start is '.*run\.zarr'; expected a list"):
        study().run(local=0, store=new, warm_start=str(store))
    assert not new.exists()


def test_a_function_is_a_task(tmp_path: Path) -> None:
    run = study(task=loss).run(Budget(evaluations=2), local=0, store=tmp_path / "run.zarr")
    assert len(run.history.ok) == 2


def test_a_surrogate_with_settings_is_made_again_by_whoever_reads_the_store(
    tmp_path: Path,
) -> None:
    exact = study(surrogate=Kriging(deterministic=True))
    run = exact.run(Budget(evaluations=10), local=0, store=tmp_path / "run.zarr")
    assert "deterministic=True" in run.settings["surrogate"]
    best = run.best
    assert best is not None
    assert best.mean == pytest.approx(best.evaluations[0].y, abs=1e-4)


def test_a_surrogate_that_no_name_describes_is_refused() -> None:
    forest = SklearnSurrogate(RandomForestRegressor(n_estimators=10))
    with pytest.raises(ValueError, match="cannot be recorded in a store"):
        study(surrogate=forest)
    study(surrogate="sklearn:ensemble.RandomForestRegressor(n_estimators=10)")


def test_the_same_evaluation_is_taken_once_by_whatever_way(tmp_path: Path) -> None:
    study().run(Budget(evaluations=8), local=0, store=tmp_path / "a.zarr")
    study(seed=2).run(
        Budget(evaluations=4), local=0, store=tmp_path / "b.zarr", warm_start=[tmp_path / "a.zarr"]
    )
    run = study(seed=3).run(
        Budget(evaluations=2), local=0, store=tmp_path / "c.zarr",
        warm_start=[tmp_path / "a.zarr", tmp_path / "b.zarr", tmp_path / "a.zarr"],
    )  # fmt: skip
    assert len(run.history.imports) == 12
    taken = [len(r.entry.items) for r in run.journal.records() if isinstance(r.entry, Imported)]
    assert taken == [8, 4, 0]


def test_what_was_imported_is_not_evaluated_again(tmp_path: Path) -> None:
    space = Space(k=Categorical(["a", "b", "c"], default="a"))
    small = Study(space, FunctionTask(lambda cfg: float(ord(cfg.k))), confirm=0.0)
    small.run(Budget(evaluations=3), local=0, store=tmp_path / "old.zarr")
    run = small.run(
        Budget(evaluations=3), local=0, store=tmp_path / "new.zarr",
        warm_start=[tmp_path / "old.zarr"],
    )  # fmt: skip
    assert [dict(e.trial.config) for e in run.history.evaluations] == [{"k": "a"}]
    assert run.ended == "exhausted"


def test_a_budget_below_what_is_there_is_refused(tmp_path: Path) -> None:
    study().run(Budget(evaluations=5), local=0, store=tmp_path / "run.zarr")
    with pytest.raises(StoreError, match="has 5 evaluations already, more than the 3"):
        study().resume(tmp_path / "run.zarr", Budget(evaluations=3), local=0)


@pytest.mark.parametrize(
    "budget", [{"evaluations": 0}, {"wall": 0.0}, {"wall": float("nan")}, {"wall": "5m"}]
)
def test_an_empty_budget_is_refused(budget: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="budget"):
        Budget(**budget)


def test_a_study_that_was_not_run_has_no_best() -> None:
    with pytest.raises(ValueError, match="has not been run"):
        _ = study().best


@pytest.mark.parametrize(("durability", "synced"), [("fsync", True), ("process", False)])
def test_durability_is_a_setting_which_a_resumed_run_keeps(
    durability: Any, synced: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    monkeypatch.setattr(os, "fsync", calls.append)
    path = tmp_path / "run.zarr"
    study(durability=durability).run(Budget(evaluations=2), local=0, store=path)
    assert bool(calls) is synced
    calls.clear()
    run = study().resume(path, Budget(evaluations=3), local=0)
    assert bool(calls) is synced
    assert run.settings["durability"] == durability


def test_an_unknown_durability_is_refused() -> None:
    with pytest.raises(ValueError, match="durability is 'often'; expected 'fsync' or 'process'"):
        study(durability="often")


@pytest.mark.parametrize("run_id", ["", "..", "../b", "/home", "a/b", ".a", "a\nb"])
def test_a_run_whose_id_leads_to_another_directory_is_refused(run_id: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="whose id is"):
        place_of(None, tmp_path / "run.zarr", run_id, "")


@pytest.mark.parametrize(
    ("own", "began_with", "restored"),
    [
        ("kriging", "kriging(starts=3)", "kriging(starts=3)"),
        (Kriging(starts=4), "kriging", "kriging"),
        (Kriging(starts=4), Kriging(starts=3), "spot_dask.surrogates.kriging:Kriging(starts=3)"),
        (Kriging(starts=4), Kriging(starts=4), Kriging(starts=4)),
    ],
)
def test_a_resumed_run_has_the_surrogate_it_was_begun_with(
    own: Any, began_with: Any, restored: Any
) -> None:
    begun = study(surrogate=began_with).settings
    assert study(surrogate=own).under(begun).surrogate == restored


def test_a_resumed_run_stops_no_training_early_if_it_was_begun_so() -> None:
    begun = study(early_stopping=None).settings
    assert study(early_stopping=Asha()).under(begun).early_stopping is None


class Wide:
    """A class as a level."""


def uses_everything(cfg: Any) -> float:
    assert cfg.net is Wide
    assert cfg.crop is None or cfg.crop == (64, 64)
    assert cfg.low < cfg.high
    return float(cfg.optim.lr + (cfg.crop is None) + cfg.low)


def test_a_run_with_named_levels_dots_steps_and_predicates_is_resumed(tmp_path: Path) -> None:
    space = Space(
        {
            "optim.lr": Real(1e-3, 1, scale="log"),
            "net": Categorical([Wide]),
            "crop": Categorical({"none": None, "64x64": (64, 64)}),
            "low": Real(0, 1, step=0.25, default=0),
            "high": Real(0, 1, step=0.25, default=1),
        }
    ).where("low < high")
    study = Study(space, uses_everything, budget=Budget(14), confirm=0)
    run = study.run(local=0, store=tmp_path / "a.zarr")
    assert run.best is not None
    assert run.best.config["crop"] == "64x64"
    more = study.resume(tmp_path / "a.zarr", Budget(20), local=0)
    evaluations = more.fold.history.evaluations
    assert len(evaluations) == 20
    assert all(e.outcome.ok for e in evaluations), [e.outcome.error for e in evaluations]
    assert all(e.trial.config["low"] < e.trial.config["high"] for e in evaluations)


@pytest.mark.parametrize("name", ["items", "keys", "model.values", "get"])
def test_a_name_that_every_configuration_has_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"parameter '{name}': cfg.* is a method of every config"):
        Study(Space({name: Real(0, 1)}), uses_everything)


def test_early_stopping_is_turned_off_as_on_the_command_line() -> None:
    assert study(early_stopping="none").early_stopping is None
    assert study(early_stopping="none").settings == study(early_stopping=None).settings
