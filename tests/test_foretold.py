"""The model is judged by what it expected of its own proposals."""

from __future__ import annotations

import numpy as np
import pytest

from spot_dask.codec import from_json, to_json
from spot_dask.infill.log_ei import LogEI
from spot_dask.infill.optimise import Search
from spot_dask.records import Expected, History, Origin, Trial
from spot_dask.space import Real, Space
from spot_dask.tuner import Tuner
from spot_dask.tuner.foretold import Foretold, foretold

SPACE = Space(x=Real(0.0, 1.0, default=0.1), z=Real(0.0, 1.0, default=0.9))
QUICK = LogEI(Search(candidates=64, starts=2, rounds=1, evaluations=5))


def history_of(y, expected):
    history = History()
    for k, (value, said) in enumerate(zip(y, expected, strict=True)):
        trial = Trial(k, {"x": k / 100, "z": 0.5}, 0, expected=said)
        history = history.ask([trial]).tell(trial.result(float(value)))
    return history


def judged(rng, n, actual_sd):
    said = [Expected(float(m), 1.0) for m in rng.normal(0.0, 2.0, n)]
    y = [e.mean + actual_sd * rng.standard_normal() for e in said]
    found = foretold(history_of(y, said))
    assert found is not None
    return found


def searched(f, *, repeats=0, batches=3, infill="averaged_ei"):
    tuner = Tuner(SPACE, infill=infill, repeats=repeats)
    history = History()
    for _ in range(batches):
        trials = tuner.ask(history, 8)
        history = history.ask(trials)
        for trial in trials:
            history = history.tell(trial.result(f(trial)))
    return tuner, history


def bowl(trial):
    return (trial.config["x"] - 0.3) ** 2 + (trial.config["z"] - 0.4) ** 2


def test_a_model_that_is_right_is_hardly_ever_blamed():
    rng = np.random.default_rng(0)
    found = [judged(rng, 24, 1.0) for _ in range(600)]
    assert np.mean([f.misleads for f in found]) <= 0.02  # nominal: below 1 %
    assert np.mean([f.inside / f.n for f in found]) == pytest.approx(0.95, abs=0.01)


def test_a_model_that_is_too_sure_is_found_out():
    rng = np.random.default_rng(1)
    found = [judged(rng, 24, 2.5) for _ in range(200)]
    assert np.mean([f.misleads for f in found]) >= 0.95
    warning = found[0].warning
    assert warning is not None
    assert "explore STORE" in warning


def test_few_proposals_are_no_reason_to_warn():
    assert Foretold(n=5, inside=0, rank=None, exploring=5).warning is None


def test_it_counts_what_came_in_the_order_of_trials():
    said = [None, Expected(1.0, 0.5), Expected(3.0, 0.5), Expected(0.5, 0.1)]
    found = foretold(history_of([2.0, 1.2, 2.9, 2.0], said))
    # 2.0 is the best when trial 1 is proposed, 1.2 afterwards: trial 2 alone explores.
    assert found == Foretold(n=3, inside=2, rank=pytest.approx(0.5), exploring=1)
    assert foretold(history_of([2.0], [None])) is None


@pytest.mark.parametrize("infill", ["averaged_ei", QUICK])
def test_what_is_expected_of_a_proposal_is_written_down(infill):
    _, history = searched(bowl, infill=infill)
    for e in history.evaluations:
        said = e.trial.expected
        assert (said is not None) == (e.trial.origin is Origin.INFILL)
        assert from_json(Trial, to_json(e.trial)).expected == said
    assert any(e.trial.expected for e in history.evaluations)


def test_a_trial_of_an_older_store_has_none():
    data = to_json(Trial(3, {"x": 0.1, "z": 0.2}, 7))
    del data["expected"]
    assert from_json(Trial, data).expected is None


def rugged(trial):
    return bowl(trial) + 0.3 * np.sin(40 * trial.config["x"]) * np.sin(37 * trial.config["z"])


def test_without_noise_the_best_observed_value_is_recommended():
    tuner, history = searched(rugged, repeats=2, batches=4)
    assert any(e.trial.origin is Origin.REPLICATE for e in history.evaluations)
    best = tuner.recommend(history, tuner.model(history))
    assert best is not None
    assert best.observed == min(e.y for e in history.ok)
