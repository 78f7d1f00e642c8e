"""Scores of paired runs."""

from __future__ import annotations

import numpy as np
import pytest
from sizes import size

from benchmarks import score

UNIT = {f"p{i}": 0.5 for i in range(12)}


def regrets(factor: float) -> dict[str, dict[int, float]]:
    rng = np.random.default_rng(0)
    return {p: {s: factor * rng.uniform(0.1, 0.9) for s in range(6)} for p in UNIT}


def test_an_optimiser_against_itself_is_even() -> None:
    one = regrets(1.0)
    assert score.wins(one, one) == score.Interval(0.5, 0.5, 0.5)
    assert score.ratio(one, one, UNIT) == score.Interval(1.0, 1.0, 1.0)


def test_half_the_regret_in_every_pair_is_a_ratio_of_a_half_and_all_wins() -> None:
    found = score.ratio(regrets(0.5), regrets(1.0), UNIT)
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))
    assert score.wins(regrets(0.5), regrets(1.0)).value == 1.0


def test_random_search_has_relative_regret_one() -> None:
    one = regrets(1.0)
    unit = {p: float(np.mean(list(r.values()))) for p, r in one.items()}
    found = score.relative(one, unit)
    assert found.value == pytest.approx(1.0)
    assert found.low < 1.0 < found.high


def test_relative_regret_is_not_below_its_floor() -> None:
    assert score.relative(regrets(0.0), UNIT).value == pytest.approx(score.FLOOR)


def test_only_seeds_of_both_are_paired() -> None:
    one, other = {"p": {0: 0.1, 1: 0.2}}, {"p": {1: 0.4, 2: 0.0}}
    assert score.wins(one, other).value == 1.0
    assert score.ratio(one, other, {"p": 1.0}).value == pytest.approx(0.5)


def test_no_pair_gives_no_number() -> None:
    assert np.isnan(score.wins({"p": {0: 1.0}}, {}).value)


def test_ties_share_their_ranks() -> None:
    one = {"p": {0: 0.1}}
    assert score.ranks({"a": one, "b": one, "c": {"p": {0: 0.5}}}) == {"a": 1.5, "b": 1.5, "c": 3.0}


def test_the_interval_covers_the_true_ratio_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(size(8, 16)):
        draws = 0.2 * np.exp(rng.normal([[[0.0]], [[np.log(2)]]], 0.3, (2, 12, 6)))
        one, other = ({f"p{i}": dict(enumerate(row)) for i, row in enumerate(d)} for d in draws)
        found = score.ratio(one, other, UNIT)
        covered += found.low <= 0.5 <= found.high
    assert covered >= size(6, 13)
