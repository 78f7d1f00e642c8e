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


def test_a_collapse_is_a_run_above_half_of_randoms_regret() -> None:
    ends = {"p": {0: 0.1, 1: 0.31, 2: 0.3}, "q": {0: 0.9}, "no unit": {0: 1.0}}
    assert score.collapses(ends, {"p": 0.6, "q": 2.0}) == (1, 4)


def test_the_bootstrap_is_over_problems_then_seeds() -> None:
    """Beside one that draws problem by problem: the same quantiles but for its own chance."""
    one, base = regrets(1.0), regrets(2.0)
    for p in list(one)[:6]:
        one[p] = {s: 3 * r for s, r in one[p].items()}
    rng, draws = np.random.default_rng(5), []
    for _ in range(1000):
        logs = []
        for p in rng.choice(list(one), len(one)):
            s = rng.integers(6, size=6)
            means = [np.mean([r[p][i] for i in s]) for r in (one, base)]
            logs.append(np.log(means[0] / means[1]))
        draws.append(np.exp(np.mean(logs)))
    for level in (0.95, 0.8):
        found = score.ratio(one, base, UNIT, level=level)
        expected = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
        assert (found.low, found.high) == pytest.approx(tuple(expected), rel=0.06)


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
