"""What is measured of a model: of batches where that is exact, else of all outputs at once.

Classification takes class scores (n x classes, or n x classes x ... for dense targets) or one logit
per 0/1 target of the same shape (positive means class 1). A target holds class numbers. Regression
takes output and target of the same shape.
"""

from __future__ import annotations

import copy
import functools
import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spot_dask.cards import Listed
from spot_dask.errors import did_you_mean
from spot_dask.tasks import Direction, nearest, number
from spot_dask.tasks.nested import joined, leaves, mapped, samples

GATHERED_BYTES = 2 * 2**30
"""Outputs and targets of up to so many bytes are kept for what is measured of all at once."""

Over = Literal["set", "samples"]
Weighed = tuple[Any, Any]
"""A mean over samples or elements, and how many these are, or what they weigh."""

CLASS_LOSSES = (nn.CrossEntropyLoss, F.cross_entropy, nn.NLLLoss, F.nll_loss)
LABEL_LOSSES = (
    nn.BCEWithLogitsLoss, F.binary_cross_entropy_with_logits, nn.BCELoss, F.binary_cross_entropy,
    nn.MultiLabelSoftMarginLoss, F.multilabel_soft_margin_loss,
)  # fmt: skip
VALUE_LOSSES = (
    nn.MSELoss, F.mse_loss, nn.L1Loss, F.l1_loss, nn.SmoothL1Loss, F.smooth_l1_loss,
    nn.HuberLoss, F.huber_loss, nn.PoissonNLLLoss, F.poisson_nll_loss,
)  # fmt: skip
OTHER_MEANS = (
    nn.MultiMarginLoss, F.multi_margin_loss, nn.MultiLabelMarginLoss, F.multilabel_margin_loss,
    nn.SoftMarginLoss, F.soft_margin_loss, nn.KLDivLoss, F.kl_div,
)  # fmt: skip
OF_NUMBERS = ("r2", "explained_variance")
"""Scorers that mean nothing of class numbers."""

OF_TWO_CLASSES = {
    "roc_auc": "roc_auc_ovr", "f1": "f1_macro", "precision": "precision_macro",
    "recall": "recall_macro", "jaccard": "jaccard_macro",
}  # fmt: skip
"""Scorers of two classes, and what is meant of more."""

MEANS = (*LABEL_LOSSES, *VALUE_LOSSES, *OTHER_MEANS)
"""Losses of torch that are means over samples, or over equally many elements of each."""


@dataclass(frozen=True)
class Metric(Listed):
    """Something to be measured, with a name and what is known of it.

    ``measure`` is a function (output, target) -> number, a metric of scikit-learn, a function
    (y_true, y_pred) that gets numpy arrays, or an object with update(output, target), compute() and
    reset(), as torchmetrics has them. A function is called once with the outputs for all samples;
    with ``over="samples"`` it is called with each batch instead, and what it returns, which must be
    a mean over the batch's samples, is averaged: for outputs too large to be kept. ``better`` is
    "max" or "min", None where not known. Raises ValueError for anything else.

    >>> from spot_dask import Metric
    >>> def largest_error(output, target):
    ...     return (output - target).abs().max()
    >>> metric = Metric(largest_error, name="largest", better="min", over="set")
    """

    measure: Any
    name: str = ""
    better: Direction | None = None
    over: Over = "set"

    def __post_init__(self) -> None:
        if not callable(self.measure) and not is_updated(self.measure):
            raise ValueError(f"metric {self.measure!r} is neither a name nor a function")
        if self.over not in ("set", "samples"):
            raise ValueError(f"metric over {self.over!r}; expected 'set' or 'samples'")
        if self.better not in (None, "min", "max"):
            raise ValueError(f"metric better {self.better!r}; expected 'min', 'max' or None")
        if not self.name:
            base = _base(self.measure)
            name = getattr(base, "__name__", type(base).__name__)
            object.__setattr__(self, "name", name)


@dataclass(frozen=True)
class Measure:
    """How a metric is computed: ``of`` gets an ``Outputs`` and returns a number.

    ``over`` "samples": of each batch, and it returns ``Weighed``; "set": of all at once; "updates":
    ``of`` is an object with update, compute and reset. ``finish`` is applied to the result.
    ``scorer`` is scikit-learn's name of it, where it was given by that.
    """

    name: str
    of: Any
    over: Literal["samples", "set", "updates"]
    better: Direction | None = None
    finish: Callable[[float], float] = float
    scorer: str = ""


class LossReading:
    """What a loss tells of itself: whether it is a mean over samples, and what it counts."""

    def __init__(self, loss: Any) -> None:
        self.loss = loss.measure if isinstance(loss, Metric) else loss
        base, given = _base(self.loss), _arguments(self.loss)
        self._base = type(base) if isinstance(base, nn.Module) else base
        self.weight: Tensor | None = given.get("weight") if self.is_of(*CLASS_LOSSES) else None
        self.ignored: int = given.get("ignore_index", -100)
        self.reduction: str = given.get("reduction", "mean")
        averages = isinstance(loss, Metric) and loss.over == "samples"
        self.is_mean = averages or self.is_of(*CLASS_LOSSES, *MEANS)

    def is_of(self, *kinds: Any) -> bool:
        """Whether it is exactly one of these modules or functions of torch."""
        return any(self._base is kind for kind in kinds)

    @property
    def is_special(self) -> bool:
        """Whether its mean over a batch is not one over the batch's samples."""
        return self.weight is not None or (self.is_of(*CLASS_LOSSES) and self.ignored != -100)

    @property
    def measure(self) -> Measure:
        """The loss as a measure: a mean over samples where it is one, else of the whole set."""
        loss = self.loss
        if not self.is_mean:
            return Measure("loss", lambda s: loss(s.output, s.target), "set", "min")

        def of_batch(seen: Outputs) -> Weighed:
            return loss(seen.output, seen.target), self.weigh(seen.target, seen.size)

        return Measure("loss", of_batch, "samples", "min")

    def weigh(self, target: Any, size: int) -> Any:
        """What the loss of a batch of so many samples counts for in the mean over several."""
        numbers = isinstance(target, Tensor) and not target.is_floating_point()
        if not numbers or not self.is_of(*CLASS_LOSSES):
            return size
        counted = target != self.ignored
        if self.weight is None:
            return counted.sum()
        classes = target.masked_fill(~counted, 0)
        return (self.weight.to(target.device)[classes] * counted).sum()


class Outputs:
    """What a model said of samples: of a batch, or of all."""

    def __init__(self, output: Any, target: Any, loss: LossReading) -> None:
        self.output, self.target, self.loss = output, target, loss

    @cached_property
    def size(self) -> int:
        """The number of samples; ValueError where it cannot be seen."""
        found = samples(self.target)
        found = samples(self.output) if found is None else found
        if found is None:
            raise ValueError("a batch whose targets and outputs are no tensors: how many samples?")
        return found

    @cached_property
    def kind(self) -> Literal["classes", "labels", "values", "other"]:
        """Class scores, one logit for each 0/1 target, values of a regression, or anything else."""
        output, target = self.output, self.target
        if not isinstance(output, Tensor) or not isinstance(target, Tensor):
            return "other"
        numbers = not target.is_floating_point()
        if numbers and output.ndim == target.ndim + 1:
            return "classes"
        if output.shape != target.shape:
            return "other"
        if self.loss.is_of(*VALUE_LOSSES):
            return "values"
        if self.loss.is_of(*CLASS_LOSSES, nn.KLDivLoss, F.kl_div):
            return "classes"  # probabilities of classes as targets
        if self.loss.is_of(*LABEL_LOSSES) or numbers or bool(((target == 0) | (target == 1)).all()):
            return "labels"
        return "values"

    @cached_property
    def scores(self) -> Tensor:
        """The output as logits, where it is that of a classifier."""
        if self.loss.is_of(nn.BCELoss, F.binary_cross_entropy):
            return torch.logit(self.output)
        return self.output  # type: ignore[no-any-return]

    @cached_property
    def classes(self) -> Tensor:
        """The target as class numbers, or as 0 and 1, where it is that of a classifier."""
        target: Tensor = self.target
        if self.kind == "classes" and target.is_floating_point():
            return target.argmax(1)
        return target.long()

    @property
    def predicted(self) -> Tensor:
        """The predicted classes, in the shape of ``classes``."""
        if self.kind == "classes":
            return self.scores.argmax(1)
        return (self.scores > 0).long()

    @property
    def judged(self) -> Tensor:
        """Which of the ``classes`` count: all that the loss does not ignore."""
        return self.classes != self.loss.ignored

    def probabilities(self) -> Tensor:
        """Of class 1 (of the shape of the target), or of more classes (n x classes)."""
        scores = self.scores
        if self.kind == "labels":
            return scores.double().sigmoid()
        last = scores.movedim(1, -1).double()
        sums = last.sum(-1)
        if bool((last >= 0).all()) and bool(torch.isclose(sums, torch.ones_like(sums)).all()):
            return last  # the model ends in a softmax
        return last.softmax(-1)


def accuracy(seen: Outputs) -> Weighed:
    """Share of the samples whose highest score is that of their class."""
    if seen.kind not in ("classes", "labels"):
        raise ValueError(
            "accuracy is of classes: of scores n x classes for n class numbers, or of one logit for"
            f" each 0/1 target; seen {_described(seen)}"
        )
    judged = seen.judged
    count = judged.sum()
    return ((seen.predicted == seen.classes) & judged).sum() / count, count


def error(seen: Outputs) -> Weighed:
    """Share of the samples whose highest score is not that of their class."""
    share, count = accuracy(seen)
    return 1.0 - share, count


def mae(seen: Outputs) -> Weighed:
    """Mean absolute error."""
    return (seen.output - seen.target).abs().mean(), seen.size


def mse(seen: Outputs) -> Weighed:
    """Mean squared error."""
    return (seen.output - seen.target).square().mean(), seen.size


KNOWN = {
    measure.name: measure
    for measure in (
        Measure("accuracy", accuracy, "samples", "max"),
        Measure("error", error, "samples", "min"),
        Measure("mae", mae, "samples", "min"),
        Measure("mse", mse, "samples", "min"),
        Measure("rmse", mse, "samples", "min", math.sqrt),
    )
}

DEFAULTS = {"classes": "accuracy", "labels": "accuracy", "values": "mae"}
"""The metric beside the loss, by the kind of outputs, where none was asked for."""


def resolve(metrics: Iterable[Any] | Mapping[str, Any]) -> list[Measure]:
    """Metrics as the user gives them as measures; raises ValueError naming an unknown one."""
    if isinstance(metrics, Mapping):
        return [replace(measure_of(metric), name=name) for name, metric in metrics.items()]
    return [measure_of(metric) for metric in metrics]


def measure_of(metric: Any) -> Measure:
    """One metric as a measure: a name, a function, an object or a ``Metric``."""
    if isinstance(metric, str):
        return KNOWN[metric] if metric in KNOWN else _by_scorer(metric)
    given = metric if isinstance(metric, Metric) else Metric(metric)
    function = given.measure
    if is_updated(function):
        higher = getattr(function, "higher_is_better", None)
        better: Direction | None = None if higher is None else "max" if higher else "min"
        return Measure(given.name, function, "updates", given.better or better)
    base = _base(function)
    if getattr(base, "__module__", "").startswith("sklearn."):
        return Measure(given.name, _of_sklearn(function), "set", given.better or _convention(base))
    if given.over == "samples":
        return Measure(
            given.name, lambda s: (function(s.output, s.target), s.size), "samples", given.better
        )
    return Measure(given.name, lambda s: function(s.output, s.target), "set", given.better)


def is_updated(metric: Any) -> bool:
    """Whether it is an object as torchmetrics has them, and no class."""
    names = ("update", "compute", "reset")
    return not isinstance(metric, type) and all(callable(getattr(metric, n, None)) for n in names)


def names_of(measure: Measure) -> list[str]:
    """The names of what a measure gives: its own, or those of a collection of metrics."""
    if measure.over == "updates" and callable(getattr(measure.of, "keys", None)):
        return [str(key) for key in measure.of.keys()]  # noqa: SIM118 - no mapping of Python's
    return [measure.name]


# ---------------------------------------------------------------- scikit-learn


def scorer_names() -> list[str]:
    """The names that scikit-learn has for metrics, such as ``f1_macro``."""
    from sklearn.metrics import get_scorer_names  # late: it takes a second

    return list(get_scorer_names())


def _by_scorer(name: str) -> Measure:
    """A metric by scikit-learn's name of it."""
    from sklearn.metrics import get_scorer

    known = scorer_names()
    if name not in known:
        hint = did_you_mean(name, KNOWN) or did_you_mean(name, known)
        listed = f"; there are: {', '.join(KNOWN)}, and the names of scikit-learn's scorers"
        raise ValueError(f"no metric named {name!r}{hint or listed}")
    scorer = get_scorer(name)
    function = functools.partial(scorer._score_func, **scorer._kwargs)
    sign, wants = scorer._sign, scorer._response_method
    compute = _of_sklearn(function, wants != "predict")
    return Measure(name, lambda seen: sign * compute(seen), "set", "max", scorer=name)


def check_scorers(
    measures: Iterable[Measure], loss: LossReading, labels: npt.NDArray[np.int64] | None
) -> None:
    """Raise TypeError for a scorer that is not of such classes, before anything is trained.

    ``labels`` (n) are the class numbers of the training data; None where they are not known.
    """
    if labels is None or not loss.is_of(*CLASS_LOSSES):
        return
    count = len(set(labels[labels != loss.ignored].tolist()))
    for scorer in (measure.scorer for measure in measures):
        if scorer in OF_NUMBERS:
            raise TypeError(
                f"metric {scorer!r} is of numbers, but the targets are {count} classes; name one of"
                " classes, such as 'accuracy' or 'f1_macro'"
            )
        if count > 2 and scorer in OF_TWO_CLASSES:
            raise TypeError(
                f"metric {scorer!r} is of two classes, but the targets are {count}; name "
                f"{OF_TWO_CLASSES[scorer]!r}"
            )


def _convention(function: Any) -> Direction | None:
    """Scikit-learn's names tell what is better: of scores the larger, of errors the smaller."""
    name = function.__name__
    if name.endswith("_score"):
        return "max"
    return "min" if name.endswith(("_error", "_loss", "_deviance")) else None


def _of_sklearn(function: Any, wants_scores: bool | None = None) -> Callable[[Outputs], Any]:
    """A function (y_true, y_pred or y_score) of numpy arrays, as one of outputs."""
    named = list(inspect.signature(_base(function)).parameters)
    second = named[1] if len(named) > 1 else "y_pred"
    if wants_scores is None:
        of_older = _base(function).__name__ in ("log_loss", "d2_log_loss_score")
        wants_scores = of_older or second in ("y_score", "y_proba", "y_prob", "pred_decision")
    labels = "labels" in named and "labels" not in _arguments(function)

    def compute(seen: Outputs) -> Any:
        name = _base(function).__name__
        if seen.kind == "other":
            raise ValueError(f"{name} cannot be computed of {_described(seen)}")
        if seen.kind == "values":
            if wants_scores:
                raise ValueError(
                    f"{name} needs probabilities of classes, but the targets are no classes"
                    f" ({_described(seen)})"
                )
            return function(_numpy(seen.target), _numpy(seen.output))
        judged = seen.judged
        if not wants_scores:
            return function(*_rows(seen, judged, seen.predicted))
        if second == "pred_decision":
            scores = seen.scores.movedim(1, -1) if seen.kind == "classes" else seen.scores
        else:
            scores = seen.probabilities()
        if seen.kind == "classes" and scores.shape[-1] == 2:
            scores = scores[..., 1]
        several = seen.kind == "classes" and seen.scores.shape[1] > 2
        extra = {"labels": list(range(seen.scores.shape[1]))} if several and labels else {}
        return function(*_rows(seen, judged, scores), **extra)

    return compute


def _rows(seen: Outputs, judged: Tensor, said: Tensor) -> tuple[Any, Any]:
    """Targets and what was said of them, a row for each that counts, as numpy arrays."""
    target = seen.classes
    if seen.kind == "labels" and target.ndim > 1 and target.shape[1:].numel() > 1:
        return _numpy(target), _numpy(said)  # several labels of each sample
    return _numpy(target[judged]), _numpy(said[judged])


def _numpy(tensor: Tensor) -> Any:
    array = tensor.detach().cpu().numpy()
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array


def _described(seen: Outputs) -> str:
    def shape(value: Any) -> str:
        if isinstance(value, Tensor):
            return f"{tuple(value.shape)} of {str(value.dtype).removeprefix('torch.')}"
        return type(value).__name__

    return f"an output {shape(seen.output)} and a target {shape(seen.target)}"


# ---------------------------------------------------------------- judging


class Averages:
    """Means of several values over batches, weighted by the batches' sizes or weights.

    Values stay on their device until ``result``: reading one would wait for the GPU.
    """

    def __init__(self) -> None:
        self._values: dict[str, list[Tensor]] = {}
        self._weights: dict[str, list[Any]] = {}

    def add(self, name: str, value: Tensor, weight: Any) -> None:
        """A value of a batch that counts for ``weight``."""
        self._values.setdefault(name, []).append(value.detach())
        self._weights.setdefault(name, []).append(weight)

    def weight(self, name: str) -> float:
        """What all values of a name count for together."""
        return float(_weights(self._weights[name]).sum())

    def result(self) -> dict[str, float]:
        """The means by name; NaN where nothing counts."""
        means = {}
        for name, values in self._values.items():
            numbers = torch.stack(values).cpu().double()
            weights = _weights(self._weights[name])
            counted = weights != 0  # the mean of nothing is NaN
            means[name] = float(numbers[counted] @ weights[counted] / weights.sum())
        return means


def _weights(given: Sequence[Any]) -> Tensor:
    if isinstance(given[0], Tensor):
        return torch.stack(list(given)).cpu().double()
    return torch.tensor(given, dtype=torch.float64)


class Judge:
    """Measures of a model's outputs over a whole set, whatever the batches.

    ``measures`` None stands for the loss and what suits the kind of the first outputs. Objects
    with a state are copied and moved to the device.
    """

    def __init__(
        self,
        measures: Sequence[Measure],
        loss: LossReading,
        device: torch.device,
        by_kind: bool,
    ) -> None:
        self._loss, self._by_kind = loss, by_kind
        self._measures = []
        for measure in measures:
            if measure.over == "updates":
                own = copy.deepcopy(measure.of)
                measure = replace(measure, of=own.to(device) if hasattr(own, "to") else own)
            self._measures.append(measure)

    def __call__(self, batches: Iterable[tuple[Any, Any]]) -> dict[str, float]:
        """What is measured of pairs of output and target, by name.

        Raises ValueError where a measure returns no number, or cannot be computed of such outputs.
        """
        averages, gathered = Averages(), Gathered()
        for measure in self._over("updates"):
            measure.of.reset()
        for output, target in batches:
            seen = Outputs(output, target, self._loss)
            if self._by_kind:
                self._choose(seen.kind)
            for measure in self._over("samples"):
                value, weight = measure.of(seen)
                averages.add(measure.name, scalar(measure.name, value), weight)
            for measure in self._over("updates"):
                measure.of.update(output, seen.classes if seen.kind == "labels" else target)
            if any(measure.over == "set" for measure in self._measures):
                gathered.add(output, target)
        results = averages.result()
        found: dict[str, float] = {}
        for measure in self._measures:
            if measure.over == "samples":
                found[measure.name] = measure.finish(results[measure.name])
            elif measure.over == "set":
                found[measure.name] = number(measure.name, measure.of(gathered.whole(self._loss)))
            else:
                found |= _computed(measure)
        return found

    def _over(self, kind: str) -> Iterator[Measure]:
        return (measure for measure in self._measures if measure.over == kind)

    def _choose(self, kind: str) -> None:
        """Measure what suits these outputs, too."""
        self._by_kind = False
        known = {measure.name for measure in self._measures}
        if kind in DEFAULTS and DEFAULTS[kind] not in known:
            self._measures.append(KNOWN[DEFAULTS[kind]])


class Gathered:
    """The outputs and targets of all batches."""

    def __init__(self) -> None:
        self._batches: list[tuple[Any, Any]] = []
        self._bytes = 0
        self._whole: Outputs | None = None

    def add(self, output: Any, target: Any) -> None:
        """A batch; raises ValueError where it is too much to be kept."""
        self._batches.append((mapped(Tensor.detach, output), target))
        self._bytes += sum(
            leaf.nbytes for leaf in leaves((output, target)) if hasattr(leaf, "nbytes")
        )
        if self._bytes > GATHERED_BYTES:
            raise ValueError(
                f"the outputs for all samples take more than {GATHERED_BYTES / 2**30:g} GiB; where"
                " the loss or metric is a mean over samples, give Metric(it, over='samples')"
            )

    def whole(self, loss: LossReading) -> Outputs:
        """All of them; raises ValueError where batches do not go together."""
        if self._whole is None:
            try:
                output, target = (joined(values) for values in zip(*self._batches, strict=True))
            except ValueError as error:
                raise ValueError(
                    f"the outputs for all samples are of {error}; where the loss or metric is a"
                    " mean over samples, give Metric(it, over='samples')"
                ) from None
            self._whole = Outputs(output, target, loss)
        return self._whole


def _computed(measure: Measure) -> dict[str, float]:
    """What an object with a state has computed, by name."""
    computed = measure.of.compute()
    if isinstance(computed, Mapping):
        return {str(name): number(str(name), value) for name, value in computed.items()}
    return {measure.name: number(measure.name, computed)}


def scalar(name: str, value: Any) -> Tensor:
    """One number per batch as a tensor; ValueError for anything else."""
    if isinstance(value, Tensor) and value.ndim == 0:
        return value
    return torch.tensor(number(name, value))


def check_names(measures: Sequence[Measure]) -> dict[str, Measure]:
    """The measures by all names that they give; ValueError where two have the same."""
    named = [(name, measure) for measure in measures for name in names_of(measure)]
    found = dict(named)
    if len(found) < len(named):
        listed = ", ".join(name for name, _ in named)
        raise ValueError(f"two metrics have the same name: {listed}")
    return found


def unknown_objective(objective: str, possible: Iterable[str]) -> ValueError:
    """What is said of an objective that is not measured."""
    return ValueError(f"no metric {objective!r} to be the objective{nearest(objective, possible)}")


def _base(function: Any) -> Any:
    """What is called at last, behind ``functools.partial``."""
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _arguments(function: Any) -> dict[str, Any]:
    """The arguments that a partial function or a loss module holds."""
    if isinstance(function, nn.Module):
        names = ("weight", "ignore_index", "reduction")
        return {name: getattr(function, name) for name in names if hasattr(function, name)}
    held: dict[str, Any] = {}
    while isinstance(function, functools.partial):
        held = dict(function.keywords) | held
        function = function.func
    return held
