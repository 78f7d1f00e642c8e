"""Real trainings of scikit-learn's models on the data sets that it ships, cross-validated.

Each is named ``model_data``. A training splits the data by its seed into three folds and tells the
mean of the error on each: the share that is wrong, the cross entropy or the root of the mean
squared error. ``choice_digits`` also chooses the model, on whose choice its parameters depend.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import sklearn
from sklearn import datasets
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from benchmarks.problems import Problem
from benchmarks.trainings import Known, Train, training
from spot_dask import Categorical, Integer, Real, Space
from spot_dask.records import Configuration

WRONG = "accuracy"
"""The name of the score from which the share that is wrong is computed."""

_FOLDS = 3
_ROWS = 400
"""As many rows of a data set are used at most: a training shall take a tenth of a second."""

Build = Callable[[Configuration, int], Any]
"""(configuration, seed) -> an estimator."""


@dataclass(frozen=True)
class Task:
    """A model's space and how it is built, the data, and scikit-learn's name of the score."""

    space: Space
    build: Build
    data: str
    scoring: str
    known: Known


def make(name: str) -> Problem:
    """A problem by its name; ValueError where there is none."""
    if name not in _TASKS:
        raise ValueError(f"no sklearn/{name}; there are: {', '.join(NAMES)}")
    task = _TASKS[name]
    train = trainer(task.build, task.data, task.scoring)
    return training(f"sklearn/{name}", task.space, train, task.known, sklearn.__version__)


def kind(name: str) -> str:
    return "mixed" if name.startswith("choice") else "other learners"


def trainer(build: Build, data: str, scoring: str) -> Train:
    """The training of what is built on a data set, told by scikit-learn's score of that name."""

    def train(config: Configuration, seed: int) -> float:
        X, y = _data(data)
        folds = KFold if data == "diabetes" else StratifiedKFold
        split = folds(_FOLDS, shuffle=True, random_state=seed)
        model = make_pipeline(StandardScaler(), build(config, seed))
        scores = cross_val_score(model, X, y, scoring=scoring, cv=split)
        return float(1.0 - scores.mean() if scoring == WRONG else -scores.mean())

    return train


@cache
def _data(name: str) -> tuple[Any, Any]:
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    rows = np.random.default_rng(0).permutation(len(y))[:_ROWS]
    return X[rows], y[rows]


_SVM = Space(
    C=Real(1e-3, 1e3, scale="log", default=1.0),
    gamma=Real(1e-5, 10.0, scale="log", default=0.01),
    kernel=Categorical(["rbf", "poly", "sigmoid"], default="rbf"),
    degree=Integer(2, 5, default=3).when(kernel="poly"),
    coef0=Real(0.0, 2.0, default=0.0).when(kernel=("poly", "sigmoid")),
)
_FOREST = Space(
    trees=Integer(2, 30, scale="log", default=10),
    depth=Integer(1, 20, default=10),
    leaf=Integer(1, 50, scale="log", default=1),
    features=Real(0.05, 1.0, default=1.0),
    bootstrap=Categorical([True, False], default=True),
)
MLP = Space(
    width=Integer(2, 48, scale="log", default=16),
    layers=Integer(1, 3, default=1),
    lr=Real(1e-5, 0.3, scale="log", default=1e-3),
    alpha=Real(1e-6, 10.0, scale="log", default=1e-4),
    batch=Integer(16, 128, scale="power2", default=32),
    activation=Categorical(["relu", "tanh", "logistic"], default="relu"),
)
_BOOSTING = Space(
    trees=Integer(4, 40, scale="log", default=20),
    lr=Real(0.01, 1.0, scale="log", default=0.1),
    depth=Integer(1, 5, default=3),
    subsample=Real(0.2, 1.0, default=1.0),
    leaf=Integer(1, 50, scale="log", default=1),
    features=Real(0.05, 1.0, default=1.0),
)
_CHOICE = Space(
    model=Categorical(["svm", "forest", "mlp"], default="forest"),
    C=Real(1e-3, 1e3, scale="log", default=1.0).when(model="svm"),
    gamma=Real(1e-5, 10.0, scale="log", default=0.01).when(model="svm"),
    trees=Integer(2, 30, scale="log", default=10).when(model="forest"),
    depth=Integer(1, 20, default=10).when(model="forest"),
    leaf=Integer(1, 50, scale="log", default=1).when(model="forest"),
    features=Real(0.05, 1.0, default=1.0).when(model="forest"),
    width=Integer(2, 48, scale="log", default=16).when(model="mlp"),
    lr=Real(1e-5, 0.3, scale="log", default=1e-3).when(model="mlp"),
    alpha=Real(1e-6, 10.0, scale="log", default=1e-4).when(model="mlp"),
)


def _svm(c: Configuration, seed: int) -> Any:
    more = {n: c[n] for n in ("degree", "coef0") if n in c}
    kernel = c.get("kernel", "rbf")
    return SVC(C=c["C"], gamma=c["gamma"], kernel=kernel, max_iter=1000, **more)


def _forest(model: Any) -> Build:
    def build(c: Configuration, seed: int) -> Any:
        return model(
            n_estimators=c["trees"],
            max_depth=c["depth"],
            min_samples_leaf=c["leaf"],
            max_features=c["features"],
            bootstrap=c.get("bootstrap", True),
            random_state=seed,
        )

    return build


def mlp(c: Configuration, seed: int) -> Any:
    return MLPClassifier(
        (c["width"],) * c.get("layers", 1),
        activation=c.get("activation", "relu"),
        learning_rate_init=c["lr"],
        alpha=c["alpha"],
        batch_size=c.get("batch", 64),
        max_iter=10,
        random_state=seed,
    )


def _boosting(model: Any) -> Build:
    def build(c: Configuration, seed: int) -> Any:
        return model(
            n_estimators=c["trees"],
            learning_rate=c["lr"],
            max_depth=c["depth"],
            subsample=c["subsample"],
            min_samples_leaf=c["leaf"],
            max_features=c["features"],
            random_state=seed,
        )

    return build


def _choice(c: Configuration, seed: int) -> Any:
    builds = {"svm": _svm, "forest": _forest(RandomForestClassifier), "mlp": mlp}
    return builds[c["model"]](c, seed)


_ENTROPY, _RMSE = "neg_log_loss", "neg_root_mean_squared_error"

# Optimum and median of `python -m benchmarks.best_known sklearn/NAME --samples 64 --rounds 5
# --children 2`, 124 true values with scikit-learn 1.9.1: a longer search may find lower ones.
_TASKS = {
    "svm_digits": Task(_SVM, _svm, "digits", WRONG, Known(0.0393895, 0.678052)),
    "forest_diabetes": Task(
        _FOREST, _forest(RandomForestRegressor), "diabetes", _RMSE, Known(56.5897, 60.3146)
    ),
    "mlp_wine": Task(MLP, mlp, "wine", _ENTROPY, Known(0.0524621, 1.06303)),
    "boosting_breast_cancer": Task(
        _BOOSTING,
        _boosting(GradientBoostingClassifier),
        "breast_cancer",
        _ENTROPY,
        Known(0.106152, 0.244191),
    ),
    "boosting_diabetes": Task(
        _BOOSTING, _boosting(GradientBoostingRegressor), "diabetes", _RMSE, Known(56.3779, 64.0269)
    ),
    "choice_digits": Task(_CHOICE, _choice, "digits", WRONG, Known(0.0456225, 0.421857)),
}
NAMES = list(_TASKS)
