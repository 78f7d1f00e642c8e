"""A surrogate of one's own needs ``fit`` and a posterior with ``predict``; the rest is made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from spot_dask import FunctionTask, Study, plugins
from spot_dask.records import Evaluation, History, Origin, Outcome, Status
from spot_dask.space import Categorical, Real, Space
from spot_dask.surrogates import completed
from spot_dask.surrogates.kriging import Kriging
from spot_dask.surrogates.posterior import KrigingPosterior
from spot_dask.tuner import Tuner

SPACE = Space(
    x=Real(0.0, 1.0, default=0.5),
    z=Real(0.0, 1.0, default=0.5),
    opt=Categorical(["a", "b", "c"], default="a"),
)


class Nearest:
    """The mean of the nearest three values, uncertain as far as these are away; fits itself."""

    def fit(self, X, y):
        self.X, self.y = X, y
        return self

    def predict(self, X):
        gaps = np.linalg.norm(X[:, None] - self.X, axis=2)
        near = np.argsort(gaps, axis=1)[:, :3]
        return self.y[near].mean(axis=1), self.y.std() * np.sort(gaps, axis=1)[:, 0]


@dataclass(frozen=True)
class Drawn:
    """Asks for the random numbers, and returns another object."""

    size: float = 1.0

    def fit(self, X, y, rng):
        level = y.mean() + 1e-3 * rng.standard_normal()
        return SimpleNamespace(
            predict=lambda Q: (level + 0.1 * Q.sum(axis=1), np.full(len(Q), self.size))
        )


def data(n=15):
    rng = np.random.default_rng(0)
    X = rng.random((n, 2))
    return X, (X[:, 0] - 0.3) ** 2 + X[:, 1]


def fit(surrogate, X, y):
    return completed.fit(surrogate, X, y, np.arange(2), np.random.default_rng(1))


def test_kriging_is_complete():
    assert isinstance(fit(Kriging(), *data()), KrigingPosterior)


def test_what_a_posterior_lacks_is_made():
    X, y = data()
    posterior = fit(Nearest(), X, y)
    Q = np.random.default_rng(2).random((4, 2))
    mean, sd = posterior.predict(Q)
    same, covariance = posterior.joint(Q)
    assert_allclose(same, mean)
    assert_allclose(covariance, np.diag(sd**2))
    by_mean, by_sd = posterior.gradient(Q)
    step = 1e-4 * np.array([1.0, 0.0])
    (up, sd_up), (down, sd_down) = posterior.predict(Q + step), posterior.predict(Q - step)
    assert_allclose(by_mean[:, 0], (up - down) / 2e-4)
    assert_allclose(by_sd[:, 0], (sd_up - sd_down) / 2e-4)
    assert posterior.locate(Q) is None
    assert posterior.columns is None
    assert posterior.predict(Q[:0])[0].shape == (0,)


def test_conditioning_is_another_fit_and_leaves_the_posterior_as_it_was():
    X, y = data()
    Q = X[:3] + 1e-3
    for surrogate in (Nearest(), Drawn()):
        posterior = fit(surrogate, X, y)
        before = posterior.predict(Q)
        conditioned = posterior.condition(Q, np.full(3, -9.0))
        again = fit(surrogate, np.vstack((X, Q)), np.append(y, np.full(3, -9.0)))
        assert_allclose(conditioned.predict(Q), again.predict(Q), rtol=0)
        assert conditioned.predict(Q)[0].mean() < before[0].mean()
        assert_allclose(posterior.predict(Q), before, rtol=0)


def test_values_are_left_out_in_turn():
    X, y = data(6)
    mean, sd = fit(Nearest(), X, y).leave_one_out()
    for i in range(6):
        rest = np.arange(6) != i
        one = fit(Nearest(), X[rest], y[rest]).predict(X[i : i + 1])
        assert (mean[i], sd[i]) == (one[0][0], one[1][0])
    assert fit(Nearest(), *data(40)).leave_one_out()[0].shape == (40,)


def test_without_an_uncertainty_there_is_a_little():
    X, y = data()
    assert (fit(Nearest(), X, y).predict(X)[1] > 0).all()


@pytest.mark.parametrize("infill", plugins.names("spot_dask.infill", "propose"))
@pytest.mark.parametrize("surrogate", [Nearest(), f"{__name__}:Drawn(size=0.5)"])
def test_it_serves_the_whole_tuner(infill, surrogate, caplog):
    tuner, history = Tuner(SPACE, surrogate=surrogate, infill=infill), History()
    for q in (8, 3, 2):
        trials = tuner.ask(history, q)
        assert len(trials) == q
        for t in trials:
            history = history.ask([t])
            if t.number == 9:
                ended = Outcome(Status.STOPPED)
            elif t.number == 3:
                ended = Outcome(Status.FAILED)
            elif t.number == 10:
                continue
            else:
                ended = Outcome(Status.OK, (t.config["x"] - 0.3) ** 2 + t.config["z"])
            history = history.tell(Evaluation(t, ended))
    assert {t.origin for t in trials} == {Origin.INFILL}
    assert tuner.ask(history, 2) == tuner.ask(history, 2)
    best = tuner.recommend(history, tuner.model(history))
    assert best is not None
    assert not caplog.records


class Unfinished:
    """Predicts the mean alone."""

    def fit(self, X, y):
        return SimpleNamespace(predict=lambda Q: np.full(len(Q), y.mean()))


def test_a_study_tries_its_surrogate_when_it_is_made():
    mine = Nearest()
    study = Study(SPACE, FunctionTask(lambda config: config["x"]), surrogate=mine)
    assert replace(study, seed=1).surrogate is mine
    assert study.settings["surrogate"] == f"{__name__}:Nearest"
    assert vars(mine) == {}
    with pytest.raises(ValueError, match="predict returns a ndarray; expected two arrays"):
        replace(study, surrogate=f"{__name__}:Unfinished")


def posterior_of(**members):
    class Mine:
        def fit(self, X, y):
            full = {"predict": lambda Q: (np.zeros(len(Q)), np.ones(len(Q)))} | members
            return SimpleNamespace(**{k: v for k, v in full.items() if v is not None})

    return Mine()


def returning(value):
    return lambda *arguments: value


@pytest.mark.parametrize(
    ("mine", "message"),
    [
        (object(), "'object' has no method fit"),
        (SimpleNamespace(fit=lambda X: X), "fit of 8 points raises TypeError"),
        (SimpleNamespace(fit=lambda X, y, depth: X), "missing 1 required.*'depth'"),
        (SimpleNamespace(fit=lambda X, y: 1 / 0), "raises ZeroDivisionError"),
        (SimpleNamespace(fit=lambda X, y: None), r"fit returns None; expected a posterior with"),
        (posterior_of(predict=None), r"expected a posterior with predict\(X\)"),
        (posterior_of(predict=returning(np.zeros(3))), "predict returns a ndarray; expected two"),
        (posterior_of(predict=returning((np.zeros((3, 1)), np.ones(3)))), r"shapes \(3, 1\) and"),
        (posterior_of(predict=returning((np.zeros(3), np.full(3, np.nan)))), "are not finite"),
        (posterior_of(predict=returning((np.zeros(3), -np.ones(3)))), "negative standard dev"),
        (posterior_of(predict=lambda: 0), "predict raises TypeError"),
        (
            posterior_of(joint=returning((np.zeros(3), np.ones(3)))),
            r"joint returns shapes .*\(3,\)",
        ),
        (posterior_of(gradient=returning(None)), "gradient returns a NoneType"),
        (posterior_of(locate=returning(SimpleNamespace(mean=0))), "lacks variance, covariance"),
        (posterior_of(condition=returning(None)), r"condition\(X, y\), predict raises"),
        (posterior_of(columns=np.ones(3)), r"columns are of shape \(3,\)"),
        (posterior_of(leave_one_out=returning((np.zeros(3), np.ones(3)))), "leave_one_out"),
    ],
)
def test_what_is_missing_or_wrong_is_named(mine, message):
    with pytest.raises(ValueError, match=message) as caught:
        completed.check(mine)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "kriging",
        "sklearn:neighbors.KNeighborsRegressor",
        "mean(kriging, sklearn:tree.DecisionTreeRegressor)",
        f"{__name__}:Nearest",
    ],
)
def test_what_serves_passes(name):
    completed.check(name)
    completed.check(name)
