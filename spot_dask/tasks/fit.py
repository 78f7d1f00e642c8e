"""A model in training: what one step of it is, how it is judged, and its state."""

from __future__ import annotations

import copy
import functools
import inspect
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from spot_dask.cards import Listed
from spot_dask.tasks import Config, together
from spot_dask.tasks.batches import Batches
from spot_dask.tasks.metrics import Averages, Judge, LossReading, Measure, Metric, scalar
from spot_dask.tasks.nested import mapped, moved, samples
from spot_dask.tasks.snapshot import State, random_state, restore_random_state

PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}

Batch = tuple[Any, Any]
"""Inputs and targets, on the device."""


class Recipe(Protocol):
    """What a training is made of; a ``TorchTask`` is one."""

    @property
    def model(self) -> Callable[[Any], nn.Module]: ...
    @property
    def optimizer(self) -> Callable[[Any, Any], torch.optim.Optimizer]: ...
    @property
    def scheduler(self) -> Callable[..., Any] | None: ...
    @property
    def step(self) -> Callable[[Any, Any], Any] | None: ...
    @property
    def loss(self) -> Any: ...
    @property
    def precision(self) -> str | None: ...
    @property
    def compile(self) -> bool | Mapping[str, Any]: ...
    @property
    def objective(self) -> str: ...
    @property
    def direction(self) -> str: ...


class Fit(Listed):
    """A model in training on one device, as a step of the user's own sees it.

    ``model``, ``optimizer``, ``scheduler`` (None without one), ``cfg`` and ``device`` are what they
    are called; ``memory`` is a dictionary of tensors, numbers and texts that is kept from step to
    step, also where a training is interrupted. A step is usually made of ``forward``, ``loss``,
    ``backward`` and ``update``.

    >>> def step(fit, batch):  # TorchTask(..., step=step)
    ...     x, target = batch
    ...     loss = fit.loss(fit.forward(x), target)
    ...     fit.backward(loss)
    ...     fit.update()
    ...     return loss
    """

    _unlisted = frozenset(("judge_of", "judged", "restore", "state"))

    memory: dict[str, Any]

    def __init__(
        self,
        recipe: Recipe,
        cfg: Config,
        device: torch.device,
        steps: int = 1,
        clip: float | None = None,
    ) -> None:
        self.cfg, self.device, self.memory = cfg, device, {}
        self._recipe, self._clip = recipe, clip
        model = recipe.model(cfg)
        if not isinstance(model, nn.Module):
            raise ValueError(f"model() returned {type(model).__name__}; expected a torch.nn.Module")
        self.model = model.to(device)
        self.optimizer = recipe.optimizer(
            self.model if _wants_model(recipe.optimizer) else self.model.parameters(), cfg
        )
        if not isinstance(self.optimizer, torch.optim.Optimizer):
            raise ValueError(
                f"optimizer() returned {type(self.optimizer).__name__}; "
                "expected a torch.optim.Optimizer"
            )
        self.scheduler, self._each_step = _scheduled(recipe.scheduler, self.optimizer, cfg, steps)
        self._reading = LossReading(_own(recipe.loss, device))
        self._loss = self._reading.loss
        self._autocast = _autocast(recipe.precision, device)
        self._scaler: torch.amp.GradScaler | None = None
        if recipe.precision == "fp16":
            self._scaler = torch.amp.GradScaler(device.type)
        if recipe.compile:
            options = {} if recipe.compile is True else dict(recipe.compile)
            self.model.compile(**options)
        self._share, self._several = 1.0, together.processes() > 1
        if self._several:
            together.same_weights(self.model)
        self._step = recipe.step or _step_of(self.optimizer, self._scaler, self._several)

    # ------------------------------------------------------------ a step, in parts

    def forward(self, x: Any) -> Any:
        """The model's output, in mixed precision where the task says so, as 32-bit numbers."""
        if self._autocast is None:
            return self.model(x)
        with self._autocast():
            output = self.model(x)
        return mapped(_widened, output)

    def loss(self, output: Any, target: Any) -> Tensor:
        """The loss of a batch, with targets in the shape of the output."""
        return scalar("loss", self._loss(output, aligned(target, output)))

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss, scaled where the precision needs it."""
        if self._scaler is not None:
            loss = self._scaler.scale(loss)
        if self._several:
            loss = loss * self._share
        loss.backward()  # type: ignore[no-untyped-call]

    def update(self) -> None:
        """Clip the gradients, let the optimizer use them and set them to zero."""
        if self._several:
            together.add_gradients(self.model)
        if self._clip is not None:
            self._cut()
        if self._scaler is None:
            self.optimizer.step()
        else:
            self._scaler.step(self.optimizer)
            self._scaler.update()
        self.optimizer.zero_grad()

    def minimise(self, closure: Callable[[], Tensor]) -> Tensor:
        """Let an optimizer that asks for the loss several times, such as LBFGS, make its step.

        ``closure`` returns the loss, with its gradients added to none. Returns the first loss.
        """

        def evaluated() -> Any:
            self.optimizer.zero_grad()
            loss = closure()
            if self._clip is not None:
                self._cut()
            return loss

        first: Any = self.optimizer.step(evaluated)
        return scalar("loss", first)

    def _cut(self) -> None:
        """Cut the gradients to the norm that the task says."""
        if self._scaler is not None:
            self._scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.model.parameters(), self._clip or math.inf)

    # ------------------------------------------------------------ epochs

    def train(self, batches: Batches) -> float:
        """Train one epoch; returns the mean over its samples of the loss before each step."""
        self.model.train()
        averages, weighs = Averages(), self._reading.is_special
        for batch in batches:
            self._share = batches.share
            loss = scalar("loss", self._step(self, batch))
            size = samples(batch[1]) or samples(batch[0]) or 1
            if self._each_step:
                self.scheduler.step()
            averages.add("loss", loss, self._reading.weigh(batch[1], size) if weighs else size)
        mean = averages.result()["loss"]
        if self._several:
            together.same_buffers(self.model)
            return together.mean_of(mean, averages.weight("loss"))
        return mean

    def end_epoch(self, metrics: Mapping[str, float]) -> None:
        """Let a schedule that goes by epochs go on."""
        if self.scheduler is None or self._each_step:
            return
        if isinstance(self.scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            self.scheduler.step(metrics[self._recipe.objective])
        else:
            self.scheduler.step()

    def judge_of(self, measures: Sequence[Measure], by_kind: bool) -> Judge:
        """A judge of this model by its loss and these measures, see ``Judge``."""
        return Judge([self._reading.measure, *measures], self._reading, self.device, by_kind)

    @torch.no_grad()
    def judged(self, judge: Judge, batches: Iterable[Batch], prefix: str) -> dict[str, float]:
        """Loss and metrics of the current model over all samples, by name."""
        self.model.eval()

        def outputs() -> Iterator[tuple[Any, Any]]:
            for x, y in batches:
                output = self.forward(x)
                yield output, aligned(y, output)

        return {prefix + name: value for name, value in judge(outputs()).items()}

    # ------------------------------------------------------------ state

    @property
    def dtype(self) -> torch.dtype | None:
        """The floating-point type of the model's parameters; None if it has none."""
        found = (p.dtype for p in self.model.parameters() if p.is_floating_point())
        return next(found, None)

    def state(self) -> State:
        """Everything that changes during the training."""
        return {
            "model": self.model.state_dict(),
            "gradients": {  # of a step that lets them add up
                name: p.grad for name, p in self.model.named_parameters() if p.grad is not None
            },
            "optimizer": self.optimizer.state_dict(),
            "loss": self._loss.state_dict() if isinstance(self._loss, nn.Module) else {},
            "scheduler": {} if self.scheduler is None else self.scheduler.state_dict(),
            "scaler": {} if self._scaler is None else self._scaler.state_dict(),
            "memory": self.memory,
            "random": random_state(self.device),
        }

    def restore(self, state: State) -> None:
        """Return to a state; raises whatever torch raises if it is another model's."""
        self.model.load_state_dict(state["model"])
        for name, gradient in state["gradients"].items():
            self.model.get_parameter(name).grad = gradient.to(self.device)
        self.optimizer.load_state_dict(state["optimizer"])
        if isinstance(self._loss, nn.Module):
            self._loss.load_state_dict(state["loss"])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state["scheduler"])
        if self._scaler is not None:
            self._scaler.load_state_dict(state["scaler"])
        self.memory = moved(state["memory"], self.device)
        restore_random_state(state["random"], self.device)


def aligned(target: Any, output: Any) -> Any:
    """The targets in the shape of the output where one of them has an axis of length 1 more.

    Otherwise torch would broadcast the two to n x n and train on nonsense. Whole numbers that are
    compared with values one by one become such values, as losses of values and logits expect.
    """
    if not isinstance(output, Tensor) or not isinstance(target, Tensor) or not output.ndim:
        return target
    if output.shape != target.shape:
        if not (_is_column(output, target) or _is_column(target, output)):
            return target
        target = target.reshape(output.shape)
    elif output.ndim > 1:
        return target
    counts = output.is_floating_point() and not target.is_floating_point()
    return target.to(output.dtype) if counts else target


def _is_column(longer: Tensor, shorter: Tensor) -> bool:
    """Whether the first has the shape of the second, but for an axis of length 1."""
    rows = shorter.shape
    return longer.shape in ((*rows, 1), (*rows[:1], 1, *rows[1:]))


def _own(loss: Any, device: torch.device) -> Any:
    """A copy of a loss, which may hold buffers and state that no other trial must see."""
    if isinstance(loss, Metric):
        return replace(loss, measure=_own(loss.measure, device))
    return copy.deepcopy(loss).to(device) if isinstance(loss, nn.Module) else loss


MODEL_NAMES = ("model", "net", "network", "module")


def _wants_model(optimizer: Callable[..., Any]) -> bool:
    """Whether the name of a function's first parameter is one that people give to a model."""
    try:
        return next(iter(inspect.signature(optimizer).parameters), "") in MODEL_NAMES
    except (TypeError, ValueError):  # some functions written in C have no signature
        return False


def _scheduled(
    make: Callable[..., Any] | None, optimizer: torch.optim.Optimizer, cfg: Config, steps: int
) -> tuple[Any, bool]:
    """A schedule and whether it goes on with each step, else with each epoch; None without one."""
    if make is None:
        return None, False
    by_step = takes_steps(make)
    scheduler = make(optimizer, cfg, steps) if by_step else make(optimizer, cfg)
    if scheduler is None:
        return None, False
    if not callable(getattr(scheduler, "step", None)) or not hasattr(scheduler, "state_dict"):
        raise ValueError(
            f"scheduler() returned {type(scheduler).__name__}; expected one of torch's, or None"
        )
    if getattr(scheduler, "optimizer", optimizer) is not optimizer:
        raise ValueError(
            "scheduler() returned a schedule of another optimizer; expected one of the optimizer"
            " that it was called with"
        )
    # It goes by batches, also those after which the optimizer makes no step: torch warns of that.
    optimizer._opt_called = True  # type: ignore[attr-defined]
    by_epoch = isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
    return scheduler, by_step and not by_epoch


def takes_steps(scheduler: Callable[..., Any]) -> bool:
    """Whether a function of a schedule can be called with (optimizer, cfg, steps)."""
    try:
        inspect.signature(scheduler).bind("optimizer", "cfg", "steps")
    except TypeError:
        return False
    except ValueError:  # some functions written in C have no signature
        pass
    return True


def _autocast(precision: str | None, device: torch.device) -> Callable[[], Any] | None:
    """What makes the context of mixed precision; ValueError where a device does not support it."""
    if precision is None:
        return None
    dtype, seen = PRECISIONS[precision], None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said below, in one line
        try:
            with torch.autocast(device.type, dtype):
                square = torch.ones(2, 2, device=device)
                seen = (square @ square).dtype
        except RuntimeError:
            pass
    if seen is not dtype:
        raise ValueError(f"precision is {precision!r}, which the device {device} does not support")
    return functools.partial(torch.autocast, device.type, dtype)


def _widened(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in PRECISIONS.values() else tensor


def _step_of(
    optimizer: torch.optim.Optimizer, scaler: object, several: bool
) -> Callable[[Fit, Batch], Any]:
    """The usual step, or the one of an optimizer that needs a closure."""
    closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    if closure is None or closure.default is not inspect.Parameter.empty:
        return usual_step
    if scaler is not None:
        raise ValueError(
            f"precision 'fp16' does not go with {type(optimizer).__name__}, which asks for the"
            " loss several times in a step; expected 'bf16' or None"
        )
    if several:
        raise ValueError(
            f"several processes do not go with {type(optimizer).__name__}, which asks for the loss"
            " several times in a step"
        )
    return closure_step


def usual_step(fit: Fit, batch: Batch) -> Tensor:
    """Forward, loss, backward, update."""
    x, y = batch
    loss = fit.loss(fit.forward(x), y)
    fit.backward(loss)
    fit.update()
    return loss


def closure_step(fit: Fit, batch: Batch) -> Tensor:
    """A step of an optimizer that asks for the loss several times."""
    x, y = batch

    def closure() -> Tensor:
        loss = fit.loss(fit.forward(x), y)
        fit.backward(loss)
        return loss

    return fit.minimise(closure)
