"""Several surrogates in one: weighted by what they predict, and named in a store."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import LinearRegression

from spot_dask import plugins, surrogates
from spot_dask.records import History, Origin
from spot_dask.space import Real, Space
from spot_dask.surrogates import completed
from spot_dask.surrogates.kriging import Kriging
from spot_dask.surrogates.mean import Mixture, MixturePosterior, weights
from spot_dask.surrogates.posterior import KrigingPosterior
from spot_dask.surrogates.sklearn import SklearnSurrogate
from spot_dask.tuner import Tuner

LINEAR = "sklearn:linear_model.LinearRegression"
BOTH = f"mean(kriging, {LINEAR})"


def fit(y, n=25, surrogate=BOTH):
    rng = np.random.default_rng(0)
    X = rng.random((n, 2))
    found = surrogates.find(surrogate)
    return completed.fit(found, X, y(X) + rng.normal(0, 0.05, n), np.arange(2), rng), X


@pytest.fixture(scope="module")
def posterior():
    rng = np.random.default_rng(0)
    X = rng.random((25, 2))
    y = 3 * X[:, 0] + np.maximum(X[:, 1] - 0.8, 0.0) + rng.normal(0, 0.05, 25)
    parts = (completed.fit(p, X, y, np.arange(2), rng) for p in surrogates.find(BOTH).parts)
    return MixturePosterior(tuple(parts), np.array([0.4, 0.6]))


def test_who_predicts_better_has_more_weight():
    y = np.array([0.0, 1.0, 2.0, 1.0])
    good, bad = (y + 0.1, np.full(4, 0.2)), (np.ones(4), np.ones(4))
    w = weights(y, [good, bad])
    assert w.sum() == pytest.approx(1.0)
    assert w[0] > 0.9
    assert_allclose(weights(y, [good, good]), [0.5, 0.5])
    assert_allclose(weights(y, [None, bad]), [0.0, 1.0])
    assert_allclose(weights(y, [None, None]), [0.5, 0.5])
    far = (y + 1e6, np.full(4, 1e-6))
    assert_allclose(weights(y, [far, bad]), [0.0, 1.0])


def test_weights_maximise_the_density_of_what_was_left_out():
    rng = np.random.default_rng(1)
    y = rng.normal(size=30)
    pairs = [(np.zeros(30), np.full(30, s)) for s in (0.5, 1.5)]
    w = weights(y, pairs)

    def density(share):
        densities = [np.exp(-0.5 * (y / s[0]) ** 2) / s[0] for _, s in pairs]
        return float(np.log(share * densities[0] + (1 - share) * densities[1]).sum())

    assert density(w[0]) >= max(map(density, np.linspace(0, 1, 201))) - 1e-3


def test_the_moments_are_those_of_the_mixture(posterior):
    Q = np.random.default_rng(3).random((6, 2))
    w, found = posterior.weights, [p.predict(Q) for p in posterior.posteriors]
    mean, sd = posterior.predict(Q)
    assert_allclose(mean, sum(v * m for v, (m, _) in zip(w, found, strict=True)))
    second = sum(v * (s**2 + m**2) for v, (m, s) in zip(w, found, strict=True))
    assert_allclose(sd**2, second - mean**2)
    joint, covariance = posterior.joint(Q)
    assert_allclose(joint, mean)
    assert_allclose(np.diag(covariance), sd**2, rtol=1e-6)
    assert np.linalg.eigvalsh(covariance).min() > -1e-9


def test_gradients_are_those_of_the_mixture(posterior):
    Q, h = 0.1 + 0.8 * np.random.default_rng(4).random((5, 2)), 1e-3
    by_mean, by_sd = posterior.gradient(Q)
    for j, step in enumerate(h * np.eye(2)):
        (up, sd_up), (down, sd_down) = posterior.predict(Q + step), posterior.predict(Q - step)
        assert_allclose(by_mean[:, j], (up - down) / (2 * h), rtol=0.02, atol=0.02)
        assert_allclose(by_sd[:, j], (sd_up - sd_down) / (2 * h), rtol=0.05, atol=0.02)


def test_conditioning_conditions_each(posterior):
    Q = np.array([[0.5, 0.5]])
    conditioned = posterior.condition(Q, np.array([-3.0]))
    assert conditioned.predict(Q)[0][0] < posterior.predict(Q)[0][0]
    assert_allclose(conditioned.weights, posterior.weights)
    mean, sd = posterior.leave_one_out()
    assert mean.shape == sd.shape == (25,)


def test_one_that_predicts_everything_stands_alone():
    wavy, _ = fit(lambda X: np.sin(9 * X[:, 0]) * np.cos(9 * X[:, 1]), n=60)
    assert isinstance(wavy, KrigingPosterior)


def test_a_mean_is_named_and_made_again():
    made = surrogates.find("mean(kriging(starts=4), mean(kriging, kriging(correlation='gauss')))")
    assert made == Mixture((Kriging(starts=4), Mixture((Kriging(), Kriging("gauss")))))
    assert surrogates.find(plugins.name_of(made)) == made
    both = surrogates.find(BOTH)
    assert isinstance(both.parts[1], SklearnSurrogate)
    assert isinstance(both.parts[1].regressor, LinearRegression)
    with pytest.raises(ValueError, match="it needs parts"):
        surrogates.find("mean")
    with pytest.raises(ValueError, match="expected two or more"):
        surrogates.find("mean(kriging)")


def test_a_mean_proposes():
    space = Space(x=Real(0.0, 1.0, default=0.5), z=Real(0.0, 1.0, default=0.5))
    tuner, history = Tuner(space, surrogate=BOTH), History()
    for q in (8, 2):
        for trial in tuner.ask(history, q):
            y = trial.config["x"] + np.sin(7 * trial.config["z"])
            history = history.ask([trial]).tell(trial.result(y))
    assert {t.origin for t in tuner.ask(history, 2)} == {Origin.INFILL}
