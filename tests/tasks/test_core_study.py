"""``Study.of``: a core model on data, with sizes, loss and metrics from the data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes, load_digits
from torch import nn
from torch.utils.data import Dataset

from spot_dask import Budget, Categorical, Data, Integer, Study
from spot_dask.tasks.core import Sizes, sizes_of
from spot_dask.tasks.data import as_data


def digits() -> Any:
    found = load_digits()
    return (found.images[:300] / 16).astype(np.float32), found.target[:300]


SMALL = {"epochs": Integer(1, 2, default=1), "l1": Integer(8, 16, default=8, scale="power2")}


def test_six_lines_are_a_study(tmp_path: Path) -> None:
    study = Study.of("mlp", digits, space=SMALL, budget=Budget(10), confirm=0)
    assert {"l1", "act_fn", "epochs", "batch_size", "optimizer", "lr_mult"} <= {*study.space.names}
    run = study.run(local=0, store=tmp_path / "run.zarr")
    assert all(e.outcome.ok for e in run.history.evaluations)
    assert "val_accuracy" in run.history.evaluations[0].outcome.metrics
    fitted = run.fit(study)
    assert fitted.predict(digits()[0]).shape == (300, 10)


class Images(Dataset[Any]):
    """Items that do not tell their classes."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, i: int) -> Any:
        return torch.zeros(3, 16, 16), i % 3


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ((np.zeros((5, 4)), np.array([0, 1, 2, 1, 0])), Sizes((4,), 3, True)),
        ((np.zeros((5, 2, 3)), np.zeros(5)), Sizes((2, 3), 1, False, True)),
        ((np.zeros((5, 4)), np.zeros((5, 2))), Sizes((4,), 2, False)),
        (Images(), Sizes((3, 16, 16), 3, True)),
        (Data(train=(np.zeros((5, 4)), np.zeros(5, bool))), Sizes((4,), 2, True)),
    ],
)
def test_sizes_follow_from_the_data(data: Any, expected: Sizes) -> None:
    assert sizes_of(as_data(data)) == expected


def test_classes_that_the_training_data_lack_can_be_told() -> None:
    assert sizes_of(as_data((np.zeros((2, 4)), np.array([0, 1]))), classes=7).n_out == 7


def test_a_regression_compares_numbers_with_numbers(tmp_path: Path) -> None:
    X, y = load_diabetes(return_X_y=True)
    data = X[:120].astype(np.float32), (y[:120] / 100).astype(np.float32)
    study = Study.of("resnet_mlp", data, space=SMALL, budget=Budget(2), confirm=0)
    run = study.run(local=0, store=tmp_path / "run.zarr")
    assert run.fit(study).predict(data[0]).shape == (120,)
    assert "val_mae" in run.history.evaluations[0].outcome.metrics


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            ({"a": np.zeros((3, 1)), "b": np.zeros((3, 1))}, np.zeros(3)),
            "one array for each sample",
        ),
        (
            (np.zeros((3, 2)), np.zeros((3, 2), int)),
            "whole numbers of shape .2,.; expected one class",
        ),
        ((np.zeros((3, 2)), np.array([-1, 0, 1])), "a class is -1; expected numbers from 0"),
        ((np.zeros((3, 2)), np.zeros((3, 2, 2))), "targets are of shape .2, 2. and type float64"),
    ],
)
def test_data_that_no_core_model_takes_are_told(data: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Study.of("mlp", data)
    assert "\n" not in str(caught.value)


def test_what_the_task_is_given_as_a_number_is_not_tuned() -> None:
    study = Study.of("mlp", digits, task={"epochs": 5})
    assert "epochs" not in study.space
    assert "batch_size" in study.space
    named = Study.of("mlp", digits, task={"batch_size": 16}, space={"epochs": Integer(1, 3)})
    assert "batch_size" not in named.space
    assert named.space["epochs"] == Integer(1, 3)


def test_a_core_model_of_ones_own_and_arguments_of_the_task(tmp_path: Path) -> None:
    class Linear:
        def space(self) -> Any:
            return {"bias": Categorical([True, False])}

        def build(self, cfg: Any, n_in: Any, n_out: int) -> nn.Module:
            return nn.Sequential(nn.Flatten(), nn.Linear(64, n_out, bias=cfg.bias))

    study = Study.of(
        Linear(), digits, task={"objective": "val_accuracy", "direction": "max", "epochs": 1},
        budget=Budget(2), confirm=0,
    )  # fmt: skip
    run = study.run(local=0, store=tmp_path / "run.zarr")
    assert run.best is not None
    assert run.header.direction == "max"
