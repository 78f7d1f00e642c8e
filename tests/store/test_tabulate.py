"""A table says what replaying the records says, and nothing else."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sizes import size
from table_examples import SPACE, config, failed, header, histories, story, succeeded

from benchmarks.memory import MemoryStore
from spot_dask.errors import StoreCorrupt
from spot_dask.fold import Fold
from spot_dask.records import (
    Asked,
    Evaluation,
    Failure,
    Import,
    Imported,
    Outcome,
    Status,
    Told,
    Trial,
)
from spot_dask.store.table import following, tabulate


def records(entries, direction="min"):
    store = MemoryStore(header(direction))
    for entry in entries:
        store.append(entry)
    return store.records()


def table_of(entries, direction="min"):
    return tabulate(header(direction), Fold.of(records(entries, direction)).rows)


def value(column, i):
    """One value as a record would have it; None where missing."""
    if column.missing[i]:
        return None
    if column.kind == "factor":
        return column.levels[column.values[i]]
    return column.values[i].item() if column.kind != "text" else column.values[i]


def rows(table):
    """Each row as a dict of what is not missing; curves by name, without empty ones."""
    ends = [np.cumsum(curve.sizes) for curve in table.curves]
    for i in range(len(table)):
        row = {c.name: value(c, i) for c in table.columns if value(c, i) is not None}
        for curve, end in zip(table.curves, ends, strict=True):
            if curve.sizes[i]:
                row["curve." + curve.name] = curve.values[end[i] - curve.sizes[i] : end[i]].tolist()
        yield row


def utf8(text):
    return text.encode("utf-8", "backslashreplace").decode()


def microseconds(seconds):
    return round(seconds * 1e6) if math.isfinite(seconds) else None


def told(evaluation, sign):
    """What the row of an evaluation must say."""
    trial, outcome = evaluation.trial, evaluation.outcome
    error = outcome.error or Failure("", "")
    row = {
        "trial": trial.number,
        "replicate": trial.replicate,
        "seed": trial.seed,
        "attempt": evaluation.attempt,
        "origin": trial.origin.value,
        "status": outcome.status.value,
        "objective": sign * outcome.y,
        "seconds": outcome.seconds,
        "started": microseconds(outcome.started),
        "finished": microseconds(outcome.finished),
        "worker": utf8(outcome.worker) or None,
        "device": utf8(outcome.device) or None,
        "error_type": utf8(error.type) or None,
        "error_message": utf8(error.message) or None,
        "error_traceback": utf8(error.traceback) or None,
        **{f"config.{name}": v for name, v in trial.config.items()},
        **{f"metric.{name}": v for name, v in outcome.metrics.items()},
        **{f"curve.{name}": list(curve) for name, curve in outcome.curves.items() if curve},
    }
    return {name: v for name, v in row.items() if v is not None}


def imported(item, sign):
    return {
        "origin": "imported",
        "status": "imported",
        "objective": sign * item.y,
        "source_run": item.source_run,
        "source_trial": item.source_trial,
        **{f"config.{name}": v for name, v in item.config.items()},
    }


def plain(found):
    """Sorted, as text: NaN equals NaN, True is not 1, and the journal's place is left out."""
    return [
        repr(sorted((k, v) for k, v in row.items() if k not in ("record", "recorded")))
        for row in found
    ]


@settings(max_examples=size(30, 80), suppress_health_check=[HealthCheck.too_slow])
@given(histories(), st.sampled_from(["min", "max"]))
def test_a_table_says_what_a_replay_says(entries, direction):
    written = records(entries, direction)
    fold = Fold.of(written)
    found = list(rows(tabulate(header(direction), fold.rows)))
    history, sign = fold.history, 1.0 if direction == "min" else -1.0
    mine = [row for row in found if row["status"] != "imported"]
    taken = [row for row in found if row["status"] == "imported"]
    assert plain(mine) == plain(told(e, sign) for e in history.evaluations)
    assert plain(taken) == plain(imported(item, sign) for item in history.imports)
    places = [row["record"] for row in found]
    assert places == sorted(places)
    times = {record.seq: microseconds(record.time) for record in written}
    assert [row["recorded"] for row in found] == [times[seq] for seq in places]


@settings(max_examples=size(20, 50), suppress_health_check=[HealthCheck.too_slow])
@given(histories(), st.data())
def test_a_table_goes_on_from_any_earlier_one(entries, data):
    written = records(entries)
    cut = data.draw(st.integers(0, len(written)))
    whole = tabulate(header(), Fold.of(written).rows)
    earlier = tabulate(header(), Fold.of(written[:cut]).rows)
    fold = following(earlier)
    for record in written[cut:]:
        fold.take(record)
    later = tabulate(header(), fold.rows, earlier)
    assert repr(later) == repr(whole)
    assert plain(rows(later)) == plain(rows(whole))


def test_what_was_not_measured_is_missing_and_what_was_not_a_number_is_nan():
    trials = [Trial(i, SPACE.default, 0) for i in range(2)]
    outcomes = [Outcome(Status.OK, 1.0, {"a": math.nan}), Outcome(Status.OK, 1.0, {"b": math.inf})]
    evaluations = [Told(Evaluation(t, o)) for t, o in zip(trials, outcomes, strict=True)]
    column = table_of([Asked(trials), *evaluations])["metric.a"]
    assert np.isnan(column.values).all()
    assert column.missing.tolist() == [False, True]


def test_every_column_has_its_type_and_says_whether_it_can_be_missing():
    table = table_of(story(6))
    kinds = {c.name: (c.kind, c.optional) for c in table.columns}
    assert kinds["config.lr"] == ("real", False)
    assert kinds["config.width"] == ("integer", False)
    assert kinds["config.warmup"] == ("integer", True)
    assert kinds["config.norm"] == ("factor", True)
    assert kinds["started"] == ("time", True)
    assert table["config.norm"].levels == (True, 1, 0.5, "1")
    assert table["objective"].long_name == "val loss (minimised)"
    assert len(table) == 8


def test_a_run_without_evaluations_has_a_table_without_rows():
    table = table_of([])
    assert len(table) == 0
    assert table["config.lr"].values.dtype == np.float64
    assert table.curves == ()


@pytest.mark.parametrize(
    ("config", "says"),
    [({"lr": 0.01, "lrr": 1.0}, "'lrr', which is no parameter"), ({"norm": "2"}, "norm: '2'")],
)
def test_a_configuration_that_is_not_of_the_space_is_refused(config, says):
    trial = Trial(0, config, 0)
    with pytest.raises(StoreCorrupt, match=f"record 2.*{says}"):
        table_of([Asked([trial]), succeeded(trial)])


def test_the_first_of_several_evaluations_of_a_trial_counts():
    trial = Trial(0, SPACE.default, 0)
    table = table_of([Asked([trial]), failed(trial), succeeded(trial)])
    assert [row["status"] for row in rows(table)] == ["failed"]


def test_what_another_objective_says_is_no_row():
    item = Import(SPACE.default, 2.0, "r0", 3)
    entries = [Imported("other", (item,), mode="prior"), Imported("old", (item,))]
    assert len(table_of(entries[:1])) == 0
    assert len(table_of(entries[1:])) == 1
    assert len(table_of(entries[::-1])) == 1
    assert len(table_of(entries)) == 0  # it is known as a hint already, as to the history


def test_an_import_and_a_trial_of_the_same_number_are_two_rows():
    trial = Trial(3, SPACE.default, 0)
    item = Import(SPACE.default, 2.0, "r0", 3)
    entries = [Imported("old", (item, item)), Asked([trial]), failed(trial), Imported("o", (item,))]
    assert [row.get("trial") for row in rows(table_of(entries))] == [None, 3]


def test_a_seed_is_one_that_a_table_can_hold():
    trial = Trial(0, config(0), 2**63 - 1)
    entries = records([Asked([trial]), Told(trial.result(1.0))])
    assert tabulate(header(), Fold.of(entries).rows)["seed"].values.tolist() == [2**63 - 1]
    for seed in (2**63, -1):
        larger = replace(trial, seed=seed)
        with pytest.raises(ValueError, match=f"seed of trial 0 is {seed}; expected 0 to"):
            records([Asked([larger])])
    told = replace(entries[-1], entry=Told(replace(trial, seed=2**63).result(1.0)))
    with pytest.raises(StoreCorrupt, match=r"a seed of the training is \d+, too large for a table"):
        tabulate(header(), Fold.of([entries[0], entries[1], told]).rows)
