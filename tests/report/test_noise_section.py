"""How noisy is the objective: what repeated trainings tell, against what was put in."""

from __future__ import annotations

import numpy as np
import pytest
from report_studies import Builder, fill

from spot_dask.records import Origin
from spot_dask.report.context import Missing
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
