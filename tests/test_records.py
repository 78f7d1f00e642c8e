"""The values that every layer shares."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace

from spot_dask.records import Failure, Outcome, Status


def test_an_outcome_equals_its_copies_though_it_has_no_result() -> None:
    outcome = Outcome(Status.FAILED, error=Failure("ValueError", "bad"))
    assert math.isnan(outcome.y)
    assert pickle.loads(pickle.dumps(outcome)) == outcome
    assert replace(outcome, y=1.0) != outcome
    assert replace(outcome, worker="w") != outcome
    assert outcome != "failed"
