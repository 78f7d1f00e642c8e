"""What may be done in a step and around it; and that an interrupted training goes on exactly."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler as schedules

from spot_dask import Fit, TorchTask
from spot_dask.executors.checkpoints import Folder
from spot_dask.records import Outcome, Status, Trial
from spot_dask.tasks import Config, snapshot
from spot_dask.tasks.snapshot import NAME
from spot_dask.worker.checkpoints import Place
from spot_dask.worker.context import RunningTrial
from spot_dask.worker.training_main import attempt_trial

RNG = np.random.default_rng(1)
Y = np.arange(48) % 3
X = (RNG.normal(size=(48, 5)) + Y[:, None]).astype(np.float32)


def data() -> Any:
    return (X, Y), (X[::2] + 0.1, Y[::2])


def network(cfg: Any) -> nn.Module:
    return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 3))


def sgd(parameters: Any, cfg: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, cfg.lr, momentum=0.9)


TASK = TorchTask(
    network, data, sgd, nn.CrossEntropyLoss(), epochs=6, batch_size=8, device="cpu",
    checkpoint_seconds=0.0,
)  # fmt: skip
TRIAL = Trial(0, {"lr": 0.05, "clip": 0.4, "patience": 2}, seed=7)


class Interrupted(BaseException):
    """Stands for whatever ends a training."""


class CutOff(RunningTrial):
    """A trial that ends when epoch ``last`` has begun to be reported."""

    last = math.inf

    def report(self, epoch: int, /, **metrics: float) -> None:
        if epoch > self.last:
            raise Interrupted
        super().report(epoch, **metrics)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place.of(tmp_path / "checkpoints", "run", "")
    Folder(place)
    return place


def run(
    task: TorchTask, place: Place | None = None, last: float = math.inf, **config: Any
) -> Outcome:
    trial = replace(TRIAL, config={**TRIAL.config, **config})
    running = CutOff(trial, place=place)
    running.last = last
    return attempt_trial(lambda: task, trial, running)


def good(outcome: Outcome) -> Outcome:
    assert outcome.ok, outcome.error
    return outcome


def failed(outcome: Outcome) -> str:
    assert outcome.status is Status.FAILED
    assert outcome.error is not None
    return outcome.error.message


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _every_epoch_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "SHARE", 1.0)


def lbfgs(parameters: Any, cfg: Any) -> torch.optim.Optimizer:
    return torch.optim.LBFGS(parameters, 0.1, max_iter=3, line_search_fn="strong_wolfe")


def groups(model: Any, cfg: Any) -> torch.optim.Optimizer:
    first = {"params": model[0].parameters(), "lr": cfg.lr / 10}
    return torch.optim.AdamW([first, {"params": model[3].parameters()}], cfg.lr)


def smoothed(fit: Fit, batch: Any) -> Tensor:
    """A step that accumulates two batches, adds noise and keeps an average of the weights."""
    x, y = batch
    loss = fit.loss(fit.forward(x + 0.1 * torch.randn_like(x)), y)
    fit.backward(loss / 2)
    fit.memory["steps"] = fit.memory.get("steps", 0) + 1
    if fit.memory["steps"] % 2 == 0:
        fit.update()
        weight = fit.model[0].weight
        average = fit.memory.setdefault("average", weight.detach().clone())
        with torch.no_grad():
            average.mul_(0.9).add_(weight, alpha=0.1)
            weight.copy_(average)
    return loss


def chained_schedule(optimizer: Any, cfg: Any, steps: int) -> Any:
    warm = schedules.LinearLR(optimizer, 0.1, total_iters=steps // 3)
    rest = schedules.CosineAnnealingLR(optimizer, steps - steps // 3)
    return schedules.SequentialLR(optimizer, [warm, rest], [steps // 3])


FEATURES: dict[str, dict[str, Any]] = {
    "one cycle": {
        "scheduler": lambda o, cfg, steps: schedules.OneCycleLR(o, cfg.lr, total_steps=steps)
    },
    "step": {"scheduler": lambda o, cfg: schedules.StepLR(o, 2, 0.3)},
    "milestones": {"scheduler": lambda o, cfg: schedules.MultiStepLR(o, [2, 4], 0.3)},
    "lambda": {"scheduler": lambda o, cfg, steps: schedules.LambdaLR(o, lambda k: 1 - k / steps)},
    "plateau": {
        "scheduler": lambda o, cfg: schedules.ReduceLROnPlateau(o, patience=0, threshold=0.5)
    },
    "restarts": {"scheduler": lambda o, cfg: schedules.CosineAnnealingWarmRestarts(o, 2)},
    "cyclic": {
        "scheduler": lambda o, cfg, steps: schedules.CyclicLR(o, 0.01, 0.1, 5, cycle_momentum=False)
    },
    "sequential": {"scheduler": chained_schedule},
    "clip": {"clip": "clip"},
    "bf16": {"precision": "bf16"},
    "fp16": {"precision": "fp16", "clip": 1.0, "scheduler": chained_schedule},
    "compile": {"compile": {"backend": "eager"}},
    "groups": {"optimizer": lambda net, cfg: groups(net, cfg)},  # a name of the model
    "lbfgs": {"optimizer": lbfgs, "clip": 5.0},
    "own step": {"step": smoothed},
    "best": {"judge": "best", "patience": 3},
    "all": {
        "optimizer": groups, "scheduler": chained_schedule, "clip": 1.0, "precision": "bf16",
        "step": smoothed, "patience": "patience", "judge": "best",
    },
}  # fmt: skip


@pytest.mark.parametrize("feature", FEATURES)
def test_an_interrupted_training_goes_on_exactly(
    feature: str, place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    task = replace(TASK, **FEATURES[feature])
    through = good(run(task))
    for last in (2, 4):
        assert not run(task, place, last).ok
        assert max(Path(place.root, "0").iterdir()).joinpath(NAME).exists()
    trained: list[float] = []
    counted = replace(task, epochs=6)
    train = Fit.train

    def count(fit: Fit, batches: Any) -> float:
        trained.append(train(fit, batches))
        return trained[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Fit, "train", count)
        resumed = good(run(counted, place))
    assert len(trained) == through.epochs - 4
    assert (resumed.metrics, resumed.curves) == (through.metrics, through.curves)
    assert "begins anew" not in caplog.text


@pytest.fixture(scope="module")
def plain(_one_thread: None) -> tuple[float, ...]:
    """The training loss with all features off."""
    return good(run(TASK)).curves["train_loss"]


@pytest.mark.parametrize("feature", sorted(FEATURES.keys() - {"compile", "best"}))
def test_every_feature_changes_the_training(feature: str, plain: tuple[float, ...]) -> None:
    """So that the comparison above is one of trainings that had it."""
    assert good(run(replace(TASK, **FEATURES[feature]))).curves["train_loss"] != plain


KILLED = """
import os, signal, sys
sys.path.insert(0, {here!r})
from test_step import FEATURES, TASK, TRIAL, Place, RunningTrial, attempt_trial, replace, snapshot
snapshot.SHARE = 1.0

class Killed(RunningTrial):
    def report(self, epoch, /, **metrics):
        super().report(epoch, **metrics)
        if epoch == 4:
            os.kill(os.getpid(), signal.SIGKILL)

task = replace(TASK, **FEATURES["all"])
attempt_trial(lambda: task, TRIAL, Killed(TRIAL, place=Place({root!r}, {version!r})))
"""


def test_a_killed_process_with_every_feature_goes_on_here(place: Place) -> None:
    here = str(Path(__file__).parent)
    script = KILLED.format(here=here, root=place.root, version=place.version)
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    end = subprocess.run([sys.executable, "-c", script], env=env, check=False)
    assert end.returncode == -signal.SIGKILL
    task = replace(TASK, **FEATURES["all"])
    assert good(run(task, place)).curves == good(run(task)).curves


def test_a_schedule_by_steps_ends_with_the_last_batch() -> None:
    rates = []

    class Watched(schedules.LambdaLR):
        def step(self, *args: Any) -> None:
            super().step(*args)
            rates.append(self.get_last_lr()[0])

    def linear(optimizer: Any, cfg: Any, steps: int) -> Any:
        return Watched(optimizer, lambda k: 1 - k / steps)

    good(run(replace(TASK, scheduler=linear)))
    assert len(rates) == 1 + 6 * 5  # 38 samples train, in batches of 8
    assert rates == pytest.approx(np.linspace(0.05, 0, 31))
    rates.clear()
    good(run(replace(TASK, scheduler=lambda o, cfg: Watched(o, lambda k: 0.5**k))))
    assert rates == pytest.approx(0.05 * 0.5 ** np.arange(7))


def test_gradients_are_cut_to_the_norm() -> None:
    norms = []

    class Watched(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            grads = [p.grad.flatten() for g in self.param_groups for p in g["params"]]
            norms.append(float(torch.cat(grads).norm()))
            return super().step(closure)

    task = replace(TASK, optimizer=lambda p, cfg: Watched(p, cfg.lr), epochs=2)
    good(run(task))
    assert max(norms) > 0.1
    for clip in (0.1, "clip"):
        norms.clear()
        good(run(replace(task, clip=clip), clip=0.1))
        assert max(norms) == pytest.approx(0.1, rel=1e-4)


def test_one_step_is_what_torch_does_by_hand() -> None:
    """Schedule, clipping, groups and a step of LBFGS, against a loop written out."""
    task = replace(
        TASK, model=lambda cfg: nn.Linear(5, 3), data=lambda: ((X, Y), (X, Y), (X, Y)),
        scheduler=lambda o, cfg: schedules.StepLR(o, 1, 0.5), clip=0.3, batch_size=48, epochs=4,
    )  # fmt: skip
    x, y = torch.from_numpy(X), torch.from_numpy(Y)
    for make in (sgd, lbfgs):
        torch.manual_seed(7)
        model = nn.Linear(5, 3)
        optimizer = make(model.parameters(), Config(TRIAL.config))
        schedule = schedules.StepLR(optimizer, 1, 0.5)
        losses = []
        for _ in range(4):

            def closure(model: Any = model, optimizer: Any = optimizer) -> Tensor:
                optimizer.zero_grad()
                value = nn.functional.cross_entropy(model(x), y)
                value.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 0.3)
                return value

            losses.append(float(optimizer.step(closure).detach()))
            schedule.step()
        found = good(run(replace(task, optimizer=make))).curves["train_loss"]
        assert found == pytest.approx(losses, rel=1e-4)  # the samples are in another order


def test_mixed_precision_computes_in_16_bits_and_judges_in_32() -> None:
    seen = set()

    class Watched(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            output = super().forward(x)
            seen.add((output.dtype, self.weight.dtype))
            return output

    outputs = set()

    def loss(output: Tensor, target: Tensor) -> Tensor:
        outputs.add(output.dtype)
        return nn.functional.cross_entropy(output, target)

    for precision, dtype in (("bf16", torch.bfloat16), ("fp16", torch.float16)):
        seen.clear()
        task = replace(TASK, model=lambda cfg: Watched(5, 3), precision=precision, loss=loss)
        assert good(run(replace(task, metrics=("f1_macro",)))).metrics["val_f1_macro"] > 0.3
        assert seen == {(dtype, torch.float32)}
    assert outputs == {torch.float32}


def test_a_device_without_such_numbers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import contextlib

    monkeypatch.setattr(torch, "autocast", lambda device, dtype: contextlib.nullcontext())
    message = failed(run(replace(TASK, precision="bf16")))
    assert message == "precision is 'bf16', which the device cpu does not support"


def test_the_options_of_compile_are_passed_on(
    monkeypatch: pytest.MonkeyPatch, plain: tuple[float, ...]
) -> None:
    given = []
    compiled = nn.Module.compile

    def compile_(module: nn.Module, **options: Any) -> None:
        given.append(options)
        compiled(module, backend="eager")

    monkeypatch.setattr(nn.Module, "compile", compile_)
    for wanted in (True, {"mode": "max-autotune"}):
        curves = good(run(replace(TASK, compile=wanted, epochs=2))).curves
        assert curves["train_loss"] == plain[:2]
    assert given == [{}, {"mode": "max-autotune"}]


class Scripted(nn.Linear):
    """A network whose validation loss is known beforehand: its bias is the epoch's value."""

    values = (3.0, 2.0, 2.5, 2.5, 2.75, 1.0)

    def __init__(self) -> None:
        super().__init__(1, 1)
        nn.init.zeros_(self.weight)


def scripted(fit: Fit, batch: Any) -> float:
    epoch = fit.memory["epoch"] = fit.memory.get("epoch", 0) + 1
    with torch.no_grad():
        fit.model.bias.fill_(Scripted.values[epoch - 1])
    return 0.0


ONES = np.zeros((4, 1), dtype=np.float32)
CURVE = replace(
    TASK, model=lambda cfg: Scripted(), data=lambda: ((ONES, ONES), (ONES, ONES), (ONES, ONES)),
    loss=nn.L1Loss(), step=scripted, batch_size=4,
)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "epochs", "val", "test", "best"),
    [
        ({}, 6, 1.0, 1.0, None),
        ({"patience": 1}, 3, 2.5, 2.5, None),
        ({"patience": "patience"}, 4, 2.5, 2.5, None),
        ({"patience": 4}, 6, 1.0, 1.0, None),
        ({"judge": "best", "epochs": 5}, 5, 2.0, 2.0, 2.0),
        ({"judge": "best", "patience": 3}, 5, 2.0, 2.0, 2.0),
        ({"judge": "best", "objective": "val_mae"}, 6, 1.0, 1.0, 6.0),
    ],
)
def test_patience_and_the_best_epoch(
    changes: dict[str, Any], epochs: int, val: float, test: float, best: float | None
) -> None:
    outcome = good(run(replace(CURVE, **changes)))
    assert outcome.curves["val_loss"] == Scripted.values[:epochs]
    metrics = outcome.metrics
    assert (metrics["val_loss"], metrics["test_loss"]) == (val, test)
    assert metrics.get("best_epoch") == best
    assert outcome.y == val


def test_the_epoch_is_best_in_the_direction_of_the_objective() -> None:
    task = replace(
        CURVE, judge="best", objective="val_height", direction="max",
        metrics={"height": lambda output, target: output.mean()},
    )  # fmt: skip
    assert good(run(task)).metrics["best_epoch"] == 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"scheduler": lambda o, cfg: schedules.StepLR(torch.optim.SGD([Tensor(1)]), 1)},
            "scheduler() returned a schedule of another optimizer",
        ),
        ({"scheduler": lambda o, cfg: 3}, "scheduler() returned int; expected one of torch's"),
        ({"step": lambda fit, batch: None}, "'loss' is None; expected one real number"),
        ({"step": lambda fit, batch: batch[0]}, "'loss' is Tensor (shape (8, 5))"),
        ({"optimizer": lbfgs, "precision": "fp16"}, "precision 'fp16' does not go with LBFGS"),
        ({"clip": "norm"}, "clip='norm' names no active parameter"),
        ({"patience": "lr"}, "patience is 0.05 (parameter 'lr'); expected a number from 1"),
    ],
)
def test_a_wrong_part_of_a_step_fails_with_its_reason(
    changes: dict[str, Any], message: str
) -> None:
    assert message in failed(run(replace(TASK, **changes)))


def test_a_schedule_may_be_left_out_by_choice(plain: tuple[float, ...]) -> None:
    assert good(run(replace(TASK, scheduler=lambda o, cfg: None))).curves["train_loss"] == plain


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clip": 0.0}, "clip is 0.0; expected a norm above 0 or a parameter's name"),
        ({"precision": "fp8"}, "precision is 'fp8'; expected 'bf16', 'fp16' or None"),
        ({"judge": "first"}, "judge is 'first'; expected 'last' or 'best'"),
        ({"patience": 0}, "patience is 0; expected a number from 1 or a parameter's name"),
        ({"eval_batch_size": "batch"}, "eval_batch_size is 'batch'; expected a number from 1"),
        ({"scheduler": lambda o: None}, "scheduler cannot be called with (optimizer, cfg)"),
        ({"step": lambda fit: None}, "step cannot be called with (fit, batch)"),
        ({"split": lambda data: None}, "split cannot be called with (train, seed)"),
    ],
)
def test_wrong_options_are_refused_when_the_task_is_made(
    change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=r"expected|cannot be called") as error:
        replace(TASK, **change)
    assert message in str(error.value)
