"""Entries of every kind, and hypothesis strategies for them."""

from __future__ import annotations

import math

from hypothesis import strategies as st

from spot_dask.records import (
    Asked,
    Closed,
    Entry,
    Evaluation,
    Failure,
    Header,
    Import,
    Imported,
    Opened,
    Origin,
    Outcome,
    Retried,
    Status,
    Told,
    Trial,
)
from spot_dask.space import Categorical, Integer, Real, Space

SPACE = Space(
    lr=Real(1e-5, 0.1, default=0.01),
    width=Integer(1, 512, default=64),
    act=Categorical(["relu → ∂", "tanh"], default="tanh"),
    bias=Categorical([True, False], default=True),
)

HEADER = Header(
    run_id="f00d",
    name="mnist-größe",
    created=1.7e9,
    space=SPACE.to_json(),
    space_hash=SPACE.hash,
    objective="val_loss",
    direction="min",
    settings={"seed": 3, "budget": {"evaluations": 20, "wall": None}},
    study={"file": "study.py", "text": 'print("x")\n'},
    versions={"spot_dask": "0.1.0"},
)


def trial(number: int = 0) -> Trial:
    config = {"lr": 1e-3 / 3, "width": 64, "act": "relu → ∂", "bias": True}
    return Trial(number, config, seed=2**63 - 1, replicate=1, origin=Origin.DESIGN)


def succeeded(number: int = 0, y: float = 0.25) -> Told:
    curves = {"val_loss": (math.inf, 0.5, math.nan, -math.inf, y)}
    metrics = {"accuracy": math.nan, "loss": y}
    outcome = Outcome(Status.OK, y, metrics, curves, 10.0, 12.5, "tcp://a:1", "cuda:0")
    return Told(Evaluation(trial(number), outcome, attempt=1))


def failed(number: int = 0, status: Status = Status.FAILED) -> Told:
    error = Failure("RuntimeError", "CUDA out of memory — größer", 'File "\udc80.py"\n  x = 1\n')
    return Told(Evaluation(trial(number), Outcome(status, error=error)))


def stopped(number: int = 0) -> Told:
    outcome = Outcome(Status.STOPPED, metrics={"loss": 0.5}, curves={"val_loss": (1.0, 0.5)})
    return Told(Evaluation(trial(number), outcome))


ENTRIES: dict[str, Entry] = {
    "open": Opened("gpu7", 4711, {"budget": {"evaluations": 40}}),
    "ask": Asked((trial(0), trial(1)), 3, 2),
    "tell": succeeded(),
    "fail": failed(),
    "stop": stopped(),
    "retry": Retried(3, 0, Outcome(Status.LOST, error=Failure("WorkerLost", "gone"))),
    "import": Imported(
        "old.zarr",
        (Import({"lr": 0.1}, math.inf, "r0", 5),),
        ("trial 6: ünknown",),
        "prior",
        ("width is not in it: taken to be 16",),
    ),
    "close": Closed("the budget is used up"),
}

names = st.text(min_size=1, max_size=8)
finite = st.floats(allow_nan=False, allow_infinity=False)
numbers = st.floats()
integers = st.integers(0, 2**64)
seeds = st.integers(0, 2**63 - 1)
values = st.one_of(st.booleans(), st.integers(-(2**70), 2**70), finite, st.text(max_size=20))
configs = st.dictionaries(names, values, max_size=5)
trials = st.builds(Trial, integers, configs, seeds, integers, st.sampled_from(Origin))
failures = st.builds(Failure, st.text(), st.text(), st.text())
outcomes = st.builds(
    Outcome,
    st.sampled_from(Status),
    numbers,
    st.dictionaries(names, numbers, max_size=4),
    st.dictionaries(names, st.lists(numbers, max_size=6).map(tuple), max_size=3),
    numbers,
    numbers,
    st.text(max_size=8),
    st.text(max_size=8),
    st.none() | failures,
)
evaluations = st.builds(Evaluation, trials, outcomes, integers)
imports = st.builds(Import, configs, numbers, names, integers)
entries: st.SearchStrategy[Entry] = st.one_of(
    st.builds(Asked, st.lists(trials, max_size=3).map(tuple)),
    st.builds(Told, evaluations),
    st.builds(Retried, integers, integers, outcomes),
    st.builds(
        Imported,
        st.text(),
        st.lists(imports, max_size=3).map(tuple),
        st.lists(st.text(), max_size=2).map(tuple),
        st.sampled_from(["data", "prior"]),
        st.lists(st.text(), max_size=2).map(tuple),
    ),
    st.builds(Closed, st.text()),
)
