"""Estimators as tasks: folds, scores, seeds, frames, skorch, and what is said of wrong ones."""

from __future__ import annotations

import multiprocessing
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import skorch
import torch
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    LeaveOneGroupOut,
    StratifiedKFold,
    cross_validate,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from spot_dask import Budget, Categorical, Integer, Real, SklearnTask, Space, Study
from spot_dask.records import FoldPlan
from spot_dask.space import Config
from spot_dask.tasks import StoppedEarly

X, Y = load_iris(return_X_y=True)


class Trial:
    """What a running training knows; it ends when ``last`` folds are reported."""

    number, attempt, seed, slot, device = 7, 1, 42, 0, ""

    def __init__(self, folder: Path | None = None, last: int = 0, fold: int = 0) -> None:
        self.checkpoint, self.keeps_checkpoint = folder, folder is not None
        self.last, self.fold, self.partition = last, fold, 5
        self.reports: list[tuple[int, dict[str, float]]] = []

    def report(self, epoch: int, /, **metrics: float) -> None:
        self.reports.append((epoch, metrics))
        if epoch == self.last:
            raise StoppedEarly


def all_folds(*given: Any, **settings: Any) -> SklearnTask:
    """A task whose trainings go through all folds."""
    return SklearnTask(*given, **settings, parallel_folds=False)


def run(task: SklearnTask, trial: Any = None, **config: Any) -> dict[str, float]:
    return dict(task(Config(config), trial or Trial()))


def pipeline() -> Pipeline:
    return Pipeline([("scale", StandardScaler()), ("clf", SVC())])


def test_scores_are_those_of_cross_validation() -> None:
    folds = StratifiedKFold(4, shuffle=True, random_state=5)
    expected = cross_validate(
        pipeline().set_params(clf__C=3.0), X, Y, cv=folds, scoring=["accuracy", "f1_macro"]
    )
    trial = Trial()
    task = all_folds(pipeline(), (X, Y), cv=4, scoring=("accuracy", "f1_macro"))
    found = run(task, trial, **{"clf.C": 3.0})
    assert (task.objective, task.direction) == ("accuracy", "max")
    for name in ("accuracy", "f1_macro"):
        scores = expected[f"test_{name}"]
        assert [found[f"{name}_fold{i}"] for i in range(1, 5)] == list(scores)
        assert found[name] == pytest.approx(scores.mean(), abs=1e-15)
        means = [np.mean(scores[:i]) for i in range(1, 5)]
        assert [m[name] for _, m in trial.reports] == pytest.approx(means, abs=1e-15)


def test_test_data_are_scored_and_never_chosen_by() -> None:
    given = {"cv": 4, "scoring": ("accuracy", "f1_macro")}
    plain = run(all_folds(pipeline(), (X[::2], Y[::2]), **given))
    task = all_folds(pipeline(), (X[::2], Y[::2]), **given, test=lambda: (X[1::2], Y[1::2]))
    tested = run(task)
    assert {name: tested[name] for name in plain} == plain  # bit-equal
    folds = StratifiedKFold(4, shuffle=True, random_state=5).split(X[::2], Y[::2])
    fitted = [pipeline().fit(X[::2][train], Y[::2][train]) for train, _ in folds]
    assert [tested[f"test_accuracy_fold{i}"] for i in range(1, 5)] == [
        model.score(X[1::2], Y[1::2]) for model in fitted
    ]
    with pytest.raises(ValueError, match="test is 3; expected \\(X, y\\), "):
        run(all_folds(pipeline(), (X, Y), test=3))
    with pytest.raises(ValueError, match=r"^test data: X has 2 features"):
        run(all_folds(pipeline(), (X, Y), test=(X[:, :2], Y)))
    with pytest.raises(ValueError, match=r"^test: .* inconsistent numbers of samples"):
        run(all_folds(pipeline(), (X, Y), test=(X, Y[:7])))


@pytest.mark.parametrize(
    ("cv", "data", "estimator", "same"),
    [
        (3, (X, Y), Ridge(), KFold(3, shuffle=True, random_state=5)),
        (KFold(3), (X, Y), Ridge(), KFold(3)),
        (KFold(3, shuffle=True, random_state=1), (X, Y), Ridge(),
         KFold(3, shuffle=True, random_state=1)),
        (iter([*KFold(3).split(X)]), (X, Y), Ridge(), KFold(3)),
        (3, (X, Y, np.arange(150) // 10), Ridge(), GroupKFold(3)),
        (LeaveOneGroupOut(), (X, Y, np.arange(150) // 50), Ridge(), LeaveOneGroupOut()),
        (4, lambda: (X, None), KMeans(3, n_init=1, random_state=0),
         KFold(4, shuffle=True, random_state=5)),
    ],
)  # fmt: skip
def test_folds_are_those_of_the_splitter(cv: Any, data: Any, estimator: Any, same: Any) -> None:
    _, y, groups = (*(data() if callable(data) else data), None)[:3]
    expected = cross_validate(estimator, X, y, groups=groups, cv=same)["test_score"]
    found = run(all_folds(estimator, data, cv=cv))
    assert found["score"] == pytest.approx(expected.mean(), abs=1e-14)


def test_groups_of_classes_stay_together() -> None:
    groups = np.arange(150) % 30
    task = SklearnTask(LogisticRegression(), (X, Y, groups), cv=5)
    for train, held_out in task._splits(X, Y, groups, task.estimator, 5):
        assert not set(groups[train]) & set(groups[held_out])
        assert set(Y[held_out]) == {0, 1, 2}


def test_each_fold_may_be_an_evaluation_of_its_own() -> None:
    whole = run(all_folds(pipeline(), load_iris, cv=4, scoring="accuracy"))
    one = SklearnTask(pipeline(), load_iris, cv=4, scoring="accuracy")
    assert one.folds == FoldPlan(4)
    found = [run(one, Trial(fold=i))["accuracy"] for i in range(4)]
    assert found == [whole[f"accuracy_fold{i}"] for i in range(1, 5)]
    draws = {
        name: SklearnTask(pipeline(), load_iris, cv=cv).folds
        for name, cv in {
            "own": KFold(3, shuffle=True), "fixed": KFold(3), "unknown": LeaveOneGroupOut(),
        }.items()
    }  # fmt: skip
    assert draws["own"] == FoldPlan(3)
    assert draws["unknown"] == FoldPlan()


def test_random_states_that_are_not_set_are_seeded() -> None:
    forest, same = RandomForestClassifier(4), StratifiedKFold(2)
    task = all_folds(make_pipeline(StandardScaler(), forest), (X, Y), cv=same)
    made = task._made(Config({}), 42)
    assert made.get_params()["randomforestclassifier__random_state"] == 42
    assert run(task) == run(task)
    other = Trial()
    other.partition = 6
    assert run(task, other) != run(task)
    fixed = all_folds(RandomForestClassifier(4, random_state=0), (X, Y), cv=same)
    assert run(fixed, other) == run(fixed)


def killed(task: SklearnTask, trial: Trial) -> None:
    """Train in a forked process until the trial's last fold, and end as by kill -9."""
    torch.set_num_threads(1)
    try:
        run(task, trial)
    except StoppedEarly:
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_training_goes_on_with_its_folds(tmp_path: Path) -> None:
    task = all_folds(lambda cfg: DecisionTreeClassifier(max_features=2), (X, Y), cv=4)
    expected = run(task)
    child = multiprocessing.get_context("fork").Process(
        target=killed, args=(task, Trial(tmp_path, last=3))
    )
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    fitted: list[int] = []

    class Counted(SklearnTask):
        def _scores(self, *given: Any) -> Any:
            fitted.append(given[-1])
            return super()._scores(*given)

    again = Trial(tmp_path)
    counted = Counted(task.estimator, (X, Y), cv=4, parallel_folds=False)
    assert run(counted, again) == expected
    assert fitted == [3]
    assert [epoch for epoch, _ in again.reports] == [1, 2, 3, 4]
    (tmp_path / "folds.json").write_text("{")
    assert run(task, Trial(tmp_path)) == expected


def test_frames_and_their_columns_reach_the_estimator() -> None:
    frame = pd.DataFrame(X[:, :2], columns=["a", "b"])
    frame["kind"] = np.where(Y > 1, "large", "small")
    columns = make_column_transformer((OneHotEncoder(), ["kind"]), remainder="passthrough")
    model = make_pipeline(columns, LogisticRegression(max_iter=500))
    assert run(SklearnTask(model, (frame, pd.Series(Y)), cv=3))["score"] > 0.7
    message = r"X holds no numbers in the columns 'kind' \(str, such as 'small'\); encode"
    with pytest.raises(ValueError, match=message):
        run(SklearnTask(LogisticRegression(), (frame, Y), cv=3))


class Layers(torch.nn.Module):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(4, width), torch.nn.ReLU(), torch.nn.Linear(width, 3)
        )

    def forward(self, X: Any) -> Any:
        return self.layers(X)


def test_a_net_of_skorch_is_an_estimator(tmp_path: Path) -> None:
    net = skorch.NeuralNetClassifier(
        Layers, criterion=torch.nn.CrossEntropyLoss, max_epochs=3, lr=0.1, train_split=None,
        verbose=0,
    )  # fmt: skip
    data = X.astype(np.float32), Y
    task = SklearnTask(net, data, cv=2, scoring=("neg_log_loss", "accuracy"))
    space = Space({"lr": Real(0.01, 0.5, scale="log"), "module.width": Integer(2, 8)})
    study = Study(space, task, budget=Budget(evaluations=4))
    run = study.run(store=tmp_path / "run.zarr", local=0)
    best = run.best
    assert best is not None
    fitted = run.fit(study)
    assert {e.trial.fold for e in best.evaluations} == {0, 1}
    assert fitted.metrics["neg_log_loss"] == pytest.approx(run.signed(best.observed), abs=1e-12)
    model: Any = fitted.model
    assert model.module_.layers[0].out_features == best.config["module.width"]
    assert list(model.classes_) == [0, 1, 2]
    loaded = joblib.load(fitted.save(tmp_path / "net.joblib"))
    probabilities = loaded.predict_proba(data[0])
    assert np.array_equal(probabilities, model.predict_proba(data[0]))
    assert np.array_equal(probabilities.argmax(axis=1), fitted.predict(data[0]))
    assert run.fit(study, full=True).metrics == {}


def test_estimators_may_be_levels() -> None:
    models = {"svc": SVC(), "tree": DecisionTreeClassifier()}
    space = Space({"clf": Categorical(models), "clf__C": Real(0.1, 10).when(clf="svc")})
    task = SklearnTask(pipeline(), (X, Y), cv=2)
    study = Study(space, task)
    found = study.training(Config({"clf": "tree"}), Trial())  # type: ignore[arg-type]
    assert found["score"] > 0.8
    assert run(task, clf=models["svc"], clf__C=0.1)["score"] > 0.8
    assert models["svc"].get_params()["C"] == 1.0


def own_loss(estimator: Any, X: Any, y: Any) -> float:
    return float(np.mean(estimator.predict(X) != y))


def test_functions_score_too() -> None:
    task = all_folds(SVC(), (X, Y), cv=2, scoring=own_loss, direction="min")
    assert task.objective == "own_loss"
    named = {"loss": own_loss, "hits": make_scorer(accuracy_score)}
    found = run(all_folds(SVC(), (X, Y), cv=2, scoring=named))
    assert found["loss"] == run(task)["own_loss"] == pytest.approx(1 - found["hits"])


made = partial(SklearnTask, SVC(), (X, Y))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: SklearnTask(SVC, (X, Y)), "estimator is the class SVC; give SVC()"),
        (lambda: SklearnTask(3, (X, Y)), "estimator is 3; expected an estimator, or a function"),
        (lambda: made(cv=1), "cv is 1; expected at least 2 folds, or a splitter"),
        (lambda: made(cv="five"), "cv is 'five'; expected a number or a splitter"),
        (lambda: made(scoring="acuracy"), "there is no scoring 'acuracy'; did you mean 'accuracy'"),
        (lambda: made(scoring=()), "scoring is empty"),
        (lambda: made(scoring="accuracy", objective="f1"),
         "objective is 'f1', none of scoring; there are: accuracy"),
        (lambda: made(scoring="neg_log_loss", direction="min"),
         "neg_log_loss is the better the larger it is, but direction is 'min'"),
        (lambda: Study(Space({"clf.CC": Real(0, 1)}), SklearnTask(pipeline(), (X, Y))),
         "'clf.CC' is no parameter of Pipeline; did you mean 'clf__C'?"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_task_is_said_at_once(wrong: Any, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared below
        wrong()
    assert message in str(caught.value)


SORTED = KFold(3)  # of sorted classes: each fold validates one class
TWO = (X[:100], Y[:100])  # the classes 0 and 1, sorted


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (lambda: made(scoring="roc_auc_ovr", cv=3),
         "scoring 'roc_auc_ovr' needs probabilities or a decision function, which SVC has not"),
        (lambda: SklearnTask(SVC(), TWO, cv=KFold(2)),
         "fold 1 of 2 trains on the class 1 alone; use fewer folds"),
        (lambda: SklearnTask(SVC(), TWO, cv=KFold(4), scoring=constant),
         "constant of fold 1 of 4 is nan: its validation samples are all of class 0"),
        (lambda: SklearnTask(SVC(), (X, Y[:9])), "inconsistent numbers of samples: [150, 9]"),
        (lambda: SklearnTask(SVC(), lambda: X[0]), "expected (X, y), (X, y, groups) or a Bunch"),
        (lambda: SklearnTask(SVC(), TWO, cv=60), "n_splits=60 cannot be greater than the number"),
        (lambda: SklearnTask(lambda cfg: 3, TWO), "estimator() returned 3; expected one that can"),
    ],
)  # fmt: skip
def test_what_goes_wrong_in_a_training_is_one_line(task: Any, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared below
        run(task())
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def constant(estimator: Any, X: Any, y: Any) -> float:
    return float("nan")
