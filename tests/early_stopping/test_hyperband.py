"""The brackets of Hyperband."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from spot_dask import early_stopping
from spot_dask.early_stopping import Curve
from spot_dask.early_stopping.asha import Asha
from spot_dask.early_stopping.hyperband import Hyperband


def test_one_bracket_is_successive_halving() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        others = [Curve(rng.normal(size=rng.integers(1, 40)).tolist(), number=n) for n in range(20)]
        curve = Curve(rng.normal(size=rng.choice([4, 12, 36])).tolist(), number=20)
        halving = Asha().stops(curve, others)
        assert Hyperband(brackets=1).stops(curve, others) == halving


def test_a_bracket_that_judges_later_gets_fewer_trainings() -> None:
    counts = Counter(map(Hyperband(brackets=3).bracket, range(900)))
    assert counts == {0: 600, 1: 200, 2: 100}
    # Were a training stopped at the first rung of its bracket, each would take as many epochs,
    # but for the last, which takes what is left.
    epochs = [counts[b] * 4 * 3**b for b in range(3)]
    assert epochs[0] == epochs[1] == 2400
    assert epochs[2] == 3600


def test_trainings_are_judged_among_those_of_their_bracket_at_its_rungs() -> None:
    rule = Hyperband(brackets=2)
    good = [Curve((0.0,) * 40, number=n) for n in range(30) if rule.bracket(n) == 1]
    numbers = {b: next(n for n in range(30, 60) if rule.bracket(n) == b) for b in (0, 1)}
    for epochs, expected in ((4, [False, False]), (12, [False, True])):
        stops = [rule.stops(Curve((1.0,) * epochs, number=numbers[b]), good) for b in (0, 1)]
        assert stops == expected


@pytest.mark.parametrize("brackets", [0, 11, True, 1.5])
def test_a_bad_number_of_brackets_is_refused(brackets: object) -> None:
    with pytest.raises(ValueError, match="brackets is"):
        early_stopping.find(f"hyperband(brackets={brackets!r})")
