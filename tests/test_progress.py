"""How long a run will still take."""

from __future__ import annotations

import heapq

import numpy as np
import pytest
from scipy.stats import norm

from spot_dask.progress import RECENT, durations, time_left
from spot_dask.records import Evaluation, Outcome, Status, Trial

QUANTILES = norm.ppf((np.arange(400) + 0.5) / 400)
"""Log durations of trainings that took lognormal times with mu = 0 and sigma = 1."""


def test_equal_trainings_give_the_length_of_the_schedule() -> None:
    known = [10.0] * 5
    assert time_left(known, [], 4, 12) == pytest.approx(30.0, rel=0.05)
    assert time_left(known, [4.0, 9.0], 2, 2) == pytest.approx(16.0, rel=0.05)
    assert time_left(known, [], 4, 9, together=3) == pytest.approx(30.0, rel=0.05)
    assert time_left(known, [9.0], 1, 0) == pytest.approx(1.0, abs=0.3)


def test_nothing_is_said_without_a_basis() -> None:
    assert time_left([10.0, 10.0], [], 4, 12) is None
    assert time_left([10.0] * 5, [1.0], 0, 12) is None


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_it_is_right_on_average_however_far_the_run_is(share: float) -> None:
    ratios = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        seconds = rng.lognormal(4.0, 0.5, 400)
        starts, ends, free = [], [], [0.0] * 64
        for each in seconds:
            starts.append(heapq.heappop(free))
            ends.append(starts[-1] + each)
            heapq.heappush(free, ends[-1])
        begun, ended = np.array(starts), np.array(ends)
        now = np.sort(ended)[int(share * 400)]
        done, running = ended <= now, (begun <= now) & (ended > now)
        left = time_left(list(seconds[done]), list(now - begun[running]), 64, int(sum(begun > now)))
        assert left is not None
        ratios.append(left / (ended.max() - now))
    assert 0.8 < np.median(ratios) < 1.25


def test_quick_trainings_that_end_first_are_not_taken_for_all() -> None:
    slow = time_left([1.0, 1.5, 2.0], [30.0] * 13, 16, 100)
    assert slow is not None
    assert slow > 100 * 15 / 16


def test_a_training_that_goes_on_takes_longer_than_its_age() -> None:
    left = time_left(list(np.exp(QUANTILES)), [np.e], 1, 0)
    # The median of what is above e, and so above one standard deviation.
    assert left == pytest.approx(np.exp(norm.isf(norm.sf(1.0) / 2)) - np.e, rel=0.35)


def test_a_batch_waits_for_the_slowest_of_the_one_before() -> None:
    left = time_left(list(np.exp(QUANTILES)), [], 8, 80, together=8)
    slowest = np.exp(np.random.default_rng(1).normal(size=(4000, 10, 8))).max(axis=2)
    assert left == pytest.approx(np.median(slowest.sum(axis=1)), rel=0.2)


def test_the_newest_trainings_count() -> None:
    def lasted(number: int, seconds: float) -> Evaluation:
        outcome = Outcome(Status.OK, 0.0, started=0.0, finished=seconds)
        return Evaluation(Trial(number, {}, seed=0), outcome)

    newest = [float(k) for k in range(RECENT)]
    evaluations = [lasted(k, s) for k, s in enumerate([1e6, *newest])]
    assert durations(evaluations) == newest
