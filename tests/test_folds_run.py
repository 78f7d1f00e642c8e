"""Runs of studies with folds: what stores hold of them, what is shown, and the tuned model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from spot_dask import Budget, Folds, FunctionTask, Run, Space, StoreError, Study, TorchTask
from spot_dask.cli import main
from spot_dask.compare import _curve
from spot_dask.records import Origin
from spot_dask.report.sections.trials import TrialsSection
from spot_dask.space import Real
from spot_dask.warmstart.store import EarlierRun

SPACE = Space(x=Real(0.0, 1.0, default=0.1), z=Real(0.0, 1.0, default=0.9))


def bowl(cfg: Any, trial: Any) -> dict[str, float]:
    """A bowl on folds that differ by three times as much as its configurations."""
    hard = float(np.random.default_rng([trial.partition, trial.fold]).normal())
    noise = 0.02 * float(np.random.default_rng(trial.number).normal())
    value = (cfg.x - 0.6) ** 2 + (cfg.z - 0.6) ** 2
    return {"loss": value + hard + noise, "test_loss": value}


def study(**more: Any) -> Study:
    return Study(SPACE, FunctionTask(bowl, folds=4), infill="log_ei", **more)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of 50 trainings, of which 10 confirm."""
    store = tmp_path_factory.mktemp("folds") / "run.zarr"
    study(budget=Budget(evaluations=50)).run(store=store, local=0)
    return store


@pytest.fixture
def run(path: Path) -> Run:
    return Run.open(path)


def test_a_store_tells_fold_and_partition_and_asks_for_the_same_again(run: Run) -> None:
    trials = run.fold.trials
    searched = [t for t in trials if not t.confirms]
    assert [t.fold for t in searched] == [t.replicate % 4 for t in searched]
    assert len({t.partition for t in searched if t.replicate < 4}) == 1
    confirms = [t for t in trials if t.confirms]
    assert len(confirms) == 10
    assert {(t.fold, t.partition) for t in confirms} == {(0, None)}
    assert run.deviations() == []
    assert run.settings["folds"] == {"k": 4, "repeats": 1, "stop": True, "draws": True}


def test_what_is_recommended_is_the_mean_over_folds(run: Run) -> None:
    best, luckiest = run.best, run.luckiest
    assert best is not None
    assert luckiest is not None
    assert {e.trial.replicate for e in best.evaluations} >= {0, 1, 2, 3}
    means: dict[float, list[float]] = {}
    for e in run.history.searched.ok:
        means.setdefault(float(e.trial.config["x"]), []).append(e.y)
    whole = {x: np.mean(v[:4]) for x, v in means.items() if len(v) >= 4}
    assert luckiest.observed == pytest.approx(min(whole.values()), abs=0.02)
    assert best.observed == pytest.approx(whole[float(best.config["x"])], abs=0.02)
    assert sum((float(v) - 0.6) ** 2 for v in best.config.values()) < 0.05  # the default: 0.34
    document = run.best_json(best)
    assert document is not None
    assert document["observed"] == best.observed
    assert document["confirmed"]
    folds = run.status()["folds"]
    assert folds["of"] == 4
    assert folds["complete"] == len(whole)
    assert folds["configurations"] == len(means)
    assert 0 < folds["given_up"] <= len(means) - len(whole)


def test_curves_of_the_best_count_trainings_and_configurations_as_a_whole(run: Run) -> None:
    curve = _curve(run, np.arange(1.0, 41.0))
    assert np.isinf(curve[:3]).all()  # the default is known after its four folds
    settled = sorted(e.y for e in run.context.settled.values())
    assert curve[-1] == settled[0]
    luckiest_fold = min(e.y for e in run.history.searched.ok)
    assert luckiest_fold < settled[0] - 0.3
    ranked = run.context.ranked
    assert [e.y for e in ranked[: len(settled)]] == settled
    assert len(ranked) == len({tuple(e.trial.config.items()) for e in ranked})


def test_the_report_speaks_of_folds(run: Run, tmp_path: Path) -> None:
    page = run.report(tmp_path / "report.html")
    html = page.read_text()
    assert "holds out a quarter of the data that it draws itself" in html
    assert "4 of 4" in html
    assert "fresh seed 4" in html
    assert "counts when the last of its folds has come" in html
    assert "The line for random search" not in html
    facts = json.loads(page.with_suffix(".json").read_text())
    assert facts["gain"]["default_trainings"] == 4
    steps = [v for v in facts["progress"]["y"] if isinstance(v, float)]
    assert min(steps) == min(e.y for e in run.context.settled.values())
    assert facts["generalisation"]["metric"] == "test_loss"
    assert len(run.context[TrialsSection]) == 50


def test_status_and_lines_name_folds(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["status", str(path)], standalone_mode=False)
    said = capsys.readouterr().out
    assert " with all 4 folds and " in said
    assert "folds        " in said


def test_another_number_of_folds_is_another_study(path: Path) -> None:
    other = Study(SPACE, FunctionTask(bowl, folds=5), infill="log_ei")
    with pytest.raises(StoreError, match=r"FoldPlan\(k=4.*this study FoldPlan\(k=5"):
        other.resume(path, local=0)


def test_a_warm_start_takes_means(run: Run, path: Path) -> None:
    rows = [r for r in EarlierRun().read(str(path), ["loss"]).rows if not r.why]
    own = {r.number: r.y for r in rows}
    for e in run.context.settled.values():
        assert own[e.trial.number] == e.y


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path, run: Run) -> None:
    """The first 23 trainings, then the others, are those of the run that was not interrupted."""
    begun = study(budget=Budget(evaluations=50))
    cut = study(budget=Budget(evaluations=50)).run(store=tmp_path / "cut.zarr", local=0)
    assert [t.config for t in cut.fold.trials] == [t.config for t in run.fold.trials]
    history = run.history
    known = {e.trial.number: e for e in history.evaluations}
    half = type(history)(tuple(known[n] for n in range(23)))
    (again,) = begun.tuner.ask(half, 1)
    assert again == known[23].trial


# ------------------------------------------------------------------ the tuned model


@pytest.fixture
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def net(cfg: Any) -> nn.Module:
    return nn.Linear(3, 2)


def sgd(parameters: Any, cfg: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, cfg.lr)


def data() -> Any:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3)).astype(np.float32)
    return X, (X[:, 0] + 0.5 * rng.normal(size=40) > 0).astype(int)


@pytest.mark.usefixtures("_one_thread")
def test_the_tuned_model_is_the_recorded_one_of_its_first_fold(tmp_path: Path) -> None:
    task = TorchTask(
        net, data, sgd, nn.CrossEntropyLoss(), epochs=2, device="cpu", split=Folds(3), batch_size=8
    )
    space = Space(lr=Real(1e-3, 1.0, scale="log", default=1e-2))
    own = Study(space, task, budget=Budget(evaluations=9), infill="log_ei", confirm=0.0)
    run = own.run(store=tmp_path / "run.zarr", local=0)
    best = run.best
    assert best is not None
    assert [e.trial.fold for e in best.evaluations[:3]] == [0, 1, 2]
    for e in best.evaluations[:3]:
        fitted = run.fit(own, trial=e.trial.number)
        assert dict(fitted.metrics) == dict(e.outcome.metrics)
    assert dict(run.fit(own).metrics) == dict(best.evaluations[0].outcome.metrics)
    whole = run.fit(own, full=True)
    assert whole.full
    assert "val_loss" not in whole.metrics
    fresh = run.fit(own, seed=77)
    assert fresh.metrics["val_loss"] not in [
        e.outcome.metrics["val_loss"] for e in best.evaluations
    ]
    assert {t.origin for t in run.fold.trials} <= {
        Origin.DEFAULT,
        Origin.DESIGN,
        Origin.INFILL,
        Origin.REPLICATE,
    }
