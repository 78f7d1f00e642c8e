"""A LightningModule as a task: the Trainer of ``lightning`` or ``pytorch_lightning`` trains it.

Which of the two packages it is follows from the module; neither is imported before.
"""

from __future__ import annotations

import copy
import inspect
import logging
import os
import pickle
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from spot_dask.cards import Listed
from spot_dask.errors import shown, warn_once
from spot_dask.outputs import PARTIAL
from spot_dask.tasks import (
    Config,
    Context,
    Direction,
    Diverged,
    check_call,
    check_direction,
    count_of,
    measured,
    nearest,
    seed_all,
)
from spot_dask.tasks.fitted import Fitted
from spot_dask.tasks.snapshot import VERSION, SavingPace, begins_anew
from spot_dask.tasks.torch import choose_device

logger = logging.getLogger(__name__)

NAME = "lightning.ckpt"
PACKAGES = {"lightning": "lightning.pytorch", "pytorch_lightning": "pytorch_lightning"}
FABRICS = ("lightning.fabric", "lightning_fabric")
NO_DATA = ("hyper_parameters", "datamodule_hyper_parameters")
"""What a checkpoint holds that is made again from the configuration, and may need code to load."""

Metrics = dict[str, float]


@dataclass(frozen=True, eq=False)
class LightningTask(Listed):
    """Train a LightningModule by Lightning's own Trainer and judge it by what it logs.

    ``module(cfg)`` returns the LightningModule. ``data`` is a LightningDataModule, loaders (train,
    validation) or (train, validation, test), a function that returns one of these, ``f()`` or
    ``f(cfg)``, or None where the module has its own loaders. ``trainer`` holds arguments of
    ``Trainer``, or is a function of the configuration that returns them; callbacks are copied for
    each training. ``epochs`` is a number or the name of the parameter that holds it.

    After each validation epoch all that was logged for the epoch (``trainer.callback_metrics``) is
    reported; a sanity check is not. Where there are several in one epoch of training, each counts.
    What was reported last is the result, with the test_* metrics of the weights at the end where
    there are test data and a ``test_step``: they are recorded, never optimised. ``objective`` is
    the name of what the module logs.

    The seed of a trial fixes initial weights, splits that are drawn in ``data`` or ``setup``, and,
    with the number of the epoch, what an epoch draws. The training saves Lightning's checkpoint
    when an epoch begins, at most once every ``checkpoint_seconds`` and in a twentieth of its time;
    an interrupted one goes on from there and ends on a CPU with the same result. One with
    ``max_steps`` begins anew, and what is drawn differs then by workers that persist and generators
    that are neither torch's, numpy's or Python's own nor a loader's. A checkpoint is read as data:
    where the state of a module or callback is more than tensors, numbers and texts, it begins anew.

    No logger, progress bar or summary is made and nothing is written except in the checkpoint
    unless ``trainer`` says so. A training has one device, that of its slot.

    Raises ValueError for a function that cannot be called so, an argument that Trainer has not, a
    wrong count or direction, and where Lightning is not installed.

    >>> from spot_dask import LightningTask  # pip install 'spot-dask[lightning]'
    >>> task = LightningTask(lambda cfg: Net(cfg.lr), lambda cfg: DigitsData(), epochs=10)
    >>> task.objective
    'val_loss'
    """

    _unlisted = frozenset(("shortened",))

    module: Callable[[Any], Any]
    data: Any = None
    trainer: Mapping[str, Any] | Callable[[Any], Mapping[str, Any]] = field(default_factory=dict)
    objective: str = "val_loss"
    direction: Direction = "min"
    epochs: int | str = 10
    device: str = "auto"
    checkpoint_seconds: float = 30.0

    def __post_init__(self) -> None:
        check_direction(self.direction)
        if not any(find_spec(name) for name in PACKAGES):
            raise ValueError("LightningTask needs Lightning: pip install 'spot-dask[lightning]'")
        check_call("module", self.module, "cfg")
        if isinstance(self.data, type):
            name = self.data.__name__
            raise ValueError(f"data is the class {name}; give {name}(...), or a function of cfg")
        if not isinstance(self.epochs, str) and (type(self.epochs) is not int or self.epochs < 1):
            raise ValueError(
                f"epochs is {self.epochs!r}; expected a number from 1 or a parameter's name"
            )
        if not self.checkpoint_seconds >= 0:
            raise ValueError(
                f"checkpoint_seconds is {self.checkpoint_seconds!r}; expected seconds, at least 0"
            )
        if self.objective.startswith("test_"):
            raise ValueError(f"objective is {self.objective!r}; test data are never optimised on")
        if isinstance(self.trainer, Mapping):
            for package in PACKAGES.values():
                if package in sys.modules:  # as where its modules are defined
                    _check_arguments(self.trainer, sys.modules[package].Trainer)
        else:
            check_call("trainer", self.trainer, "cfg")
        if self.device != "auto":
            torch.device(self.device)

    def __call__(self, config: Config, trial: Context) -> Mapping[str, float]:
        """What was reported last, and test_* metrics; raises what the training raises.

        Raises ValueError for a wrong result of one of the user's functions, and where the
        objective is not logged.
        """
        return self.fitted(config, trial).left(trial)

    def fitted(self, config: Config, trial: Context, *, full: bool = False) -> Fitted:
        """The module that this training ends with.

        Its ``predict`` calls ``forward`` with arrays or tensors as they are. Raises ValueError for
        ``full``: what is trained on is up to the data module.
        """
        if full:
            raise ValueError(
                "full: a LightningTask's data are up to you; give a data module without validation"
            )
        seed_all(trial.seed)
        data = self._data(config)
        seed_all(trial.seed)
        module = self.module(config)
        package = _package_of(module)
        if data.module is not None and not isinstance(data.module, package.LightningDataModule):
            raise ValueError(
                f"data is a {type(data.module).__module__} data module and the module one of"
                f" {package.__name__}; import both from one package"
            )
        # As one of the callbacks that save: they come last, and Lightning needs none of its own.
        kinds = (LightningProgress, package.callbacks.Checkpoint)
        progress: Any = type("SpotDaskProgress", kinds, {})(self, trial)
        with _quiet(package):
            trainer = self._trainer(config, trial, package, progress)
            package.seed_everything(trial.seed % 2**32, workers=True, verbose=False)
            seed_all(trial.seed)
            saved = progress.saved()
            trainer.fit(module, **data.fit, ckpt_path=saved, weights_only=saved and True)
            metrics = progress.result()
            if data.tests(module):
                for tested in trainer.test(module, **data.test, verbose=False):
                    found = measured(tested).items()
                    metrics |= {n if n.startswith("test") else f"test_{n}": v for n, v in found}
        dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), None)
        module.to("cpu")
        return Fitted(module, config, metrics, trial.seed, dtype=dtype)

    def _data(self, config: Config) -> LightningData:
        given = self.data
        if callable(given) and not any(hasattr(given, n) for n in ("prepare_data", "__iter__")):
            given = given(config) if _takes_one(given) else given()
        return LightningData.of(given)

    def _trainer(self, config: Config, trial: Context, package: Any, progress: Any) -> Any:
        """Trainer with the user's arguments, and quiet ones where he has none."""
        given = self.trainer if isinstance(self.trainer, Mapping) else self.trainer(config)
        if not isinstance(given, Mapping):
            raise ValueError(f"trainer() returned {shown(given)}; expected a mapping of arguments")
        _check_arguments(given, package.Trainer)
        device = choose_device(self.device, trial.slot)
        trial.device = str(device)
        environments = import_module(f"{package.__name__}.plugins.environments")
        kind = "gpu" if device.type == "cuda" else device.type
        defaults: dict[str, Any] = {
            "logger": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "accelerator": kind,
            "devices": [device.index or 0] if kind == "gpu" else 1,
            # Each training is one process, also where SLURM has started its worker.
            "plugins": [environments.LightningEnvironment()],
            "default_root_dir": str(trial.checkpoint),
        }
        own = {"max_epochs": count_of("epochs", self.epochs, config)}
        arguments = {**defaults, **given, **own}
        callbacks = arguments.pop("callbacks", None) or []
        callbacks = callbacks if isinstance(callbacks, Sequence) else [callbacks]
        if arguments.get("enable_checkpointing") is False:
            del arguments["enable_checkpointing"]  # only the callback below saves, then
        return package.Trainer(**arguments, callbacks=[*copy.deepcopy(callbacks), progress])

    def shortened(self) -> LightningTask:
        """The same task cut to one epoch."""
        return replace(self, epochs=1)


@dataclass(frozen=True)
class LightningData:
    """Data as ``Trainer.fit`` and ``Trainer.test`` take them: a data module, or loaders."""

    module: Any
    train: Any = None
    validation: Any = None
    testing: Any = None

    @classmethod
    def of(cls, given: Any) -> LightningData:
        """What a task's data stand for; ValueError for what they cannot be."""
        if hasattr(given, "prepare_data"):
            return cls(copy.copy(given))  # a training's own state, and the data of all of them
        parts = given if isinstance(given, tuple) else (given,)
        if len(parts) > 3 or any(p is not None and not hasattr(p, "__iter__") for p in parts):
            raise ValueError(
                f"data is {shown(given)}; expected a LightningDataModule or loaders (train,"
                " validation) or (train, validation, test)"
            )
        return cls(None, *parts)

    @property
    def fit(self) -> dict[str, Any]:
        """The arguments of ``fit``."""
        if self.module is not None:
            return {"datamodule": self.module}
        return {"train_dataloaders": self.train, "val_dataloaders": self.validation}

    @property
    def test(self) -> dict[str, Any]:
        """The arguments of ``test``."""
        own = self.module is not None
        return {"datamodule": self.module} if own else {"dataloaders": self.testing}

    def tests(self, module: Any) -> bool:
        """Whether there are test data, and a module that says what to do with them."""
        given = self.testing is not None
        defined = any(_overrides(owner, "test_dataloader") for owner in (self.module, module))
        bare = self.module is None and self.train is None
        return _overrides(module, "test_step") and (
            given or (defined and (self.module is not None or bare))
        )


class LightningProgress:
    """Reports, seeds and saves a training; the task makes a callback of it."""

    state_key = "spot_dask.LightningProgress"

    def __init__(self, task: LightningTask, trial: Context) -> None:
        self._task, self._trial = task, trial
        self._pace = SavingPace(trial, task.checkpoint_seconds)
        self._reported: list[tuple[int, Metrics]] = []
        self._validations, self._fresh, self._first = 0, False, True
        self._sigterm: Any = signal.getsignal(signal.SIGTERM)
        self._saving = False

    @property
    def _path(self) -> Path:
        return self._trial.checkpoint / NAME

    def saved(self) -> str | None:
        """Where the last attempt's checkpoint is; None if there is none that can be used."""
        if not self._trial.keeps_checkpoint or not self._path.exists():
            return None
        try:
            found = torch.load(self._path, map_location="cpu", weights_only=True)
            version = found["callbacks"][self.state_key]["torch"]
            if version != VERSION:
                raise ValueError(f"written by torch {version}")
        except Exception as error:  # a damaged file can fail in any way
            begins_anew(self._trial, error)
            return None
        return str(self._path)

    def result(self) -> Metrics:
        """The metrics that were reported last; ValueError if there are none."""
        if not self._reported:
            raise ValueError(
                "the training ended before anything was validated; see max_steps, max_time and"
                " limit_* in trainer"
            )
        return dict(self._reported[-1][1])

    # The hooks of Lightning, in the order in which it calls them.

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Report again what the last attempt has."""
        self._validations = state["validations"]
        for epoch, metrics in state["reported"]:
            self._reported.append((epoch, metrics))
            self._trial.report(epoch, **metrics)

    def on_train_start(self, trainer: Any, module: Any) -> None:
        """A SIGTERM is for the worker, which lets trainings end; Lightning would end them."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._sigterm)

    def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
        """Save what is done, and seed what comes."""
        epoch = trainer.current_epoch
        if epoch and not self._first and trainer.max_steps == -1 and self._pace.due():
            self._save(trainer)
            self._pace.saved()
        seed = (self._trial.seed + epoch) % 2**32
        seed_all(seed)
        for generator in _generators(trainer.train_dataloader):
            generator.manual_seed(seed)
        if self._first:
            # Lightning has begun to draw the first epoch of a run before; of others, it will.
            iter(trainer.fit_loop._data_fetcher)
        self._first = False

    def on_validation_end(self, trainer: Any, module: Any) -> None:
        """Report a validation that is not the last one of an epoch of training."""
        if trainer.sanity_checking:
            return
        self._validations += 1
        self._fresh = True
        every = trainer.val_check_batch
        if every is not None and every < trainer.num_training_batches:
            self._report(trainer, self._validations)

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        """Report the epoch if it was validated, or if nothing ever is."""
        if self._fresh or not trainer.enable_validation:
            self._report(trainer, trainer.current_epoch + 1)

    def on_save_checkpoint(self, trainer: Any, module: Any, checkpoint: dict[str, Any]) -> None:
        """Leave out of our own checkpoint what is made anew from the configuration.

        And the epoch that has just begun: Lightning goes on only where one is over, or amid it.
        """
        if self._saving:
            for name in NO_DATA:
                checkpoint.pop(name, None)
            for progress in checkpoint["loops"]["fit_loop"]["epoch_progress"].values():
                progress["ready"] -= 1

    def state_dict(self) -> dict[str, Any]:
        """What the next attempt reports again."""
        return {
            "torch": VERSION,
            "validations": self._validations,
            "reported": list(self._reported),
        }

    def _report(self, trainer: Any, epoch: int) -> None:
        self._fresh = False
        metrics = measured(trainer.callback_metrics)
        objective = self._task.objective
        if objective not in metrics:
            why = "" if trainer.enable_validation else "; there is no validation_step, or no data"
            raise ValueError(
                f"the module logs no {objective!r}, the objective{nearest(objective, metrics)}{why}"
            )
        self._reported.append((epoch, metrics))
        self._trial.report(epoch, **metrics)
        if metrics[objective] != metrics[objective]:
            raise Diverged(f"{objective} became nan in epoch {epoch}")

    def _save(self, trainer: Any) -> None:
        aside = self._path.with_name(f"{NAME}{PARTIAL}")
        self._saving = True
        try:
            trainer.save_checkpoint(aside, weights_only=False)
            with aside.open("rb+") as file:
                os.fsync(file.fileno())
            aside.replace(self._path)
        except (OSError, RuntimeError, pickle.PicklingError) as error:  # a full disk, for instance
            warn_once(logger, "a training cannot be saved and goes on: %r", error)
        finally:
            self._saving = False


def _package_of(module: Any) -> Any:
    """The package whose LightningModule it is; ValueError for anything else."""
    for name in PACKAGES.values():
        package = sys.modules.get(name)
        if package is not None and isinstance(module, package.LightningModule):
            return package
    raise ValueError(
        f"module() returned {shown(type(module).__name__)}; expected a LightningModule of lightning"
        " or pytorch_lightning"
    )


def _check_arguments(given: Mapping[str, Any], trainer: Any) -> None:
    """Raise ValueError for arguments that Trainer has not, or the task sets itself."""
    known = [name for name in inspect.signature(trainer.__init__).parameters if name != "self"]
    for name in given:
        if name not in known:
            raise ValueError(f"trainer has {name!r}, no argument of Trainer{nearest(name, known)}")
    if "max_epochs" in given:
        raise ValueError("trainer has max_epochs; give it to the task instead: epochs=...")


def _takes_one(function: Callable[..., Any]) -> bool:
    """Whether a function is to be called with the configuration."""
    try:
        inspect.signature(function).bind("cfg")
    except (TypeError, ValueError):
        return False
    return True


def _overrides(owner: Any, name: str) -> bool:
    """Whether a module or data module has a method of its own, not Lightning's."""
    method = getattr(type(owner), name, None)
    return method is not None and method.__module__.split(".")[0] not in PACKAGES


def _generators(loaders: Any) -> Iterator[torch.Generator]:
    """The generators that loaders, in whatever containers, draw orders from."""
    if isinstance(loaders, Mapping):
        loaders = list(loaders.values())
    if isinstance(loaders, Sequence):
        for loader in loaders:
            yield from _generators(loader)
        return
    samplers = [getattr(loaders, name, None) for name in ("sampler", "batch_sampler")]
    for owner in (loaders, *samplers, getattr(samplers[1], "sampler", None)):
        generator = getattr(owner, "generator", None)
        if isinstance(generator, torch.Generator):
            yield generator


@contextmanager
def _quiet(package: Any) -> Iterator[None]:
    """Without what Lightning says of every training alike, and of its own use of torch."""
    talks = [logging.getLogger(name) for name in (*PACKAGES.values(), *FABRICS)]
    levels = [talk.level for talk in talks]
    possible = import_module(f"{package.__name__}.utilities.warnings").PossibleUserWarning
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", possible)
        warnings.filterwarnings("ignore", category=FutureWarning, module=r"(pytorch_)?lightning\.")
        for talk in talks:  # each of the two packages talks in the name of the other, too
            talk.setLevel(max(talk.level, logging.WARNING))
        try:
            yield
        finally:
            for talk, level in zip(talks, levels, strict=True):
                talk.setLevel(level)
