"""The tuner proposes what it proposed: recorded histories and the answers of an earlier version.

The answers were made with version 0.1.0 before its modules were moved; ``recorded/make.py`` says
how. Numbers may differ by what another BLAS rounds.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "recorded"))

from recorded_cases import Case, history_of, load, trial_of, tuner_of

CASES = load()


def test_there_are_fifty() -> None:
    assert len(CASES) >= 50
    assert len({case["name"] for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"].replace(" ", "-"))
def test_a_proposal_is_what_it_was(case: Case) -> None:
    expected = [trial_of(data) for data in case["answer"]]
    trials = tuner_of(case).ask(history_of(case), case["q"])
    assert [(t.number, t.seed, t.replicate, t.origin) for t in trials] == [
        (t.number, t.seed, t.replicate, t.origin) for t in expected
    ]
    for trial, known in zip(trials, expected, strict=True):
        assert {n: v for n, v in trial.config.items() if not isinstance(v, float)} == {
            n: v for n, v in known.config.items() if not isinstance(v, float)
        }
        reals = {n: v for n, v in known.config.items() if isinstance(v, float)}
        assert {n: trial.config[n] for n in reals} == pytest.approx(reals, rel=1e-6, abs=1e-9)
