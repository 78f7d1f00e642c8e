"""How noisy is the objective: what repeated trainings tell, against what was put in."""

from __future__ import annotations

import numpy as np
import pytest
from report_studies import Builder, fill
from test_gain_section import words

from spot_dask.records import Expected, Origin
from spot_dask.report.context import Missing
from spot_dask.report.sections.budget import BudgetSection
from spot_dask.report.sections.checks import ChecksSection
from spot_dask.report.sections.noise import NoiseSection
from spot_dask.space import Real, Space

LINE = Space(x=Real(0.0, 1.0, default=0.9))


def confirmed(configs, seeds, value):
    """A study of the default alone, then confirmations: ``value(config index, seed)``."""
    builder = Builder(space=LINE).tell({}, 5.0)
    for seed in range(seeds):
        for i, config in enumerate(configs):
            fresh = {"origin": Origin.CONFIRM, "seed": 1000 + seed, "replicate": seed}
            builder.tell(config, value(i, seed), **fresh)
    return builder


def found(builder):
    return builder.context(model=None)[NoiseSection]


def test_the_pooled_sd_and_the_share_of_the_seed_are_those_put_in():
    rng = np.random.default_rng(3)
    seeds, noise = 0.3 * rng.normal(size=40), 0.1 * rng.normal(size=(2, 40))
    f = found(confirmed([{"x": 0.2}, {"x": 0.4}], 40, lambda i, s: i + seeds[s] + noise[i, s]))
    assert f.interval.low < np.hypot(0.3, 0.1) < f.interval.high
    assert f.seed.share_interval.low < 0.9 < f.seed.share_interval.high
    assert f.seed.p < 1e-6
    assert (f.df, f.trainings, len(f.configurations)) == (78, 80, 2)
    assert f.configurations[0].fresh == 40
    expected = np.sqrt(np.mean([np.var(seeds + noise[i], ddof=1) for i in range(2)]))
    assert f.sd == pytest.approx(expected)


def test_values_without_noise_say_so():
    f = found(confirmed([{"x": 0.2}], 3, lambda i, s: 0.25))
    assert f.sd == 0
    assert f.seed is None  # every seed has one configuration
    (lead, *_) = NoiseSection().render(f, Builder(space=LINE).context(model=None))
    assert "no noise was seen" in lead.text


def test_without_a_repeated_configuration_it_says_what_would_tell():
    f = found(fill(Builder(space=LINE), 6, lambda c: c["x"]))
    assert isinstance(f, Missing)
    assert "spot-dask confirm" in f.reason


def test_a_maximised_objective_is_shown_in_its_own_sign():
    builder = Builder(space=LINE, direction="max").tell({}, -1.0)
    builder.tell({}, -3.0, origin=Origin.REPLICATE)
    (c,) = found(builder).configurations
    assert (c.values, c.mean, c.role) == ((1.0, 3.0), 2.0, "recommended")


def test_the_models_noise_is_compared_with_its_own_repeated_evaluations():
    rng = np.random.default_rng(1)
    builder = fill(Builder(space=LINE), 16, lambda c: 3 * c["x"], noise=0.2, curves=False)
    for i in range(12):
        builder.tell({}, 2.7 + 0.2 * rng.normal(), origin=Origin.REPLICATE, seed=i)
    f = found(builder)
    assert f.model.agrees
    assert f.model.interval.low < 1 < f.model.interval.high


def differs(builder):
    """The state of the check and what it saw."""
    checks = builder.context()[ChecksSection]
    (check,) = (c for c in checks if "differ by more than noise" in c.title)
    return check.state, check.message


@pytest.mark.parametrize("seed", range(4))
def test_nothing_but_noise_is_called_so(seed):
    builder, rng = Builder(space=LINE), np.random.default_rng(seed)
    for x in rng.random(24):
        builder.tell({"x": x}, 1.0 + 0.1 * rng.normal())
    for seeds in range(5):
        for config in ({"x": 0.9}, {"x": 0.2}):
            fresh = {"origin": Origin.CONFIRM, "seed": 1000 + seeds, "replicate": seeds}
            builder.tell(config, 1.0 + 0.1 * rng.normal(), **fresh)
    state, seen = differs(builder)
    assert state == "WARN"
    assert "no effect of the hyperparameters is distinguishable from noise" in seen
    assert "2 that were trained several times (configurations beyond seeds, F test, p" in seen


def test_an_effect_is_seen_in_what_repeats_or_in_what_the_model_foretells():
    seeds = np.random.default_rng(0).normal(size=8)
    builder = confirmed([{"x": 0.2}, {"x": 0.8}], 8, lambda i, s: i + 5 * seeds[s] + 0.1 * s % 0.2)
    assert differs(builder)[0] == "PASS"
    builder = fill(Builder(space=LINE), 24, lambda c: (c["x"] - 0.5) ** 2)
    for seed in range(6):  # two that are as good as each other
        for x in (0.4, 0.6):
            fresh = {"origin": Origin.CONFIRM, "seed": 1000 + seed, "replicate": seed}
            builder.tell({"x": x}, 0.01 + 0.01 * float(seeds[seed]) * (x - 0.5), **fresh)
    state, seen = differs(builder)
    assert state == "PASS"
    assert "but others do: the model predicts them" in seen


def test_the_search_s_lucky_values_do_not_make_a_difference():
    """The recommended configuration was chosen for its first value: only fresh ones count."""
    builder = Builder(space=LINE).tell({}, 1.0).tell({"x": 0.2}, -9.0)
    rng = np.random.default_rng(1)
    for seed in range(6):
        for config in ({}, {"x": 0.2}):
            fresh = {"origin": Origin.CONFIRM, "seed": 1000 + seed, "replicate": seed}
            builder.tell(config, 1.0 + 0.1 * rng.normal(), **fresh)
    test = found(builder).difference
    assert (test.df, test.residual_df, test.paired) == (1, 5, True)
    assert test.p > 0.05


def test_few_repeats_tell_nothing_of_differences():
    state, seen = differs(confirmed([{"x": 0.2}, {"x": 0.8}], 2, lambda i, s: i + s))
    assert state == "NONE"
    assert "too few trainings" in seen


def test_trainings_that_give_the_same_value_again_are_no_reason_to_warn():
    builder = fill(Builder(space=LINE), 16, lambda c: 3 * c["x"], noise=0.0, curves=False)
    default = 3 * LINE.default["x"]
    for i in range(3):
        builder.tell({}, default, origin=Origin.REPLICATE, seed=i)
    checks = builder.context()[ChecksSection]
    (check,) = (c for c in checks if "noise is that of repeated trainings" in c.title)
    assert (check.state, "the same values again" in check.message) == ("PASS", True)


def test_without_noise_the_model_that_assumes_some_is_told_so_in_plain_words():
    """A function too rough for its points, whose repeated values are the same."""
    builder, rng = Builder(space=LINE), np.random.default_rng(5)
    for x in (0.2, 0.2, 0.7, 0.7, *rng.random(20)):
        builder.tell({"x": float(x)}, float(np.sin(300 * x) + x))
    context = builder.context()
    facts = context[NoiseSection]
    said = " ".join(words(NoiseSection().render(facts, context)))
    assert np.isinf(facts.model.ratio)
    assert "Repeated evaluations show no noise." in said
    assert "inf" not in said.split("Repeated evaluations")[1].split(".")[1]
    assert context[BudgetSection].single == 0.0


@pytest.mark.parametrize(
    ("values", "status"),
    [([1.0] * 9, "NONE"), (range(9, 0, -1), "WARN"), (range(1, 10), "PASS")],
    ids=["all equal", "in the wrong order", "foretold"],
)  # fmt: skip
def test_a_model_that_foretold_nothing_does_not_pass(values, status):
    builder = Builder(space=LINE)
    for i, y in enumerate(values):
        expected = Expected(1.0 + i, 50.0)
        builder.tell({"x": i / 9}, float(y), origin=Origin.INFILL, expected=expected)
    checks = builder.context(model=None)[ChecksSection]
    (check,) = [c for c in checks if c.title == "The model foretold its own proposals"]
    assert check.state == status
