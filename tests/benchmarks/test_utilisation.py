"""How the benchmark of utilisation counts."""

import pytest

from benchmarks.sleeping import Note, duration
from benchmarks.utilisation import bound, measure, simulate


def test_list_scheduling_by_hand():
    # 3 | 1 2, then 2 where the slot is free first: both are busy until 3 and 5.
    assert bound([3.0, 1.0, 2.0, 2.0], 2) == pytest.approx(8.0 / 10.0)


def test_gaps_are_between_trainings_of_one_place():
    notes = [Note("a", 0.0, 2.0), Note("a", 2.5, 4.0), Note("b", 0.0, 4.0)]
    found = measure(notes, 2)
    assert found.share == pytest.approx(7.5 / 8.0)
    assert found.p50 == found.p99 == pytest.approx(0.5)


def test_simulated_slots_are_as_busy_as_can_be():
    busy, stepwise = (simulate(4, 24, 0.5, 600.0, sync=sync) for sync in (False, True))
    assert busy.share > 0.99 * busy.bound
    assert stepwise.share < busy.share
    assert busy.proposals > 0.0
    assert duration(3, 0.5, 600.0) == duration(3, 0.5, 600.0)
