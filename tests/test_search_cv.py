"""SpotSearchCV is an estimator as scikit-learn's own searches are."""

from __future__ import annotations

import gc
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sizes import ALL
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from spot_dask import Integer, Real, Run, Space, SpotSearchCV

X, Y = load_iris(return_X_y=True)
X = StandardScaler().fit_transform(X)
C = {"C": Real(0.1, 10, scale="log")}

QUICK = {
    "check_no_attributes_set_in_init", "check_parameters_default_constructible",
    "check_estimator_cloneable", "check_get_params_invariance", "check_set_params",
    "check_dict_unchanged", "check_dont_overwrite_attributes", "check_fit_idempotent",
    "check_n_features_in", "check_estimators_pickle", "check_classifiers_classes",
    "check_estimators_unfitted", "check_fit1d",
}  # fmt: skip
"""What scikit-learn checks that an own search can break; the rest is BaseSearchCV's, and slow."""


EXEMPT = {"check_supervised_y_2d", "check_requires_y_none"}
"""What scikit-learn exempts its own searches from: whether y of two dimensions is converted with a
warning, and how a missing y is named, is up to the estimator inside."""


def search(**settings: Any) -> SpotSearchCV:
    given = {"estimator": LogisticRegression(), "space": C, "n_iter": 2, "cv": 2, **settings}
    return SpotSearchCV(**given)


@pytest.mark.parametrize("estimator", [LogisticRegression(), Ridge()] if ALL else [Ridge()])
def test_scikit_learns_own_checks_pass(estimator: Any) -> None:
    space = C if isinstance(estimator, LogisticRegression) else {"alpha": [0.1, 1.0]}
    given = search(estimator=estimator, space=space, error_score="raise")
    done = set()
    for each, check in estimator_checks_generator(given):
        name = getattr(check, "func", check).__name__
        if (ALL or name in QUICK) and "array_api" not in name and name not in EXEMPT:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # of a cast in a check itself
                check(each)
            done.add(name)
    assert len(done) > 40 if ALL else len(done) >= len(QUICK) - 2


def test_a_search_in_a_pipeline_has_all_that_a_grid_has(tmp_path: Path) -> None:
    model = Pipeline([("scale", StandardScaler()), ("clf", RandomForestClassifier(random_state=1))])
    space = {
        "clf__max_features": Real(0.2, 1.0),
        "clf__criterion": ["gini", "entropy"],
        "clf__n_estimators": Integer(2, 6),
    }
    found = search(
        estimator=model, space=space, n_iter=4, scoring=["accuracy", "neg_log_loss"],
        refit="neg_log_loss", store=tmp_path / "run.zarr", return_train_score=True,
    ).fit(X, Y)  # fmt: skip
    # The same configurations by scikit-learn's own search.
    same = [{n: [v] for n, v in params.items()} for params in found.cv_results_["params"]]
    grid = GridSearchCV(
        model,
        same,
        cv=2,
        scoring=["accuracy", "neg_log_loss"],
        refit="neg_log_loss",
        return_train_score=True,
    ).fit(X, Y)  # fmt: skip
    assert found.cv_results_.keys() == grid.cv_results_.keys()
    for name, values in grid.cv_results_.items():
        if "score" in name and "time" not in name:
            assert np.allclose(found.cv_results_[name], values, rtol=1e-4, atol=1e-4), name
    assert found.best_index_ == grid.best_index_
    assert found.best_params_ == grid.best_params_
    assert found.best_params_.keys() == space.keys()
    assert list(found.classes_) == [0, 1, 2]
    assert found.n_features_in_ == 4
    assert found.predict_proba(X).shape == (150, 3)
    assert found.score(X, Y) == pytest.approx(grid.score(X, Y), rel=1e-3)
    # Of the run: the value is the objective's, and the store is left where it was named.
    best = Run.open(tmp_path / "run.zarr").best
    assert best is not None
    assert found.run_.signed(best.observed) == found.best_score_
    assert best.trial == found.best_index_


def test_the_estimator_as_it_is_comes_first() -> None:
    found = search(estimator=LogisticRegression(C=3.5)).fit(X, Y)
    assert found.cv_results_["params"][0] == {"C": 3.5}
    given = search(space=Space(C=Real(0.1, 10, default=0.7))).fit(X, Y)
    assert given.cv_results_["params"][0] == {"C": 0.7}
    beyond = search(estimator=LogisticRegression(C=1e5)).fit(X, Y)
    assert beyond.cv_results_["params"][0]["C"] == pytest.approx(1.0)


def test_the_seed_fixes_a_search_and_a_pickle_of_it_predicts() -> None:
    first, again = (search(n_iter=3, random_state=7).fit(X, Y) for _ in range(2))
    other = search(n_iter=3, random_state=8).fit(X, Y)
    assert first.cv_results_["params"] == again.cv_results_["params"]
    assert first.cv_results_["params"] != other.cv_results_["params"]
    read = pickle.loads(pickle.dumps(first))
    assert np.array_equal(read.predict(X), first.predict(X))
    assert not hasattr(read, "run_")
    folder = Path(first.run_.path).parent
    assert first.run_.best is not None
    del first
    gc.collect()
    assert not folder.exists()
    assert not hasattr(clone(again), "best_params_")


def test_it_is_a_step_of_a_pipeline_and_takes_groups() -> None:
    groups = np.arange(150) % 6
    found = search(cv=GroupKFold(3)).fit(X, Y, groups=groups)
    assert found.n_splits_ == 3
    assert make_pipeline(StandardScaler(), search()).fit(X, Y).score(X, Y) > 0.9


def test_what_cannot_be_fitted_is_left_out_and_told_by_the_run() -> None:
    class Fragile(Ridge):  # type: ignore[misc]
        def fit(self, X: Any, y: Any) -> Any:
            if self.alpha > 1:
                raise ValueError(f"alpha is {self.alpha}")
            return super().fit(X, y)

    some = search(estimator=Fragile(alpha=0.5), space={"alpha": Real(0.1, 10)}, n_iter=4)
    some.fit(X, Y)
    failed = [e for e in some.run_.history.evaluations if not e.ok]
    assert failed
    assert len(some.cv_results_["params"]) == 4 - len(failed)
    assert some.best_params_["alpha"] <= 1
    none = search(estimator=Fragile(alpha=2.0), space={"alpha": Real(2, 10)})
    with pytest.raises(ValueError, match="All the 2 fits failed"):
        none.fit(X, Y)
    with pytest.raises(ValueError, match=r"alpha is 2\.0"):
        none.set_params(error_score="raise").fit(X, Y)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"space": {"CC": Real(0, 1)}}, "space has 'CC', no parameter of LogisticRegression; did"),
        (
            {"space": {"C": 3}},
            "space has 3 as 'C'; expected a Real, Integer, Categorical or a list",
        ),
        ({"n_iter": 0}, "The 'n_iter' parameter of SpotSearchCV must be an int in the range"),
        ({"scoring": "acuracy"}, "The 'scoring' parameter of SpotSearchCV must be"),
        ({"settings": {"infil": "ucb"}}, "infil"),
    ],
)
def test_what_is_wrong_is_said(settings: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        search(**settings).fit(X, Y)
    assert message in str(caught.value)
