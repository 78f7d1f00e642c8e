"""Training a PyTorch model as a task: SPOT's steps 1, 2, 3 and 5 in one value.

=======================  ====================================================
1 load the data          ``data()``
2 prepare the model      ``prepare(train, cfg)``, fitted on the training part
3 core model             ``model(cfg)``, ``optimizer(parameters, cfg)``
5 loss and metric        ``loss``, ``metrics``, ``objective``, ``direction``
=======================  ====================================================

(4, bounds and levels, is the space; 6 and 7, run and results, are the study.)

Metrics are functions of a batch of n samples. Classification takes class scores (n x classes, or
n x classes x ... for dense targets) or one logit per sample (positive means class 1); a target
holds class numbers. Regression takes output and target of the same shape.
"""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from spot_dask.tasks import (
    Config,
    Context,
    Direction,
    Diverged,
    check_call,
    check_direction,
    nearest,
    number,
)
from spot_dask.tasks.data import Batches, Data, Split, as_parts, length, transformed
from spot_dask.tasks.snapshot import Snapshots, State, random_state, restore_random_state

__all__ = ["Split", "TorchTask"]

Loss = Callable[[Any, Any], Any]
Parts = tuple[Data, Data | None]

Measure = Callable[[Tensor, Tensor], Any]
"""(output, target) -> the mean over the batch's samples."""


@dataclass(frozen=True)
class Metric:
    """A named measure; ``finish`` is applied to its mean over all samples."""

    name: str
    measure: Measure
    better: Direction | None = None  # None: not known
    finish: Callable[[float], float] = float


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    """Share of the samples whose highest score is that of their class."""
    classes = output.ndim > target.ndim
    predicted = output.argmax(1) if classes else (output > 0).to(target.dtype)
    return (predicted == target).float().mean()


def mse(output: Tensor, target: Tensor) -> Tensor:
    """Mean squared error."""
    return (output - target).square().mean()


KNOWN = {
    metric.name: metric
    for metric in (
        Metric("accuracy", accuracy, "max"),
        Metric("error", lambda output, target: 1.0 - accuracy(output, target), "min"),
        Metric("mae", lambda output, target: (output - target).abs().mean(), "min"),
        Metric("mse", mse, "min"),
        Metric("rmse", mse, "min", math.sqrt),
    )
}


def resolve(metric: str | Measure) -> Metric:
    """A known metric by its name, or a function as a metric; raises ValueError for other names."""
    if not isinstance(metric, str):
        if not callable(metric):
            raise ValueError(f"metric {metric!r} is neither a name nor a function")
        return Metric(getattr(metric, "__name__", type(metric).__name__), metric)
    if metric not in KNOWN:
        raise ValueError(f"no metric named {metric!r}{nearest(metric, KNOWN)}")
    return KNOWN[metric]


class Mean:
    """Means of several values over batches, weighted by the batches' sizes.

    Values stay on their device until ``result``: reading one would wait for the GPU.
    """

    def __init__(self) -> None:
        self._values: dict[str, list[Tensor]] = {}
        self._sizes: list[int] = []

    def add(self, values: dict[str, Tensor], size: int) -> None:
        for name, value in values.items():
            self._values.setdefault(name, []).append(value.detach())
        self._sizes.append(size)

    def result(self) -> dict[str, float]:
        weights = torch.tensor(self._sizes, dtype=torch.float64)
        return {
            name: float(torch.stack(values).cpu().double() @ weights / weights.sum())
            for name, values in self._values.items()
        }


@dataclass(frozen=True, eq=False)
class TorchTask:
    """Train a model on part of the data and judge it on the rest.

    ``data()`` returns a Dataset, (train, test) or arrays (X, y); it is called once per process.
    ``loss`` is a module or a function (output, target) -> mean over the batch. ``metrics`` are
    names (accuracy, error, mae, mse, rmse) or functions like the loss. ``epochs`` and
    ``batch_size`` are numbers or the name of the parameter that holds them. ``prepare`` returns a
    function of the inputs: of all inputs at once if the data are arrays, of the input of one item
    otherwise. ``workers`` is the number of loading processes for data that are not arrays.

    The training saves its state at the end of an epoch, at most once every ``checkpoint_seconds``
    and in at most a twentieth of its time. On a CPU an interrupted training ends with the same
    result as an uninterrupted one, unless loading processes draw at random.

    The seed of a trial fixes the split, the initial weights and the order of the data, so the
    configurations of one replicate are compared on the same split (common random numbers). On a
    CPU the same seed and number of threads give the same result.

    Raises ValueError for a function that cannot be called as above, an unknown metric, a wrong
    count, direction or objective, and a loss that is no mean.
    """

    model: Callable[[Any], nn.Module]
    data: Callable[[], Any]
    optimizer: Callable[[Any, Any], torch.optim.Optimizer]
    loss: Loss
    metrics: Sequence[str | Measure] = ("accuracy",)
    epochs: int | str = 10
    batch_size: int | str = 64
    split: Split = field(default_factory=Split)
    prepare: Callable[[Any, Any], Callable[[Any], Any]] | None = None
    objective: str = "val_loss"
    direction: Direction = "min"
    device: str = "auto"
    workers: int = 0
    checkpoint_seconds: float = 30.0

    def __post_init__(self) -> None:
        check_call("model", self.model, "cfg")
        check_call("data", self.data)
        check_call("optimizer", self.optimizer, "parameters", "cfg")
        check_call("loss", self.loss, "output", "target")
        if self.prepare is not None:
            check_call("prepare", self.prepare, "train", "cfg")
        for name in ("epochs", "batch_size"):
            value = getattr(self, name)
            if not isinstance(value, str) and (type(value) is not int or value < 1):
                raise ValueError(
                    f"{name} is {value!r}; expected a number from 1 or a parameter's name"
                )
        if isinstance(self.metrics, str):
            raise ValueError(f"metrics is {self.metrics!r}; expected a tuple: ({self.metrics!r},)")
        if getattr(self.loss, "reduction", "mean") != "mean":
            raise ValueError("the loss must be a mean over the batch; use reduction='mean'")
        if not self.checkpoint_seconds >= 0:
            raise ValueError(
                f"checkpoint_seconds is {self.checkpoint_seconds!r}; expected seconds, at least 0"
            )
        check_direction(self.direction)
        possible = {"train_loss": self.measures["loss"]}
        possible |= {f"val_{name}": metric for name, metric in self.measures.items()}
        if self.objective not in possible:
            hint = nearest(self.objective, possible)
            raise ValueError(f"no metric {self.objective!r} to be the objective{hint}")
        better = possible[self.objective].better
        if better not in (None, self.direction):
            raise ValueError(
                f"{self.objective} is the better the {'larger' if better == 'max' else 'smaller'} "
                f"it is, but direction is {self.direction!r}; use direction={better!r}"
            )
        if self.device != "auto":
            torch.device(self.device)

    def __call__(self, config: Config, trial: Context) -> Mapping[str, float]:
        """Metrics of the last epoch, and test_* ones if there are test data.

        The best epoch's would be biased: a minimum over epochs, selected on the validation data.
        Raises Diverged if a loss is no longer finite, ValueError for a wrong result of one of the
        user's functions.
        """
        device = choose_device(self.device, trial.slot)
        trial.device = str(device)
        if self not in _parts:
            _seed(0)  # every process must see the same data, also where data() draws at random
            _parts[self] = as_parts(self.data())
        train, test = _parts[self]
        train, held_out = self.split(train, trial.seed)
        _seed(trial.seed)
        if self.prepare is not None:
            transform = self.prepare(train, config)
            if not callable(transform):
                raise ValueError(
                    f"prepare() returned {type(transform).__name__};"
                    " expected a function of the inputs"
                )
            train, held_out = transformed(train, transform), transformed(held_out, transform)
            test = None if test is None else transformed(test, transform)
        snapshots, order = Snapshots(trial, self.checkpoint_seconds), torch.Generator()
        fit, epochs = self._begun(config, trial.seed, device, order, snapshots)
        for epoch, metrics in enumerate(epochs, 1):
            trial.report(epoch, **metrics)
        batches = self._batches(config, train, device, order)
        validation = self._batches(config, held_out, device)
        last = _count("epochs", self.epochs, config)
        for epoch in range(len(epochs) + 1, last + 1):
            metrics = {"train_loss": fit.train(batches)} | fit.judge(validation, "val_")
            trial.report(epoch, **metrics)
            for name in ("train_loss", "val_loss"):
                if not math.isfinite(metrics[name]):
                    raise Diverged(f"{name} became {metrics[name]} in epoch {epoch}")
            epochs.append(metrics)
            if epoch < last:
                snapshots.offer(epochs, lambda: fit.state() | {"order": order.get_state()})
        if test is None:
            return epochs[-1]
        return epochs[-1] | fit.judge(self._batches(config, test, device), "test_")

    def shortened(self) -> TorchTask:
        """The same task cut to one epoch."""
        return replace(self, epochs=1)

    @property
    def measures(self) -> dict[str, Metric]:
        """The loss and the metrics by name; raises ValueError for an unknown or a doubled one."""
        metrics = [Metric("loss", self.loss, "min"), *map(resolve, self.metrics)]
        named = {metric.name: metric for metric in metrics}
        if len(named) < len(metrics):
            raise ValueError(
                f"two metrics have the same name: {', '.join(m.name for m in metrics)}"
            )
        return named

    def _begun(
        self,
        config: Config,
        seed: int,
        device: torch.device,
        order: torch.Generator,
        snapshots: Snapshots,
    ) -> tuple[Fit, list[dict[str, float]]]:
        """The training that the last attempt saved, or a new one, and the metrics of its epochs."""

        def new() -> Fit:
            order.manual_seed(seed)
            _seed(seed)
            return Fit(self, config, device)

        fit, snapshot = new(), snapshots.last()
        if snapshot is None:
            return fit, []
        try:
            fit.restore(snapshot.parts)
            order.set_state(snapshot.parts["order"])
            return fit, [dict(metrics) for metrics in snapshot.epochs]
        except Exception as error:  # of another model, or the user's own
            snapshots.refuse(error)
            return new(), []

    def _batches(
        self,
        config: Config,
        data: Data,
        device: torch.device,
        generator: torch.Generator | None = None,
    ) -> Batches:
        size = min(_count("batch_size", self.batch_size, config), length(data))
        return Batches(data, size, device, generator, self.workers)


class Fit:
    """A model in training: its optimizer, its loss and its metrics on one device."""

    def __init__(self, task: TorchTask, config: Config, device: torch.device) -> None:
        model = task.model(config)
        if not isinstance(model, nn.Module):
            raise ValueError(f"model() returned {type(model).__name__}; expected a torch.nn.Module")
        self._device = device
        self._model = model.to(device)
        self._optimizer = task.optimizer(self._model.parameters(), config)
        if not isinstance(self._optimizer, torch.optim.Optimizer):
            raise ValueError(
                f"optimizer() returned {type(self._optimizer).__name__}; "
                "expected a torch.optim.Optimizer"
            )
        # A copy, for a loss may hold buffers and state that must not pass from trial to trial.
        self._loss = task.loss
        if isinstance(task.loss, nn.Module):
            self._loss = copy.deepcopy(task.loss).to(device)
        self._measures = task.measures | {"loss": Metric("loss", self._loss, "min")}

    def state(self) -> State:
        """Everything that changes during the training."""
        loss = self._loss.state_dict() if isinstance(self._loss, nn.Module) else {}
        return {
            "model": self._model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "loss": loss,
            "random": random_state(self._device),
        }

    def restore(self, state: State) -> None:
        """Return to a state; raises whatever torch raises if it is another model's."""
        self._model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        if isinstance(self._loss, nn.Module):
            self._loss.load_state_dict(state["loss"])
        restore_random_state(state["random"], self._device)

    def train(self, batches: Iterable[tuple[Any, Tensor]]) -> float:
        """Train one epoch; returns the mean over its batches of the loss before each step."""
        self._model.train()
        mean = Mean()
        for x, y in batches:
            self._optimizer.zero_grad()
            output = self._model(x)
            loss = _scalar("loss", self._loss(output, aligned(y, output)))
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()
            mean.add({"loss": loss}, len(y))
        return mean.result()["loss"]

    @torch.no_grad()
    def judge(self, batches: Iterable[tuple[Any, Tensor]], prefix: str) -> dict[str, float]:
        """Loss and metrics of the current model, averaged over all samples, by name."""
        self._model.eval()
        mean = Mean()
        for x, y in batches:
            output = self._model(x)
            target = aligned(y, output)
            values = {
                name: _scalar(name, metric.measure(output, target))
                for name, metric in self._measures.items()
            }
            mean.add(values, len(y))
        results = mean.result()
        return {prefix + n: self._measures[n].finish(value) for n, value in results.items()}


def choose_device(device: str, slot: int) -> torch.device:
    """The device of a trial in a slot; "auto" and "cuda" distribute the GPUs over the slots."""
    if device == "auto":
        if torch.cuda.is_available():
            device = "cuda"
        else:
            device = "mps" if torch.backends.mps.is_available() else "cpu"
    if device == "cuda" and torch.cuda.device_count() > 0:
        device = f"cuda:{slot % torch.cuda.device_count()}"
    return torch.device(device)


def aligned(target: Tensor, output: Any) -> Any:
    """The targets in the shape of the output if one is n and the other n x 1.

    Otherwise torch would broadcast the two to n x n and train on nonsense.
    """
    if not isinstance(output, Tensor) or not target.is_floating_point():
        return target
    column = output.shape == (*target.shape, 1) or target.shape == (*output.shape, 1)
    return target.reshape(output.shape) if column else target


_parts: WeakKeyDictionary[TorchTask, Parts] = WeakKeyDictionary()


def _seed(seed: int) -> None:
    """Seed all generators that the user's model and transforms may use, on CPU and GPU."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - for the user's transforms, we draw nothing there


def _count(name: str, value: int | str, config: Config) -> int:
    """The number itself, or the value of the parameter it names."""
    if not isinstance(value, str):
        return value
    if value not in config:
        raise ValueError(f"{name}={value!r} names no active parameter{nearest(value, config)}")
    held = config[value]
    if type(held) is not int or held < 1:
        raise ValueError(f"{name} is {held!r} (parameter {value!r}); expected a number from 1")
    return held


def _scalar(name: str, value: Any) -> Tensor:
    """One number per batch as a tensor."""
    if isinstance(value, Tensor) and value.ndim == 0:
        return value
    return torch.tensor(number(name, value))
