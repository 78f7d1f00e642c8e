"""The tuned model in hand: the same as recorded, what it predicts, and its file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import Dataset

from spot_dask import (
    Budget,
    Categorical,
    Data,
    FunctionTask,
    Integer,
    Real,
    Run,
    Space,
    Study,
    TorchTask,
)
from spot_dask.errors import StoreError
from spot_dask.notation import written

RNG = np.random.default_rng(0)
X = RNG.normal(3.0, 2.0, (90, 4)).astype(np.float32)
Y = (X[:, 0] > X[:, 1]).astype(np.int64)
ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}


def data() -> Any:
    return Data(train=(X[:60], Y[:60]), test=(X[60:], Y[60:]))


def scaled(train: Any, cfg: Any) -> Any:
    """Fitted on the part to train on."""
    inputs, _ = train[:]
    scaler = StandardScaler().fit(inputs.numpy())
    return lambda x: torch.as_tensor(scaler.transform(x.numpy()), dtype=torch.float32)


def model(cfg: Any) -> nn.Module:
    return nn.Sequential(
        nn.Linear(4, cfg.width), cfg.act(), nn.Dropout(0.2), nn.Linear(cfg.width, 2)
    )


def adam(parameters: Any, cfg: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, cfg.lr)


SPACE = Space(
    lr=Real(1e-3, 1e-1, scale="log"), width=Integer(2, 16), act=Categorical(ACTIVATIONS)
)  # fmt: skip


def study(**settings: Any) -> Study:
    task = TorchTask(
        model,
        data,
        adam,
        nn.CrossEntropyLoss(),
        epochs=3,
        batch_size=16,
        prepare=scaled,
        **settings,
    )
    return Study(SPACE, task, budget=Budget(9), confirm=0)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Run]:
    made = study()
    return made, made.run(local=0, store=tmp_path_factory.mktemp("fit") / "run.zarr")


def test_the_model_is_the_one_whose_value_is_recorded(finished: tuple[Study, Run]) -> None:
    made, run = finished
    fitted = run.fit(made)
    assert run.best is not None
    recorded = next(
        e.outcome.metrics for e in run.history.evaluations if e.trial.number == run.best.trial
    )
    assert dict(fitted.metrics) == dict(recorded)  # bit for bit
    assert fitted.config.act in ACTIVATIONS.values()


def test_every_epoch_is_told(finished: tuple[Study, Run]) -> None:
    made, run = finished
    told: dict[int, float] = {}
    fitted = run.fit(made, tell=lambda epoch, metrics: told.update({epoch: metrics["val_loss"]}))
    assert list(told) == [1, 2, 3]
    assert fitted.metrics["val_loss"] == told[3]


def test_every_trial_can_be_had_and_another_seed_is_another_model(
    finished: tuple[Study, Run],
) -> None:
    made, run = finished
    for e in run.history.evaluations[:3]:
        assert run.fit(made, trial=e.trial.number).metrics["val_loss"] == e.outcome.y
    assert run.fit(made, seed=5).metrics != run.fit(made).metrics


def test_predictions_are_prepared_as_the_validation_data_were(finished: tuple[Study, Run]) -> None:
    made, run = finished
    fitted = run.fit(made)
    predicted = fitted.predict(X[60:])
    assert predicted.shape == (30, 2)
    accuracy = float((predicted.argmax(1).numpy() == Y[60:]).mean())
    assert accuracy == pytest.approx(fitted.metrics["test_accuracy"])
    loss = nn.functional.cross_entropy(predicted, torch.as_tensor(Y[60:]))
    assert float(loss) == pytest.approx(fitted.metrics["test_loss"], rel=1e-5)


def test_a_full_training_learns_from_the_validation_data_too(finished: tuple[Study, Run]) -> None:
    made, run = finished
    fitted = run.fit(made, full=True)
    assert not any(name.startswith("val_") for name in fitted.metrics)
    assert "test_loss" in fitted.metrics
    assert fitted.full


def test_full_joins_parts_that_are_given(tmp_path: Path) -> None:
    def parts() -> Any:
        return Data(train=(X[:40], Y[:40]), validation=(X[40:60], Y[40:60]))

    seen = []

    def count(train: Any, cfg: Any) -> Any:
        seen.append(len(train))
        return lambda x: x

    task = TorchTask(model, parts, adam, nn.CrossEntropyLoss(), epochs=1, prepare=count)
    made = Study(SPACE, task, budget=Budget(2), confirm=0)
    run = made.run(local=0, store=tmp_path / "run.zarr")
    run.fit(made, full=True)
    assert seen[-1] == 60
    assert seen[0] == 40


def test_a_file_holds_weights_and_data_and_no_code(
    finished: tuple[Study, Run], tmp_path: Path
) -> None:
    made, run = finished
    fitted = run.fit(made)
    found = torch.load(fitted.save(tmp_path / "m.pt"), weights_only=True)
    assert found["config"] == {**fitted.named}
    assert found["config"]["act"] in ("ReLU", "Tanh")
    assert found["metrics"] == dict(fitted.metrics)
    again = model(fitted.config)
    again.load_state_dict(found["weights"])
    again.eval()
    inputs = torch.zeros(3, 4)
    assert torch.equal(again(inputs), fitted.model.cpu().eval()(inputs))


class Items(Dataset[Any]):
    """Samples that are read one by one."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, i: int) -> Any:
        return torch.as_tensor(X[i]), int(Y[i])


def test_a_dataset_is_predicted_sample_by_sample(tmp_path: Path) -> None:
    task = TorchTask(model, Items, adam, nn.CrossEntropyLoss(), epochs=1, batch_size=4)
    made = Study(SPACE, task, budget=Budget(1), confirm=0)
    fitted = made.run(local=0, store=tmp_path / "run.zarr").fit(made)
    predicted = fitted.predict(Items())
    expected = fitted.model.cpu().eval()(torch.as_tensor(X[:10]))
    assert torch.allclose(predicted, expected, atol=1e-6)


def test_what_has_no_model_is_told(finished: tuple[Study, Run], tmp_path: Path) -> None:
    made, run = finished
    with pytest.raises(StoreError, match="there is no trial 99 in"):
        run.fit(made, trial=99)
    with pytest.raises(StoreError, match="a FunctionTask returns what it measured, no model"):
        run.fit(Study(SPACE, FunctionTask(lambda cfg: 1.0)))
    empty = Study(SPACE, FunctionTask(lambda cfg: 1 / 0), budget=Budget(2), confirm=0)
    with pytest.raises(StoreError, match=r"no successful trial in .* so there is nothing to fit"):
        empty.run(local=0, store=tmp_path / "e.zarr").fit(made)


CONFIG = {"lr": 0.1, "batch_size": 64, "optim.kind": "a b", "tied": True, "off": False}


@pytest.mark.parametrize(
    ("notation", "text"),
    [
        ("args", "--lr=0.1 --batch-size=64 '--optim.kind=a b' --tied"),
        (
            "toml",
            '"lr" = 0.1\n"batch_size" = 64\n"optim.kind" = "a b"\n"tied" = true\n"off" = false',
        ),
        ("python", f"config = {CONFIG!r}"),
    ],
)
def test_a_configuration_is_written_in_each_notation(notation: str, text: str) -> None:
    assert written(CONFIG, notation) == text
    assert json.loads(written(CONFIG, "json")) == CONFIG


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("abc", r"predict\(\) gets a str; expected an array, a frame or a Dataset"),
        ([[1.0, 2.0]], r"predict\(\) gets a list; expected an array"),
        (X[0], r"inputs of shape \(4,\); expected rows of samples of shape \(4,\)"),
        (X[:, :3], r"inputs of shape \(90, 3\); expected rows of samples of shape \(4,\)"),
        (X[:0], r"inputs of shape \(0, 4\); expected samples of \(4,\)"),
    ],
)
def test_what_cannot_be_predicted_is_told_in_one_line(
    finished: tuple[Study, Run], given: Any, message: str
) -> None:
    fitted = finished[1].fit(finished[0])
    with pytest.raises(ValueError, match=message) as caught:
        fitted.predict(given)
    assert "\n" not in str(caught.value)


def test_slips_of_a_task_are_told_when_it_is_made() -> None:
    with pytest.raises(
        ValueError, match=r"loss is the class CrossEntropyLoss; .* CrossEntropyLoss\(\)"
    ):
        TorchTask(model, data, adam, nn.CrossEntropyLoss)
    task = TorchTask(model, data, adam, nn.CrossEntropyLoss(), clip="clp")
    with pytest.raises(ValueError, match="clip is 'clp', no parameter; there are: lr, width, act"):
        Study(SPACE, task)
