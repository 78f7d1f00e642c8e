"""Trainings on a real GPU: numbers, mixed precision, snapshots, memory, two slots on one device."""

from __future__ import annotations

import functools
import shutil
import sys
from collections import UserDict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, roc_auc_score
from torch import Tensor, nn
from torch.utils.data import Dataset

from spot_dask import Budget, Data, Fit, Real, Space, Study, TorchTask
from spot_dask.executors.checkpoints import Folder
from spot_dask.records import Outcome, Status, Trial
from spot_dask.tasks import snapshot
from spot_dask.worker import supervisor
from spot_dask.worker.checkpoints import Place
from spot_dask.worker.context import RunningTrial
from spot_dask.worker.training_main import attempt_trial

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
    pytest.mark.filterwarnings("default"),  # of CUDA, Triton and the compiler, which are not ours
]

# The processes must not have to find this file.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

GPU = "cuda:0"
RNG = np.random.default_rng(2)
Y = np.arange(600) % 3
X = (RNG.normal(size=(600, 16)) + Y[:, None]).astype(np.float32)


def data() -> Any:
    return (X[:400], Y[:400]), (X[400:500], Y[400:500]), (X[500:], Y[500:])


def network(cfg: Any) -> nn.Module:
    layers = nn.Linear(16, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.2)
    return nn.Sequential(*layers, nn.Linear(64, 3))


def adam(parameters: Any, cfg: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, cfg.lr)


def one_cycle(optimizer: Any, cfg: Any, steps: int) -> Any:
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, cfg.lr, total_steps=steps)


TASK = TorchTask(
    network, data, adam, nn.CrossEntropyLoss(weight=torch.tensor([1.0, 3.0, 0.5])), epochs=6,
    batch_size=32, metrics=("accuracy", "f1_macro", "roc_auc_ovr"), scheduler=one_cycle, clip=1.0,
    checkpoint_seconds=0.0,
)  # fmt: skip
TRIAL = Trial(0, {"lr": 0.01}, seed=7)


class Interrupted(BaseException):
    """Stands for whatever ends a training."""


def run(task: TorchTask, place: Place | None = None, last: float = np.inf) -> Outcome:
    """A training here, cut off after epoch ``last``."""

    class CutShort(RunningTrial):
        def report(self, epoch: int, /, **metrics: float) -> None:
            if epoch > last:
                raise Interrupted
            super().report(epoch, **metrics)

    return attempt_trial(lambda: task, TRIAL, CutShort(TRIAL, place=place))


def good(outcome: Outcome) -> Outcome:
    assert outcome.ok, outcome.error
    assert outcome.device == GPU
    return outcome


def elsewhere(task: Any, number: int = 0) -> Outcome:
    """A training in a process of its own, which is used again."""
    return supervisor.run_trial(cloudpickle.dumps(task), Trial(number, {"lr": 0.01}, seed=7), 0)


@pytest.fixture
def _processes() -> Iterator[None]:
    yield
    supervisor.close()


def test_a_training_learns_and_is_judged_exactly() -> None:
    kept: list[tuple[Tensor, Tensor]] = []

    def keep(output: Tensor, target: Tensor) -> float:
        kept.append((output, target))
        return 0.0

    metrics = {
        "accuracy": "accuracy", "f1_macro": "f1_macro", "keep": keep,
        "auc": functools.partial(roc_auc_score, multi_class="ovr"),
    }  # fmt: skip
    found = {}
    for size in (4, 7, 512):
        kept.clear()
        task = replace(TASK, metrics=metrics, eval_batch_size=size)
        found[size] = good(run(task)).metrics
        assert found[size]["test_accuracy"] > 0.8
        output, target = kept[-1]  # of the test data
        assert (output.device, target.device, len(target)) == (*[torch.device(GPU)] * 2, 100)
        y, scores = target.cpu().numpy(), output.double().softmax(1).cpu().numpy()
        expected = {
            "test_loss": float(task.loss.to(GPU)(output, target)),
            "test_accuracy": np.mean(scores.argmax(1) == y),
            "test_f1_macro": f1_score(y, scores.argmax(1), average="macro"),
            "test_auc": roc_auc_score(y, scores, multi_class="ovr"),
        }
        task.loss.cpu()
        assert {n: found[size][n] for n in expected} == pytest.approx(expected, rel=1e-5)
    assert good(run(TASK)).metrics["val_loss"] == pytest.approx(found[4]["val_loss"], rel=1e-3)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_learns_as_well(precision: Any) -> None:
    seen = set()

    class Watched(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            output = super().forward(x)
            seen.add((output.dtype, output.device.type))
            return output

    task = replace(TASK, model=lambda cfg: Watched(16, 3), precision=precision, epochs=15)
    found = good(run(task)).metrics
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    assert seen == {(dtype, "cuda")}
    full = good(run(replace(task, precision=None))).metrics
    assert found["val_loss"] == pytest.approx(full["val_loss"], rel=0.05)
    assert found["val_loss"] != full["val_loss"]


def test_gradients_that_do_not_fit_16_bits_are_scaled() -> None:
    """The scaler skips steps whose gradients are infinite, and lowers its scale."""
    scales: list[float] = []

    def step(fit: Fit, batch: Any) -> Tensor:
        x, y = batch
        loss = fit.loss(fit.forward(x), y)
        fit.backward(loss)
        fit.update()
        scales.append(fit.state()["scaler"]["scale"])
        return loss

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return 100 * nn.functional.cross_entropy(output, target)

    outcome = good(run(replace(TASK, precision="fp16", step=step, loss=loss)))
    assert scales[-1] < 65536.0
    assert outcome.metrics["val_accuracy"] > 0.8


@pytest.mark.skipif(shutil.which("cc") is None, reason="torch.compile needs a C compiler")
def test_a_compiled_model_gives_the_same_curve() -> None:
    short = replace(TASK, epochs=2, model=lambda cfg: nn.Linear(16, 3))
    compiled = good(run(replace(short, compile=True))).curves
    assert compiled["val_loss"] == pytest.approx(good(run(short)).curves["val_loss"], rel=1e-3)


@pytest.mark.parametrize(
    "changes",
    [{}, {"precision": "fp16"}, {"judge": "best", "patience": 5, "precision": "bf16"}],
    ids=["fp32", "fp16", "best"],
)
def test_an_interrupted_training_goes_on(
    changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(snapshot, "SHARE", 1.0)
    place, task = Place.of(tmp_path / "checkpoints", "run", ""), replace(TASK, **changes)
    Folder(place)
    through = good(run(task))
    for last in (2, 4):
        assert not run(task, place, last).ok
    trained: list[float] = []
    train = Fit.train
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Fit, "train", lambda fit, b: trained.append(0.0) or train(fit, b))
        resumed = good(run(task, place))
    assert len(trained) == through.epochs - 4
    assert "begins anew" not in caplog.text
    # Dropout goes on where it was: other draws would change the losses by far more.
    for name in ("train_loss", "val_loss"):
        assert resumed.curves[name] == pytest.approx(through.curves[name], rel=1e-3)


def test_functions_of_inputs_get_them_where_the_data_are() -> None:
    """So a transform may hold tensors that it computed of the training part."""

    def prepare(train: Any, cfg: Any) -> Any:
        mean = torch.stack([x for x, _ in train]).mean(0)
        return lambda x: x - mean

    def noisy(x: Tensor) -> Tensor:
        return x + 0.1 * torch.randn_like(x)

    given = Data((X[:400], Y[:400]), (X[400:500], Y[400:500]), train_transform=noisy)
    task = replace(TASK, data=lambda: given, prepare=prepare)
    assert good(run(task)).metrics["val_accuracy"] > 0.8


class Encoding(UserDict[str, Any]):
    """A mapping that is no dict, as tokenizers return it."""


class Mappings(Dataset[Any]):
    def __len__(self) -> int:
        return 90

    def __getitem__(self, i: int) -> Any:
        return {"x": X[i], "more": (X[i], [i])}, {"class": Y[i]}


class Reads(nn.Module):
    """A linear network that wants all of its inputs on the GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 3)

    def forward(self, x: Any) -> Tensor:
        assert {t.device.type for t in (x["x"], x["more"][0], x["more"][1][0])} == {"cuda"}
        return self.layer(x["x"])


def encoded(items: list[Any]) -> Any:
    x, y = torch.utils.data.default_collate(items)
    return Encoding(x), y


@pytest.mark.parametrize("collate", [None, encoded])
@pytest.mark.parametrize("workers", [0, 2])
def test_mappings_are_pinned_and_moved(workers: int, collate: Callable[..., Any] | None) -> None:
    def loss(output: Tensor, target: Any) -> Tensor:
        assert target["class"].device.type == "cuda"
        return nn.functional.cross_entropy(output, target["class"])

    task = replace(
        TASK, data=lambda: Data(Mappings(), collate=collate), model=lambda cfg: Reads(),
        loss=loss, metrics=None, workers=workers, epochs=2,
    )  # fmt: skip
    assert good(run(task)).metrics["val_loss"] < 1.5


@pytest.mark.usefixtures("_processes")
def test_a_training_without_memory_fails_and_the_next_goes_on() -> None:
    def model(cfg: Any) -> nn.Module:
        if cfg.lr < 0.1:
            return nn.Linear(16, 3)
        torch.empty(2**45, dtype=torch.uint8, device="cuda")  # 32 TiB
        raise AssertionError("there is so much memory")

    task = cloudpickle.dumps(replace(TASK, model=model))
    first = supervisor.run_trial(task, Trial(0, {"lr": 0.5}, seed=1), 0)
    assert first.status is Status.MEMORY
    assert first.error is not None
    assert first.error.type == "OutOfMemoryError"
    for number in (1, 2):
        outcome = supervisor.run_trial(task, Trial(number, {"lr": 0.01}, seed=1), 0)
        assert good(outcome).metrics["val_accuracy"] > 0.5


def test_a_run_stores_what_had_no_memory_and_goes_on(tmp_path: Path) -> None:
    def model(cfg: Any) -> nn.Module:
        if cfg.lr > 0.02:
            torch.empty(2**45, dtype=torch.uint8, device="cuda")
        return network(cfg)

    space = Space(lr=Real(1e-3, 0.3, scale="log", default=0.01))
    study = Study(space, replace(TASK, model=model, epochs=2), name="memory", seed=1)
    run = study.run(Budget(evaluations=6), local=1, store=tmp_path / "run.zarr")
    by_status = {e.outcome.status for e in run.history.evaluations}
    assert len(run.history.evaluations) == 6
    assert by_status == {Status.OK, Status.MEMORY}


def test_two_slots_share_one_gpu(tmp_path: Path) -> None:
    slow = replace(TASK, epochs=60)
    space = Space(lr=Real(1e-3, 0.1, scale="log", default=0.01))
    study = Study(space, slow, name="shared", seed=1, gpus=0.5)
    run = study.run(Budget(evaluations=6), local=2, store=tmp_path / "run.zarr")
    outcomes = [e.outcome for e in run.history.evaluations]
    assert all(o.ok for o in outcomes), [o.error for o in outcomes]
    assert {o.device for o in outcomes} == {GPU}  # each process sees one
    overlaps = [
        a.started < b.finished and b.started < a.finished
        for i, a in enumerate(outcomes)
        for b in outcomes[:i]
    ]
    assert any(overlaps)


def test_two_processes_of_one_training_may_share_a_gpu() -> None:
    """By gloo, since NCCL wants a GPU for each."""
    plain = replace(TASK, model=lambda cfg: nn.Linear(16, 3), epochs=2)
    one, two = good(run(plain)), good(run(replace(plain, processes=2)))
    assert two.metrics["val_loss"] == pytest.approx(one.metrics["val_loss"], rel=1e-3)


@pytest.mark.usefixtures("_processes")
def test_trainings_in_processes_are_the_same_as_here() -> None:
    first, again = elsewhere(TASK), elsewhere(TASK, 1)
    assert good(again).metrics["val_loss"] == pytest.approx(good(first).metrics["val_loss"], 1e-3)
    assert first.metrics["val_loss"] == pytest.approx(good(run(TASK)).metrics["val_loss"], 1e-3)
