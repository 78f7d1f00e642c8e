"""How long a run will still take."""

from __future__ import annotations

import heapq

import numpy as np
import pytest

from spot_dask.eta import time_left


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
