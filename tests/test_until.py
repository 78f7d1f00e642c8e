"""A search that ends before its budget: when, why, and what follows."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spot_dask import Budget, Categorical, FunctionTask, Real, Space, Study, Tuner
from spot_dask.progress import Update
from spot_dask.records import Evaluation, History, Stage
from spot_dask.report.sections.budget import BudgetAdvice, BudgetSection
from spot_dask.settings import KEYS
from spot_dask.tuner.confirmation import LEAST
from spot_dask.tuner.stopping import AGREEING, FIRST, NEVER, NOISE, Judgement, Stopping

SPACE = Space(x=Real(0.0, 1.0, default=0.9), kind=Categorical(["a", "b"], default="a"))
NOISY = 0.02


def value(config: Any) -> float:
    return float((config["x"] - 0.3) ** 2 + 0.1 * (config["kind"] == "a"))


def train(cfg: Any, trial: Any) -> float:
    noise = random.Random(f"{trial.seed} {cfg.x} {cfg.kind}").gauss(0.0, NOISY)
    return value({"x": cfg.x, "kind": cfg.kind}) + noise


def study(until: Any = None, evaluations: int = 100) -> Study:
    return Study(
        SPACE, FunctionTask(train), seed=1, budget=Budget(evaluations=evaluations, until=until)
    )


def searched(seed: int, n: int, until: str | float = NEVER) -> tuple[Tuner, History]:
    """A search in batches of four, until it ends or has n evaluations."""
    tuner = Tuner(SPACE, seed=seed, repeats=2, stopping=Stopping(SPACE, until))
    history, rng = History(), np.random.default_rng(seed)
    while len(history.evaluations) < n and (trials := tuner.ask(history, 4)):
        history = history.ask(trials)
        for trial in trials:
            y = value(trial.config) + NOISY * float(rng.standard_normal())
            history = history.tell(trial.result(y))
    return tuner, history


@pytest.mark.parametrize("wrong", [0, -1, "often", True, float("nan"), float("inf")])
def test_what_ends_a_search_is_a_number_or_noise(wrong: object) -> None:
    with pytest.raises(
        ValueError, match=r"^budget.until is .*; expected 'noise', 'never' or a number"
    ):
        Budget(until=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(("text", "value"), [("noise", "noise"), ("0.01", 0.01), ("1e-3", 0.001)])
def test_it_is_given_on_the_command_line(text: str, value: object) -> None:
    until = KEYS["budget", "until"]
    assert until.read(until.from_text(text)) == value


def test_a_search_ends_late_enough() -> None:
    """Where the bound is below what matters, the regret of what is recommended is too."""
    ended = 0
    for seed in range(5):
        tuner, history = searched(seed, 80, until=0.02)
        verdict = tuner.enough(history)
        best = tuner.recommend(history, tuner.model(history))
        assert best is not None
        if verdict is not None:
            ended += 1
            assert verdict.bound < 0.02
            assert value(best.config) < 0.02
            assert len(history.evaluations) >= FIRST
    assert ended >= 4


def test_two_judgements_in_a_row_must_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    _, history = searched(0, 40)
    said: dict[int, bool] = {}

    def judge(self: Stopping, history: History) -> Judgement:
        n = len(history.evaluations)
        return Judgement(n, 0.0 if said[n] else 1.0, 0.5, "until")

    monkeypatch.setattr(Stopping, "_judge", judge)
    said |= {20: True, 23: False, 26: True, 30: False, 34: True, 39: True}
    verdict = Stopping(SPACE, NOISE).verdict(history)
    assert verdict is not None
    assert (verdict.trials, AGREEING) == (39, 2)
    said[39] = False
    assert Stopping(SPACE, NOISE).verdict(history) is None


def test_only_what_has_ended_without_a_gap_is_judged_in_whatever_order_it_came() -> None:
    tuner, history = searched(2, 60, until=NOISE)
    verdict = tuner.enough(history)
    assert verdict is not None
    shuffled = list(history.evaluations)
    random.Random(0).shuffle(shuffled)
    fresh = Tuner(SPACE, seed=2, repeats=2, stopping=Stopping(SPACE, NOISE))
    assert fresh.enough(replace(history, evaluations=tuple(shuffled))) == verdict
    # An early trial that is still pending leaves less to judge by; later results change nothing.
    first, *others = sorted(history.evaluations, key=lambda e: e.trial.number)
    awaited = History(evaluations=tuple(others), pending=(first.trial,))
    assert tuner.enough(awaited) is None
    assert tuner.ask(awaited, 1) != ()
    more = _told(history, history.evaluations[3], 5)
    assert tuner.enough(more) == verdict
    assert tuner.ask(more, 8) == ()
    assert len(tuner.ask(more, 99, Stage("confirm", LEAST))) == 2 * LEAST


def _told(history: History, like: Evaluation, count: int) -> History:
    """The history with so many later results that would say otherwise."""
    for number in range(history.asked, history.asked + count):
        trial = replace(like.trial, number=number)
        history = history.ask([trial]).tell(trial.result(-5.0 * number))
    return history


def test_a_run_ends_early_is_confirmed_and_says_why(tmp_path: Path) -> None:
    heard: list[str] = []

    def watcher(update: Update) -> None:
        heard.extend([] if update.message is None else [update.message])

    run = study("noise").run(local=0, store=tmp_path / "a.zarr", watcher=watcher)
    assert (run.state, run.ended) == ("done", "until")
    assert run.enough is not None
    search = len(run.history.searched.evaluations)
    assert FIRST < search < 70
    assert len(run.history.confirmations) == 2 * LEAST
    assert f"the search ends: {run.enough}" in heard
    assert run.status()["budget"]["enough"] == str(run.enough)
    told = run.context[BudgetSection]
    assert isinstance(told, BudgetAdvice)
    assert told.ended == str(run.enough)
    assert run.deviations() == []

    # It stays so when the run is resumed, and is taken back by who wants more.
    again = study().resume(tmp_path / "a.zarr", local=0)
    assert (again.ended, len(again.history.evaluations)) == ("until", search + 2 * LEAST)
    # Nor is a rest of the budget that the search may not use spent on more confirmations.
    again = study().resume(tmp_path / "a.zarr", Budget(evaluations=search + 2 * LEAST + 3), local=0)
    assert (again.ended, len(again.history.evaluations)) == ("until", search + 2 * LEAST)
    on = study().resume(
        tmp_path / "a.zarr", Budget(evaluations=search + 2 * LEAST + 6, until="never"), local=0
    )
    assert (on.ended, on.enough) == ("budget", None)
    assert len(on.history.searched.evaluations) > search


def test_a_rule_that_never_holds_leaves_the_budget(tmp_path: Path) -> None:
    run = study(1e-9, 30).run(local=0, store=tmp_path / "a.zarr")
    assert (run.ended, len(run.history.evaluations), run.enough) == ("budget", 30, None)
