"""Any regressor of scikit-learn as a surrogate, and finding surrogates by name."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF
from sklearn.linear_model import BayesianRidge, LinearRegression
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeRegressor

from spot_dask import plugins, surrogates
from spot_dask.surrogates import completed
from spot_dask.surrogates.kriging import Kriging
from spot_dask.surrogates.sklearn import SklearnSurrogate

REGRESSORS = [
    RandomForestRegressor(n_estimators=20),
    ExtraTreesRegressor(n_estimators=20),
    LinearRegression(),
    BayesianRidge(),
    GaussianProcessRegressor(RBF(0.5), alpha=1e-6, optimizer=None),
    make_pipeline(StandardScaler(), DecisionTreeRegressor()),
    KNeighborsRegressor(2),
]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


@pytest.fixture(params=REGRESSORS, ids=lambda r: type(r).__name__)
def regressor(request):
    return request.param


def fit(regressor, rng, n=20):
    X = rng.random((n, 2))
    y = 5 + (X[:, 0] - 0.3) ** 2 + X[:, 1]
    return completed.fit(SklearnSurrogate(regressor), X, y, np.arange(2), rng), X, y


def test_every_regressor_gives_a_positive_finite_uncertainty(regressor, rng):
    posterior, X, _ = fit(regressor, rng)
    Q = np.vstack((X, rng.random((30, 2))))
    mean, sd = posterior.predict(Q)
    assert mean.shape == sd.shape == (50,)
    assert np.isfinite(mean).all()
    assert (sd > 0).all()
    joint, cov = posterior.joint(Q)
    assert_allclose(joint, mean)
    assert_allclose(np.diag(cov), sd**2, rtol=1e-9)
    assert np.linalg.eigvalsh(cov).min() > -1e-9 * cov.max()


def test_the_mean_is_that_of_the_regressor(rng):
    posterior, X, y = fit(LinearRegression(), rng)
    Q = rng.random((10, 2))
    assert_allclose(posterior.predict(Q)[0], LinearRegression().fit(X, y).predict(Q), rtol=1e-12)


def test_the_mean_of_a_forest_is_that_of_the_forest_and_its_spread_that_of_its_trees(rng):
    X, y = rng.random((30, 2)), rng.random(30)
    surrogate = SklearnSurrogate(RandomForestRegressor(n_estimators=20))
    posterior = surrogate.fit(X, y, rng=np.random.default_rng(1))
    seed = int(np.random.default_rng(1).integers(2**31))
    state = int(np.random.default_rng(seed).integers(2**31))
    forest = RandomForestRegressor(n_estimators=20, random_state=state).fit(X, y)
    mean, sd = posterior.predict(X)
    assert_allclose(mean, forest.predict(X), rtol=1e-9)
    spread = np.std([tree.predict(X) for tree in forest.estimators_], axis=0, ddof=1)
    assert_allclose(sd, spread, rtol=1e-4)


def test_a_stated_standard_deviation_is_used(rng):
    posterior, X, y = fit(BayesianRidge(), rng)
    Q = rng.random((10, 2))
    _, stated = BayesianRidge().fit(X, y).predict(Q, return_std=True)
    assert (posterior.predict(Q)[1] >= stated).all()
    assert_allclose(posterior.predict(X)[1], BayesianRidge().fit(X, y).predict(X, True)[1])


@pytest.mark.parametrize("constant", [False, True])
def test_uncertainty_grows_away_from_the_evaluations_so_no_criterion_is_flat(regressor, constant):
    rng = np.random.default_rng(0)
    X = rng.random((20, 2)) * 0.2
    y = np.full(20, 4.0) if constant else X[:, 0]
    posterior = SklearnSurrogate(regressor).fit(X, y, rng=rng)
    diagonal = np.linspace(0.3, 1, 30)[:, None] * np.ones(2)
    floor = np.sqrt(np.diag(posterior.joint(diagonal)[1])) if constant else None
    _, sd = posterior.predict(diagonal)
    assert len(np.unique(sd)) == 30
    if floor is not None:
        assert (np.diff(sd) > 0).all()


def test_conditioning_is_fitting_with_the_rows_added(regressor):
    posterior, X, y = fit(regressor, np.random.default_rng(3))
    Q = np.random.default_rng(4).random((5, 2))
    before = posterior.predict(Q)
    conditioned = posterior.condition(Q[:2], np.array([0.0, 0.5]))
    again = np.random.default_rng(3)
    again.random((20, 2))
    same = SklearnSurrogate(regressor).fit(
        np.vstack((X, Q[:2])), np.append(y, [0.0, 0.5]), rng=again
    )
    assert_allclose(conditioned.predict(Q), same.predict(Q))
    assert_allclose(posterior.predict(Q), before)
    assert (conditioned.predict(Q[:2])[0] < before[0][:2]).all()


def test_gradients_are_differences(rng):
    posterior, _, _ = fit(LinearRegression(), rng)
    Q = 0.2 + 0.6 * rng.random((4, 2))
    mean, sd = posterior.gradient(Q)
    assert mean.shape == sd.shape == (4, 2)
    assert_allclose(mean, np.broadcast_to(mean[0], (4, 2)), rtol=1e-6)
    assert mean[0, 1] == pytest.approx(1.0, abs=0.2)


def test_random_states_come_from_the_generator(rng):
    X, y, Q = rng.random((20, 2)), rng.random(20), rng.random((10, 2))
    surrogate = SklearnSurrogate(make_pipeline(StandardScaler(), RandomForestRegressor(5)))
    one, same, other = (
        surrogate.fit(X, y, rng=np.random.default_rng(s)).predict(Q) for s in (0, 0, 1)
    )
    assert_allclose(one, same, rtol=0)
    assert not np.allclose(one, other)
    assert surrogate.regressor.get_params()["randomforestregressor__random_state"] is None


def test_what_is_no_regressor_is_refused():
    with pytest.raises(ValueError, match="not a scikit-learn regressor"):
        SklearnSurrogate(SVC())
    with pytest.raises(ValueError, match="expected >= 2"):
        SklearnSurrogate(LinearRegression(), ensemble=1)


def test_surrogates_are_found_by_name():
    assert plugins.names("spot_dask.surrogates", "fit") == ["kriging"]
    assert surrogates.find("kriging") == Kriging()
    forest = surrogates.find("sklearn:ensemble.RandomForestRegressor")
    assert isinstance(forest, SklearnSurrogate)
    assert isinstance(forest.regressor, RandomForestRegressor)
    assert surrogates.find("spot_dask.surrogates.kriging:Kriging") == Kriging()
    mine = Kriging(deterministic=True)
    assert surrogates.find(mine) is mine


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "krigin",
            r"no surrogate named 'krigin'; there are: kriging, mean.*, sklearn:<module>\.<Class>$",
        ),
        ("sklearn:ensemble.RandomForrest", "cannot be made .*expected a regressor such as"),
        ("sklearn:svm.SVC", "is not a scikit-learn regressor"),
        ("sklearn:SVR", "expected a regressor such as"),
        ("no_such_package.module:Name", "cannot be loaded .*No module named 'no_such_package'"),
        ("collections:OrderedDict", "has no method 'fit'"),
    ],
)
def test_unknown_surrogates_are_refused_in_one_line(name, message):
    with pytest.raises(ValueError, match=message) as caught:
        surrogates.find(name)
    assert "\n" not in str(caught.value)


def test_kriging_does_not_wait_for_scikit_learn():
    code = "from spot_dask import surrogates; surrogates.find('kriging'); import sys; "
    code += "sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
