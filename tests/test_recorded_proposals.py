"""The tuner proposes what it proposed: recorded histories and the answers of an earlier version.

The answers were made with version 0.1.0 before its modules were moved; ``recorded/make.py`` says
how. Numbers may differ by what another BLAS rounds. That version called all trials after the design
"infill", also where too little was known to choose them by.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "recorded"))

from recorded_cases import Case, history_of, load, trial_of, tuner_of

from spot_dask.records import Origin

CASES = load()


def test_there_are_fifty() -> None:
    assert len(CASES) >= 50
    assert len({case["name"] for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"].replace(" ", "-"))
def test_a_proposal_is_what_it_was(case: Case) -> None:
    tuner = tuner_of(case)
    expected = [trial_of(data) for data in case["answer"]]
    trials = tuner.ask(history_of(case), case["q"])
    ended = [status for _, status, _ in case["evaluations"]]
    successes = len(case.get("imports", ())) + ended.count("ok")
    if successes < min(tuner.space.d + 1, tuner.design.size(tuner.space)):
        later = {Origin.INFILL: Origin.DESIGN}
        expected = [replace(t, origin=later.get(t.origin, t.origin)) for t in expected]
    assert [(t.number, t.seed, t.replicate, t.origin) for t in trials] == [
        (t.number, t.seed, t.replicate, t.origin) for t in expected
    ]
    for trial, known in zip(trials, expected, strict=True):
        assert {n: v for n, v in trial.config.items() if not isinstance(v, float)} == {
            n: v for n, v in known.config.items() if not isinstance(v, float)
        }
        reals = {n: v for n, v in known.config.items() if isinstance(v, float)}
        assert {n: trial.config[n] for n in reals} == pytest.approx(reals, rel=1e-6, abs=1e-9)
