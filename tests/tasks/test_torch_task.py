"""TorchTask: real trainings, and everything that is said about wrong ones."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes, load_digits
from torch import nn
from torch.utils.data import Dataset, TensorDataset, random_split

from spot_dask.records import Outcome, Status, Trial
from spot_dask.tasks.splits import Split
from spot_dask.tasks.torch import TorchTask, choose_device
from spot_dask.worker.context import RunningTrial
from spot_dask.worker.training_main import attempt_trial


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads cost such small models more than they bring."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def run(task: TorchTask, seed: int = 1, **config: Any) -> Outcome:
    trial = Trial(0, {"lr": 0.1, **config}, seed)
    return attempt_trial(lambda: task, trial, RunningTrial(trial))


def digits() -> tuple[np.ndarray, np.ndarray]:
    X, y = load_digits(return_X_y=True)
    return X[:400] / 16, y[:400]


def network(cfg: Any) -> nn.Module:
    return nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 10))


def sgd(parameters: Any, cfg: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, cfg.lr, momentum=0.9)


TASK = TorchTask(network, digits, sgd, nn.CrossEntropyLoss(), epochs=3, batch_size=32)


def failed(outcome: Outcome) -> str:
    assert outcome.status is Status.FAILED
    assert outcome.error is not None
    return f"{outcome.error.type}: {outcome.error.message}"


def test_a_training_learns_digits_and_keeps_its_curves() -> None:
    outcome = run(replace(TASK, epochs=10))
    assert outcome.status is Status.OK
    assert outcome.metrics["val_accuracy"] > 0.8
    assert set(outcome.curves) == {"train_loss", "val_loss", "val_accuracy"}
    assert all(len(curve) == 10 for curve in outcome.curves.values())
    assert outcome.y == outcome.metrics["val_loss"]
    assert outcome.device == str(choose_device("auto", 0))
    assert outcome.seconds > 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="GPUs do not sum in a fixed order")
def test_the_same_seed_gives_the_same_objective() -> None:
    first, again, other = run(TASK), run(TASK), run(TASK, seed=2)
    assert first.curves == again.curves
    assert first.y != other.y


def test_the_final_metrics_are_those_of_the_last_epoch_not_of_the_best() -> None:
    outcome = run(TASK, lr=3.0)
    losses = outcome.curves["val_loss"]
    assert min(losses) < losses[-1] == outcome.y


def test_one_step_of_regression_is_what_numpy_computes() -> None:
    X, y = load_diabetes(return_X_y=True)
    X, y = X * 20, (y - 150) / 80

    def zeros(cfg: Any) -> nn.Module:
        layer = nn.Linear(10, 1)
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
        return layer

    task = TorchTask(
        zeros, lambda: (X, y), lambda p, cfg: torch.optim.SGD(p, cfg.lr), nn.MSELoss(),
        metrics=("mae", "rmse"), epochs=1, batch_size=10_000, objective="val_rmse",
    )  # fmt: skip
    numbers = TensorDataset(torch.arange(len(y)), torch.as_tensor(y))
    train, held_out = (part.tensors[0].numpy() for part in Split()(numbers, 1))
    residual = -y[train]
    weight = -0.1 * 2 * X[train].T @ residual / len(train)
    bias = -0.1 * 2 * residual.mean()
    left = X[held_out] @ weight + bias - y[held_out]
    expected = {
        "train_loss": np.mean(residual**2),
        "val_loss": np.mean(left**2),
        "val_mae": np.mean(np.abs(left)),
        "val_rmse": np.sqrt(np.mean(left**2)),
    }
    outcome = run(task)
    assert outcome.metrics == pytest.approx(expected, rel=1e-5)
    assert outcome.y == outcome.metrics["val_rmse"]
    column = replace(task, data=lambda: (X, y[:, None]), model=lambda c: nn.Sequential(
        zeros(c), nn.Flatten(0)))  # fmt: skip
    assert run(column).metrics == pytest.approx(expected, rel=1e-5)


def test_metrics_are_means_over_samples_whatever_the_batches() -> None:
    def wrong(output: torch.Tensor, target: torch.Tensor) -> float:
        return float((output.argmax(1) != target).float().mean())

    task = replace(TASK, metrics=("accuracy", "error", wrong), epochs=1)
    metrics = run(task).metrics
    assert metrics["val_accuracy"] * 80 == pytest.approx(round(metrics["val_accuracy"] * 80))
    assert metrics["val_error"] == pytest.approx(1 - metrics["val_accuracy"])
    assert metrics["val_wrong"] == pytest.approx(metrics["val_error"])


def test_models_are_judged_in_evaluation_mode_and_trained_in_training_mode() -> None:
    modes = set()

    class Watched(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            modes.add((torch.is_grad_enabled(), self.training))
            return super().forward(x)

    assert run(replace(TASK, model=lambda cfg: Watched(64, 10))).ok
    assert modes == {(True, True), (False, False)}


def test_one_logit_per_sample_is_binary_classification() -> None:
    X, y = digits()
    task = replace(
        TASK,
        model=lambda cfg: nn.Linear(64, 1),
        data=lambda: (X, (y == 0).astype(np.float32)),
        loss=nn.BCEWithLogitsLoss(),
    )
    assert run(task, lr=0.5).metrics["val_accuracy"] > 0.95


def test_a_loss_may_be_a_function() -> None:
    outcome = run(replace(TASK, loss=nn.functional.cross_entropy))
    assert outcome.y == pytest.approx(run(TASK).y)


def test_a_loss_with_state_starts_afresh_in_every_trial() -> None:
    class Growing(nn.CrossEntropyLoss):
        calls = 0

        def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return super().forward(output, target) * self.calls

    task = replace(TASK, loss=Growing())
    assert run(task).y == run(task).y


def test_test_data_are_judged_once_at_the_end() -> None:
    X, y = digits()
    task = replace(TASK, data=lambda: ((X[:300], y[:300]), (X[300:], y[300:])))
    outcome = run(task)
    assert {"test_loss", "test_accuracy"} < set(outcome.metrics)
    assert not any(name.startswith("test") for name in outcome.curves)


def test_data_are_loaded_once_for_all_trials() -> None:
    calls = []

    def data() -> Any:
        calls.append(1)
        return digits()

    task = replace(TASK, data=data, epochs=1)
    run(task)
    run(task, seed=2)
    assert len(calls) == 1


def test_prepare_sees_the_training_part_only_and_changes_all_parts() -> None:
    seen = []

    def prepare(train: Any, cfg: Any) -> Callable[[Any], Any]:
        X = train.tensors[0].clone()
        seen.append(X)
        return lambda x: torch.zeros_like(x)

    X, y = digits()
    task = replace(TASK, data=lambda: ((X[:300], y[:300]), (X[300:], y[300:])), prepare=prepare)
    metrics = run(task).metrics
    assert seen[0].shape == (240, 64)
    # Without inputs nothing but the classes' frequencies can be learned.
    assert metrics["val_accuracy"] < 0.3
    assert metrics["test_accuracy"] < 0.3


def test_prepare_for_items_gets_one_input_at_a_time() -> None:
    shapes = set()

    class Items(Dataset[Any]):
        X, y = digits()

        def __len__(self) -> int:
            return 100

        def __getitem__(self, index: int) -> tuple[Any, int]:
            return self.X[index], int(self.y[index])

    def prepare(train: Any, cfg: Any) -> Callable[[Any], Any]:
        def transform(x: Any) -> Any:
            shapes.add(x.shape)
            return x

        return transform

    assert run(replace(TASK, data=Items, prepare=prepare)).ok
    assert shapes == {(64,)}


def test_the_way_of_reading_does_not_change_the_result() -> None:
    X, y = digits()
    whole = TensorDataset(torch.as_tensor(X), torch.as_tensor(y))

    class Items(Dataset[Any]):
        targets = y

        def __len__(self) -> int:
            return len(y)

        def __getitem__(self, index: int) -> tuple[Any, Any]:
            return whole[index]

    # One batch an epoch: the two ways draw the order differently.
    task = replace(TASK, batch_size=400, model=lambda cfg: nn.Linear(64, 10))
    first, *others = (run(replace(task, data=d)).y for d in (digits, lambda: whole, Items))
    assert others == pytest.approx([first, first], rel=1e-5)


def test_a_part_of_plain_tensors_is_read_as_plain_tensors() -> None:
    X, y = digits()
    whole = TensorDataset(torch.as_tensor(X), torch.as_tensor(y))
    assert run(replace(TASK, data=lambda: random_split(whole, [300, 100]))).ok


def test_epochs_and_batch_size_may_be_parameters() -> None:
    task = replace(TASK, epochs="epochs", batch_size="batch")
    assert len(run(task, epochs=2, batch=16).curves["val_loss"]) == 2
    assert "epochs='epochs' names no active parameter; did you mean 'epoch'?" in failed(
        run(task, epoch=2, batch=16)
    )
    assert "batch_size is 0.5 (parameter 'batch'); expected" in failed(
        run(task, epochs=1, batch=0.5)
    )


@pytest.mark.parametrize("batch_size", [1, 39, 320, 319, 5000])
def test_batch_normalisation_survives_any_batch_size(batch_size: int) -> None:
    norm = nn.LayerNorm if batch_size == 1 else nn.BatchNorm1d
    task = replace(
        TASK,
        model=lambda cfg: nn.Sequential(nn.Linear(64, 8), norm(8), nn.Linear(8, 10)),
        batch_size=batch_size,
        epochs=1,
    )
    assert run(task).ok  # 320 samples train: 39 and 319 leave one over


def test_a_diverged_training_fails_with_its_epoch() -> None:
    deep = replace(
        TASK, epochs=10, model=lambda cfg: nn.Sequential(*(nn.Linear(64, 64) for _ in range(4)))
    )
    outcome = run(deep, lr=1e6)
    text = failed(outcome)
    assert text.startswith("Diverged: ")
    assert "_loss became " in text
    assert " in epoch " in text
    assert len(outcome.curves["train_loss"]) == int(text[-1])


def test_running_out_of_memory_fails_under_its_own_name() -> None:
    def model(cfg: Any) -> nn.Module:
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB")

    outcome = run(replace(TASK, model=model))
    assert outcome.status is Status.MEMORY
    assert outcome.error is not None
    text = f"{outcome.error.type}: {outcome.error.message}"
    assert text == "OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB"


def test_a_tensor_that_is_too_large_for_the_machine_is_out_of_memory() -> None:
    outcome = run(replace(TASK, model=lambda cfg: nn.Linear(2**22, 2**22)))  # 64 TiB
    assert outcome.status is Status.MEMORY


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": lambda cfg: "net"}, "model() returned str; expected a torch.nn.Module"),
        ({"optimizer": lambda p, cfg: None}, "optimizer() returned NoneType; expected a torch."),
        ({"data": lambda: 3}, "data() returned int; expected a Dataset"),
        ({"prepare": lambda train, cfg: None}, "prepare() returned NoneType; expected a function"),
        ({"loss": nn.functional.l1_loss}, "size"),
        ({"loss": lambda out, y: (out.sum(1) - y).abs()}, "'loss' is Tensor (shape (32,))"),
        ({"metrics": (lambda out, y: "good",)}, "'<lambda>' is str ('good'); expected one real"),
        ({"model": lambda cfg: nn.Linear(3, 10)}, "cannot be multiplied"),
    ],
)
def test_a_wrong_part_fails_with_its_reason(change: dict[str, Any], message: str) -> None:
    assert message in failed(run(replace(TASK, **change)))


def of_classes(count: int) -> Any:
    """Digits of so many classes."""
    X, y = digits()
    return X[y < count], y[y < count]


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("r2", "metric 'r2' is of numbers, but the targets are 3 classes; name one of classes"),
        (
            "roc_auc",
            "metric 'roc_auc' is of two classes, but the targets are 3; name 'roc_auc_ovr'",
        ),
        ("f1", "metric 'f1' is of two classes, but the targets are 3; name 'f1_macro'"),
    ],
)
def test_a_scorer_that_is_not_of_such_classes_is_told_before_anything_is_trained(
    metric: str, message: str
) -> None:
    task = replace(TASK, epochs=1, model=lambda cfg: nn.Linear(64, 3), data=lambda: of_classes(3))
    outcome = run(replace(task, metrics={"mine": metric}))
    assert message in failed(outcome)
    assert not outcome.curves
    if metric != "r2":
        two = replace(task, model=lambda cfg: nn.Linear(64, 2), data=lambda: of_classes(2))
        assert run(replace(two, metrics=(metric,))).ok


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objective": "accuracy"}, "no metric 'accuracy' to be the objective; did you mean 'val_"),
        ({"objective": "val_mae", "metrics": ("mse",)}, "no metric 'val_mae' to be the objective"),
        (
            {"objective": "test_loss"},
            "test data are recorded and never chosen by; expected such as 'val_loss'",
        ),
        ({"objective": "val_accuracy"}, "the better the larger it is, but direction is 'min'"),
        ({"direction": "max"}, "the better the smaller it is, but direction is 'max'"),
        ({"metrics": "accuracy"}, "metrics is 'accuracy'; expected a tuple"),
        ({"metrics": ("acuracy",)}, "no metric named 'acuracy'; did you mean 'accuracy'?"),
        ({"metrics": (3,)}, "metric 3 is neither a name nor a function"),
        ({"metrics": ("mse", "mse")}, "two metrics have the same name"),
        ({"epochs": 0}, "epochs is 0; expected a number from 1"),
        ({"batch_size": 2.0}, "batch_size is 2.0; expected a number from 1"),
        ({"loss": nn.CrossEntropyLoss(reduction="sum")}, "use reduction='mean'"),
        ({"model": nn.Linear(3, 3).weight}, "expected a function"),
    ],
)
def test_a_wrong_task_is_refused_when_it_is_made(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=r"expected|use|objective|name") as error:
        replace(TASK, **change)
    assert message in str(error.value)


def test_a_task_to_be_checked_has_one_epoch() -> None:
    assert len(run(TASK.shortened()).curves["val_loss"]) == 1


def test_slots_are_dealt_the_gpus_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_device("cpu", 3).type == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [choose_device("auto", slot).index for slot in range(4)] == [0, 1, 0, 1]
    assert choose_device("cuda", 1) == torch.device("cuda:1")
    assert choose_device("cuda:0", 1) == torch.device("cuda:0")


def write_idx(path: Path, values: np.ndarray) -> None:
    """MNIST's own format: magic number with type and rank, sizes, bytes."""
    head = struct.pack(f">{1 + values.ndim}i", 0x0800 + values.ndim, *values.shape)
    path.write_bytes(head + values.astype(np.uint8).tobytes())
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_dataset_of_torchvision_is_trained_on(tmp_path: Path, workers: int) -> None:
    tv = pytest.importorskip("torchvision")
    images, labels = load_digits(return_X_y=True)
    large = np.zeros((300, 28, 28))
    large[:, 6:22, 6:22] = np.kron(images[:300].reshape(-1, 8, 8), np.ones((2, 2))) * 15
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for kind, chosen in (("train", slice(0, 200)), ("t10k", slice(200, 300))):
        write_idx(raw / f"{kind}-images-idx3-ubyte", large[chosen])
        write_idx(raw / f"{kind}-labels-idx1-ubyte", labels[chosen])

    def data() -> tuple[Any, Any]:
        to_tensor = tv.transforms.ToTensor()
        return (
            tv.datasets.MNIST(tmp_path, train=True, transform=to_tensor),
            tv.datasets.MNIST(tmp_path, train=False, transform=to_tensor),
        )

    task = replace(
        TASK,
        data=data,
        model=lambda cfg: nn.Sequential(nn.Flatten(), nn.Linear(784, 10)),
        epochs=5,
        workers=workers,
    )
    metrics = run(task, lr=0.05).metrics
    assert metrics["val_accuracy"] > 0.6
    assert metrics["test_accuracy"] > 0.6
