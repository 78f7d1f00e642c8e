"""What the rule ``rank`` guarantees, whatever is predicted, and what it does on known curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot_dask import early_stopping
from spot_dask.early_stopping import Curve
from spot_dask.early_stopping.rank import Rank

nan = math.nan
LENGTH = 20


def trained(rule: Rank, trainings: Sequence[Sequence[float]], slots: int) -> list[Curve]:
    """What becomes of trainings, the next beginning in a slot that is free; all epochs equal."""
    waiting = list(enumerate(trainings))
    curves: dict[int, Curve] = {}
    running: list[int] = []
    while waiting or running:
        while waiting and len(running) < slots:
            number, _ = waiting.pop(0)
            running.append(number)
            curves[number] = Curve((), number=number, features=(number % 7 / 7,))
        for number in list(running):
            curve, whole = curves[number], trainings[number]
            curve = replace(curve, values=tuple(whole[: len(curve.values) + 1]))
            others = [c for n, c in curves.items() if n != number and c.values]
            if len(curve.values) == len(whole):
                curve = replace(curve, final=whole[-1])
            elif rule.stops(curve, others):
                curve = replace(curve, stopped=True)
                alive = sum(not c.stopped for c in others)
                assert alive >= rule.least * (len(others) + 1)  # the guaranteed share
            curves[number] = curve
            if curve.stopped or not math.isnan(curve.final):
                running.remove(number)
    return list(curves.values())


def test_a_study_never_ends_in_an_endless_series_of_stopped_trainings() -> None:
    """Every training is worse than all before it: none is worth going on by any prediction."""
    worse = [[10.0 * n + 9 / (epoch + 1) for epoch in range(LENGTH)] for n in range(120)]
    rule = Rank(least=0.1)
    curves = trained(rule, worse, slots=4)
    finished = sum(not c.stopped for c in curves)
    assert 0.1 * 120 - 4 <= finished < 30
    greedy = trained(Rank(least=1e-9), worse, slots=4)
    assert sum(not c.stopped for c in greedy) < 0.1 * 120 - 4  # so the share is what sees to it


@given(
    values=st.lists(
        st.lists(st.floats(-1e3, 1e3), min_size=9, max_size=9), min_size=1, max_size=12
    ),
    slots=st.integers(1, 4),
    least=st.sampled_from([0.05, 0.3, 0.9]),
)
def test_whatever_the_curves_the_share_goes_on(
    values: list[list[float]], slots: int, least: float
) -> None:
    curves = trained(Rank(least=least, min_epochs=2), values, slots)
    assert sum(not c.stopped for c in curves) >= least * len(curves) - slots


def test_what_starts_slowly_goes_on_once_it_is_known_to_come_out_well() -> None:
    """A feature tells the slow and good from the fast and bad, whose curves cross."""
    rng = np.random.default_rng(1)

    def curve(number: int, epochs: int) -> Curve:
        slow = number % 2 == 0
        level, start = (0.0, 6.0) if slow else (2.0, 1.0)
        decay = np.exp(-np.arange(1, LENGTH + 1) / 6)
        values = (level + start * decay + 0.05 * rng.normal(size=LENGTH)).tolist()
        final = values[-1] if epochs == LENGTH else nan
        return Curve(values[:epochs], final, False, number, (float(slow), rng.random()))

    finished = [curve(n, LENGTH) for n in range(16)]
    at_the_first_rung = [curve(n, 4) for n in range(20, 30)]
    for known, expected in ((finished, [False, True]), ([], [True, False])):
        others = [*known, *at_the_first_rung]
        # One of many that are alike may be stopped for its luck: judged is what becomes of most.
        stops = [[Rank(share=0.5).stops(curve(n, 4), others) for n in (i, i + 1)]
                 for i in range(30, 50, 2)]  # fmt: skip
        assert (np.mean(stops, axis=0) > 0.5).tolist() == expected


def test_final_values_are_observed_predicted_or_not_known_yet() -> None:
    rng = np.random.default_rng(2)
    down = -np.log(np.arange(1, LENGTH + 1))
    levels = rng.normal(size=10)
    known = [Curve((v + down).tolist(), v + down[-1], number=n) for n, v in enumerate(levels)]
    partial = Curve((0.3 + down[:9]).tolist(), stopped=True, number=20)
    begun = Curve((0.3 + down[:3]).tolist(), number=21)
    failed = Curve((0.1 + down[:9]).tolist(), math.inf, number=22)
    mean, sd = Rank().predicts([known[0], partial, begun, failed], [*known, partial, failed])
    assert (mean[0], sd[0]) == (known[0].final, 0.0)
    assert mean[1] == pytest.approx(0.3 + down[-1], abs=0.05)
    assert 0 < sd[1] < 0.2
    assert np.isnan([mean[2], sd[2]]).all()
    assert mean[3] == math.inf
    mean, _ = Rank().predicts([partial], known[:2])  # two have made the steps, and one more must
    assert np.isnan(mean).all()


def test_a_failed_training_is_worse_than_any() -> None:
    failed = [Curve((0.1,) * 9, math.inf, number=n) for n in range(3)]
    good = [Curve((1.0,) * 20, 1.0, number=n) for n in range(3, 6)]
    assert not Rank().stops(Curve((0.9,) * 4, number=9), [*failed, *good])
    assert not Rank().stops(Curve((1.1,) * 4, number=9), failed)


def test_the_last_of_the_window_are_compared() -> None:
    bad = [Curve((9.0,) * 8, number=n) for n in range(50)]
    good = [Curve((1.0 + n / 100,) * 8, number=n) for n in range(50, 60)]
    middling = Curve((2.0,) * 4, number=60)
    assert not Rank(window=1000).stops(middling, [*bad, *good])
    assert Rank(window=11).stops(middling, [*good, *bad])


def test_a_sparse_curve_is_compared_at_the_first_value_from_a_rung_on() -> None:
    others = [Curve((v,) * 10, number=n) for n, v in enumerate((1.0, 2.0, 3.0, 4.0, 5.0))]
    assert Rank().stops(Curve((nan,) * 5 + (4.5,), number=9), others)
    assert not Rank().stops(Curve((nan,) * 5 + (4.5, 4.5), number=9), others)


def test_the_same_history_gives_the_same_decision_in_any_order() -> None:
    rng = np.random.default_rng(4)
    others = [
        Curve(np.cumsum(rng.normal(size=k)).tolist(), nan, k < 20, n, tuple(rng.random(2)))
        for n, k in enumerate(rng.choice([4, 8, 16, 20], size=30))
    ]
    others = [replace(c, final=c.values[-1]) if not c.stopped else c for c in others]
    curve = Curve(np.cumsum(rng.normal(size=8)).tolist(), number=40, features=(0.5, 0.5))
    stops = {Rank().stops(curve, [others[i] for i in rng.permutation(30)]) for _ in range(5)}
    assert len(stops) == 1


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("rank(share=1)", "share is 1; expected a number between 0 and 1"),
        ("rank(least=0)", "least is 0; expected a number between 0 and 1"),
        ("rank(window=0)", "window is 0; expected a whole number from 1"),
        ("rank(eta=0.5)", "eta is 0.5; expected a number above 1"),
    ],
)
def test_a_bad_setting_is_refused(name: str, line: str) -> None:
    with pytest.raises(ValueError, match=line):
        early_stopping.find(name)
