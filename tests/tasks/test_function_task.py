"""FunctionTask and score: what a function may return, and what is said about the rest."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spot_dask import Real, Space, Study
from spot_dask.records import Outcome, Status, Trial
from spot_dask.tasks import Config, score
from spot_dask.tasks.function import FunctionTask, as_task
from spot_dask.tasks.watched import ReadConfig
from spot_dask.worker.context import RunningTrial
from spot_dask.worker.training_main import attempt_trial


def run(task: FunctionTask, **config: Any) -> Outcome:
    trial = Trial(3, config, seed=7)
    return attempt_trial(lambda: task, trial, RunningTrial(trial, attempt=1, slot=2))


@pytest.mark.parametrize(
    "value",
    [2, 2.0, np.float32(2), np.int64(2), np.array(2.0), Decimal(2), torch.tensor(2.0)],
    ids=lambda v: type(v).__name__,
)
def test_any_real_number_is_an_objective(value: Any) -> None:
    outcome = run(FunctionTask(lambda cfg: value))
    assert (outcome.status, outcome.y, outcome.metrics) == (Status.OK, 2.0, {"loss": 2.0})


def test_metrics_without_the_objective_end_a_run_at_its_first_training(tmp_path: Path) -> None:
    said = list[str]()

    def train(cfg: Any, trial: Any) -> dict[str, float]:
        trial.report(1, val_loss=1.0)
        return {"val_loss": 1.0, "accuracy": 0.5}

    run = Study(Space(x=Real(0, 1)), FunctionTask(train)).run(
        local=0,
        store=tmp_path / "run.zarr",
        watcher=lambda update: said.append(str(update.message)),
    )
    assert (run.state, len(run.history.evaluations)) == ("broken", 0)
    told = (
        "the default configuration cannot be trained: ObjectiveMissing: no metric 'loss' (the "
        "objective) among what the training returned; return it, or name another by objective=...; "
        "did you mean 'val_loss'?; no evaluation was used up"
    )
    assert told in said


def test_a_tensor_that_still_has_its_gradient_is_an_objective() -> None:
    assert run(FunctionTask(lambda cfg: torch.tensor(2.0, requires_grad=True))).y == 2.0


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "'loss' is None; expected one real number"),
        ("0.5", "'loss' is str ('0.5'); expected one real number"),
        (1 + 2j, "'loss' is complex ((1+2j)); expected one real number"),
        (np.complex128(1), "expected one real number"),
        (True, "'loss' is bool (True); expected one real number"),
        ([1.0], "'loss' is list ([1.0]); expected one real number"),
        (np.ones(3), "'loss' is ndarray (shape (3,)); expected one real number"),
        (np.ones(1), "'loss' is ndarray (shape (1,)); expected one real number"),
        (torch.ones(2), "'loss' is Tensor (shape (2,)); expected one real number"),
        (float("nan"), "the objective 'loss' is nan; it must be finite"),
        (float("-inf"), "the objective 'loss' is -inf; it must be finite"),
        ({"los": 1.0}, "did you mean 'los'?"),
        ({}, "there are: none"),
        ({"loss": 1.0, "accuracy": "high"}, "'accuracy' is str ('high')"),
    ],
)
def test_anything_else_fails_with_its_reason(value: Any, reason: str) -> None:
    outcome = run(FunctionTask(lambda cfg: value))
    assert outcome.status is Status.FAILED
    assert outcome.error is not None
    assert outcome.error.type in ("ValueError", "ObjectiveMissing")
    assert reason in outcome.error.message
    assert "\n" not in outcome.error.message


def test_a_metric_that_is_not_the_objective_may_be_nan() -> None:
    outcome = run(FunctionTask(lambda cfg: {"loss": 1.0, "auc": float("nan")}))
    assert outcome.ok
    assert np.isnan(outcome.metrics["auc"])


def test_an_objective_to_be_maximised_is_minimised_with_its_sign_flipped() -> None:
    task = FunctionTask(lambda cfg: {"accuracy": 0.9}, objective="accuracy", direction="max")
    assert run(task).y == -0.9
    assert run(task).metrics == {"accuracy": 0.9}
    assert score(FunctionTask(abs), {"loss": 0.9}) == 0.9


def with_trial(cfg: Config, trial: RunningTrial) -> float:
    return trial.seed + cfg.x


def with_another_name(cfg: Config, context: RunningTrial) -> float:
    return context.seed + cfg.x


def with_keyword(cfg: Config, *, trial: RunningTrial) -> float:
    return trial.seed + cfg.x


def with_default_before(
    cfg: Config, scale: float = 1.0, trial: RunningTrial | None = None
) -> float:
    assert trial is not None
    return trial.seed + scale * cfg.x


def without(cfg: Config, offset: int = 7) -> float:
    return offset + cfg.x


@pytest.mark.parametrize(
    "function", [with_trial, with_another_name, with_keyword, with_default_before, without]
)
def test_a_function_gets_the_trial_if_it_wants_it(function: Any) -> None:
    assert run(FunctionTask(function), x=1).y == 8.0


def test_what_a_function_reports_becomes_curves() -> None:
    def train(cfg: Config, trial: RunningTrial) -> float:
        trial.report(1, loss=np.float32(3))
        trial.report(2, loss=2, accuracy=0.5)
        return 2.0

    curves = run(FunctionTask(train)).curves
    assert curves["loss"] == (3.0, 2.0)
    assert np.isnan(curves["accuracy"][0])
    assert curves["accuracy"][1:] == (0.5,)


def test_epochs_are_counted_from_one() -> None:
    outcome = run(FunctionTask(lambda cfg, trial: trial.report(0, loss=1.0)))
    assert outcome.error is not None
    assert outcome.error.message == "epoch is 0; expected a number counted from 1"


def test_an_unknown_parameter_is_named_with_those_there_are() -> None:
    outcome = run(FunctionTask(lambda cfg: cfg.learning_rate), lr=0.1, width=3)
    assert outcome.error is not None
    assert "no active parameter 'learning_rate'" in outcome.error.message
    assert "active: lr, width" in outcome.error.message


def test_an_exception_that_cannot_be_printed_is_still_an_outcome() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    def train(cfg: Config) -> float:
        raise Broken

    outcome = run(FunctionTask(train))
    assert outcome.error is not None
    assert (outcome.error.type, outcome.error.message) == ("Broken", "the training raised Broken")


def test_ctrl_c_goes_on_to_whoever_runs_a_training_in_their_own_process() -> None:
    def train(cfg: Config) -> float:
        raise KeyboardInterrupt

    # Whoever starts the tests in the background has them ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(FunctionTask(train))
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_traceback_keeps_its_end() -> None:
    def train(cfg: Config) -> float:
        raise ValueError("x" * 100_000 + " the end")

    error = run(FunctionTask(train)).error
    assert error is not None
    assert len(error.traceback) <= 16 * 1024
    assert error.traceback.endswith("the end\n")
    assert len(error.message) <= 500


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda: 1.0, "with (cfg): too many positional arguments"),
        (lambda cfg, a, b: 1.0, "with (cfg, trial): missing a required argument: 'b'"),
        (lambda cfg, a, trial: 1.0, "with (cfg, trial): missing a required argument: 'a'"),
        (lambda cfg, *, lr: 1.0, "with (cfg): missing a required argument: 'lr'"),
        ("train", "function is 'train'; expected a function"),
    ],
)
def test_a_function_that_cannot_be_called_is_refused_at_once(function: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        FunctionTask(function)


def test_a_function_without_a_signature_is_taken_as_it_is() -> None:
    assert run(FunctionTask(max), a=1).status is Status.FAILED


class Whole:
    """All that a task has."""

    objective, direction = "loss", "min"

    def __call__(self, config: Config, trial: RunningTrial) -> dict[str, float]:
        return {"loss": config.x}

    def shortened(self) -> Whole:
        return self


def without_member(name: str) -> Any:
    return type("Less", (), {n: v for n, v in vars(Whole).items() if n != name})()


def with_member(name: str, value: Any) -> Any:
    return type("Other", (Whole,), {name: value})()


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        (without_member("objective"), "without objective; expected"),
        (without_member("direction"), "without direction; expected"),
        (without_member("shortened"), "without shortened; expected"),
        (without_member("__call__"), "without __call__(config, trial); expected"),
        (Whole, "a class; give an object of it"),
        ("digits", "'digits' without objective, direction, shortened, __call__(config, trial)"),
        (with_member("objective", None), "objective is None; expected a metric's name"),
        (with_member("direction", "up"), "direction is 'up'; expected 'min' or 'max'"),
        (with_member("__call__", lambda self, config: {}), "with (config, trial): too many"),
        (with_member("shortened", lambda self, n: self), "shortened() cannot be called with ()"),
    ],
)
def test_a_task_is_checked_against_its_whole_protocol(task: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)) as told:
        Study(Space(x=Real(0, 1, default=0)), task)
    assert "\n" not in str(told.value)


def test_a_task_is_taken_as_it_is_and_a_function_becomes_one() -> None:
    task = Whole()
    assert as_task(task) is task
    assert as_task(abs) == FunctionTask(abs)


def test_a_wrong_direction_is_refused() -> None:
    with pytest.raises(ValueError, match="direction is 'up'; expected 'min' or 'max'"):
        FunctionTask(abs, direction="up")  # type: ignore[arg-type]


def test_a_function_has_no_epochs_to_be_cut() -> None:
    task = FunctionTask(abs)
    assert task.shortened() is task


def test_tasks_and_their_processes_come_without_torch() -> None:
    code = (
        "import sys, spot_dask.tasks.function, spot_dask.worker.training_main;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_was_read_of_a_configuration_is_known_by_its_whole_name() -> None:
    seen = ReadConfig({"optim.lr": 0.1, "optim.name": "sgd", "width": 3, "depth": 2})
    assert (seen.optim.lr, seen["width"], "depth" in list(seen)) == (0.1, 3, True)
    assert seen.read == {"optim.lr", "width"}
    assert dict(seen.optim) == {"lr": 0.1, "name": "sgd"}
    assert seen.read == {"optim.lr", "optim.name", "width"}


def drawn(cfg: Config, trial: Any) -> dict[str, float]:
    """What a loop draws that seeds nothing."""
    return {
        "loss": float(torch.rand(1)),
        "numpy": np.random.rand(),  # noqa: NPY002 - as users draw
        "python": random.random(),
    }


def test_a_function_that_seeds_nothing_is_repeated_by_the_seed_of_its_trial() -> None:
    first, again = run(FunctionTask(drawn)), run(FunctionTask(drawn))
    assert first.metrics == again.metrics
    other = Trial(4, {}, seed=8)
    fresh = attempt_trial(lambda: FunctionTask(drawn), other, RunningTrial(other, 1, 2))
    assert all(fresh.metrics[name] != value for name, value in first.metrics.items())
