"""A trained network in hand: what it was trained with, what it predicts, and its file."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from spot_dask.errors import warn_once
from spot_dask.outputs import replacing
from spot_dask.tasks import Config, Context, named_values
from spot_dask.tasks.batches import Batches, Source
from spot_dask.tasks.data import arrays
from spot_dask.tasks.nested import leaves, mapped

FORMAT = "spot-dask/model/1"

MODEL = "model.pt"
"""The model's file among the artifacts of a training."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Fitted:
    """A network trained with one configuration: what ``Run.fit`` returns.

    ``model`` is the ``torch.nn.Module``, for inputs that are prepared; ``predict`` prepares them.
    ``metrics`` are those of its training, as a trial's; ``full`` says that it was trained on the
    validation data, too, of which there is no metric then.
    """

    _unlisted = frozenset(("left",))
    model: nn.Module
    config: Config
    metrics: Mapping[str, float]
    seed: int
    full: bool = False
    plain: Source | None = field(default=None, repr=False)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"), repr=False)
    dtype: torch.dtype | None = field(default=None, repr=False)
    batch_size: int = field(default=256, repr=False)

    @property
    def named(self) -> dict[str, Any]:
        """The configuration as data: what is no number, text or None is its name."""
        return named_values(self.config)

    def predict(self, X: Any) -> Any:
        """The network's outputs (of a classifier scores, no classes) for inputs, on the CPU.

        X is as the task's data have it: an array, a tensor, a frame or a container of such with a
        row for each sample, or a Dataset of pairs whose targets are not looked at. It is
        transformed and prepared as the validation data were. Raises ValueError for what is none of
        these, or of another shape.
        """
        data = X if isinstance(X, torch.utils.data.Dataset) else self._arrays(X)
        source = Source(data) if self.plain is None else self.plain.of(data)
        batches = Batches(source, self.batch_size, self.device, dtype=self.dtype)
        self.model.eval()
        with torch.no_grad():
            found = [mapped(lambda t: t.detach().cpu(), self.model(x)) for x, _ in batches]
        return _joined(found)

    def _arrays(self, X: Any) -> Any:
        """Inputs as arrays with targets that nobody looks at; ValueError for what is none."""
        if isinstance(X, str) or not (hasattr(X, "__array__") or isinstance(X, Mapping | tuple)):
            kind = type(X).__name__
            raise ValueError(f"predict() gets a {kind}; expected an array, a frame or a Dataset")
        shapes = [tuple(np.shape(leaf)) for leaf in leaves(X)]
        known = getattr(self.plain.data if self.plain else None, "tensors", None)
        own = [] if known is None else [tuple(leaf.shape[1:]) for leaf in leaves(known[0])]
        each = " and ".join(map(str, own)) or "the task's"
        if any(not shape or not shape[0] for shape in shapes):
            raise ValueError(
                f"predict() gets inputs of shape {shapes[0]}; expected samples of {each}"
            )
        if own and [shape[1:] for shape in shapes] != own:
            seen = " and ".join(map(str, shapes))
            raise ValueError(
                f"predict() gets inputs of shape {seen}; expected rows of samples of shape {each}"
            )
        frames = any(
            not isinstance(leaf, torch.Tensor)
            for leaf in ([] if known is None else leaves(known[0]))
        )
        return arrays(X, np.zeros(shapes[0][0]), "predict", frames)

    def save(self, path: str | Path) -> Path:
        """Write weights, configuration and metrics into a file, all of it or nothing.

        ``torch.load(path, weights_only=True)`` reads it: a dictionary with ``weights`` for
        ``load_state_dict``, ``config``, ``metrics``, ``seed`` and ``full``. No code is in it.
        """
        state = {name: value.detach().cpu() for name, value in self.model.state_dict().items()}
        metrics = {name: float(value) for name, value in self.metrics.items()}
        with replacing(Path(path)) as file:
            torch.save(
                {
                    "format": FORMAT,
                    "weights": state,
                    "config": self.named,
                    "metrics": metrics,
                    "seed": self.seed,
                    "full": self.full,
                },
                file,
            )
        return Path(path)

    def left(self, trial: Context) -> Mapping[str, float]:
        """Save the model among the artifacts of its trial, where these are kept; the metrics.

        That it cannot be saved is logged, once: the result counts all the same.
        """
        if trial.keeps_artifacts:
            try:
                self.save(trial.artifacts / MODEL)
            except Exception as error:  # of a full disk, or a state of the user's own kind
                warn_once(logger, "the models of trainings cannot be kept: %s", error)
        return self.metrics


def _joined(found: list[Any]) -> Any:
    """Outputs of batches as those of all samples, whatever containers they are in."""
    first = found[0]
    if isinstance(first, torch.Tensor):
        return torch.cat(found)
    if isinstance(first, Mapping):
        return {key: _joined([each[key] for each in found]) for key in first}
    return tuple(_joined([each[i] for each in found]) for i in range(len(first)))
