"""Time, trade-offs, failures and test values as sections tell them, against what was put in."""

from __future__ import annotations

import math

import numpy as np
import pytest
from report_studies import Builder, fill

from spot_dask.records import Origin
from spot_dask.report.context import Missing
from spot_dask.report.sections.cost import CostSection
from spot_dask.report.sections.curves import CurvesSection
from spot_dask.report.sections.failure_rates import FailureRatesSection
from spot_dask.report.sections.generalisation import GeneralisationSection, name_of_test
from spot_dask.report.sections.tradeoff import TradeoffSection
from spot_dask.space import Categorical, Real, Space

LINE = Space(x=Real(0.0, 1.0, default=0.9))
PAIR = Space(x=Real(0.0, 1.0, default=0.9), opt=Categorical(["a", "b"], default="a"))


def random_study(n, f, space=PAIR, direction="min", seed=0, **more):
    """n random evaluations; ``f(config)`` are the value and what else is told."""
    rng, builder = np.random.default_rng(seed), Builder(space=space, direction=direction)
    for number in range(n):
        (config,) = space.decode(rng.random((1, space.d)))
        y, told = f(space.default if number == 0 else config)
        builder.tell(space.default if number == 0 else config, y, **told, **more)
    return builder


def found(builder, section):
    return builder.context(model=None)[section]


def words(builder, section):
    context = builder.context(model=None)
    return [getattr(b, "text", "") for b in section().render(context[section], context)]


# ---------------------------------------------------------------- cost


def test_the_time_of_the_slots_adds_up():
    f = found(fill(Builder(space=LINE), 20, lambda c: c["x"]), CostSection)
    s = f.slots
    assert s.slots >= 3  # trainings begin every seconds / 2.8
    assert s.training + s.begin + s.between + s.end == pytest.approx(1)
    assert sum(t.finish - t.begin for t in f.spans) == pytest.approx(f.training)
    assert min(t.begin for t in f.spans) >= 0
    assert len(f.spans) == 20


# ---------------------------------------------------------------- value against time


def slow(config):
    """Half of the space takes ten times as long and is no better."""
    seconds = (2.0 if config["opt"] == "a" else 20.0) * 4 ** config["x"]
    return 1 + (config["x"] - 0.3) ** 2, {"seconds": seconds}


def test_what_costs_time_is_found_with_its_factor():
    f = found(random_study(30, slow), TradeoffSection)
    factors = {t.label: t for t in f.factors}
    assert factors["opt = b"].factor == pytest.approx(10, rel=1e-3)
    assert factors["x"].factor == pytest.approx(4, rel=1e-2)
    assert f.explained > 0.999
    assert max(t.p for t in f.factors) < 1e-6


def test_a_level_that_was_never_tried_does_not_hide_the_others():
    space = Space(x=Real(0.0, 1.0, default=0.9), opt=Categorical(["none", "a", "b"], default="a"))
    builder, rng = Builder(space=space), np.random.default_rng(1)
    for i in range(30):
        config = {"x": float(rng.random()), "opt": "ab"[i % 2]}
        y, told = slow(config)
        builder.tell(config, y, **told)
    factors = {t.label: t for t in found(builder, TradeoffSection).factors}
    assert factors["opt = b"].factor == pytest.approx(10, rel=1e-3)


def test_a_cheaper_configuration_that_is_as_good_is_named():
    builder = random_study(30, slow)
    builder.tell({"x": 0.3, "opt": "b"}, 0.999, seconds=40.0)
    context = builder.context(model=None)
    f = context[TradeoffSection]
    assert f.recommended.seconds == 40.0
    assert f.cheapest.seconds < 10
    assert f.cheapest.as_good >= 0.9
    front = [c for c in f.configurations if c.number in f.front]
    for c in front:
        assert not any(o.seconds < c.seconds and o.value < c.value for o in f.configurations)
    assert f"trial {f.cheapest.number}" in words(builder, TradeoffSection)[0]


def test_the_tolerance_is_the_effect_that_matters():
    builder = random_study(30, slow)
    builder.settings = {"mde": 10.0}
    f = found(builder, TradeoffSection)
    assert f.tolerance == "10 (--mde)"
    assert {c.as_good for c in f.configurations} == {1.0}
    assert f.cheapest.seconds == min(c.seconds for c in f.configurations)


# ---------------------------------------------------------------- failures


def test_the_region_of_failures_is_found():
    def f(config):
        bad = config["opt"] == "b" and config["x"] > 0.6
        return (math.nan if bad else config["x"]), {}

    builder = random_study(60, f)
    rates = found(builder, FailureRatesSection)
    assert {c.name for c in rates.region.conditions} == {"x", "opt"}
    assert rates.region.inside.rate == 1.0
    assert rates.region.outside.failed == 0
    assert rates.region.p < 0.001
    assert "opt = b" in words(builder, FailureRatesSection)[0]
    assert {b.name for b in rates.by} == {"x", "opt"}


def test_without_failures_there_is_no_rate():
    assert isinstance(found(random_study(5, slow), FailureRatesSection), Missing)


def test_all_failed_has_no_region():
    builder = random_study(5, lambda c: (math.nan, {}))
    assert found(builder, FailureRatesSection).region is None
    assert "nothing tells them" in words(builder, FailureRatesSection)[0]


# ---------------------------------------------------------------- test values


def test_the_test_metric_is_that_of_the_objective():
    assert name_of_test("val_loss", {"test_loss", "test_accuracy"}) == "test_loss"
    assert name_of_test("loss", {"test_loss"}) == "test_loss"
    assert name_of_test("val_loss", {"train_loss"}) == ""
    assert name_of_test("accuracy", ["test_accuracy"]) == "test_accuracy"


def with_test(test):
    def f(config):
        y = (config["x"] - 0.3) ** 2
        return y, {"metrics": {"test_loss": test(y)}}

    return f


def test_validation_that_ranks_like_the_test_data_is_a_guide():
    f = found(random_study(30, with_test(lambda y: y + 0.5), LINE), GeneralisationSection)
    assert f.correlation.rho == 1.0
    assert f.gap.mean == pytest.approx(0.5)
    assert f.overtuning == 0.0
    assert f.tuned is None


def test_a_search_that_makes_the_test_value_worse_has_overtuned():
    builder = random_study(30, with_test(lambda y: 1 - y), LINE)
    f = found(builder, GeneralisationSection)
    assert f.correlation.rho == -1.0
    assert f.overtuning == pytest.approx(f.incumbent_test[-1] - min(f.incumbent_test))
    assert f.overtuning > 0
    assert any(
        "overtuned" in w or "worse on it" in w for w in words(builder, GeneralisationSection)
    )


def test_fresh_seeds_tell_of_the_test_metric():
    builder = random_study(12, with_test(lambda y: y), LINE)
    best = builder.history.incumbent.trial.config
    for seed, value in enumerate([0.1, 0.2, 0.3]):
        more = {"origin": Origin.CONFIRM, "seed": 50 + seed, "replicate": seed}
        builder.tell(best, 0.0, metrics={"test_loss": value}, **more)
    f = found(builder, GeneralisationSection)
    assert (f.tuned.n, f.tuned.mean) == (3, pytest.approx(0.2))
    assert len(f.numbers) == 12


def test_a_maximised_test_metric_keeps_its_sign():
    def f(config):
        accuracy = 1 - abs(config["x"] - 0.3)
        return -accuracy, {"metrics": {"test_loss": accuracy - 0.1}}

    builder = random_study(20, f, LINE, direction="max")
    seen = found(builder, GeneralisationSection)
    assert seen.gap.mean == pytest.approx(0.1)
    assert seen.test[3] == pytest.approx(seen.validation[3] - 0.1)
    assert seen.correlation.rho == 1.0


def test_no_test_metric_says_what_would_have_it_compared():
    seen = found(random_study(6, slow), GeneralisationSection)
    assert "test_loss" in seen.reason


# ---------------------------------------------------------------- curves


def test_best_epochs_are_counted_over_all_trainings():
    builder = Builder(space=LINE)
    for i in range(24):
        curve = (3.0, 1.0, 2.0) if i < 6 else (3.0, 2.0, 1.5 + i)
        builder.tell({"x": i / 24}, float(i), curves={"val_loss": curve})
    f = found(builder, CurvesSection)
    assert (f.judged_of, f.last_is_best) == (6, 0)
    assert f.best_epochs[:6] == (2,) * 6
    assert f.epochs == (3,) * 24
