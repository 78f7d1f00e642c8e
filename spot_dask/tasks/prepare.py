"""``prepare``: what is learnt of the training part, and done to all inputs.

It is fitted on the part that trains, and on nothing else: what validates or tests has no influence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from spot_dask.errors import shown
from spot_dask.tasks import Config, check_call
from spot_dask.tasks.data import Arrays, Change, Items, as_tensors, named


@dataclass(frozen=True)
class Prepared:
    """Functions of inputs, for training and for judging.

    ``anew``: the first is applied whenever a sample is read. ``train`` is the training part as it
    was changed already while it was learnt from; None where it was not.
    """

    training: Change
    judging: Change
    anew: bool = False
    train: Items | None = None


def is_transformer(value: Any) -> bool:
    """Whether it is a transformer of scikit-learn, or like one."""
    return hasattr(value, "fit") and hasattr(value, "transform") and not isinstance(value, type)


def check_prepare(prepare: Any) -> None:
    """Raise ValueError unless it is a transformer or a function ``prepare(train, cfg)``."""
    if isinstance(prepare, type):
        raise ValueError(f"prepare is the class {prepare.__name__}; give {prepare.__name__}()")
    if not is_transformer(prepare):
        check_call("prepare", prepare, "train", "cfg")


def prepared(prepare: Any, train: Items, config: Config) -> Prepared:
    """What ``prepare`` makes of the training part; ValueError for what it may not return.

    A transformer is cloned and fitted to the part's X and y. One that a function returns is fitted
    if it is not.
    """
    if is_transformer(prepare):
        from sklearn.base import clone

        return _fitted(clone(prepare), train)
    returned = prepare(train, config)
    if is_transformer(returned):
        if not _is_fitted(returned):
            return _fitted(returned, train)
        return Prepared(Transforming(returned), Transforming(returned))
    is_pair = isinstance(returned, tuple) and len(returned) == 2
    first, second = returned if is_pair else (returned, returned)
    if not callable(first) or not callable(second):
        raise ValueError(
            f"prepare() returned {type(returned).__name__};"
            " expected a function of the inputs, or two, or a transformer of scikit-learn"
        )
    return Prepared(first, second, anew=is_pair)


@dataclass(frozen=True)
class Transforming:
    """A fitted transformer as a function of inputs."""

    transformer: Any

    def __call__(self, X: Any) -> Any:
        return self.transformer.transform(_plain(X, self.transformer))


def _fitted(transformer: Any, train: Items) -> Prepared:
    """A transformer fitted to a training part, which it changes meanwhile."""
    name = type(transformer).__name__
    if not isinstance(train, Arrays):
        raise ValueError(
            f"prepare is a {name}, but the data are {named(train)}, read item by item; expected "
            "an array or a frame, or a function prepare(train, cfg)"
        )
    X, y = (
        _plain(train.X, transformer),
        np.asarray(train.y) if hasattr(train.y, "__array__") else None,
    )
    try:
        if hasattr(transformer, "fit_transform"):
            changed = transformer.fit_transform(X, y)
        else:
            changed = transformer.fit(X, y).transform(X)
    except (TypeError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise ValueError(
            f"prepare: {name} cannot be fitted to the training part: {first}"
        ) from error
    change = Transforming(transformer)
    return Prepared(change, change, train=Arrays(as_tensors(changed, "the prepared X"), train.y))


def _is_fitted(transformer: Any) -> bool:
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(transformer)
    except NotFittedError:
        return False
    return True


def _plain(X: Any, transformer: Any) -> Any:
    """Inputs as scikit-learn takes them: a frame or an array; ValueError for containers."""
    if isinstance(X, Tensor):
        return X.detach().cpu().numpy()
    if isinstance(X, Mapping | tuple | list):
        raise ValueError(
            f"prepare is a {type(transformer).__name__}, but X is {shown(named(X))}; expected one "
            "array or frame, or a function prepare(train, cfg)"
        )
    return X
