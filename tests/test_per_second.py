"""Expected improvement per second: durations as they are learnt, the criterion, whole searches."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from spot_dask import (
    Budget,
    Categorical,
    FunctionTask,
    History,
    Integer,
    Real,
    Run,
    Space,
    Study,
    Tuner,
)
from spot_dask.infill import Request
from spot_dask.infill.constrained import Constrained, MetricLimit
from spot_dask.infill.fantasies import belief
from spot_dask.infill.log_ei import log_expected_improvement
from spot_dask.infill.optimise import weighed
from spot_dask.infill.price import Price
from spot_dask.records import Evaluation, Failure, Outcome, Status, Trial
from spot_dask.surrogates.kriging import Kriging
from spot_dask.tuner.durations import durations, price

SPACE = Space(
    x=Real(0.0, 1.0, default=0.5),
    epochs=Integer(1, 100, scale="log", default=10),
    opt=Categorical(["a", "b"], default="a"),
    m=Real(0.0, 1.0, default=0.5).when(opt="a"),
)
SQUARE = Space(x=Real(0.0, 1.0, default=0.5), y=Real(0.0, 1.0, default=0.5))


def ended(
    number: int,
    seconds: float,
    started: float = 0.0,
    worker: str = "w",
    status: Status = Status.OK,
    epochs: int = 10,
    attempt: int = 0,
    config: dict[str, Any] | None = None,
) -> Evaluation:
    curves = {"loss": (0.5,) * epochs}
    error = Failure("X", "x") if status is Status.FAILED else None
    outcome = Outcome(
        status, 1.0 if status is Status.OK else math.nan, {}, curves, started, started + seconds,
        worker, error=error,
    )  # fmt: skip
    return Evaluation(Trial(number, config or SPACE.default, 0), outcome, attempt)


def told(*evaluations: Evaluation) -> History:
    return History(evaluations=evaluations)


def test_what_a_duration_is_learnt_from() -> None:
    history = told(
        ended(0, 50.0, started=0.0),  # it warmed up
        ended(1, 40.0, started=0.0, worker="v"),  # and so did this
        ended(2, 3.0, started=50.0),
        ended(3, 1.0, started=60.0, status=Status.FAILED),
        ended(4, 2.0, started=70.0, status=Status.STOPPED, epochs=4),
        ended(5, 0.5, started=80.0, attempt=1),  # went on from a checkpoint
        ended(6, math.nan, started=90.0),
        ended(7, 0.0, started=95.0),
        ended(8, 4.0, started=100.0, worker="v"),
        ended(9, 6.0, started=110.0),
    )
    found = {d.evaluation.trial.number: d.seconds for d in durations(history)}
    assert found == {2: 3.0, 4: pytest.approx(5.0), 8: 4.0, 9: 6.0}
    longer = replace(
        history,
        evaluations=tuple(
            ended(
                4,
                2.0,
                70.0,
                status=Status.STOPPED,
                epochs=4,
                config={**SPACE.default, "epochs": 40},
            )
            if e.trial.number == 4
            else e
            for e in history.evaluations
        ),
    )
    assert {d.seconds for d in durations(longer, "epochs")} == {3.0, 20.0, 4.0, 6.0}
    # Of few the first ones count as well: better than nothing.
    few = told(*(ended(i, 5.0 - i, started=float(i)) for i in range(4)))
    assert len(durations(few)) == 4
    assert price(SPACE, few) is not None
    assert price(SPACE, told(*few.evaluations[:3])) is None
    assert price(SPACE, told(*(ended(i, 2.0) for i in range(9)))) is None  # all alike
    assert price(SPACE, History()) is None


def test_durations_are_predicted_in_a_conditional_space() -> None:
    rng = np.random.default_rng(0)
    rows = SPACE.snap(rng.random((40, SPACE.d)))
    configs = SPACE.decode(rows)

    def seconds(config: Any) -> float:
        return float(config["epochs"]) * (3.0 if config["opt"] == "b" else 1 + config["m"])

    history = told(*(ended(i, seconds(c), float(i), config=c) for i, c in enumerate(configs)))
    found = price(SPACE, history)
    assert found is not None
    fresh = SPACE.snap(rng.random((50, SPACE.d)))
    mean = found.log_seconds.predict(SPACE.features(fresh))[0]
    errors = mean - np.log([seconds(c) for c in SPACE.decode(fresh)])
    assert np.sqrt(np.mean(errors**2)) < 0.2


def test_the_criterion_is_log_ei_minus_log_seconds_with_its_gradient() -> None:
    rng = np.random.default_rng(1)
    X = rng.random((12, 2))
    y, size = np.square(X - 0.3).sum(axis=1), X.sum(axis=1)
    kriging = [Kriging().fit(X, v, SQUARE.groups, rng) for v in (y, 3 * X[:, 0], size)]
    limits = Constrained((MetricLimit(kriging[2], 1.0, 1.2),), size <= 1.2)
    pending = np.array([[0.4, 0.4]])
    for constrained in (None, limits):
        asked = Request(
            SQUARE, 2, X, pending, frozenset(), constrained=constrained, price=Price(kriging[1])
        )
        means = kriging[0].predict(asked.incumbents)[0]

        def made(asked: Request, means: Any = means) -> Any:
            score = log_expected_improvement
            return weighed(belief(score, kriging[0], asked, means, 1, rng), asked)

        Q, h = rng.random((20, 2)), 1e-6
        criterion, free = made(asked), made(replace(asked, price=None))
        for believed in (criterion, free):
            believed.believe(np.array([[0.2, 0.3]]))
        seconds = kriging[1].predict(Q)[0]
        assert_allclose(criterion.values(Q), free.values(Q) - seconds, rtol=1e-9)
        values, gradient = criterion.gradient(Q)
        assert_allclose(values, criterion.values(Q), rtol=1e-9)
        for j, e in enumerate(np.eye(2) * h):
            slope = (criterion.values(Q + e) - criterion.values(Q - e)) / (2 * h)
            assert_allclose(gradient[:, j], slope, rtol=1e-3, atol=1e-3 * np.abs(slope).max())


def run(infill: str, seed: int, seconds: float) -> tuple[History, float]:
    """Batches of 2 until so many seconds are used: two equal valleys, one a hundred times slower.

    Some trainings fail. The history, and the lowest value seen.
    """
    tuner, history, used = Tuner(SQUARE, seed=seed, infill=infill), History(), 0.0
    while used < seconds:
        trials = tuner.ask(history, 2)
        history = history.ask(trials)
        for trial in trials:
            x, y = float(trial.config["x"]), float(trial.config["y"])
            took = 10.0 ** (2.0 * x)
            value = min((x - 0.15) ** 2, (x - 0.85) ** 2) + (y - 0.6) ** 2
            outcome = Outcome(Status.OK, value, {}, {}, used, used + took)
            if trial.number % 7 == 6:
                outcome = Outcome(Status.FAILED, error=Failure("X", "x"))
            used += took
            history = history.tell(Evaluation(trial, outcome))
    return history, min(e.y for e in history.ok)


def test_the_quick_one_of_two_equal_valleys_is_searched() -> None:
    quick, best = run("log_ei_per_second", 1, 600.0)
    slow, other = run("log_ei", 1, 600.0)
    assert quick.asked > 1.5 * slow.asked
    assert best <= other
    late = [e.trial.config["x"] for e in quick.ok if e.trial.number >= 10]
    assert np.mean([float(x) < 0.5 for x in late]) > 0.7


def test_it_is_a_function_of_the_history_and_log_ei_without_durations() -> None:
    history, _ = run("log_ei_per_second", 2, 300.0)
    timed, plain = (Tuner(SQUARE, seed=2, infill=n) for n in ("log_ei_per_second", "log_ei"))
    asked = timed.ask(history, 3)
    assert timed.ask(replace(history, evaluations=history.evaluations[::-1]), 3) == asked
    assert plain.ask(history, 3) != asked
    unknown = History(
        evaluations=tuple(
            replace(e, outcome=replace(e.outcome, started=math.nan)) for e in history.evaluations
        )
    )
    assert timed.ask(unknown, 3) == plain.ask(unknown, 3)


def test_a_run_goes_by_the_durations_that_its_store_has(tmp_path: Path) -> None:
    def train(cfg: Any) -> dict[str, float]:
        time.sleep(0.02 * cfg.x)
        return {"loss": (cfg.x - 0.5) ** 2 + cfg.y, "size": cfg.x}

    study = Study(
        SQUARE,
        FunctionTask(train),
        infill="log_ei_per_second",
        constraints={"size": "<= 0.8"},
        budget=Budget(evaluations=14),
        seed=3,
    )
    run = study.run(local=0, store=tmp_path / "run.zarr")
    more = study.resume(run.path, Budget(evaluations=17), local=0)
    assert {str(t.origin) for t in more.fold.trials} >= {"infill"}
    assert "fallback" not in {str(t.origin) for t in more.fold.trials}
    assert more.deviations() == []
    assert Run.open(run.path).settings["infill"] == "log_ei_per_second"
