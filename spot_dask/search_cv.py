"""SPOT as scikit-learn's own searches are: an estimator that tunes another one and refits it."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection._search import BaseSearchCV
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval

from spot_dask.errors import did_you_mean, shown
from spot_dask.settings import Budget
from spot_dask.space import Categorical, Parameter, Space
from spot_dask.study import Study
from spot_dask.tasks import Config, Context, Direction


class SpotSearchCV(BaseSearchCV):  # type: ignore[misc]
    """Search the parameters of an estimator with cross-validation, by SPOT, and refit the best.

    It is used as ``GridSearchCV`` and ``RandomizedSearchCV`` are: ``fit(X, y, groups=...)``,
    ``predict``, ``best_estimator_``, ``best_params_``, ``best_score_``, ``cv_results_``, clones,
    pickles and Pipelines are scikit-learn's own. Each of ``n_iter`` configurations is trained on
    the same folds, those of ``cv`` as scikit-learn understands it, ``n_jobs`` folds at a time, in
    this process: no cluster is involved.

    ``space`` is a Space, or a mapping from names of parameters (``clf__C``) to ``Real``,
    ``Integer``, ``Categorical``, or a list of levels. The estimator as it is given comes first,
    where its parameters are within the ranges of such a mapping. ``settings`` holds settings of
    ``Study``, such as ``{"infill": "ucb"}``. With several scorers the search looks at the one that
    ``refit`` names, else at the first.

    ``run_`` is the run, for its report: in ``store``, a path where there is none yet, or in a
    temporary directory that is removed with the search. A pickle has no ``run_``. A search that is
    killed begins anew; a study of ``SklearnTask`` can be resumed.

    A configuration that cannot be fitted on any fold is not in ``cv_results_``; the run tells why.
    Where none can, or with ``error_score="raise"`` at the first failure, its error is raised.

    >>> from sklearn.datasets import load_iris
    >>> from sklearn.svm import SVC
    >>> from spot_dask import Real, SpotSearchCV
    >>> search = SpotSearchCV(SVC(), {"C": Real(0.01, 100.0, scale="log")}, n_iter=4, cv=3)
    >>> search = search.fit(*load_iris(return_X_y=True))
    >>> len(search.cv_results_["params"]), bool(search.best_score_ > 0.9)
    (4, True)
    """

    _parameter_constraints: dict[str, Any] = {  # noqa: RUF012 - as scikit-learn has it
        **BaseSearchCV._parameter_constraints,
        "space": [Space, Mapping],
        "n_iter": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
        "store": [str, Path, None],
        "settings": [Mapping, None],
    }

    def __init__(
        self,
        estimator: Any,
        space: Any,
        *,
        n_iter: int = 40,
        scoring: Any = None,
        n_jobs: int | None = None,
        refit: Any = True,
        cv: Any = None,
        verbose: int = 0,
        pre_dispatch: Any = "2*n_jobs",
        random_state: Any = 0,
        error_score: Any = np.nan,
        return_train_score: bool = False,
        store: str | Path | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            estimator,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            pre_dispatch=pre_dispatch,
            error_score=error_score,
            return_train_score=return_train_score,
        )
        self.space = space
        self.n_iter = n_iter
        self.random_state = random_state
        self.store = store
        self.settings = settings

    def __getstate__(self) -> dict[str, Any]:
        """The state without the run, which is in its store."""
        return {n: v for n, v in super().__getstate__().items() if n != "run_"}

    def _run_search(self, evaluate_candidates: Callable[..., Any]) -> None:
        """Called by ``fit`` with the function that trains configurations on all folds."""
        looked_at = self.refit if isinstance(self.refit, str) else None
        candidates = Candidates(evaluate_candidates, self.error_score == "raise", looked_at)
        seed = int(check_random_state(self.random_state).randint(2**31))
        # Folds are the same for all, so that training a configuration again tells nothing new.
        fixed = {"repeats": 0, "confirm": 0.0, "seed": seed, "name": "search"}
        study = Study(
            self._space(),
            candidates,
            budget=Budget(evaluations=self.n_iter),
            **{**fixed, "durability": "process", **(self.settings or {})},
        )
        folder = None if self.store else tempfile.mkdtemp(prefix="spot-dask-search-")
        try:
            self.run_ = study.run(
                store=self.store or Path(str(folder), "run.zarr"), local=0, progress="none"
            )
            if folder is not None:
                weakref.finalize(self.run_, shutil.rmtree, folder, ignore_errors=True)
        except BaseException:
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        if candidates.errors and (candidates.raises or not candidates.succeeded):
            raise candidates.errors[0]

    def _space(self) -> Space:
        """The space, with what the estimator has as defaults where none are given."""
        known = self.estimator.get_params(deep=True)
        if isinstance(self.space, Space):
            space, names = self.space, self.space.names
        else:
            parameters = {n: _parameter(n, p, known.get(n)) for n, p in self.space.items()}
            space, names = Space(parameters), tuple(parameters)
        for name in names:
            key = name.replace(".", "__")
            if key.split("__")[0] not in known:
                near = did_you_mean(key, known) or f"; there are {', '.join(known)}"
                kind = type(self.estimator).__name__
                raise ValueError(f"space has {name!r}, no parameter of {kind}{near}")
        return space


@dataclass
class Candidates:
    """The configurations of a search, as a task whose trainings scikit-learn sees to."""

    evaluate: Callable[..., Any]
    raises: bool
    metric: str | None
    objective: str = "score"
    direction: Direction = "max"
    errors: list[Exception] = field(default_factory=list)
    succeeded: bool = False

    def __call__(self, config: Config, trial: Context) -> Mapping[str, float]:
        """Mean scores over the folds, with ``score`` that of the search, and those of each fold.

        Raises what ``evaluate`` does, at once if it has raised before and that ends the search.
        """
        if self.errors and self.raises:
            raise self.errors[0]
        try:
            results = self.evaluate([{n.replace(".", "__"): v for n, v in config.items()}])
        except Exception as error:
            self.errors.append(error)
            raise
        self.succeeded = True
        metrics = {
            name: float(values[-1])
            for name, values in results.items()
            if "_test_" in name and name.startswith(("mean_", "split"))
        }
        first = next(name for name in metrics if name.startswith("mean_"))
        return {"score": metrics[f"mean_test_{self.metric}" if self.metric else first], **metrics}

    def shortened(self) -> Candidates:
        """The task itself."""
        return self


def _parameter(name: str, given: Any, value: Any) -> Parameter:
    """A parameter of a mapping, whose default is the estimator's value if that is in its range.

    Raises ValueError for what is neither a parameter nor a list of levels.
    """
    parameter = Categorical(list(given)) if isinstance(given, list | tuple) else given
    if not isinstance(parameter, Parameter):
        raise ValueError(
            f"space has {shown(given)} as {name!r}; expected a Real, Integer, Categorical or a list"
        )
    if not parameter.centred:
        return parameter
    try:
        return replace(parameter, default=value, centred=False)  # type: ignore[type-var]
    except (ValueError, TypeError):
        return parameter
