"""What trains and what validates: one hold-out set, folds, windows of time, or the given sets.

A split depends on the data and a seed alone. The seed is that of the trial's partition, which is
the same for all configurations; ``fold`` says which part of the partition validates. n samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from spot_dask.cards import Listed
from spot_dask.errors import did_you_mean, shown
from spot_dask.records import FoldPlan
from spot_dask.tasks import check_call
from spot_dask.tasks.data import Arrays, Data, Indices, Items, class_numbers, length, part

Places = tuple[Indices, Indices]
"""The indices of the samples that train and of those that validate, ascending."""

TRIES = 16
"""Random orders of groups that are tried; the partition with the most even folds counts."""

FEW = 200
"""Groups from which on one order is even enough."""


class Parted(Protocol):
    """A way to split the data of a study."""

    @property
    def folds(self) -> FoldPlan:
        """How many folds it has, of how many partitions."""
        ...

    def parts(self, data: Data, seed: int, fold: int) -> Data:
        """The data with the part that trains as ``train`` and the one that validates.

        Raises ValueError, in one line, for data that cannot be split so.
        """
        ...


class Splitting(Listed):
    """What ways to split the training data have in common; ``places`` is each one's own."""

    _unlisted = frozenset(("assigned", "doubts", "folds", "parts", "places"))

    @property
    def folds(self) -> FoldPlan:
        """One training for each configuration."""
        return FoldPlan()

    def places(self, data: Items, seed: int, fold: int) -> Places:
        """Which samples train and which validate."""
        raise NotImplementedError

    def __call__(self, data: Items, seed: int, fold: int = 0) -> tuple[Items, Items]:
        """The training and the validation part, the same for the same seed and fold.

        Raises ValueError for data that cannot be split so.
        """
        train, validation = self.places(data, seed, fold)
        return part(data, train), part(data, validation)

    def parts(self, data: Data, seed: int, fold: int) -> Data:
        """The data with what trains and what validates."""
        if data.validation is not None:
            raise ValueError(
                f"split is {self!r}, but the data have a validation set of their own; "
                "leave that out, or use split=Given()"
            )
        train, validation = self(data.train, seed, fold)
        return replace(data, train=train, validation=validation)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_bool(name: str, value: object) -> None:
    """Raise ValueError unless a value is true or false."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} is {shown(value)}; expected True or False")


@dataclass(frozen=True)
class Split(Splitting):
    """A hold-out split: the share of the training data that validates, stratified by class.

    A validation set that the data have is used instead. It is stratified if the targets are class
    numbers that are known without reading the items (arrays, or a dataset with ``targets`` or
    ``labels``, as torchvision's), else random. Raises ValueError unless ``validation`` is between
    0 and 1.

    >>> from spot_dask import Split
    >>> Split(0.2)
    Split(validation=0.2, stratify=True)
    """

    validation: float = 0.2
    stratify: bool = True

    def __post_init__(self) -> None:
        if not (_is_number(self.validation) and 0.0 < self.validation < 1.0):
            raise ValueError(
                f"split: validation is {shown(self.validation)}; expected a share between 0 and 1"
            )
        _check_bool("Split: stratify", self.stratify)

    def places(self, data: Items, seed: int, fold: int) -> Places:
        """A random share of the samples validates; ValueError if that is all or none."""
        n = length(data)
        rng = np.random.default_rng(seed)
        order = rng.permutation(n)
        labels = class_numbers(data) if self.stratify else None
        if labels is not None:
            order = _by_class(order, labels, rng)
        # Systematic sampling: of every run of consecutive samples, so of every class, its share
        # up to rounding; of all of them exactly round(n * validation).
        marks = np.floor(np.arange(n + 1) * self.validation + 0.5)
        held_out = np.diff(marks) > 0
        if held_out.all() or not held_out.any():
            raise ValueError(
                f"{n} samples cannot be split with validation={self.validation}; "
                "expected at least one for training and one for validation"
            )
        return np.sort(order[~held_out]), np.sort(order[held_out])

    def parts(self, data: Data, seed: int, fold: int) -> Data:
        """The data as they are if they have a validation set, else with one that is drawn."""
        return data if data.validation is not None else super().parts(data, seed, fold)


@dataclass(frozen=True)
class Folds(Splitting):
    """k folds, each of which validates once: cross-validation, ``repeats`` times.

    A configuration is trained k * repeats times; its value is the mean. Each repeat draws another
    partition. Samples of one group are never on both sides: ``groups`` is an array (n), the name of
    a column of a frame (which stays among the inputs unless ``prepare`` leaves it out), or a
    function that returns such an array, of the training data as they were given: ``(X, y)``, with
    tensors for arrays, or the dataset. ``stratify`` None: folds have equal
    shares of every class if the targets are class numbers that are known without reading the items;
    True raises ValueError where they are not, False draws folds without looking at classes.
    ``stop``: a configuration that is hopeless after some folds is not trained on the others.

    Raises ValueError for fewer than two folds.

    >>> from spot_dask import Folds
    >>> Folds(5, repeats=2, groups="patient").folds.count
    10
    """

    k: int
    repeats: int = 1
    groups: Any = None
    stratify: bool | None = None
    stop: bool = True

    def __post_init__(self) -> None:
        if type(self.k) is not int or self.k < 2:
            raise ValueError(
                f"Folds: k is {shown(self.k)}; expected at least 2 (Split() holds out one part)"
            )
        if type(self.repeats) is not int or self.repeats < 1:
            raise ValueError(f"Folds: repeats is {shown(self.repeats)}; expected at least 1")
        _check_bool("Folds: stop", self.stop)
        if self.stratify is not None:
            _check_bool("Folds: stratify", self.stratify)
        if callable(self.groups):
            check_call("Folds: groups", self.groups, "train")

    @property
    def folds(self) -> FoldPlan:
        """The trainings of a configuration."""
        return FoldPlan(self.k, self.repeats, self.stop)

    def places(self, data: Items, seed: int, fold: int) -> Places:
        """The samples of a fold validate, the others train."""
        chosen = self.assigned(data, seed) == fold
        train, validation = np.flatnonzero(~chosen), np.flatnonzero(chosen)
        self._check_classes(data, train, fold)
        return train, validation

    def assigned(self, data: Items, seed: int) -> Indices:
        """The fold (n) of each sample; ValueError where there are too few samples or groups."""
        n, rng = length(data), np.random.default_rng(seed)
        labels = None if self.stratify is False else class_numbers(data)
        if labels is None and self.stratify:
            raise ValueError(
                "Folds: stratify is True, but the targets are no class numbers that are known "
                "without reading the items; expected whole numbers, or stratify=False"
            )
        if n < self.k:
            raise ValueError(f"{n} samples cannot make {self.k} folds; expected at least {self.k}")
        if self.groups is not None:
            return self._by_group(_group_numbers(self.groups, data), labels, rng)
        order = rng.permutation(n)
        if labels is not None:
            order = _by_class(order, labels, rng)
        found = np.empty(n, dtype=np.int64)
        found[order] = rng.permutation(self.k)[np.arange(n) % self.k]
        return found

    def _by_group(
        self, groups: Indices, labels: Indices | None, rng: np.random.Generator
    ) -> Indices:
        """Folds (n) of whole groups, with samples, or samples of each class, as even as can be.

        Groups come in random order, each into the fold where it leaves the least sum of squares of
        the folds' counts; the best of several orders counts.
        """
        count = int(groups.max()) + 1
        if count < self.k:
            raise ValueError(
                f"{count} groups cannot make {self.k} folds; expected at least {self.k} groups"
            )
        classes = np.zeros(len(groups), np.int64) if labels is None else labels
        sizes = np.zeros((count, int(classes.max()) + 1))
        np.add.at(sizes, (groups, classes), 1.0)
        sizes /= np.maximum(sizes.sum(axis=0), 1.0)  # each class counts alike
        found = [_greedy(sizes, rng, self.k) for _ in range(TRIES if count <= FEW else 1)]
        _, best = min(found, key=lambda pair: pair[0])
        return best[groups]

    def _check_classes(self, data: Items, train: Indices, fold: int) -> None:
        labels = class_numbers(data)
        if labels is None or np.ptp(labels) == 0 or np.ptp(labels[train]) > 0:
            return
        advice = "choose other groups" if self.groups is not None else "expected two samples each"
        raise ValueError(
            f"fold {fold + 1} of {self.k} trains on the class {labels[train][0]} alone: all "
            f"samples of the others validate; {advice}, or use fewer folds"
        )

    def doubts(self, data: Items) -> Iterator[str]:
        """A sentence on classes that are missing in what validates, if any are."""
        labels = class_numbers(data)
        if labels is None or np.ptp(labels) == 0:
            return
        of = self.assigned(data, 0)
        alone = [f + 1 for f in range(self.k) if np.ptp(labels[of == f]) == 0]
        if alone:
            which = ", ".join(map(str, alone))
            yield f"fold {which} of {self.k} validates on a single class; use fewer folds"
        few = np.bincount(labels - labels.min())
        rare = int(np.argmin(np.where(few > 0, few, few.max() + 1)))
        if not alone and self.groups is None and few[rare] < self.k:
            yield (
                f"class {rare + labels.min()} has {few[rare]} samples for {self.k} folds, so some "
                "folds validate without it"
            )


@dataclass(frozen=True)
class TimeSplit(Splitting):
    """Samples in the order of time: what validates lies after all that trains.

    The last ``share`` of the samples validates, without the ``gap`` samples before it, which belong
    to neither. k > 1 gives as many windows, one after the other, as folds: each validates what
    trains on all before it. Without a share it is a fifth, or one part of k + 1 of k windows, as in
    scikit-learn's TimeSeriesSplit. ``stop`` is that of ``Folds``.

    Raises ValueError for other numbers than these.

    >>> from spot_dask import TimeSplit
    >>> TimeSplit(3, share=0.1, gap=7).folds.count
    3
    """

    k: int = 1
    share: float | None = None
    gap: int = 0
    stop: bool = True

    def __post_init__(self) -> None:
        if type(self.k) is not int or self.k < 1:
            raise ValueError(f"TimeSplit: k is {shown(self.k)}; expected at least 1")
        known = self.share is None or _is_number(self.share)
        if not known or (self.share is not None and not 0.0 < self.share * self.k < 1.0):
            raise ValueError(
                f"TimeSplit: share is {shown(self.share)} for {self.k} windows; expected that they "
                "are more than none and less than all of the samples"
            )
        if type(self.gap) is not int or self.gap < 0:
            raise ValueError(f"TimeSplit: gap is {shown(self.gap)}; expected samples, at least 0")

    @property
    def folds(self) -> FoldPlan:
        """The trainings of a configuration: one on each window."""
        return FoldPlan(self.k, 1, self.stop, draws=False)

    def places(self, data: Items, seed: int, fold: int) -> Places:
        """A window validates, what lies before its gap trains; ValueError where that is none."""
        n, k = length(data), self.k
        if self.share is None:
            size = n // (k + 1) if k > 1 else round(n / 5)
        else:
            size = round(n * self.share)
        begin = n - (k - fold) * size
        if size < 1 or n - k * size - self.gap < 1:
            raise ValueError(
                f"{n} samples in {k} windows of {size}, with a gap of {self.gap}, leave none to "
                "train on; expected more samples, fewer windows or a smaller share or gap"
            )
        return np.arange(begin - self.gap), np.arange(begin, begin + size)


@dataclass(frozen=True)
class Given(Listed):
    """The validation set that the data have, which is required.

    >>> import numpy as np
    >>> from spot_dask import Data, Given
    >>> x, y = np.zeros((8, 2)), np.zeros(8)
    >>> data = Data((x, y), validation=(x[:2], y[:2]))
    >>> Given()
    Given()
    """

    _unlisted = frozenset(("folds", "parts"))

    folds = FoldPlan()

    def parts(self, data: Data, seed: int, fold: int) -> Data:
        """The data as they are; ValueError without a validation set."""
        if data.validation is None:
            raise ValueError(
                "split is Given(), but data() gives no validation set; expected (train, "
                "validation, test) or Data(train=..., validation=...)"
            )
        return data


@dataclass(frozen=True)
class OnTest:
    """The test set decides: it validates what was trained on all of train, or is split itself."""

    split: Splitting | None = None

    @property
    def folds(self) -> FoldPlan:
        """Those of the split of the test set."""
        return FoldPlan() if self.split is None else self.split.folds

    def parts(self, data: Data, seed: int, fold: int) -> Data:
        """The test set as the validation set, or split; ValueError where there is none."""
        if data.test is None:
            raise ValueError(
                "split is a mode of the test set, but data() gives none; expected (train, test) "
                "or Data(train=..., test=...)"
            )
        if self.split is None:
            return replace(data, validation=data.test, test=None)
        return self.split.parts(
            replace(data, train=data.test, validation=None, test=None), seed, fold
        )


@dataclass(frozen=True)
class OwnSplit:
    """A function ``split(train, seed)``, or with folds ``split(train, seed, fold)``."""

    function: Callable[..., tuple[Items, Items]]

    @property
    def folds(self) -> FoldPlan:
        """Those that the function says it has."""
        return FoldPlan.of(self.function)

    def parts(self, data: Data, seed: int, fold: int) -> Data:
        """The data as they are if they have a validation set, else as the function splits them."""
        if data.validation is not None:
            return data
        which = (fold,) if self.folds.several else ()
        train, validation = self.function(data.train, seed, *which)
        return replace(data, train=train, validation=validation)


EVALUATIONS: dict[str, Parted] = {
    "train_hold_out": Split(0.4),
    "test_hold_out": OnTest(),
    "train_cv": Folds(5),
    "test_cv": OnTest(Folds(5)),
}
"""How spotPython evaluates, by its names: 60/40 and folds of the training data; or by the test set.

In the modes of the test set the test set decides, so that nothing is left to say how good the
result is on data that the choice has not seen.
"""

PEEKS = (
    "split is {name!r}: the test set chooses the configuration, so its value is too good, and no "
    "test set is left to say by how much"
)


def parted(split: Any) -> Parted:
    """A split as what parts the data; raises ValueError for what is none."""
    if isinstance(split, str):
        if split not in EVALUATIONS:
            near = did_you_mean(split, EVALUATIONS) or f"; there are {', '.join(EVALUATIONS)}"
            raise ValueError(f"no split {split!r}{near}")
        return EVALUATIONS[split]
    if isinstance(split, Splitting | Given | OnTest):
        return split
    if isinstance(split, type):
        raise ValueError(
            f"split is the class {split.__name__}; give an object: {split.__name__}(...)"
        )
    several = FoldPlan.of(split).several
    check_call("split", split, "train", "seed", *(("fold",) if several else ()))
    return OwnSplit(split)


def _by_class(order: Indices, labels: Indices, rng: np.random.Generator) -> Indices:
    """An order (n) sorted by class, with the classes in random order."""
    _, numbers = np.unique(labels, return_inverse=True)
    ranks = rng.permutation(int(numbers.max()) + 1)
    sorted_by: Indices = order[np.argsort(ranks[numbers[order]], kind="stable")]
    return sorted_by


def _greedy(
    sizes: npt.NDArray[np.float64], rng: np.random.Generator, k: int
) -> tuple[float, Indices]:
    """The fold of each group (g), and the sum of squares of the folds' counts.

    ``sizes`` (g x c) are the groups' shares of each class.
    """
    folds, found = np.zeros((k, sizes.shape[1])), np.empty(len(sizes), dtype=np.int64)
    empty = list(rng.permutation(k))
    for place, group in enumerate(rng.permutation(len(sizes))):
        if len(sizes) - place <= len(empty):  # no fold may stay empty
            fold = int(empty[0])
        else:
            fold = int(np.argmin(folds @ sizes[group]))  # the increase of the sum of squares / 2
        if fold in empty:
            empty.remove(fold)
        folds[fold] += sizes[group]
        found[group] = fold
    return float(np.square(folds).sum()), found


def _group_numbers(groups: Any, data: Items) -> Indices:
    """The number (n) of each sample's group, from 0; ValueError for what are no groups of them."""
    n = length(data)
    if isinstance(groups, str):
        frame = data.X if isinstance(data, Arrays) else None
        columns = list(getattr(frame, "columns", frame if isinstance(frame, dict) else ()))
        if groups not in columns:
            seen = f"there are {', '.join(map(str, columns))}" if columns else "X is no frame"
            raise ValueError(f"Folds: groups is {groups!r}, no column of X; {seen}")
        found: Any = frame[groups]  # type: ignore[index]
    else:
        given = data.tensors if isinstance(data, Arrays) else data
        found = groups(given) if callable(groups) else groups
    try:
        values = np.asarray(found)
        if none := sum(v is None or v != v for v in values.ravel().tolist()):
            raise ValueError(f"{none} of them are missing; give each sample a group")
        _, numbers = np.unique(values.astype(str) if values.dtype.kind == "O" else values,
                               return_inverse=True)  # fmt: skip
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Folds: groups are {shown(found)}, no array of groups ({error})"
        ) from None
    if values.shape != (n,):
        raise ValueError(
            f"Folds: groups are of shape {values.shape} for {n} samples; expected one for each"
        )
    return numbers.reshape(-1).astype(np.int64)
