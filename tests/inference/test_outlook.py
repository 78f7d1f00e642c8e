"""What more evaluations can bring: the integral against closed forms, the bound, the noise."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from spot_dask.inference import Evidence, infer
from spot_dask.inference.outlook import (
    NEAR,
    NEIGHBOURS,
    SPREAD,
    candidates,
    expected_improvement,
    noise_at,
    outlook,
)
from spot_dask.space import Categorical, Real, Space
from spot_dask.stats import advice

LINE = Space(x=Real(0.0, 1.0, default=0.5))
MIXED = Space(x=Real(0.0, 1.0, default=0.5), k=Categorical(["a", "b"], default="a"))


def fitted(f, n=12, sign=1.0, forced="identity", noise=0.0, repeats=1, space=LINE, blocks=None):
    rng = np.random.default_rng(2)
    x = np.repeat((np.arange(n) + 0.5) / n, repeats)
    X = space.snap(np.column_stack([x, *(rng.random(len(x)) for _ in range(space.d - 1))]))
    v = sign * (f(X[:, 0]) + noise * rng.standard_normal(len(x)))
    numbers = np.arange(len(x))
    blocks = numbers if blocks is None else blocks
    seen = Evidence(space, X, v, blocks, numbers, np.ones(len(x), dtype=bool))
    return infer(seen, sign, forced)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_without_a_transformation_it_is_the_closed_form(sign):
    model = fitted(lambda x: 3 * (x - 0.4) ** 2 - 0.5, sign=sign)
    mean = np.array([-3.0, -1.0, 0.0, 0.5, 2.0, 0.0, -1.0])
    sd = np.array([0.1, 0.5, 1.0, 0.01, 4.0, 0.0, 0.0])
    expected = model.scale * advice.expected_improvement(mean, sd, -0.5)
    found = expected_improvement(model, mean, sd, -0.5)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-15)


def test_under_the_log_it_is_that_of_a_log_normal():
    model = fitted(lambda x: np.exp(2 * x), forced="log")
    mean, sd, best = np.array([-0.2, 0.4]), np.array([0.7, 1.5]), 0.1
    a, b = model.offset + model.scale * mean, model.scale * sd
    k = np.exp(model.offset + model.scale * best)
    # A put on a log-normal value [Black & Scholes 1973, without interest].
    from scipy.special import ndtr

    d = (np.log(k) - a) / b
    expected = k * ndtr(d) - np.exp(a + b**2 / 2) * ndtr(d - b)
    np.testing.assert_allclose(expected_improvement(model, mean, sd, best), expected, rtol=1e-8)


def test_contrasts_are_those_of_the_joint_posterior():
    model = fitted(lambda x: np.sin(5 * x), noise=0.1, space=MIXED)
    rows = candidates(model)[:50]
    mean, sd = model.process.mode.contrast(*map(model.space.features, (rows[1:], rows[:1])))
    joint, covariance = model.process.mode.joint(model.space.features(rows))
    spread = np.diagonal(covariance)[1:] + covariance[0, 0] - 2 * covariance[0, 1:]
    np.testing.assert_allclose(mean, joint[1:] - joint[0], atol=1e-9)
    np.testing.assert_allclose(sd, spread, rtol=1e-6, atol=1e-9)


def test_the_bound_of_the_regret_is_the_largest_of_differences_to_the_best():
    model = fitted(lambda x: (x - 0.4) ** 2 - 0.05)
    X = model.evidence.X
    b = int(np.argmin(model.mean(X)))
    mean, sd = model.process.contrast(*map(model.space.features, (candidates(model), X[[b]])))
    bound = np.max(advice.confidence_factor(1, 12) * sd - mean)
    assert outlook(model).bound == pytest.approx(model.scale * bound)


def test_what_is_uncertain_of_all_values_alike_is_no_gain():
    one, own = (
        outlook(fitted(lambda x: np.sin(12 * x), n=40, blocks=blocks))
        for blocks in (np.zeros(40, dtype=int), None)
    )
    assert one.improvement < 5e-3
    assert own.improvement < 5e-3
    assert one.bound < 0.02


def test_units_are_those_of_the_user():
    small = outlook(fitted(lambda x: np.sin(5 * x), noise=0.1))
    large = outlook(fitted(lambda x: 1000 * np.sin(5 * x), noise=100.0))
    assert large.improvement == pytest.approx(1000 * small.improvement, rel=1e-6)
    assert large.bound == pytest.approx(1000 * small.bound, rel=1e-6)
    assert large.noise == pytest.approx(1000 * small.noise, rel=1e-6)


def test_the_noise_is_that_of_a_single_training():
    model = fitted(lambda x: np.sin(5 * x), n=15, noise=0.2, repeats=3)
    assert noise_at(model, 0.0) == pytest.approx(0.2, rel=0.35)


def test_what_is_known_leaves_nothing_to_gain():
    few = outlook(fitted(lambda x: np.sin(12 * x), n=6))
    many = outlook(fitted(lambda x: np.sin(12 * x), n=40))
    assert many.improvement < 0.05 * few.improvement
    assert many.bound < few.bound


def test_the_last_of_the_recent_ones_knows_everything():
    model = fitted(lambda x: np.sin(12 * x), n=16)
    one = dataclasses.replace(
        model, process=dataclasses.replace(model.process, sets=model.process.sets[:1])
    )
    found = outlook(one)
    assert found.counts == tuple(range(7, 17))
    # One set of hyperparameters, but for the factor of Student's t in the sd.
    assert found.recent[-1] == pytest.approx(found.improvement, rel=0.3, abs=1e-4)


def test_candidates_are_configurations_and_always_the_same():
    model = fitted(lambda x: x, space=MIXED)
    rows = candidates(model)
    assert rows.shape == (SPREAD + NEIGHBOURS * NEAR, 2)
    np.testing.assert_array_equal(MIXED.snap(rows), rows)
    np.testing.assert_array_equal(candidates(model), rows)


@pytest.mark.parametrize("n", [4, 5])
def test_few_or_equal_values_have_an_outlook(n):
    for f in (lambda x: x, lambda x: 0.25 + 0 * x):
        found = outlook(fitted(f, n=n))
        assert np.isfinite([found.improvement, found.bound, found.noise, *found.recent]).all()
        assert found.counts[-1] == n
