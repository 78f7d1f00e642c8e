"""Runs whose tables are looked at: a space of every kind of parameter, and random histories."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
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
    Origin,
    Outcome,
    Retried,
    Status,
    Told,
    Trial,
)
from spot_dask.space import Categorical, Integer, Real, Space
from spot_dask.store import tables
from spot_dask.store.journal import Journal

SPACE = Space(
    lr=Real(1e-5, 0.1, scale="log", default=1e-3),
    width=Integer(16, 256, scale="power2", default=64),
    optimizer=Categorical(["sgd", "adam", "größer →"], default="sgd"),
    momentum=Real(0.0, 0.99, default=0.9).when(optimizer="sgd"),
    warmup=Integer(-3, 10, default=2).when(optimizer="adam"),
    norm=Categorical([True, 1, 0.5, "1"], default=True).when(optimizer=["adam", "sgd"]),
)


def publish(where: Any, backend: Any = None) -> None:
    """Make a table of all records, as a coordinator does."""
    journal = Journal.open(where)
    journal.read()
    assert journal.fold is not None
    tables.publish(backend or journal.backend, journal.header, journal.fold.rows, journal.tail)


def header(direction: str = "min") -> Header:
    return Header(
        run_id="f00d",
        name="mnist-größe",
        created=1.7e9,
        space=SPACE.to_json(),
        space_hash=SPACE.hash,
        objective="val loss",
        direction=direction,
        settings={"seed": 3, "budget": {"evaluations": 20, "wall": None}},
    )


@cache
def config(seed: int) -> dict[str, bool | int | float | str]:
    return SPACE.decode(np.random.default_rng(seed).random((1, SPACE.d)))[0]


def succeeded(trial: Trial, points: int = 5) -> Told:
    """A training whose every number tells which one it was."""
    y = trial.number + 0.25
    curve = tuple(trial.number + i / 8 for i in range(points))
    metrics = {"accuracy": y, "val/loss": math.inf}
    started = 1.7e9 + trial.number
    outcome = Outcome(
        Status.OK, y, metrics, {"val/loss": curve}, started, started + 2.5, "tcp://a:1", "cuda:0"
    )
    return Told(Evaluation(trial, outcome, attempt=trial.number % 2))


def failed(trial: Trial) -> Told:
    error = Failure("RuntimeError", "out of memory, größer", 'File "\udc80.py"\n  x = 1\n')
    return Told(Evaluation(trial, Outcome(Status.FAILED, started=1.7e9, error=error)))


def story(n: int, points: int = 5) -> list[Entry]:
    """A run of n trials in batches of four, every fifth of which fails, and two imports."""
    imports = (Import(config(1000), 7.5, "r0", 3), Import(config(1001), -7.5, "r1", 3))
    entries: list[Entry] = [Imported("old.zarr", imports)]
    for start in range(0, n, 4):
        trials = [
            Trial(i, config(i), seed=2**32 - 1, replicate=i % 2, origin=Origin.DESIGN)
            for i in range(start, min(n, start + 4))
        ]
        entries.append(Asked(trials))
        entries += [failed(t) if t.number % 5 == 4 else succeeded(t, points) for t in trials]
    return entries


_numbers = st.floats(width=64)
_times = st.floats(-1e9, 1e10) | st.sampled_from([math.nan, math.inf])
_names = st.sampled_from(["loss", "val/loss", "größe ~ %", "_"])
_texts = st.sampled_from(["", "a", "tcp://b:1", "\udc80"])


@st.composite
def _outcomes(draw: Callable[..., object]) -> Outcome:
    drawn = st.builds(
        Outcome,
        st.sampled_from(Status),
        _numbers,
        st.dictionaries(_names, _numbers, max_size=3),
        st.dictionaries(_names, st.lists(_numbers, max_size=4).map(tuple), max_size=2),
        _times,
        _times,
        _texts,
        _texts,
        st.none() | st.builds(Failure, _texts, _texts, _texts),
    )
    return draw(drawn)  # type: ignore[return-value]


@st.composite
def histories(draw: Callable[..., int]) -> list[Entry]:
    """Runs as a coordinator writes them: asked before told, told twice at times, and imports."""
    entries: list[Entry] = []
    asked: list[Trial] = []
    for _ in range(draw(st.integers(0, 12))):
        step = draw(st.sampled_from(["ask", "tell", "tell", "retry", "import", "close"]))
        if step == "ask":
            trial = Trial(
                len(asked), config(draw(st.integers(0, 50))), draw(st.integers(0, 2**32 - 1))
            )
            asked.append(trial)
            entries.append(Asked([trial]))
        elif step == "import":
            item = st.builds(
                Import,
                st.integers(0, 50).map(config),
                _numbers,
                st.sampled_from(["r0", "r1"]),
                st.integers(0, 2),
            )
            entries.append(Imported("old", tuple(draw(st.lists(item, max_size=3)))))
        elif step == "close":
            entries.append(Closed("budget"))
        elif asked:
            trial = draw(st.sampled_from(asked))
            outcome, attempt = draw(_outcomes()), draw(st.integers(0, 3))
            told = Told(Evaluation(trial, outcome, attempt))
            entries.append(told if step == "tell" else Retried(trial.number, attempt, outcome))
    return entries
