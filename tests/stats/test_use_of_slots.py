"""Slots and their time, on schedules that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from spot_dask.stats.utilisation import lanes, slot_time


def test_shares_are_those_counted_by_hand() -> None:
    # Slot 0: 1 to 4, 5 to 9; slot 1: 2 to 7; until 10.
    found = slot_time([1, 2, 5], [4, 7, 9], 10)
    assert found.slots == 2
    assert found.training == pytest.approx(12 / 20)
    assert found.begin == pytest.approx(3 / 20)
    assert found.between == pytest.approx(1 / 20)
    assert found.end == pytest.approx(4 / 20)
    assert found.speedup == pytest.approx(1.2)


def test_lanes_are_as_many_as_run_at_once_and_never_overlap() -> None:
    rng = np.random.default_rng(4)
    start = rng.uniform(0, 50, 200)
    end = start + rng.exponential(3, 200)
    lane = lanes(start, end)
    most = max(int(np.sum((start <= t) & (t < end))) for t in start)
    assert lane.max() + 1 == most
    for k in range(most):
        order = np.argsort(start[lane == k])
        assert np.all(end[lane == k][order][:-1] <= start[lane == k][order][1:] + 1e-6)
    found = slot_time(start, end, 70.0)
    assert found.training + found.begin + found.between + found.end == pytest.approx(1)


def test_a_training_that_begins_as_another_ends_takes_its_slot() -> None:
    assert lanes([0, 1, 2], [1, 2, 3]).tolist() == [0, 0, 0]


def test_nothing_is_known_without_trainings() -> None:
    assert slot_time([], [], 5.0).slots == 0
    assert np.isnan(slot_time([0], [0], 0.0).training)


def test_an_end_before_its_begin_is_refused() -> None:
    with pytest.raises(ValueError, match="none before its begin"):
        lanes([1], [0])
