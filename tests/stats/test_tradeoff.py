"""The front and the cheapest good one, against the definition by brute force."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from spot_dask.stats.tradeoff import cheapest_within, pareto_front


@pytest.mark.parametrize("seed", range(20))
def test_the_front_is_what_nothing_dominates(seed: int) -> None:
    loss, cost = np.random.default_rng(seed).integers(0, 6, size=(2, 15)).astype(float)
    front = pareto_front(loss, cost)
    free = {
        (loss[i], cost[i])
        for i in range(15)
        if not any(
            loss[j] <= loss[i] and cost[j] <= cost[i] and (loss[j], cost[j]) != (loss[i], cost[i])
            for j in range(15)
        )
    }
    assert {(loss[i], cost[i]) for i in front} == free
    assert len(front) == len(free)
    assert all(cost[a] < cost[b] and loss[a] > loss[b] for a, b in pairwise(front))
    assert all(i == min(j for j in range(15) if (loss[j], cost[j]) == (loss[i], cost[i]))
               for i in front)  # fmt: skip


def test_the_cheapest_within_delta() -> None:
    loss, cost = [0.30, 0.31, 0.35, 0.31, 0.50], [9.0, 4.0, 2.0, 4.0, 1.0]
    assert cheapest_within(loss, cost, 0.0) == 0
    assert cheapest_within(loss, cost, 0.02) == 1
    assert cheapest_within(loss, cost, 0.06) == 2
    assert cheapest_within(loss, cost, 1.0) == 4
    assert cheapest_within([0.2, 0.1], [1.0, 1.0], 0.5) == 1


def test_what_has_no_front_is_refused() -> None:
    for call in (lambda: pareto_front([], []), lambda: pareto_front([np.nan], [1.0]),
                 lambda: pareto_front([1.0], [1.0, 2.0]),
                 lambda: cheapest_within([1.0], [1.0], -0.1)):  # fmt: skip
        with pytest.raises(ValueError, match="expected"):
            call()
