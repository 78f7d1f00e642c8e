"""How far ahead of demand proposals are made."""

import pytest

from spot_dask.coordinator.state import Pace


def pace(proposal: float, training: float) -> Pace:
    found = Pace()
    found.proposed(proposal)
    found.trained(training)
    return found


@pytest.mark.parametrize(
    ("slots", "proposal", "training", "expected"),
    [
        (8, 0.2, 600.0, (0, 0)),  # a slot hardly notices
        (8, 3.0, 60.0, (1, 1)),  # one is started meanwhile
        (8, 90.0, 60.0, (8, 8)),
        (1000, 0.01, 600.0, (0, 0)),  # cheap enough to be made one by one
        (1000, 1.5, 600.0, (0, 50)),  # rarely, and then for a twentieth of the slots
        (1000, 9.0, 600.0, (15, 65)),
    ],
)
def test_as_many_as_needed_and_as_few_proposals_as_possible(
    slots: int, proposal: float, training: float, expected: tuple[int, int]
) -> None:
    assert pace(proposal, training).ahead(slots) == expected


def test_nothing_is_proposed_ahead_while_durations_are_unknown() -> None:
    assert Pace().ahead(1000) == (0, 0)


def test_one_slow_proposal_counts_a_fifth() -> None:
    found = pace(0.2, 600.0)
    found.proposed(100.0)
    assert found.ahead(1000) == pace(0.8 * 0.2 + 0.2 * 100.0, 600.0).ahead(1000) == (34, 84)
