"""Training a PyTorch model as a task: SPOT's steps 1, 2, 3 and 5 in one value.

=======================  ====================================================
1 load the data          ``data()``
2 prepare the model      ``prepare(train, cfg)``, fitted on the training part
3 core model             ``model(cfg)``, ``optimizer(parameters, cfg)``
5 loss and metric        ``loss``, ``metrics``, ``objective``, ``direction``
=======================  ====================================================

(4, bounds and levels, is the space; 6 and 7, run and results, are the study.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from torch import nn

from spot_dask.cards import Listed
from spot_dask.records import FoldPlan
from spot_dask.tasks import (
    Config,
    Context,
    Direction,
    Diverged,
    check_call,
    check_direction,
    count_of,
    nearest,
    number,
    seed_all,
    together,
)
from spot_dask.tasks.batches import Batches, Source
from spot_dask.tasks.data import Data, as_data, both, class_numbers, doubts_of, transformed
from spot_dask.tasks.fit import PRECISIONS, Fit, takes_steps
from spot_dask.tasks.fitted import Fitted
from spot_dask.tasks.metrics import (
    KNOWN,
    LossReading,
    Measure,
    Metric,
    check_names,
    check_scorers,
    measure_of,
    resolve,
    unknown_objective,
)
from spot_dask.tasks.nested import mapped
from spot_dask.tasks.prepare import check_prepare, prepared
from spot_dask.tasks.snapshot import Snapshots, State, random_state
from spot_dask.tasks.splits import PEEKS, Folds, Given, OnTest, Split, TimeSplit, parted

__all__ = ["Data", "Fit", "Folds", "Given", "Metric", "Split", "TimeSplit", "TorchTask"]

Metrics = dict[str, float]

BIAS = (
    "judge is 'best': the objective is the best of all epochs on the data that it was selected on,"
    " so it is too good, and the more so the more epochs and the fewer data validate"
)


@dataclass(frozen=True, eq=False)
class TorchTask(Listed):
    """Train a model on part of the data and judge it on the rest.

    ``data()`` returns a Dataset or arrays (X, y), a part of which validates; (train, test); (train,
    validation, test); or ``Data``, which names the parts and has transforms for training only. It
    is called once per process. Arrays may be frames, and X and y may be mappings, tuples or lists
    of arrays. Floating-point numbers reach the model in the type of its parameters.

    ``split`` says what validates where the data do not: ``Split(0.2)``, a share held out, by class;
    ``Folds(5)``, cross-validation, each fold an evaluation of its own; ``TimeSplit()``;
    ``Given()``; a function (train, seed) -> (train, validation); or one of spotPython's modes by
    name, "train_hold_out", "train_cv", "test_hold_out" and "test_cv", of which the latter two let
    the test set choose. Else test data are recorded and never chosen by.

    ``prepare`` is a transformer of scikit-learn, which is cloned and fitted to the part to train
    on, or a function ``prepare(train, cfg)`` that gets this part, ``train.X`` and ``train.y``, not
    augmented and with frames as they are. It returns a transformer (fitted if it is not), or a
    function of the inputs: of all inputs at once if the data are arrays or frames, of the input of
    one item otherwise. Or it returns two: the first is for training and is applied anew whenever a
    sample is trained on (to the inputs of a batch, if the data are arrays), the second for judging.
    ``Data(transform=...)`` comes before it.

    ``loss`` is a module or a function (output, target) -> mean over the batch. ``metrics`` are
    names (accuracy, error, mae, mse, rmse or a scorer of scikit-learn, such as f1_macro), functions
    of scikit-learn or of your own, objects of torchmetrics, or ``Metric``; a mapping gives them
    names. Without, it is the accuracy of a classifier and the mae of a regression. Model and data
    are judged ``eval_batch_size`` samples at a time, but loss and metrics are always those of the
    whole set: what is no mean over samples is computed of all outputs at once.

    ``epochs``, ``batch_size``, ``clip`` (the largest norm of the gradients) and ``patience`` are
    numbers or the name of the parameter that holds them. ``optimizer(parameters, cfg)`` gets the
    model instead where its first parameter is called ``model``, ``net``, ``network`` or
    ``module``. ``scheduler(optimizer, cfg, steps)`` makes a learning rate schedule that goes on
    after each of so many batches, ``scheduler(optimizer, cfg)`` one that goes on after each epoch.
    ``precision`` is "bf16" or "fp16", ``compile`` True or the arguments of ``torch.compile``.
    ``step(fit, batch)`` replaces the usual step and returns the loss; see ``Fit`` for what it may
    use. ``workers`` is the number of loading processes for data that are not arrays.

    Where ``processes`` is k, so many share each batch of a training, each on a GPU of its own (with
    ``gpus=k`` in the study) or on the CPU: as torch's DistributedDataParallel, they add up their
    gradients. Batch normalisation sees the part of one process.

    With ``patience`` a training ends after so many epochs without a better objective, with its
    result. ``judge`` says which epoch's metrics are the result: the "last" one's, or the "best"
    one's, which is selected on the validation data: its objective is too good, by more the more
    epochs and the smaller the validation set, and is not to be compared with results of "last".

    The training saves its state at the end of an epoch, at most once every ``checkpoint_seconds``
    and in at most a twentieth of its time. On a CPU an interrupted training ends with the same
    result as an uninterrupted one, also where loading processes draw at random.

    The seed of a trial fixes the split (with folds its ``partition`` and ``fold`` do), the initial
    weights and the order of the data, so the configurations of one replicate are compared on the
    same split (common random numbers). On a CPU the same seed and number of threads give the same
    result.

    Raises ValueError for a function that cannot be called as above, an unknown metric, a wrong
    count, direction or objective, and a loss that is no mean.

    >>> import torch
    >>> from sklearn.datasets import load_digits
    >>> from spot_dask import Integer, Real, Space, Study, TorchTask
    >>> def data():
    ...     X, y = load_digits(return_X_y=True)
    ...     return X / 16, y
    >>> def model(cfg):
    ...     return torch.nn.Sequential(
    ...         torch.nn.Linear(64, cfg.width), torch.nn.ReLU(), torch.nn.Linear(cfg.width, 10))
    >>> def optimizer(parameters, cfg):
    ...     return torch.optim.SGD(parameters, cfg.lr)
    >>> task = TorchTask(model, data, optimizer, loss=torch.nn.CrossEntropyLoss(), epochs=5)
    >>> space = Space(lr=Real(1e-3, 1.0, scale="log"), width=Integer(16, 64, scale="power2"))
    >>> Study(space, task)
    Study(study: 2 parameters, minimises val_loss)
    """

    _unlisted = frozenset(("caution", "check_names", "doubts", "measures", "shortened"))

    model: Callable[[Any], nn.Module]
    data: Callable[[], Any]
    optimizer: Callable[[Any, Any], torch.optim.Optimizer]
    loss: Any
    metrics: Sequence[Any] | Mapping[str, Any] | None = None
    epochs: int | str = 10
    batch_size: int | str = 64
    split: Any = field(default_factory=Split)
    prepare: Any = None
    objective: str = "val_loss"
    direction: Direction = "min"
    device: str = "auto"
    workers: int = 0
    checkpoint_seconds: float = 30.0
    eval_batch_size: int = field(default=256, kw_only=True)
    scheduler: Callable[..., Any] | None = field(default=None, kw_only=True)
    clip: float | str | None = field(default=None, kw_only=True)
    precision: Literal["bf16", "fp16"] | None = field(default=None, kw_only=True)
    compile: bool | Mapping[str, Any] = field(default=False, kw_only=True)
    step: Callable[[Any, Any], Any] | None = field(default=None, kw_only=True)
    patience: int | str | None = field(default=None, kw_only=True)
    judge: Literal["last", "best"] = field(default="last", kw_only=True)
    processes: int = field(default=1, kw_only=True)

    def __post_init__(self) -> None:
        self._check_functions()
        for name in ("epochs", "batch_size", "patience", "eval_batch_size", "processes"):
            value, fixed = getattr(self, name), name in ("eval_batch_size", "processes")
            named = isinstance(value, str) and not fixed
            if value is None and name == "patience":
                continue
            if not named and (type(value) is not int or value < 1):
                or_name = "" if fixed else " or a parameter's name"
                raise ValueError(f"{name} is {value!r}; expected a number from 1{or_name}")
        if self.clip is not None and not isinstance(self.clip, str) and not self.clip > 0:
            raise ValueError(
                f"clip is {self.clip!r}; expected a norm above 0 or a parameter's name"
            )
        if self.precision not in (None, *PRECISIONS):
            raise ValueError(f"precision is {self.precision!r}; expected 'bf16', 'fp16' or None")
        if self.judge not in ("last", "best"):
            raise ValueError(f"judge is {self.judge!r}; expected 'last' or 'best'")
        if not self.checkpoint_seconds >= 0:
            raise ValueError(
                f"checkpoint_seconds is {self.checkpoint_seconds!r}; expected seconds, at least 0"
            )
        self._check_objective()
        if self.device != "auto":
            torch.device(self.device)

    def _check_functions(self) -> None:
        check_call("model", self.model, "cfg")
        check_call("data", self.data)
        check_call("optimizer", self.optimizer, "parameters", "cfg")
        if isinstance(self.loss, type):
            name = self.loss.__name__
            raise ValueError(f"loss is the class {name}; give an object of it: {name}()")
        reading = LossReading(self.loss)
        check_call("loss", reading.loss, "output", "target")
        if reading.reduction != "mean":
            raise ValueError("the loss must be a mean over the batch; use reduction='mean'")
        parted(self.split)
        if self.prepare is not None:
            check_prepare(self.prepare)
        if self.step is not None:
            check_call("step", self.step, "fit", "batch")
        if self.scheduler is not None and not takes_steps(self.scheduler):
            check_call("scheduler", self.scheduler, "optimizer", "cfg")

    def _check_objective(self) -> None:
        """Raises ValueError unless the objective is measured, and better in the direction."""
        check_direction(self.direction)
        measured = check_names([Measure("loss", None, "samples", "min"), *self.measures])
        possible = {"train_loss": measured["loss"]}
        possible |= {f"val_{name}": metric for name, metric in measured.items()}
        if self.objective.startswith("test_"):
            raise ValueError(
                f"objective is {self.objective!r}: test data are recorded and never chosen by; "
                f"expected such as 'val_{self.objective.removeprefix('test_')}' (with "
                "split='test_hold_out' that is measured on the test set)"
            )
        if self.objective not in possible:
            usual = [f"val_{name}" for name in KNOWN] if self.metrics is None else []
            raise unknown_objective(self.objective, [*possible, *usual])
        better = possible[self.objective].better
        if better not in (None, self.direction):
            raise ValueError(
                f"{self.objective} is the better the {'larger' if better == 'max' else 'smaller'} "
                f"it is, but direction is {self.direction!r}; use direction={better!r}"
            )

    @property
    def folds(self) -> FoldPlan:
        """How many folds each configuration is trained on."""
        return parted(self.split).folds

    @property
    def measures(self) -> list[Measure]:
        """What is measured beside the loss; raises ValueError for an unknown metric.

        Where no metrics are given, one that is the objective; others follow from the outputs.
        """
        if self.metrics is not None:
            if isinstance(self.metrics, str):
                raise ValueError(
                    f"metrics is {self.metrics!r}; expected a tuple: ({self.metrics!r},)"
                )
            return resolve(self.metrics)
        name = self.objective.removeprefix("val_")
        asked = self.objective.startswith("val_") and name != "loss"
        return [measure_of(name)] if asked else []

    def __call__(self, config: Config, trial: Context) -> Mapping[str, float]:
        """Metrics of the last epoch, or the best one, and test_* ones if there are test data.

        Where artifacts are kept, ``model.pt`` among them is the model; ``Fitted.save`` writes it.
        Raises Diverged if a loss is no longer finite, ValueError for a wrong result of one of the
        user's functions.
        """
        return self.fitted(config, trial).left(trial)

    def fitted(self, config: Config, trial: Context, *, full: bool = False) -> Fitted:
        """The network that this training ends with; raises what the call does.

        ``full`` trains on the validation data, too, for all epochs: nothing is left to judge it.
        """
        train = partial(self._trained, full=full)
        if self.processes > 1 and together.processes() == 1:
            with together.together(self.processes, train, config, trial):
                return train(config, trial)
        return train(config, trial)

    def _trained(self, config: Config, trial: Context, full: bool) -> Fitted:
        """The network, trained in each of its processes and judged in the first."""
        several = together.processes() > 1
        device = choose_device(self.device, together.rank() if several else trial.slot)
        trial.device = str(device)
        train, validation, test = self._sources(config, trial, full)
        snapshots, order = Snapshots(trial, self.checkpoint_seconds), torch.Generator()
        size = count_of("batch_size", self.batch_size, config)
        part = together.rank(), together.processes()
        batches = Batches(train, size, device, order, self.workers, part=part)
        fit, log = self._begun(config, trial.seed, device, order, snapshots, batches.steps, full)
        batches.dtype = fit.dtype
        judge = fit.judge_of(self.measures, self.metrics is None)
        held_out: Batches | None = None
        if not full:
            held_out = Batches(
                validation, self.eval_batch_size, device, None, self.workers, fit.dtype
            )
        for epoch, metrics in enumerate(log.epochs, 1):
            trial.report(epoch, **metrics)
        while not log.over:
            metrics = {"train_loss": fit.train(batches)}
            if together.rank() == 0:
                if held_out is not None:
                    metrics |= fit.judged(judge, held_out, "val_")
                self._report(trial, len(log.epochs) + 1, metrics, full)
            if several:
                metrics = together.told(metrics)
            fit.end_epoch(metrics)
            log.add(metrics, fit.model)
            random = together.of_all(random_state(device)) if several else []
            if not log.over and together.rank() == 0:
                snapshots.offer(log.epochs, partial(_state, fit, order, log, random))
        found = log.result(fit.model)
        if test is not None and together.rank() == 0:
            tested = Batches(test, self.eval_batch_size, device, None, self.workers, fit.dtype)
            found |= fit.judged(judge, tested, "test_")
        own = (config, found, trial.seed, full, validation, device, fit.dtype)
        return Fitted(fit.model, *own, self.eval_batch_size)

    def _report(self, trial: Context, epoch: int, metrics: Metrics, full: bool) -> None:
        """Report an epoch; raises Diverged where its losses are not finite."""
        trial.report(epoch, **metrics)
        for name in ("train_loss", "val_loss"):
            if not math.isfinite(metrics.get(name, 0.0)):
                raise Diverged(f"{name} became {metrics[name]} in epoch {epoch}")
        if self.objective not in metrics and not full:
            raise unknown_objective(self.objective, metrics)

    def doubts(self) -> Iterator[str]:
        """Sentences on what may be wrong with the data, and with how the task is judged."""
        seed_all(0)
        returned, split = self.data(), parted(self.split)
        yield from doubts_of(returned, prepared=self.prepare is not None)
        if isinstance(split, Folds):
            yield from split.doubts(as_data(returned, frames=True).train)
        if self.caution is not None:
            yield self.caution

    @property
    def caution(self) -> str | None:
        """What is to be kept in mind of the results; None where there is nothing to say."""
        peeks = isinstance(parted(self.split), OnTest)
        said = [PEEKS.format(name=self.split)] if peeks else []
        return "; ".join([*said, *([BIAS] if self.judge == "best" else [])]) or None

    def check_names(self, names: Sequence[str]) -> None:
        """Raise ValueError for a setting that names a parameter which is none of these."""
        for setting in ("batch_size", "patience", "clip"):
            value = getattr(self, setting)
            if isinstance(value, str) and value not in names:
                raise ValueError(f"{setting} is {value!r}, no parameter{nearest(value, names)}")

    def shortened(self) -> TorchTask:
        """The same task cut to one epoch."""
        return replace(self, epochs=1)

    def _sources(
        self, config: Config, trial: Context, full: bool = False
    ) -> tuple[Source, Source, Source | None]:
        """What is trained on, what validates, and the test data if there are any.

        What validates is trained on, too, if ``full``.
        """
        if self not in _parts:
            seed_all(0)  # every process must see the same data, also where data() draws at random
            _parts[self] = self._loaded()
        data = parted(self.split).parts(_parts[self], trial.partition, trial.fold)
        train, held_out = data.train, data.validation
        if full:
            whole = _parts[self]
            train = whole.train if whole.validation is None else both(train, held_out)
        seed_all(trial.seed)
        fixed = () if data.transform is None else (data.transform,)
        plain: Source = Source(held_out, fixed, (), data.collate)
        if data.train_transform is None:
            training = Source(train, fixed, (), data.collate, data.sampler)
        else:
            training = Source(train, (), (data.train_transform,), data.collate, data.sampler)
        if self.prepare is not None:
            # As its function will see the inputs: after ``transform``, which learns nothing.
            seen = train
            if data.transform is not None:
                seen = transformed(train, data.transform, frames=True)
            made = prepared(self.prepare, seen, config)
            if made.train is not None and data.train_transform is None:
                training = replace(training, data=made.train, fixed=())
            else:
                training = training.then(made.training, anew=made.anew)
            plain = plain.then(made.judging)
        test = None if data.test is None else replace(plain, data=data.test)
        return training, plain, test

    def _loaded(self) -> Data:
        """What ``data()`` returns, with its frames as they are if anything will read them."""
        returned = self.data()
        changes = self.prepare is not None or getattr(returned, "transform", None) is not None
        groups = getattr(parted(self.split), "groups", None)
        data = as_data(returned, frames=changes or isinstance(groups, str) or callable(groups))
        check_scorers(self.measures, LossReading(self.loss), class_numbers(data.train))
        return data

    def _begun(
        self,
        config: Config,
        seed: int,
        device: torch.device,
        order: torch.Generator,
        snapshots: Snapshots,
        steps: int,
        full: bool,
    ) -> tuple[Fit, EpochLog]:
        """The training that the last attempt saved, or a new one, and its epochs so far."""
        last = count_of("epochs", self.epochs, config)
        patience = None
        if self.patience is not None and not full:
            patience = count_of("patience", self.patience, config)
        clip = _norm(self.clip, config)

        def new() -> tuple[Fit, EpochLog]:
            order.manual_seed(seed)
            seed_all(seed)
            log = EpochLog(
                last, patience, self.objective, self.direction, self.judge == "best" and not full
            )
            fit = Fit(self, config, device, steps * last, clip)
            if together.rank():
                seed_all(seed + together.rank())  # what is drawn from now on is each one's own
            return fit, log

        snapshot = snapshots.last()
        fit, log = new()
        if snapshot is None:
            return fit, log
        try:
            fit.restore(_of_this_process(snapshot.parts))
            order.set_state(snapshot.parts["order"])
            log.restore(snapshot.epochs, snapshot.parts)
            return fit, log
        except Exception as error:  # of another model, or the user's own
            snapshots.refuse(error)
            return new()


def _state(fit: Fit, order: torch.Generator, log: EpochLog, of_all: Sequence[State]) -> State:
    """What a snapshot holds beside the metrics, with the random states of several processes."""
    return fit.state() | {"order": order.get_state(), "of_all": of_all} | log.state()


def _of_this_process(parts: State) -> State:
    """A snapshot with the random state of this process; ValueError if it is of fewer or more."""
    states = parts["of_all"]
    if (len(states) or 1) != together.processes():
        raise ValueError(f"saved by {len(states) or 1} processes")
    return parts | {"random": states[together.rank()]} if states else parts


class EpochLog:
    """The epochs of a training: their metrics, which was best, and whether it is over.

    ``keeps`` says whether the weights of the best epoch are kept, and are the result.
    """

    def __init__(
        self, last: int, patience: int | None, objective: str, direction: str, keeps: bool
    ) -> None:
        self.epochs: list[Metrics] = []
        self._last, self._patience, self._objective = last, patience, objective
        self._sign = -1.0 if direction == "max" else 1.0
        self._keeps = keeps
        self._weights: State = {}

    @property
    def best(self) -> int:
        """The index of the first epoch with the best objective; one that is NaN is none."""
        values = [self._sign * metrics[self._objective] for metrics in self.epochs]
        return min(range(len(values)), key=lambda i: (math.isnan(values[i]), values[i]))

    @property
    def over(self) -> bool:
        """Whether all epochs are trained, or none was better for as long as patience lasts."""
        done = len(self.epochs)
        if done >= self._last:
            return True
        return self._patience is not None and done > 0 and done > self._patience + self.best

    def add(self, metrics: Metrics, model: nn.Module) -> None:
        """An epoch that was trained, with the model after it."""
        self.epochs.append(metrics)
        if self._keeps and self.best == len(self.epochs) - 1:
            self._weights = mapped(torch.clone, model.state_dict())

    def result(self, model: nn.Module) -> Metrics:
        """The metrics that count; the model gets the weights that they were measured of."""
        if not self._keeps:
            return dict(self.epochs[-1])
        model.load_state_dict(self._weights)
        return self.epochs[self.best] | {"best_epoch": float(self.best + 1)}

    def state(self) -> State:
        """What a snapshot holds of it beside the metrics."""
        return {"best": self._weights}

    def restore(self, epochs: Sequence[Mapping[str, float]], state: State) -> None:
        """Return to a state."""
        self.epochs = [dict(metrics) for metrics in epochs]
        self._weights = state["best"]


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


_parts: WeakKeyDictionary[TorchTask, Data] = WeakKeyDictionary()


def _norm(clip: float | str | None, config: Config) -> float | None:
    """The largest norm of gradients, or the value of the parameter that holds it."""
    if not isinstance(clip, str):
        return clip
    if clip not in config:
        raise ValueError(f"clip={clip!r} names no active parameter{nearest(clip, config)}")
    held = number(clip, config[clip])
    if not held > 0:
        raise ValueError(f"clip is {held} (parameter {clip!r}); expected a norm above 0")
    return held
