"""What is asked for again and again, after each evaluation of a long run, is not computed anew."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import growth
from spot_dask.codec import from_json, to_json
from spot_dask.fold import Fold
from spot_dask.progress import Tally
from spot_dask.records import (
    Asked,
    Evaluation,
    Failure,
    History,
    Objective,
    Origin,
    Outcome,
    Stage,
    Status,
    Told,
    Trial,
)
from spot_dask.space import Categorical, Real, Space, space
from spot_dask.tuner import Tuner
from spot_dask.tuner.model import GrowingRows

SPACE = Space(x=Real(0.0, 1.0, default=0.5), c=Categorical(["a", "b", "c"]))


def told(n, seed=0):
    """A history of n evaluations; every fifth has failed, each has as many epochs as its number."""
    history = History()
    configs = SPACE.decode(SPACE.snap(np.random.default_rng(seed).random((n, SPACE.d))))
    configs[0] = SPACE.default
    for number, config in enumerate(configs):
        trial = Trial(number, config, 1, 0, Origin.DESIGN if number else Origin.DEFAULT)
        curves = {"loss": (0.5,) * number}
        if number % 5 == 4:
            outcome = Outcome(Status.FAILED, curves=curves, error=Failure("E", "no"))
        else:
            outcome = Outcome(Status.OK, config["x"], {"loss": config["x"]}, curves)
        history = history.ask([trial]).tell(Evaluation(trial, outcome))
    return history


COUNTED = ("ok", "failed", "stopped", "is_extreme", "confirming", "by_hand", "searched")


@pytest.mark.parametrize("seed", range(4))
def test_a_history_counts_on_what_the_one_before_has_found(seed):
    rng, fold, history, running = np.random.default_rng(seed), Fold(), History(), []
    later = [Origin.DESIGN, Origin.INFILL, Origin.CONFIRM, Origin.HAND]
    for number in range(60):
        # Of the origins that matter there are none at first: what is so is carried on.
        origin = later[int(rng.integers(2 if number < 25 else 4))] if number else Origin.DEFAULT
        trial = Trial(number, SPACE.default, 1, number, origin)
        fold.add(Asked((trial,)))
        history, running = history.ask([trial]), [*running, trial]
        while running and rng.random() < 0.6:
            ended = running.pop(int(rng.integers(len(running))))
            status = [Status.OK, Status.FAILED, Status.STOPPED][int(rng.integers(3))]
            y = 1e300 if rng.random() < 0.02 else float(rng.random())
            failure = Failure("E", "no") if status is Status.FAILED else None
            evaluation = Evaluation(ended, Outcome(status, y, {"loss": y}, error=failure))
            fold.add(Told(evaluation))
            history = history.tell(evaluation)
        plain = History(history.evaluations, history.pending)
        for name in rng.permutation(COUNTED)[:4]:
            assert getattr(history, name) == getattr(plain, name)
            assert getattr(fold.history, name) == getattr(plain, name)


@pytest.mark.parametrize("seed", range(3))
def test_rows_that_grow_are_those_of_the_whole_history(seed):
    rng, growing = np.random.default_rng(seed), GrowingRows(SPACE)
    whole = told(30, seed)
    for n in [*rng.permutation(30), 30, 3]:
        order = rng.permutation(n)
        history = History(
            tuple(whole.evaluations[i] for i in order),
            tuple(e.trial for e in whole.evaluations[n : n + 2]),
        )
        X, y, asked = growing.of(history)
        fine = sorted(history.ok, key=lambda e: e.trial.number)
        assert y.tolist() == [e.y for e in fine]
        assert (SPACE.encode([e.trial.config for e in fine]) == X).all() or not len(fine)
        configs = [e.trial.config for e in whole.evaluations[: min(30, n + 2)]]
        assert asked.tolist() == SPACE.encode(configs).tolist()


def test_what_evaluations_add_up_to_is_counted_on():
    evaluations, tally = told(20).evaluations, Tally()
    for end in (0, 1, 7, 7, 20):
        tally.take(evaluations[:end])
        assert tally.epochs == sum(range(end))
        assert tally.failures.total() == end // 5
    other = told(12, seed=1).evaluations  # of another run: counted from the beginning
    tally.take(other)
    assert (tally.epochs, dict(tally.failures)) == (sum(range(12)), {"failed": 2})


def test_rows_are_those_of_encode_whatever_is_remembered(monkeypatch):
    monkeypatch.setattr(space, "REMEMBERED", 8)
    own = Space(SPACE.parameters)
    configs = own.decode(own.snap(np.random.default_rng(0).random((30, own.d))))
    for part in (configs[:5], configs[3:8], configs, configs[20:], configs[:1] * 3):
        assert (own.rows(part) == own.encode(part)).all()
    assert own.rows([]).shape == (0, own.d)
    assert own.rows(dict(c) for c in configs[:3]).shape == (3, own.d)
    rows = own.rows(configs[:2])
    rows += 1.0  # a copy: what is remembered stays
    assert (own.rows(configs[:2]) == own.encode(configs[:2])).all()


def test_a_known_configuration_is_encoded_once(monkeypatch):
    own, count = Space(SPACE.parameters), []
    encode = own.encode
    monkeypatch.setattr(
        own, "encode", lambda configs: count.append(len(configs)) or encode(configs)
    )
    configs = own.decode(own.snap(np.random.default_rng(0).random((30, own.d))))
    for end in range(1, 31):
        own.rows(configs[:end])
    assert sum(count) == 30


def test_the_finalists_of_a_confirmation_are_looked_for_once(monkeypatch):
    tuner, history, fits = Tuner(SPACE, objective=Objective("loss")), told(20), []
    monkeypatch.setattr(Tuner, "model", lambda self, known: fits.append(len(known.evaluations)))
    stage, asked = Stage("confirm", 6), []
    while trials := tuner.ask(history, 1, stage):
        asked += trials
        history = history.ask(trials)
        for trial in trials:
            history = history.tell(Evaluation(trial, Outcome(Status.OK, 0.1)))
    assert len(asked) == 12
    assert fits == [20]
    more = replace(history, evaluations=history.evaluations[1:])  # another history: once more
    tuner.ask(more, 1, replace(stage, seeds=9))
    assert fits == [20, 19]


def test_decoded_values_are_those_that_a_call_makes():
    trial = Trial(3, {"x": 0.5}, 7, origin=Origin.DESIGN)
    data = {"number": 3, "config": {"x": 0.5}, "seed": 7, "replicate": 0, "origin": "design"}
    found = from_json(Trial, data)
    assert found == trial
    assert vars(found) == vars(trial)
    assert list(vars(found)) == list(vars(trial))
    assert from_json(Trial, to_json(trial)) == trial


def test_the_benchmark_tells_growth_and_reading():
    done = CliRunner().invoke(
        growth.main, ["--evaluations", "20", "--search", "random", "--read", "20"]
    )
    assert done.exit_code == 0, done.output
    assert "last to first" in done.output
    assert "20 evaluations, 42 files" in done.output
