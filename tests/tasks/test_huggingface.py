"""Trainers of transformers as tasks: tiny models made from a configuration, no downloads."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from killed_trainings import alone, kill, one_thread
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    Trainer,
    TrainingArguments,
    set_seed,
)

from spot_dask import Budget, FunctionTask, HuggingFaceTask, Real, Space, Study
from spot_dask.space import Config
from spot_dask.tasks import Diverged, StoppedEarly
from spot_dask.tasks.huggingface import ReportCallback, arguments, last_checkpoint

__all__ = ["one_thread"]  # used by every test

CONFIG = Config({"lr": 0.01})


class Trial:
    """What a running training knows; ``at`` is called with each epoch that is reported."""

    number, attempt, seed, slot, device = 7, 1, 42, 0, ""
    keeps_checkpoint = True
    keeps_artifacts = False

    def __init__(self, folder: Path, at: Callable[[int], object] = lambda epoch: None) -> None:
        self.checkpoint, self.at = folder, at
        self.reports: list[tuple[int, dict[str, float]]] = []

    def report(self, epoch: int, /, **metrics: float) -> None:
        self.reports.append((epoch, metrics))
        self.at(epoch)


class Tokens(torch.utils.data.Dataset[Any]):
    def __init__(self, count: int, seed: int) -> None:
        draws = torch.Generator().manual_seed(seed)
        self.x = torch.randint(5, 30, (count, 5), generator=draws)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> dict[str, Any]:
        return {"input_ids": self.x[i], "labels": int(self.x[i, 0] > 17)}


def model() -> Any:
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    return BertForSequenceClassification(
        BertConfig(vocab_size=30, intermediate_size=8, max_position_embeddings=8, **sizes)
    )


def accuracy(predicted: Any) -> dict[str, float]:
    return {"accuracy": float((predicted.predictions.argmax(-1) == predicted.label_ids).mean())}


def trainer(cfg: Any, args: dict[str, Any], **more: Any) -> Trainer:
    own = TrainingArguments(**args, learning_rate=cfg.lr, per_device_train_batch_size=8)
    given = {
        "train_dataset": Tokens(32, 0), "eval_dataset": Tokens(16, 1), "compute_metrics": accuracy,
    }  # fmt: skip
    return Trainer(model(), own, **{**given, **more})


def task(made: Any = trainer, **settings: Any) -> HuggingFaceTask:
    return HuggingFaceTask(made, **{"epochs": 2, "checkpoint_seconds": 0, **settings})


def test_a_killed_training_ends_as_one_that_ran_through(tmp_path: Path, capfd: Any) -> None:
    whole = task(epochs=4)
    for name in "ab":
        (tmp_path / name).mkdir()
    straight = Trial(tmp_path / "a")
    expected = whole(CONFIG, straight)
    assert expected.keys() == {"eval_loss", "eval_accuracy", "epoch"}
    assert [epoch for epoch, _ in straight.reports] == [1, 2, 3, 4]

    fork = multiprocessing.get_context("fork")
    child = fork.Process(target=alone, args=(whole, CONFIG, Trial(tmp_path / "b", kill(3))))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    saved = last_checkpoint(Trial(tmp_path / "b"))
    assert saved is not None  # of the first epoch, or of the second if it was saved quickly
    (tmp_path / "b" / "checkpoint-12").mkdir()  # as where it is killed while it saves
    again = Trial(tmp_path / "b")
    assert whole(CONFIG, again) == expected
    assert again.reports == straight.reports
    assert "%|" not in "".join(capfd.readouterr())  # no bars


def test_the_seed_fixes_a_training_and_another_one_changes_it(tmp_path: Path) -> None:
    first, other, short = (Trial(tmp_path) for _ in range(3))
    other.seed = 43
    first.keeps_checkpoint = other.keeps_checkpoint = short.keeps_checkpoint = False
    assert task()(CONFIG, first) != task()(CONFIG, other)
    task().shortened()(CONFIG, short)
    assert len(short.reports) == 1
    assert [*tmp_path.iterdir()] == []


def test_test_data_are_measured_and_never_chosen_by(tmp_path: Path) -> None:
    plain, tested = (Trial(tmp_path / name) for name in "ab")
    without = task()(CONFIG, plain)
    found = task(test=lambda: Tokens(24, 2))(CONFIG, tested)
    assert {name: found[name] for name in without} == without  # bit-equal
    assert found.keys() - without.keys() == {"test_loss", "test_accuracy"}
    assert tested.reports == plain.reports
    by_hand = task().fitted(CONFIG, Trial(tmp_path / "c")).trainer.predict(Tokens(24, 2)).metrics
    assert found["test_loss"] == by_hand["test_loss"]


def test_evaluations_by_steps_count_each(tmp_path: Path) -> None:
    def by_steps(cfg: Any, args: dict[str, Any]) -> Any:
        return trainer(cfg, {**args, "eval_strategy": "steps", "eval_steps": 2})

    def stop(epoch: int) -> None:
        if epoch == 3:
            raise StoppedEarly

    trial = Trial(tmp_path, stop)
    with pytest.raises(StoppedEarly):
        task(by_steps)(CONFIG, trial)
    assert [epoch for epoch, _ in trial.reports] == [1, 2, 3]
    never = Trial(tmp_path / "never")
    never.keeps_checkpoint = False
    unasked = task(lambda cfg, args: trainer(cfg, {**args, "eval_strategy": "no"}))
    assert unasked(CONFIG, never).keys() >= {"eval_loss", "eval_accuracy"}


def test_the_callback_serves_a_loop_of_ones_own(tmp_path: Path) -> None:
    def train(cfg: Any, trial: Any) -> Any:
        set_seed(trial.seed)
        own = trainer(cfg, arguments(trial, 2), callbacks=[ReportCallback(trial)])
        own.train(resume_from_checkpoint=last_checkpoint(trial))
        return own.evaluate()

    trial, given = Trial(tmp_path), Trial(tmp_path)
    trial.keeps_checkpoint = given.keeps_checkpoint = False
    found = FunctionTask(train, objective="eval_loss")(CONFIG, trial)
    assert found["eval_loss"] == task()(CONFIG, given)["eval_loss"]
    assert trial.reports[:2] == given.reports


def test_the_tuned_model_is_in_hand_after_a_run(tmp_path: Path) -> None:
    study = Study(Space(lr=Real(1e-3, 0.1, scale="log")), task(), budget=Budget(evaluations=2))
    run = study.run(store=tmp_path / "run.zarr", local=0)
    fitted = run.fit(study)
    assert run.best is not None
    assert fitted.metrics["eval_loss"] == run.best.observed
    scores = fitted.predict(Tokens(16, 1))
    assert scores.shape == (16, 2)
    assert torch.equal(fitted.predict({"input_ids": Tokens(16, 1).x}), scores)
    loaded = torch.load(fitted.save(tmp_path / "net.pt"), weights_only=True)
    assert "classifier.weight" in loaded["weights"]
    with pytest.raises(ValueError, match="what a Trainer trains on is up to you"):
        run.fit(study, full=True)


class Plain(torch.nn.Module):
    """A model that is none of transformers': it has no dtype of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.net = torch.nn.Linear(5, 2)

    def forward(self, input_ids: torch.Tensor, labels: torch.Tensor | None = None) -> Any:
        logits = self.net(input_ids.float() / 30)
        loss = None if labels is None else torch.nn.functional.cross_entropy(logits, labels)
        return {"loss": loss, "logits": logits}


def test_a_plain_module_is_trained_as_well(tmp_path: Path) -> None:
    trial = Trial(tmp_path)

    def made(cfg: Any, args: dict[str, Any]) -> Trainer:
        own = TrainingArguments(**args, learning_rate=cfg.lr)
        return Trainer(Plain(), own, train_dataset=Tokens(16, 0), eval_dataset=Tokens(8, 1))

    fitted = task(made, epochs=1).fitted(CONFIG, trial)
    assert fitted.dtype == torch.float32
    assert fitted.metrics["eval_loss"] > 0


def nan(predicted: Any) -> dict[str, float]:
    return {"accuracy": float("nan")}


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (lambda: task(lambda cfg: 3), ValueError, "trainer cannot be called with (cfg, args)"),
        (lambda: task(epochs=0), ValueError, "epochs is 0; expected a number from 1"),
        (lambda: task(lambda cfg, args: 3), ValueError, "returned 3; expected a Trainer"),
        (lambda: task(lambda cfg, args: trainer(cfg, {"output_dir": "x", "report_to": "none"})),
         ValueError, "the Trainer has not got args; write TrainingArguments(**args,"),
        (lambda: task(lambda cfg, args: TrainingArguments(**args, num_train_epochs=3)), TypeError,
         "num_train_epochs is among args already, leave it out; give it to the task instead"),
        (lambda: task(lambda cfg, args: TrainingArguments(**args, seed=3)), TypeError,
         "seed is among args already, leave it out"),
        (lambda: task(objective="eval_acuracy"), ValueError,
         "the Trainer evaluates no 'eval_acuracy', the objective; did you mean 'eval_accuracy'?"),
        (lambda: task(lambda cfg, args: trainer(cfg, args, eval_dataset=None)), ValueError,
         "eval_dataset"),
        (lambda: task(lambda cfg, args: trainer(cfg, args, compute_metrics=nan),
                      objective="eval_accuracy"), Diverged, "eval_accuracy became nan after 1"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(
    wrong: Any, error: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a Trainer makes its directory
    trial = Trial(tmp_path)
    trial.keeps_checkpoint = False
    with pytest.raises(error) as caught:
        wrong()(CONFIG, trial)
    assert message in str(caught.value)


def test_a_missing_package_is_named(monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.delitem(sys.modules, "spot_dask.tasks.huggingface")
    with pytest.raises(ImportError, match=r"pip install 'spot-dask\[huggingface\]'"):
        import_module("spot_dask.tasks.huggingface")
