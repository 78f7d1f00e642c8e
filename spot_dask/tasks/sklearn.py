"""Any estimator of scikit-learn's conventions as a task, judged by cross-validation."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import isclass
from itertools import accumulate
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import joblib
import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.metrics import get_scorer, get_scorer_names
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    StratifiedGroupKFold,
    StratifiedKFold,
    check_cv,
)
from sklearn.utils import indexable
from sklearn.utils.metaestimators import _safe_split
from sklearn.utils.multiclass import type_of_target

from spot_dask.cards import Listed
from spot_dask.errors import did_you_mean, shown
from spot_dask.outputs import replacing
from spot_dask.records import FoldPlan
from spot_dask.tasks import (
    Config,
    Context,
    Direction,
    check_direction,
    named_values,
    nearest,
    number,
    seed_all,
)
from spot_dask.tasks.columns import as_numbers, is_frame

logger = logging.getLogger(__name__)

NAME = "folds.json"

Places = tuple[Any, Any]
Metrics = dict[str, float]


@dataclass(frozen=True, eq=False)
class SklearnTask(Listed):
    """Train an estimator on each of k folds and judge it by its mean scores.

    ``estimator`` is an estimator, of which each training gets a clone with the configuration as its
    parameters (a parameter ``clf.C`` of the space is ``clf__C``), or a function ``f(cfg)`` that
    returns one. ``data`` are (X, y) or (X, y, groups), a Bunch as scikit-learn's loaders return, or
    a function that returns such; it is called once per process. Frames stay frames.

    ``cv`` is a number of folds, a splitter, or a list of (train, validation) indices. For a number,
    the trial's seed shuffles; classes are stratified, groups stay together. A splitter that
    shuffles without a ``random_state`` of its own draws from that seed, too, so configurations are
    compared on the same folds. ``scoring`` is a name of scikit-learn's, a function (estimator, X,
    y) -> number, several of these, or a mapping that names them; None is the estimator's ``score``.
    ``objective`` is one of their names, the first if none is given; the larger it is, the better,
    unless it is a function of yours with direction "min".

    Each fold is an evaluation of its own, which counts in the budget: folds are trained in
    parallel, and what is hopeless after some is not trained on the others. The study averages them.
    Where ``parallel_folds`` is False, and where the number of folds depends on the data, an
    evaluation is a training on all of them: it reports the mean so far after each, and its result
    has the mean under each scoring's name and ``NAME_fold1`` and so on.

    ``test`` is data as ``data`` are: each fold's estimator is scored on it, which is recorded as
    ``test_NAME`` and never chosen by.

    Every ``random_state`` that is None gets a seed: that of the partition, plus the fold. A killed
    training begins its fold anew, for estimators keep no checkpoints; folds that are over count.

    Raises ValueError for what is no estimator, an unknown scoring, objective or direction.

    >>> from sklearn.datasets import load_iris
    >>> from sklearn.svm import SVC
    >>> from spot_dask import Real, SklearnTask, Space, Study
    >>> task = SklearnTask(SVC(), load_iris(return_X_y=True), cv=5)
    >>> Study(Space(C=Real(0.01, 100.0, scale="log")), task)
    Study(study: 1 parameter, maximises score)
    """

    _unlisted = frozenset(("check_names", "parallel_folds", "scorers", "shortened"))

    estimator: Any
    data: Any
    cv: Any = 5
    scoring: Any = None
    objective: str = ""
    direction: Direction = "max"
    parallel_folds: bool = field(default=True, kw_only=True)
    test: Any = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        check_direction(self.direction)
        if isinstance(self.estimator, type) or not (self._is_made or callable(self.estimator)):
            text = self.estimator.__name__ if isinstance(self.estimator, type) else ""
            what = f"the class {text}; give {text}()" if text else shown(self.estimator)
            raise ValueError(f"estimator is {what}; expected an estimator, or a function of cfg")
        if isinstance(self.cv, int) and self.cv < 2:
            raise ValueError(f"cv is {self.cv!r}; expected at least 2 folds, or a splitter")
        if isinstance(self.cv, str) or not any(
            hasattr(self.cv, name) for name in ("split", "__iter__", "__index__")
        ):
            raise ValueError(f"cv is {shown(self.cv)}; expected a number or a splitter")
        if hasattr(self.cv, "__iter__"):
            object.__setattr__(self, "cv", list(self.cv))
        known = [*self.scorers]
        if not self.objective:
            object.__setattr__(self, "objective", known[0])
        if self.objective not in known:
            raise ValueError(
                f"objective is {self.objective!r}, none of scoring{nearest(self.objective, known)}"
            )
        ours = self.scoring is None or hasattr(self.scorers[self.objective], "_sign")
        if self.direction == "min" and ours:
            raise ValueError(
                f"{self.objective} is the better the larger it is, but direction is 'min'; "
                "use direction='max'"
            )

    @property
    def _is_made(self) -> bool:
        return hasattr(self.estimator, "fit") and hasattr(self.estimator, "get_params")

    @property
    def scorers(self) -> dict[str, Callable[[Any, Any, Any], Any]]:
        """What scores, by name; raises ValueError for what cannot."""
        given = self.scoring
        if given is None:
            return {"score": lambda estimator, X, y: estimator.score(X, y)}
        if isinstance(given, str) or callable(given):
            given = [given]
        if not isinstance(given, Mapping):  # a scorer's name is that of what it is made of
            named = [(getattr(s, "_score_func", s), s) for s in given]
            given = {
                s if isinstance(s, str) else getattr(f, "__name__", "score"): s for f, s in named
            }
        if not given:
            raise ValueError("scoring is empty; expected a name, a function or several")
        return {name: _scorer(scoring) for name, scoring in given.items()}

    @property
    def folds(self) -> FoldPlan:
        """The evaluations of a configuration."""
        k = self._k
        if not self.parallel_folds or k is None:
            return FoldPlan()
        own = isinstance(self.cv, int) or getattr(self.cv, "random_state", 0) is None
        return FoldPlan(k, draws=own)

    @property
    def _k(self) -> int | None:
        """The number of folds, None where it depends on the data."""
        if isinstance(self.cv, int):
            return self.cv
        try:
            return int(check_cv(self.cv).get_n_splits())
        except (TypeError, ValueError):
            return None

    def check_names(self, names: Sequence[str]) -> None:
        """Raise ValueError for a name that is no parameter of the estimator."""
        if not self._is_made:
            return
        known = self.estimator.get_params(deep=True)
        tuned = [name.replace(".", "__") for name in names]
        closed = {n for n, v in known.items() if hasattr(v, "get_params") and not isclass(v)}
        for name, key in zip(names, tuned, strict=True):
            owners = {*accumulate(key.split("__"), lambda a, b: f"{a}__{b}")} - {key}
            # An owner that is tuned itself, or is no estimator, knows what it takes.
            if key not in known and not owners & {*tuned, *(known.keys() - closed)}:
                kind = type(self.estimator).__name__
                raise ValueError(f"{name!r} is no parameter of {kind}{nearest(key, known)}")

    def shortened(self) -> SklearnTask:
        """The task itself: ``spot-dask check`` ends it after its first fold."""
        return self

    def __call__(self, config: Config, trial: Context) -> Mapping[str, float]:
        """Mean scores, and those of each fold; of one fold with ``parallel_folds``.

        Raises ValueError for data that cannot be split or scored so, and what the estimator raises.
        """
        if not self.folds.several:
            return self._of_all_folds(config, trial)
        X, y, folds = self._parted(config, trial)
        return self._scores(config, trial, X, y, folds, trial.fold)

    def _of_all_folds(self, config: Config, trial: Context) -> Metrics:
        """Means and scores of all folds, each reported; those that were trained before are kept."""
        X, y, folds = self._parted(config, trial)
        done = _saved(trial)
        for i in range(len(folds)):
            if i >= len(done):
                done.append(self._scores(config, trial, X, y, folds, i))
                if trial.keeps_checkpoint:
                    with replacing(trial.checkpoint / NAME) as file:
                        file.write(json.dumps(done).encode())
            trial.report(i + 1, **_means(done[: i + 1]))
        return _means(done) | {
            f"{name}_fold{i}": value for i, one in enumerate(done, 1) for name, value in one.items()
        }

    def _parted(self, config: Config, trial: Context) -> tuple[Any, Any, list[Places]]:
        """X, y and the folds of a trial's partition."""
        X, y, groups = self._loaded()
        return X, y, self._splits(X, y, groups, self._made(config, trial.seed), trial.partition)

    def fitted(self, config: Config, trial: Context, *, full: bool = False) -> FittedEstimator:
        """The estimator, fitted on all data, with the scores of the folds.

        ``full`` leaves the folds out: there are no metrics then.
        """
        metrics = {} if full else self._of_all_folds(config, trial)
        X, y, _ = self._loaded()
        estimator = self._made(config, trial.seed)
        seed_all(trial.seed)
        _fit(estimator, X, y)
        return FittedEstimator(estimator, config, metrics, trial.seed, full)

    def _loaded(self) -> tuple[Any, Any, Any]:
        """X, y and groups; ValueError for data that are none of these."""
        return self._read("data")

    def _read(self, part: str) -> tuple[Any, Any, Any]:
        """X, y and groups of ``data`` or ``test``, read once in a process."""
        known = _data.setdefault(self, {})
        if part not in known:
            seed_all(0)  # every process must see the same data
            source = getattr(self, part)
            given = source() if callable(source) else source
            if isinstance(given, Mapping) and "data" in given:
                given = given["data"], given.get("target")
            if not isinstance(given, tuple | list) or len(given) not in (2, 3):
                raise ValueError(
                    f"{part} is {shown(given)}; expected (X, y), (X, y, groups) or a Bunch"
                )
            X, y, groups = (*given, None)[:3]
            try:
                known[part] = tuple(indexable(X, y, groups))
            except ValueError as error:
                raise ValueError(f"{part}: {error}") from error
        found: tuple[Any, Any, Any] = known[part]
        return found

    def _made(self, config: Config, seed: int) -> Any:
        """An estimator that is not fitted, with its parameters and seeds."""
        seed_all(seed)
        if self._is_made:
            values = {n.replace(".", "__"): clone(v, safe=False) for n, v in config.items()}
            estimator = clone(self.estimator).set_params(**values)
        else:
            estimator = self.estimator(config)
            if not hasattr(estimator, "fit"):
                raise ValueError(
                    f"estimator() returned {shown(estimator)}; expected one that can be fitted"
                )
        seeds = {
            name: seed % 2**32
            for name, value in estimator.get_params(deep=True).items()
            if name.rpartition("__")[2] == "random_state" and value is None
        }
        return estimator.set_params(**seeds) if seeds else estimator

    def _splits(self, X: Any, y: Any, groups: Any, estimator: Any, seed: int) -> list[Places]:
        """The indices that train and validate of each fold, the same for the same seed."""
        splitter, seed = self.cv, seed % 2**32
        if isinstance(splitter, int):
            several = ("binary", "multiclass")
            classes = is_classifier(estimator) and type_of_target(y) in several
            if groups is None:
                kind = StratifiedKFold if classes else KFold
                splitter = kind(splitter, shuffle=True, random_state=seed)
            elif classes:
                splitter = StratifiedGroupKFold(splitter, shuffle=True, random_state=seed)
            else:
                splitter = GroupKFold(splitter)
        seed_all(seed)
        return [*check_cv(splitter).split(X, y, groups)]

    def _scores(
        self, config: Config, trial: Context, X: Any, y: Any, folds: Sequence[Places], i: int
    ) -> Metrics:
        """Fit on a fold's training part and score on the other."""
        seed = trial.partition + i  # the same whether its trial has one fold or all
        estimator = self._made(config, seed)
        train, validation = folds[i]
        which = f"fold {i + 1} of {len(folds)}"
        X_train, y_train = _safe_split(estimator, X, y, train)
        X_held, y_held = _safe_split(estimator, X, y, validation, train)
        if is_classifier(estimator) and (only := _only_class(y_train)) is not None:
            raise ValueError(
                f"{which} trains on the class {only!r} alone; use fewer folds, or a splitter that "
                "spreads classes, such as cv=5 or StratifiedKFold"
            )
        seed_all(seed)
        _fit(estimator, X_train, y_train)
        found = self._scored(estimator, X_held, y_held)
        if np.isnan(found[self.objective]):
            only = _only_class(y_held) if is_classifier(estimator) else None
            why = "" if only is None else f": its validation samples are all of class {only!r}"
            raise ValueError(f"{self.objective} of {which} is nan{why}")
        if self.test is not None:
            X_test, y_test, _ = self._read("test")
            try:
                tested = self._scored(estimator, X_test, y_test)
            except ValueError as error:
                raise ValueError(f"test data: {error}") from error
            found |= {f"test_{name}": value for name, value in tested.items()}
        return found

    def _scored(self, estimator: Any, X: Any, y: Any) -> Metrics:
        """What each scorer says of a fitted estimator on samples that it was not fitted on."""
        found = {}
        for name, scorer in self.scorers.items():
            try:
                value = scorer(estimator, X, y)
            except AttributeError as error:
                if not any(method in str(error) for method in ("predict_proba", "decision_func")):
                    raise
                what = type(estimator).__name__
                raise ValueError(
                    f"scoring {name!r} needs probabilities or a decision function, which {what} "
                    f"has not as it is set up ({error})"
                ) from None
            found[name] = number(name, value)
        return found


@dataclass(frozen=True, eq=False)
class FittedEstimator:
    """An estimator fitted with one configuration on all data.

    ``metrics`` are those of its trial, of the folds; ``full`` says that none were trained.
    """

    model: Any
    config: Config
    metrics: Mapping[str, float]
    seed: int
    full: bool = False

    @property
    def named(self) -> dict[str, Any]:
        """The configuration as data: what is no number, text or None is its name."""
        return named_values(self.config)

    def predict(self, X: Any) -> Any:
        """What the estimator predicts of X, classes or numbers; raises what it raises."""
        return self.model.predict(X)

    def save(self, path: str | Path) -> Path:
        """Write the estimator into a file by joblib, all of it or nothing.

        ``joblib.load(path)`` reads it and runs code in it: load files that you trust.
        """
        with replacing(Path(path)) as file:
            joblib.dump(self.model, file)
        return Path(path)


_data: WeakKeyDictionary[SklearnTask, dict[str, Any]] = WeakKeyDictionary()


def _scorer(scoring: Any) -> Any:
    """A function (estimator, X, y); raises ValueError for an unknown name."""
    if callable(scoring):
        return scoring
    names = get_scorer_names()
    if scoring not in names:
        near = did_you_mean(scoring, names) or "; see sklearn.metrics.get_scorer_names()"
        raise ValueError(f"there is no scoring {shown(scoring)}{near}")
    return get_scorer(scoring)


def _fit(estimator: Any, X: Any, y: Any) -> None:
    """Fit, and name the columns of a frame that hold texts if the estimator takes none."""
    try:
        estimator.fit(X, y) if y is not None else estimator.fit(X)
    except ValueError as error:
        if "could not convert string" not in str(error) or not is_frame(X):
            raise
        try:
            as_numbers(X, "X")
        except ValueError as texts:
            raise ValueError(
                f"{texts}, such as by a Pipeline with a ColumnTransformer and OneHotEncoder"
            ) from error
        raise


def _only_class(y: Any) -> Any:
    """The class of all samples, None if there are several or the targets have two dimensions."""
    values = np.asarray(y)
    classes = np.unique(values) if values.ndim == 1 else np.zeros(0)
    return classes[0].item() if len(classes) == 1 else None


def _means(scores: Sequence[Metrics]) -> Metrics:
    return {name: float(np.mean([one[name] for one in scores])) for name in scores[0]}


def _saved(trial: Context) -> list[Metrics]:
    """The scores of the folds that an earlier attempt has trained."""
    if not trial.keeps_checkpoint or not (trial.checkpoint / NAME).exists():
        return []
    try:
        found: list[Metrics] = json.loads((trial.checkpoint / NAME).read_bytes())
    except ValueError as error:
        logger.warning("trial %d begins anew, its checkpoint is damaged: %s", trial.number, error)
        return []
    return found
