"""The rules of early stopping as what they are: functions of curves."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from spot_dask import early_stopping, plugins
from spot_dask.early_stopping import Curve, Rule, rung
from spot_dask.early_stopping.asha import Asha
from spot_dask.early_stopping.curve import LEAST, NEAREST, Unpromising, level

NAMES = plugins.names("spot_dask.early_stopping", "stops")
nan = math.nan


def flat(value: float, epochs: int = 9, final: float = nan) -> Curve:
    return Curve((value,) * epochs, final)


def finished(n: int, rng: np.random.Generator, noise: float = 0.1, epochs: int = 4) -> list[Curve]:
    """Trainings whose value after each epoch is their result plus 2 and noise."""
    results = rng.normal(size=n)
    return [Curve((y + 2 + noise * rng.normal(size=epochs)).tolist(), y) for y in results]


def test_a_rung_is_reached_once_by_its_first_value() -> None:
    reached = [rung((1.0,) * epoch, 1, 3.0) for epoch in range(1, 12)]
    assert reached == [1, None, 3, None, None, None, None, None, 9, None, None]
    assert [rung((1.0,) * epoch, 4, 1.5) for epoch in range(1, 10)] == [
        None, None, None, 4, None, 6, None, None, 9.0
    ]  # fmt: skip
    fractions = [rung((1.0,) * epoch, 1, 1.5) for epoch in range(1, 7)]
    assert fractions == [1, 1.5, 2.25, 3.375, None, 5.0625]


def test_a_training_that_validates_every_few_epochs_reaches_a_rung_with_its_first_value() -> None:
    assert rung((nan, nan, nan, nan, 1.0), 1, 3.0) == 3
    assert rung((nan, nan, nan, nan, 1.0, nan), 1, 3.0) is None
    assert rung((nan, 1.0, nan, 1.0), 1, 3.0) == 3
    assert rung((nan, 1.0, 1.0, 1.0), 1, 3.0) is None
    assert Curve((nan, nan, nan, nan, 5.0, nan, 7.0)).at(3, 3.0) == 5.0
    assert math.isnan(Curve((1.0, 1.0, nan, nan)).at(3, 3.0))
    assert math.isnan(Curve((nan, nan, 5.0)).at(1, 3.0))
    assert Curve((1.0, 2.0, 3.0)).at(1.5, 1.5) == 2.0


@pytest.mark.parametrize("name", NAMES)
@given(
    values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20),
    others=st.lists(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20), max_size=15),
)
def test_whatever_is_not_worse_than_all_others_goes_on(
    name: str, values: list[float], others: list[list[float]]
) -> None:
    rule = early_stopping.find(name)
    best = [min([*(o[i] for o in others if i < len(o)), v]) for i, v in enumerate(values)]
    curves = [Curve(o, o[-1]) for o in others]
    assert not rule.stops(Curve(best), curves)
    assert not rule.stops(Curve(values), [])


@pytest.mark.parametrize("rule", [Asha(min_epochs=4), Unpromising(min_epochs=4)])
def test_what_is_worse_than_a_stopped_one_is_stopped(rule: Rule) -> None:
    rng = np.random.default_rng(3)
    others = finished(20, rng)
    stopped = [rule.stops(flat(v, epochs=4), others) for v in np.linspace(-2, 8, 50)]
    assert stopped == sorted(stopped)
    assert set(stopped) == {False, True}
    scaled = [Curve([5 * v - 3 for v in o.values], 5 * o.final - 3) for o in others]
    again = [rule.stops(flat(5 * v - 3, epochs=4), scaled) for v in np.linspace(-2, 8, 50)]
    assert again == stopped


def test_asha_lets_the_best_third_of_a_rung_go_on() -> None:
    others = [flat(float(v)) for v in range(8)]
    goes_on = [
        not Asha(eta=3.0, min_epochs=1).stops(flat(v - 0.5, epochs=3), others) for v in range(9)
    ]
    assert goes_on == [True, True, True] + [False] * 6
    assert not Asha(min_epochs=1).stops(flat(9.0, epochs=4), others)  # between rungs


def test_asha_compares_values_of_the_same_rung_only() -> None:
    short = [flat(0.0, epochs=2)] * 8
    assert not Asha(eta=3.0, min_epochs=1).stops(flat(5.0, epochs=3), short)
    assert Asha(eta=3.0, min_epochs=1).stops(flat(5.0, epochs=3), [*short, flat(4.0, epochs=3)])


def test_curve_needs_finished_trainings_that_have_come_as_far() -> None:
    rng = np.random.default_rng(1)
    others = finished(LEAST, rng)
    assert Unpromising().stops(flat(50.0, epochs=4), others)
    assert not Unpromising().stops(flat(50.0, epochs=4), others[1:])
    unfinished = [Curve(o.values) for o in others]
    assert not Unpromising().stops(flat(50.0, epochs=4), unfinished)
    assert not Unpromising(min_epochs=8).stops(flat(50.0, epochs=8), others)


def test_the_level_is_that_of_a_prediction_by_linear_regression() -> None:
    rng = np.random.default_rng(8)
    for share in (0.2, 0.5, 0.8):
        y = rng.normal(size=12)
        x = 0.7 * y + rng.normal(size=12)
        design, at = np.column_stack([np.ones(12), y]), np.array([1.0, np.quantile(y, share)])
        beta, rss, *_ = np.linalg.lstsq(design, x, rcond=None)
        assert beta[1] > 0
        variance = rss[0] / 10 * (1 + at @ np.linalg.inv(design.T @ design) @ at)
        expected = stats.t(10, loc=at @ beta, scale=math.sqrt(variance)).sf(2.0)
        curves = [Curve((v,), result) for v, result in zip(x, y, strict=True)]
        assert level(Curve((2.0,)), curves, share) == pytest.approx(expected, rel=1e-9)


def test_results_far_from_a_just_good_one_tell_nothing_of_it() -> None:
    rng, near = np.random.default_rng(9), np.linspace(9, 11, NEAREST)
    values = 0.5 * near + rng.normal(size=NEAREST)

    def found(of_better: float, of_worse: float) -> float:
        far = [Curve((of_better,), y) for y in np.linspace(-1, 1, 10)]
        far += [Curve((of_worse,), y) for y in np.linspace(19, 21, 10)]
        curves = [Curve((v,), y) for v, y in zip(values, near, strict=True)]
        return level(Curve((7.0,)), [*far, *curves], 0.5)

    assert 0 < found(0.0, 0.0) < 1
    assert found(0.0, 0.0) == found(50.0, -50.0)


def test_a_good_result_is_never_taken_to_begin_badly() -> None:
    y = np.linspace(-1, 1, 15)
    upside_down = [Curve((-result,), result) for result in y]
    assert level(Curve((0.8,)), upside_down, 0.1) < 0.2


def test_where_all_begin_alike_what_begins_worse_is_a_surprise() -> None:
    alike = [Curve((1.0,), float(result)) for result in range(LEAST)]
    assert [level(Curve((v,)), alike, 0.5) for v in (0.5, 1.0, 1.5)] == [1.0, 1.0, 0.0]


@pytest.mark.parametrize("noise", [0.1, 1.0])
def test_a_just_good_training_is_stopped_as_rarely_as_promised(noise: float) -> None:
    """Results are equally spaced, so that the median is known: its trainings are the worst case."""
    rng, stops, runs = np.random.default_rng(5), 0, 2000
    for _ in range(runs):
        y = np.linspace(-1, 1, 21)
        others = [Curve((nan, nan, nan, v + 2 + noise * rng.normal()), v) for v in y]
        just_good = Curve((nan, nan, nan, 2 + noise * rng.normal()))
        stops += level(just_good, others, 0.5) < 0.05
    assert abs(stops / runs - 0.05) < 5 * math.sqrt(0.05 * 0.95 / runs)


def test_how_often_the_tuner_picks_good_ones_does_not_matter() -> None:
    """Trainings that come out well are stopped no more often where nearly all do."""
    rng = np.random.default_rng(6)
    for good in (0.2, 0.9):
        stops, runs = 0, 500
        for _ in range(runs):
            y = np.where(rng.random(40) < good, rng.normal(0, 0.3, 40), rng.normal(4, 1, 40))
            others = [Curve((nan, nan, nan, 0.5 * v + rng.normal()), v) for v in y]
            result = float(np.quantile(y, 0.25))
            stops += Unpromising().stops(
                Curve((nan, nan, nan, 0.5 * result + rng.normal())), others
            )
        assert stops / runs < 0.05 + 5 * math.sqrt(0.05 * 0.95 / runs)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("asha(eta=1)", "eta is 1; expected a number above 1"),
        ("asha(min_epochs=0)", "min_epochs is 0; expected a whole number from 1"),
        ("curve(risk=2)", "risk is 2; expected a number between 0 and 1"),
        ("curve(share=0)", "share is 0; expected a number between 0 and 1"),
        ("halving", "no early_stopping named 'halving'; there are: asha, curve, hyperband, rank"),
    ],
)
def test_a_bad_rule_is_refused_with_what_was_expected(name: str, line: str) -> None:
    with pytest.raises(ValueError, match=line):
        early_stopping.find(name)


@pytest.mark.parametrize(
    ("stops", "message"),
    [
        (None, "has no method stops"),
        (lambda curve: False, r"does not take \(curve, others\)"),
        (lambda curve, others: others[0], "stops raises IndexError"),
        (lambda curve, others: "yes", "stops returns 'yes'; expected True or False"),
    ],
)
def test_what_is_wrong_with_a_rule_is_named(stops: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        early_stopping.check(SimpleNamespace(stops=stops))


def test_a_rule_that_serves_passes() -> None:
    early_stopping.check("asha(eta=4)")
    early_stopping.check(SimpleNamespace(stops=lambda curve, others: np.bool_(len(others) > 3)))
