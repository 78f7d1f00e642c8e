"""A Trainer of Hugging Face's transformers as a task, and what an own loop needs of it."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch

try:
    from transformers import PrinterCallback, Trainer, TrainerCallback
    from transformers.utils import logging as talk
except ImportError as missing:
    raise ImportError(
        f"HuggingFaceTask needs transformers ({missing}): pip install 'spot-dask[huggingface]'"
    ) from missing

from spot_dask.cards import Listed
from spot_dask.errors import shown
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
from spot_dask.tasks.snapshot import SavingPace

logger = logging.getLogger(__name__)

STATE = "trainer_state.json"  # what a checkpoint of the Trainer gets last
TIMES = ("_runtime", "_per_second", "_compilation_time")

Metrics = dict[str, float]


def arguments(trial: Context, epochs: int | None = None) -> dict[str, Any]:
    """Arguments of ``TrainingArguments`` for a trial: its seed, its checkpoint, and quiet.

    It is evaluated after each epoch; what is saved when is up to ``ReportCallback``.
    """
    found: dict[str, Any] = {
        "output_dir": str(trial.checkpoint),
        "seed": trial.seed % 2**32,
        "eval_strategy": "epoch",
        "save_strategy": "no",
        "save_total_limit": 1,
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": torch.cuda.is_available(),  # it warns where there is no GPU
    }
    return found if epochs is None else {**found, "num_train_epochs": epochs}


def last_checkpoint(trial: Context) -> str | None:
    """Where the Trainer's newest whole checkpoint is, for ``train(resume_from_checkpoint=...)``.

    None where there is none, so that the training begins anew.
    """
    if not trial.keeps_checkpoint:
        return None
    folders = trial.checkpoint.glob("checkpoint-*")
    for folder in sorted(folders, key=lambda f: int(f.name.split("-")[1]), reverse=True):
        try:
            json.loads((folder / STATE).read_text())
        except (OSError, ValueError):  # it was being written
            logger.warning("trial %d: %s is not whole, so not used", trial.number, folder.name)
            continue
        return str(folder)
    return None


class ReportCallback(TrainerCallback):  # type: ignore[misc]
    """Reports what a Trainer evaluates as a trial's epochs, and has it save at their ends.

    Where it is evaluated by steps, each evaluation counts as an epoch. It ends by StoppedEarly.
    It saves at most once every ``seconds`` and in at most a twentieth of the time; the last epoch
    is not saved. What the last attempt has reported is reported again.

    >>> from spot_dask import ReportCallback  # pip install 'spot-dask[huggingface]'
    >>> def train(cfg, trial):
    ...     trainer = Trainer(model, TrainingArguments(learning_rate=cfg.lr), ...)
    ...     trainer.add_callback(ReportCallback(trial))
    ...     trainer.train()
    ...     return trainer.evaluate()["eval_loss"]
    """

    def __init__(self, trial: Context, seconds: float = 30.0) -> None:
        self.metrics: Metrics = {}
        self._trial, self._pace = trial, SavingPace(trial, seconds)
        self._reported = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Report again what was evaluated before, if the training was interrupted."""
        for logged in state.log_history:
            if any(name.startswith("eval_") for name in logged):
                self._report(
                    args, logged["epoch"], {n: v for n, v in logged.items() if n != "step"}
                )

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: Mapping[str, Any], **others: Any
    ) -> None:
        """Report what was evaluated."""
        self._report(args, state.epoch or 0.0, metrics)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Have the Trainer save, if it is time."""
        if state.global_step < state.max_steps and self._pace.due():
            control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Learn how long it took."""
        self._pace.saved()

    def _report(self, args: Any, epoch: float, metrics: Mapping[str, Any]) -> None:
        # How long it took differs from attempt to attempt, and is measured of all trainings alike.
        self.metrics = measured({n: v for n, v in metrics.items() if not n.endswith(TIMES)})
        by_epoch = getattr(args.eval_strategy, "value", args.eval_strategy) == "epoch"
        self._reported = max(1, round(epoch)) if by_epoch else self._reported + 1
        self._trial.report(self._reported, **self.metrics)


@dataclass(frozen=True, eq=False)
class HuggingFaceTask(Listed):
    """Train by a Trainer of transformers and judge by what it evaluates.

    ``trainer(cfg, args)`` returns a Trainer; ``args`` are arguments for its TrainingArguments,
    which has to get them, ``TrainingArguments(**args, learning_rate=cfg.lr)``: the trial's seed,
    where to save, epochs, and that it evaluates after each epoch, without progress bars and
    trackers. ``{**args, "eval_strategy": "steps"}`` changes one. ``epochs`` is a number or the name
    of the parameter that holds it.

    The metrics (``eval_loss`` and what ``compute_metrics`` returns, with ``eval_`` before it) are
    reported as they are evaluated, without the times; the last ones are the result. The training
    saves the Trainer's checkpoint at the end of an epoch, at most once every
    ``checkpoint_seconds`` and in at most a twentieth of its time. An interrupted one goes on from
    there and ends on a CPU with the same result, unless the data draw from generators of their own.
    It trains on all GPUs that its slot sees.

    ``test`` is a Dataset, or a function that returns one, which the Trainer predicts at the end:
    its metrics, with ``test_`` before them, are recorded and never chosen by.

    Raises ValueError for a function that cannot be called so, a wrong count or direction.

    >>> from spot_dask import HuggingFaceTask  # pip install 'spot-dask[huggingface]'
    >>> def trainer(cfg, args):
    ...     args = TrainingArguments(**args, learning_rate=cfg.lr)
    ...     return Trainer(model(cfg), args, train_dataset=train, eval_dataset=validation)
    >>> HuggingFaceTask(trainer).objective
    'eval_loss'
    """

    _unlisted = frozenset(("shortened",))

    trainer: Callable[[Any, dict[str, Any]], Any]
    objective: str = "eval_loss"
    direction: Direction = "min"
    epochs: int | str = 3
    checkpoint_seconds: float = 30.0
    test: Any = None

    def __post_init__(self) -> None:
        check_direction(self.direction)
        check_call("trainer", self.trainer, "cfg", "args")
        if not isinstance(self.epochs, str) and (type(self.epochs) is not int or self.epochs < 1):
            raise ValueError(
                f"epochs is {self.epochs!r}; expected a number from 1 or a parameter's name"
            )
        if not self.checkpoint_seconds >= 0:
            raise ValueError(
                f"checkpoint_seconds is {self.checkpoint_seconds!r}; expected seconds, at least 0"
            )

    def __call__(self, config: Config, trial: Context) -> Mapping[str, float]:
        """The metrics of the last evaluation; raises what the training raises.

        Raises ValueError where the function returns no Trainer with the given arguments, and where
        the objective is not evaluated.
        """
        return self.fitted(config, trial).left(trial)

    def fitted(self, config: Config, trial: Context, *, full: bool = False) -> FittedTrainer:
        """The model that this training ends with; ``full`` raises ValueError."""
        if full:
            raise ValueError("full: what a Trainer trains on is up to you; give it all data")
        seed_all(trial.seed)
        own = arguments(trial, count_of("epochs", self.epochs, config))
        try:
            trainer = self.trainer(config, dict(own))
        except TypeError as error:
            twice = next((name for name in own if f"argument '{name}'" in str(error)), None)
            if twice is None:
                raise
            how = "; give it to the task instead: epochs=..." if "epochs" in twice else ""
            raise TypeError(f"{twice} is among args already, leave it out{how}") from error
        if not isinstance(trainer, Trainer):
            raise ValueError(f"trainer() returned {shown(trainer)}; expected a Trainer")
        if trainer.args.output_dir != own["output_dir"] or trainer.args.seed != own["seed"]:
            raise ValueError(
                "the Trainer has not got args; write TrainingArguments(**args, learning_rate=...)"
            )
        trial.device = str(trainer.args.device)
        reports = TaskReports(trial, self)
        trainer.add_callback(reports)
        trainer.remove_callback(PrinterCallback)
        with _without_bars():
            trainer.train(resume_from_checkpoint=last_checkpoint(trial))
            if not reports.metrics:
                trainer.evaluate()
            tested = self._tested(trainer)
        kinds = (p.dtype for p in trainer.model.parameters() if p.is_floating_point())
        dtype = next(kinds, None)  # a plain module has none of its own
        metrics = {**reports.metrics, **tested}
        return FittedTrainer(
            trainer.model, config, metrics, trial.seed, dtype=dtype, trainer=trainer
        )

    def _tested(self, trainer: Trainer) -> Metrics:
        """What the Trainer measures of the test set; nothing where there is none."""
        if self.test is None:
            return {}
        samples = self.test() if callable(self.test) else self.test
        found = trainer.predict(samples, metric_key_prefix="test").metrics
        return measured({n: v for n, v in found.items() if not n.endswith(TIMES)})

    def shortened(self) -> HuggingFaceTask:
        """The same task cut to one epoch."""
        return replace(self, epochs=1)


class TaskReports(ReportCallback):
    """The reports of a task, which needs its objective."""

    def __init__(self, trial: Context, task: HuggingFaceTask) -> None:
        super().__init__(trial, task.checkpoint_seconds)
        self._objective = task.objective

    def _report(self, args: Any, epoch: float, metrics: Mapping[str, Any]) -> None:
        super()._report(args, epoch, metrics)
        if self._objective not in self.metrics:
            raise ValueError(
                f"the Trainer evaluates no {self._objective!r}, the objective"
                f"{nearest(self._objective, self.metrics)}"
            )
        if math.isnan(self.metrics[self._objective]):
            raise Diverged(f"{self._objective} became nan after {epoch:g} epochs")


@dataclass(frozen=True, eq=False)
class FittedTrainer(Fitted):
    """A model that a Trainer has trained with one configuration; ``trainer`` is that Trainer."""

    trainer: Any = field(default=None, repr=False)

    def predict(self, X: Any) -> Any:
        """The Trainer's predictions (of a classifier scores, no classes) for a data set.

        X is a Dataset of what the model takes, or a mapping of such arrays. A tensor, or a tuple of
        tensors where the model returns several.
        """
        if isinstance(X, Mapping):
            X = [dict(zip(X, row, strict=True)) for row in zip(*X.values(), strict=True)]
        found = self.trainer.predict(X).predictions
        if isinstance(found, tuple):
            return tuple(map(torch.as_tensor, found))
        return torch.as_tensor(found)


@contextmanager
def _without_bars() -> Iterator[None]:
    """Without the bars that transformers shows whenever a model is saved."""
    shows = talk.is_progress_bar_enabled()
    talk.disable_progress_bar()
    try:
        yield
    finally:
        if shows:
            talk.enable_progress_bar()
